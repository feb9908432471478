/*
 * Brings a released model to this machine: fetched, unpacked, looked at, and only then given its name.
 *
 *     DIR/.NAME.zip.part   the archive, as far as it has come (fetch.h)
 *     DIR/.NAME.new/       its files, while they are unpacked (unpack.h)
 *     DIR/NAME/            the model; there whole or not at all
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_PULL_H
#define FASTVLM_TOOLS_PULL_H

#include "tools/unpack.h"

G_BEGIN_DECLS

#define PULL_BASE_URL "https://ml-site.cdn-apple.com/datasets/fastvlm"

/** A model that can be had. */
typedef struct {
    const char *name;
    const char *archive;      /* the last part of its address */
    guint64 max_bytes;        /* no archive of it, and not what is in it, is larger */
    const UnpackHash *hashes; /* of files in it, where they are known; else NULL */
} PullModel;

/** The model `name`, in either case; NULL: there is none. */
const PullModel *pull_find_model(const char *name);

/** All names, with commas between; free it. */
char *pull_list_names(void);

/** Where models go, and are found by name: fastvlm/models in the user's data directory; free it. */
char *pull_get_default_directory(void);

typedef struct {
    const PullModel *model;
    const char *base_url;
    const char *directory;
    const char *sha256; /* of the archive, lower case; NULL: not known */
    gboolean no_verify; /* take files whose hash is not the known one */
    gboolean force;     /* replace what has the name already */
    int n_retries;
} PullParams;

typedef struct {
    char *path;         /* of the model; free it */
    gboolean was_there; /* and nothing was fetched */
    guint64 n_bytes;    /* of the archive */
    guint64 n_fetched;  /* of these, by this call */
    int n_cuts;         /* connections that broke on the way */
} PullResult;

/**
 * Does it, with progress bars; a signal (interrupt.h) stops it and leaves what has been fetched.
 *
 * Errors: those of fetch.h, unpack.h and fastvlm_model_inspect(). Whatever happens, DIR/NAME is a
 * model that loads, or what it was before.
 */
gboolean pull_run(const PullParams *params, PullResult *result, GError **error);

G_END_DECLS

#endif
