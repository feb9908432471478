/*
 * Where a camera is, with its secrets apart from what may be shown.
 *
 *     [NAME=]rtsp://user:password@host:port/path?query, a file, a device
 *         -> location without credentials, user, password, a name, words to show
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_ADDRESS_H
#define FASTVLM_WATCH_ADDRESS_H

#include <glib.h>

typedef enum {
    WATCH_RTSP,
    WATCH_HTTP,
    WATCH_DEVICE,
    WATCH_FILE,
} WatchKind;

typedef struct {
    WatchKind kind;
    char *name;     /* letters, digits, . _ - alone: fit to be a part of a file name */
    char *location; /* without credentials; for a file and a device its path */
    char *user;     /* NULL: none given */
    char *password; /* NULL: none given */
    char *secret;   /* the query, which may hold a key; NULL: none */
} WatchAddress;

/** NULL with `error` set where the text names nothing that can be watched. */
WatchAddress *watch_address_parse(const char *text, GError **error);

void watch_address_free(WatchAddress *address);

/** A text in which no password and no query of this address is left; free with g_free(). */
char *watch_address_redact(const WatchAddress *address, const char *text);

#endif
