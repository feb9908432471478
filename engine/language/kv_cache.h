/*
 * Keys and values of the positions so far, in f32 or rounded to bf16 when they are placed.
 *
 *     keys:   for each layer and head [capacity / 16, head_dim, 16]: panels of 16 positions, so that a
 *             query meets 16 keys at once
 *     values: for each layer and head [capacity, head_dim]
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_KV_CACHE_H
#define FASTVLM_LANGUAGE_KV_CACHE_H

#include "language/weights.h"

/** Positions of a panel of keys. */
#define FASTVLM_KV_PANEL 16

typedef enum { FASTVLM_KV_F32, FASTVLM_KV_BF16 } FastvlmKvType;

/** All zero is an empty cache in f32; `type` may be set while it is empty. */
typedef struct {
    FastvlmKvType type;
    int n_positions; /* filled */
    int capacity;    /* positions there is memory for, whole panels */
    void *keys;
    void *values;
} FastvlmKvCache;

/**
 * Keeps the first `n_kept` positions, at most as many as there are, and sees to it that there is room
 * for `n_positions` in all.
 *
 * Errors: LIMIT (memory); then `cache` holds what it held.
 */
gboolean fastvlm_kv_cache_reserve(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                                  int n_kept, int n_positions, GError **error);

/** Frees what `cache` points to; `type` stays. */
void fastvlm_kv_cache_clear(FastvlmKvCache *cache);

/**
 * Puts key and value [head_dim] of one head where `position` is, within the capacity. Different heads
 * and positions may be placed by several threads at once.
 */
void fastvlm_kv_cache_place(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights, int layer,
                            int kv_head, int position, const float *key, const float *value);

/** The keys of `layer` and `kv_head`: [capacity / 16, head_dim, 16] of the cache's type. */
const void *fastvlm_kv_cache_get_keys(const FastvlmKvCache *cache,
                                      const FastvlmLanguageWeights *weights, int layer,
                                      int kv_head);

/** Its values: [capacity, head_dim] of the cache's type. */
const void *fastvlm_kv_cache_get_values(const FastvlmKvCache *cache,
                                        const FastvlmLanguageWeights *weights, int layer,
                                        int kv_head);

/** Bytes of an element. */
gsize fastvlm_kv_cache_element_size(const FastvlmKvCache *cache);

#endif
