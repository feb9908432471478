/*
 * Keys and values of the positions so far.
 *
 *     keys, values: for each layer [n_kv_heads, capacity, head_dim]
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_KV_CACHE_H
#define FASTVLM_LANGUAGE_KV_CACHE_H

#include "language/weights.h"

/** All zero is an empty cache. */
typedef struct {
    int n_positions; /* filled */
    int capacity;    /* positions there is memory for */
    float *keys;
    float *values;
} FastvlmKvCache;

/**
 * Empties `cache` and sees to it that it has room for `n_positions`.
 *
 * Errors: LIMIT (memory).
 */
gboolean fastvlm_kv_cache_reset(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                                int n_positions, GError **error);

/** Frees what `cache` points to. */
void fastvlm_kv_cache_clear(FastvlmKvCache *cache);

/** Where the keys of `layer` and `kv_head` begin: [capacity, head_dim]; the same in `values`. */
gsize fastvlm_kv_cache_offset(const FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                              int layer, int kv_head);

#endif
