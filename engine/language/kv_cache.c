/*
 * The KV cache. The numbers of each layer and head lie together in both tensors, capacity * head_dim of
 * them: a block.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/kv_cache.h"

#include <string.h>

#include "base/alloc.h"

#define CAPACITY_STEP 64 /* so that prompts of about the same length share one allocation */

G_STATIC_ASSERT(CAPACITY_STEP % FASTVLM_KV_PANEL == 0);

void fastvlm_kv_cache_clear(FastvlmKvCache *cache)
{
    g_clear_pointer(&cache->keys, fastvlm_free_tensor);
    g_clear_pointer(&cache->values, fastvlm_free_tensor);
    cache->capacity = 0;
    cache->n_positions = 0;
}

gsize fastvlm_kv_cache_element_size(const FastvlmKvCache *cache)
{
    return cache->type == FASTVLM_KV_BF16 ? sizeof(guint16) : sizeof(float);
}

static gsize count_blocks(const FastvlmLanguageWeights *weights)
{
    return (gsize)weights->n_layers * (gsize)weights->n_kv_heads;
}

static gsize block_bytes(const FastvlmKvCache *cache, const FastvlmLanguageWeights *weights)
{
    return (gsize)cache->capacity * (gsize)weights->head_dim * fastvlm_kv_cache_element_size(cache);
}

/** Moves the first `n_bytes` of each block from one tensor to another. */
static void move_blocks(const char *from, gsize from_bytes, char *to, gsize to_bytes, gsize n_bytes,
                        gsize n_blocks)
{
    for (gsize i = 0; i < n_blocks && n_bytes > 0; i++)
        memcpy(to + i * to_bytes, from + i * from_bytes, n_bytes);
}

gboolean fastvlm_kv_cache_reserve(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                                  int n_kept, int n_positions, GError **error)
{
    FastvlmKvCache grown = {.type = cache->type};
    const gsize n_blocks = count_blocks(weights);
    gsize kept_bytes, n_floats;

    n_kept = MIN(n_kept, cache->n_positions);
    if (n_positions <= cache->capacity) {
        cache->n_positions = n_kept;
        return TRUE;
    }
    grown.n_positions = n_kept;
    grown.capacity = (n_positions + CAPACITY_STEP - 1) / CAPACITY_STEP * CAPACITY_STEP;
    n_floats = block_bytes(&grown, weights) / sizeof(float);
    if (!(grown.keys = fastvlm_alloc_tensor(n_blocks, n_floats, "the KV cache", error)) ||
        !(grown.values = fastvlm_alloc_tensor(n_blocks, n_floats, "the KV cache", error))) {
        fastvlm_kv_cache_clear(&grown);
        return FALSE;
    }
    kept_bytes = (gsize)((n_kept + FASTVLM_KV_PANEL - 1) / FASTVLM_KV_PANEL * FASTVLM_KV_PANEL) *
                 (gsize)weights->head_dim * fastvlm_kv_cache_element_size(cache);
    move_blocks(cache->keys, block_bytes(cache, weights), grown.keys, block_bytes(&grown, weights),
                kept_bytes, n_blocks);
    move_blocks(cache->values, block_bytes(cache, weights), grown.values,
                block_bytes(&grown, weights), kept_bytes, n_blocks);
    fastvlm_kv_cache_clear(cache);
    *cache = grown;
    return TRUE;
}

/** Where the block of `layer` and `kv_head` begins in both tensors. */
static gsize find_block(const FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                        int layer, int kv_head)
{
    return ((gsize)layer * (gsize)weights->n_kv_heads + (gsize)kv_head) *
           block_bytes(cache, weights);
}

const void *fastvlm_kv_cache_get_keys(const FastvlmKvCache *cache,
                                      const FastvlmLanguageWeights *weights, int layer, int kv_head)
{
    return (const char *)cache->keys + find_block(cache, weights, layer, kv_head);
}

const void *fastvlm_kv_cache_get_values(const FastvlmKvCache *cache,
                                        const FastvlmLanguageWeights *weights, int layer,
                                        int kv_head)
{
    return (const char *)cache->values + find_block(cache, weights, layer, kv_head);
}

void fastvlm_kv_cache_place(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights, int layer,
                            int kv_head, int position, const float *key, const float *value)
{
    const gsize head_dim = (gsize)weights->head_dim;
    const gsize block = find_block(cache, weights, layer, kv_head);
    const gsize to_key = (gsize)(position / FASTVLM_KV_PANEL) * head_dim * FASTVLM_KV_PANEL +
                         (gsize)(position % FASTVLM_KV_PANEL);
    const gsize to_value = (gsize)position * head_dim;

    if (cache->type == FASTVLM_KV_F32) {
        float *keys = (float *)(void *)((char *)cache->keys + block) + to_key;
        float *values = (float *)(void *)((char *)cache->values + block) + to_value;

        for (gsize i = 0; i < head_dim; i++)
            keys[i * FASTVLM_KV_PANEL] = key[i];
        memcpy(values, value, head_dim * sizeof *value);
    } else {
        guint16 *keys = (guint16 *)(void *)((char *)cache->keys + block) + to_key;
        guint16 *values = (guint16 *)(void *)((char *)cache->values + block) + to_value;

        for (gsize i = 0; i < head_dim; i++) {
            keys[i * FASTVLM_KV_PANEL] = fastvlm_bf16_from_f32(key[i]);
            values[i] = fastvlm_bf16_from_f32(value[i]);
        }
    }
}
