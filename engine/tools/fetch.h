/*
 * Fetches one file over HTTPS, and goes on where an earlier try stopped.
 *
 *     url -> part file (PATH, beside it PATH.state) -> the whole file, under the same name
 *
 * The state says what the part is a part of: the address, the server's ETag (or time of the last
 * change) and the whole size. A part is added to only where the server says, by If-Range, that its
 * file is still that one; otherwise it starts again. Whatever ends a fetch early leaves the part.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_FETCH_H
#define FASTVLM_TOOLS_FETCH_H

#include <fastvlm/error.h>

G_BEGIN_DECLS

/** A file that is being fetched, held by this process alone. */
typedef struct FetchPart FetchPart;

/**
 * Told while bytes come, and at least once a second while none do.
 *
 * @param n_total  0: not known
 * @return FALSE to stop: the fetch fails with FASTVLM_ERROR_CANCELLED
 */
typedef gboolean (*FetchProgressFunc)(guint64 n_done, guint64 n_total, gpointer user_data);

/** What to fetch. */
typedef struct {
    const char *url;        /* one that fetch_check_address() is content with */
    const char *user_agent; /* as "fastvlm/1.0" */
    guint64 max_bytes;      /* a larger file is refused */
    int n_retries;          /* tries in a row that bring nothing before giving up */
    FetchProgressFunc progress;
    gpointer progress_data;
} FetchParams;

/** What came. */
typedef struct {
    guint64 n_bytes;   /* of the whole file */
    guint64 n_fetched; /* of these, now */
    int n_cuts;        /* connections that broke, and were taken up again */
} FetchResult;

/**
 * Whether `url` may be fetched from: https, or http where the host is this machine itself.
 *
 * Errors: ARGUMENT. The message never repeats a password.
 */
gboolean fetch_check_address(const char *url, GError **error);

/** `url` without user and password, for messages; free it. */
char *fetch_show_address(const char *url);

/**
 * Opens, or begins, the part at `path`.
 *
 * Errors: READ (it cannot be written, or another process is fetching it).
 */
FetchPart *fetch_part_open(const char *path, GError **error);

/** The descriptor of the file, for reading it when it is whole. */
int fetch_part_get_descriptor(const FetchPart *part);

/** Bytes that are there, and those of the whole file; `n_total` 0: not known. */
void fetch_part_get_sizes(const FetchPart *part, guint64 *n_done, guint64 *n_total);

/** Closes the part and leaves it for the next time; one without a byte is removed. NULL is fine. */
void fetch_part_close(FetchPart *part);

/** Removes part and state from the disk, and closes. */
void fetch_part_remove(FetchPart *part);

/**
 * Fetches what is missing. A connection that breaks is taken up again. The disk must have room for
 * the file twice, since it is to be unpacked.
 *
 * Errors: NOT_FOUND (404, 410), READ (the network, the server's other answers), FORMAT (lengths
 * that contradict each other), LIMIT (too large, or the disk is full), CANCELLED.
 */
gboolean fetch_run(FetchPart *part, const FetchParams *params, FetchResult *result, GError **error);

G_END_DECLS

#endif
