/*
 * Errors of libfastvlm.
 *
 * Every function that can fail takes a GError ** as its last argument and follows GLib's rules:
 * it may be NULL; on failure it is set once and outputs are left untouched or NULL. The message is
 * one line for people: what failed, where (file, tensor, key), what was found, what was expected,
 * what to do. The code is for programs: it says what a caller can do about it.
 *
 * The library never exits, prints or aborts. Small allocations go through GLib, which aborts when
 * memory is out; tensors, which are large, are reported as FASTVLM_ERROR_LIMIT instead.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_ERROR_H
#define FASTVLM_ERROR_H

#include <glib.h>

G_BEGIN_DECLS

/** Marks what the shared library exports; everything else is hidden. */
#define FASTVLM_API __attribute__((visibility("default")))

#define FASTVLM_ERROR (fastvlm_error_quark())

typedef enum {
    FASTVLM_ERROR_NOT_FOUND,   /* a file or directory is not there: check the path */
    FASTVLM_ERROR_READ,        /* it is there but cannot be read: permission, I/O, cut short */
    FASTVLM_ERROR_FORMAT,      /* it was read and is malformed or contradicts itself */
    FASTVLM_ERROR_UNSUPPORTED, /* well-formed, but not what this version can do */
    FASTVLM_ERROR_ARGUMENT,    /* the caller passed something out of range */
    FASTVLM_ERROR_LIMIT,       /* too large: prompt, picture, context, memory */
    FASTVLM_ERROR_CANCELLED,   /* fastvlm_session_cancel() or a progress function said so */
} FastvlmError;

FASTVLM_API GQuark fastvlm_error_quark(void);

G_END_DECLS

#endif
