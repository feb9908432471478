/*
 * The directory of packed copies (load/packed.h): which file a model's is, and room for a new one.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_CACHE_H
#define FASTVLM_LOAD_CACHE_H

#include <fastvlm/cache.h>

/**
 * The file for the checkpoint in `directory` packed as `plan` says: a name that a changed checkpoint
 * keeps, so that its new copy replaces the old one. Free with g_free().
 *
 * @param plan  letters and digits
 */
char *fastvlm_cache_name_file(const FastvlmCacheConfig *config, const char *directory,
                              const char *plan);

/** The file for what was measured on the checkpoint in `directory`; `kind` is letters and digits. */
char *fastvlm_cache_name_verdict(const FastvlmCacheConfig *config, const char *directory,
                                 const char *kind);

/**
 * Makes the directory, removes what dead processes left there, and old copies until `n_bytes` more
 * keep to the limit.
 *
 * @param path  the file to be written: what is there now does not count
 * Errors: READ (the directory cannot be made), LIMIT (more than may be kept, or too much is in use).
 */
gboolean fastvlm_cache_make_room(const FastvlmCacheConfig *config, const char *path,
                                 guint64 n_bytes, GError **error);

#endif
