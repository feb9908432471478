/*
 * model.safetensors.index.json: which shard each tensor is in.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_SHARD_INDEX_H
#define FASTVLM_LOAD_SHARD_INDEX_H

#include "load/safetensors.h"

typedef struct _FastvlmShardIndex FastvlmShardIndex;

/**
 * Reads the index at `path`. Shards are files beside it: a name that leads elsewhere is an error.
 *
 * @return an index to free with fastvlm_shard_index_free(), or NULL
 * Errors: NOT_FOUND, READ, FORMAT, LIMIT (the file is too large).
 */
FastvlmShardIndex *fastvlm_shard_index_load(const char *path, GError **error);

/** NULL is fine. */
void fastvlm_shard_index_free(FastvlmShardIndex *index);

guint fastvlm_shard_index_get_n_shards(const FastvlmShardIndex *index);

/** Name of shard 0 .. n_shards - 1, in the order in which the index first has them. */
const char *fastvlm_shard_index_get_shard(const FastvlmShardIndex *index, guint shard);

/**
 * Checks that each tensor of `file`, which is shard `shard`, is one that the index has there.
 *
 * @param by_name  tensors of the shards before: name to const FastvlmTensorView; none may come again
 * Errors: FORMAT.
 */
gboolean fastvlm_shard_index_check(const FastvlmShardIndex *index, guint shard,
                                   const FastvlmSafetensors *file, GHashTable *by_name,
                                   GError **error);

/** Checks that each tensor of the index is in `by_name`. Errors: FORMAT. */
gboolean fastvlm_shard_index_check_all(const FastvlmShardIndex *index, GHashTable *by_name,
                                       GError **error);

#endif
