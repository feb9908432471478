/*
 * The KV cache.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/kv_cache.h"

#include "base/alloc.h"

#define CAPACITY_STEP 64 /* so that prompts of about the same length share one allocation */

void fastvlm_kv_cache_clear(FastvlmKvCache *cache)
{
    g_clear_pointer(&cache->keys, fastvlm_free_tensor);
    g_clear_pointer(&cache->values, fastvlm_free_tensor);
    cache->capacity = 0;
    cache->n_positions = 0;
}

gboolean fastvlm_kv_cache_reset(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                                int n_positions, GError **error)
{
    const gsize n_rows = (gsize)weights->n_layers * (gsize)weights->n_kv_heads;
    gsize n_columns;

    cache->n_positions = 0;
    if (n_positions <= cache->capacity)
        return TRUE;
    fastvlm_kv_cache_clear(cache);
    n_positions = (n_positions + CAPACITY_STEP - 1) / CAPACITY_STEP * CAPACITY_STEP;
    n_columns = (gsize)n_positions * (gsize)weights->head_dim;
    if (!(cache->keys = fastvlm_alloc_tensor(n_rows, n_columns, "the KV cache", error)) ||
        !(cache->values = fastvlm_alloc_tensor(n_rows, n_columns, "the KV cache", error)))
        return FALSE;
    cache->capacity = n_positions;
    return TRUE;
}

gsize fastvlm_kv_cache_offset(const FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                              int layer, int kv_head)
{
    return ((gsize)layer * (gsize)weights->n_kv_heads + (gsize)kv_head) * (gsize)cache->capacity *
           (gsize)weights->head_dim;
}
