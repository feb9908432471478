/*
 * The part file of a fetch, as fetch.c sees it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_FETCH_PART_H
#define FASTVLM_TOOLS_FETCH_PART_H

#include "tools/fetch.h"

G_BEGIN_DECLS

struct FetchPart {
    char *path;
    char *state_path;
    int descriptor;
    guint64 n_bytes; /* in the file */
    guint64 n_total; /* of the whole, 0: not known */
    char *url;       /* what it is of; NULL: nothing yet */
    char *validator; /* a strong ETag or a date, for If-Range; NULL: the server gave none */
};

/** Makes the part an empty one of `url`, of which the server said `validator` and `n_total`. */
gboolean fetch_part_begin(FetchPart *part, const char *url, const char *validator, guint64 n_total,
                          GError **error);

/** Notes that the part is whole. */
gboolean fetch_part_finish(FetchPart *part, GError **error);

/** Appends bytes. Errors: LIMIT (the disk is full), READ. */
gboolean fetch_part_append(FetchPart *part, const void *bytes, gsize n_bytes, GError **error);

/** Whether the disk has `n_needed` bytes beside the part. Errors: LIMIT. */
gboolean fetch_part_check_space(const FetchPart *part, guint64 n_needed, GError **error);

/** Whether a server can be asked for the rest of `url`. */
gboolean fetch_part_can_resume(const FetchPart *part, const char *url);

G_END_DECLS

#endif
