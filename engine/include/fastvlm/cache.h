/*
 * The packed copies of models that are kept on the disk, so that the next load takes a moment.
 *
 * Loading rounds a checkpoint's weights and lays them out for the processor. The result, with the
 * tokenizer's tables, is kept in the user's cache directory and read by later loads of the same
 * checkpoint at the same precision, by all processes at once. Removing a copy is safe at any time,
 * also while it is in use.
 *
 *     FASTVLM_CACHE           "off", or the directory; default fastvlm in the user's cache directory
 *                             (XDG_CACHE_HOME, ~/.cache)
 *     FASTVLM_CACHE_SIZE      most bytes in all, as 500M or 8G (the default); to make room, the copies
 *                             not used for longest go, never one in use
 *     FASTVLM_CACHE_MIN_SIZE  smaller copies are not kept; default 64M
 *
 * All functions may be called from any thread.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_CACHE_H
#define FASTVLM_CACHE_H

#include <fastvlm/error.h>

G_BEGIN_DECLS

/** A packed copy. */
typedef struct {
    char *path;
    char *model; /* the checkpoint's directory when it was made; NULL: not a file of this version */
    char *precision; /* as "int8"; NULL the same */
    guint64 n_bytes;
    gint64 last_used_s; /* since 1970 */
    gboolean in_use;    /* by some process */
} FastvlmCacheEntry;

FASTVLM_API void fastvlm_cache_entry_free(FastvlmCacheEntry *entry);

/** Where copies are kept and how much of them. */
typedef struct {
    char *directory;     /* NULL: none are kept */
    char *problem;       /* why not; else NULL */
    gboolean is_off;     /* because FASTVLM_CACHE says so; else a variable is wrong */
    guint64 limit_bytes; /* of all together */
    guint64 min_bytes;   /* of one */
} FastvlmCacheConfig;

/** What the environment says, to free with fastvlm_cache_config_free(). Never NULL. */
FASTVLM_API FastvlmCacheConfig *fastvlm_cache_get_config(void);

FASTVLM_API void fastvlm_cache_config_free(FastvlmCacheConfig *config);

/**
 * All copies, the one used last first; an empty array where there is no directory.
 *
 * @return FastvlmCacheEntry, freed with the array; or NULL
 * Errors: READ (the directory cannot be read), ARGUMENT (a variable of the environment is wrong).
 */
FASTVLM_API GPtrArray *fastvlm_cache_list(GError **error);

/**
 * Removes all copies, and what a process that died left of one.
 *
 * @param n_removed  files, out
 * @param n_bytes    their sizes, out; the disk has them back once nobody uses them any more
 * Errors: as fastvlm_cache_list(); READ (a file cannot be removed; the others are).
 */
FASTVLM_API gboolean fastvlm_cache_clear(guint *n_removed, guint64 *n_bytes, GError **error);

G_END_DECLS

#endif
