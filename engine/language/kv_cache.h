/*
 * Keys and values of the positions so far, in f32 or rounded to bf16 when they are placed: packed as the
 * matrices of attention's two products are (kernels/gemm.h).
 *
 *     keys:   for each layer and head panels of 16 positions, k is a channel
 *     values: for each layer and head panels of 16 channels, k is a position
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_KV_CACHE_H
#define FASTVLM_LANGUAGE_KV_CACHE_H

#include "language/weights.h"

typedef enum { FASTVLM_KV_F32, FASTVLM_KV_BF16 } FastvlmKvType;

/** All zero is an empty cache in f32; `type` may be set while it is empty. */
typedef struct {
    FastvlmKvType type;
    int n_positions; /* filled */
    int capacity;    /* positions there is memory for, whole panels of keys */
    void *keys;      /* words */
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
 *
 * @param is_last  nothing is placed behind it meanwhile: what shares words with it there becomes 0
 */
void fastvlm_kv_cache_place(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights, int layer,
                            int kv_head, int position, gboolean is_last, const float *key,
                            const float *value);

/** The keys of `layer` and `kv_head`: panels, one behind the other, of k = head_dim. */
const guint32 *fastvlm_kv_cache_get_keys(const FastvlmKvCache *cache,
                                         const FastvlmLanguageWeights *weights, int layer,
                                         int kv_head);

/** Channels channel .. channel + 15 of its values, a panel's first being a multiple of 16. */
const guint32 *fastvlm_kv_cache_get_values(const FastvlmKvCache *cache,
                                           const FastvlmLanguageWeights *weights, int layer,
                                           int kv_head, int channel);

#endif
