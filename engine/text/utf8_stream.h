/*
 * Whole characters out of a stream of bytes: a token may end in the middle of a character.
 *
 *     bytes of a token -> [0..3 bytes held back] -> whole characters
 *
 * Bytes that cannot be UTF-8 become U+FFFD, one for each maximal part of a character, as Python's
 * bytes.decode("utf-8", "replace") does (Unicode 15, section 3.9, "U+FFFD Substitution of Maximal
 * Subparts"). The sum of all pieces is the same however the bytes were cut.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_UTF8_STREAM_H
#define FASTVLM_TEXT_UTF8_STREAM_H

#include <glib.h>

G_BEGIN_DECLS

/** A stream; all zero is an empty one. Owns nothing, used by one thread at a time. */
typedef struct {
    guint8 held[4]; /* the beginning of a character that may yet be completed */
    guint n_held;   /* 0 .. 3 */
} FastvlmUtf8Stream;

/**
 * Takes `n_bytes` bytes and appends the characters they complete to `out`. NUL bytes are characters
 * too: `out->len` counts.
 */
void fastvlm_utf8_stream_feed(FastvlmUtf8Stream *stream, const char *bytes, gsize n_bytes,
                              GString *out);

/** The end: appends U+FFFD where the beginning of a character is held, and empties `stream`. */
void fastvlm_utf8_stream_flush(FastvlmUtf8Stream *stream, GString *out);

G_END_DECLS

#endif
