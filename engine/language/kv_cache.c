/*
 * The KV cache. What there is of each layer and head lies together in both tensors: a block, which for
 * values consists of a part for each panel, whose size is the capacity's.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/kv_cache.h"

#include <string.h>

#include "base/alloc.h"

#define PANEL FASTVLM_PANEL_COLUMNS
#define CAPACITY_STEP 64 /* so that prompts of about the same length share one allocation */

G_STATIC_ASSERT(CAPACITY_STEP % PANEL == 0);

void fastvlm_kv_cache_clear(FastvlmKvCache *cache)
{
    g_clear_pointer(&cache->keys, fastvlm_free_tensor);
    g_clear_pointer(&cache->values, fastvlm_free_tensor);
    cache->capacity = 0;
    cache->n_positions = 0;
}

static gsize count_panels(int n)
{
    return ((gsize)n + PANEL - 1) / PANEL;
}

/** Words of `k` channels or positions in one column of a panel. */
static gsize count_units(const FastvlmKvCache *cache, int k)
{
    return cache->type == FASTVLM_KV_BF16 ? FASTVLM_UNITS_BF16(k) : FASTVLM_UNITS_F32(k);
}

static gsize count_blocks(const FastvlmLanguageWeights *weights)
{
    return (gsize)weights->n_layers * (gsize)weights->n_kv_heads;
}

/** Words of the keys of `n_positions` of a block. */
static gsize count_key_words(const FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                             int n_positions)
{
    return count_panels(n_positions) * count_units(cache, weights->head_dim) * PANEL;
}

/** Words of a panel of values, `n_positions` of it. */
static gsize count_value_words(const FastvlmKvCache *cache, int n_positions)
{
    return count_units(cache, n_positions) * PANEL;
}

/** Copies the first `n` words of each part, `step` words apart, to where they are `to_step` apart. */
static void move_parts(const guint32 *from, gsize step, guint32 *to, gsize to_step, gsize n,
                       gsize n_parts)
{
    for (gsize i = 0; i < n_parts && n > 0; i++)
        memcpy(to + i * to_step, from + i * step, n * sizeof *to);
}

static gboolean alloc_tensors(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                              GError **error)
{
    const gsize n_blocks = count_blocks(weights);

    cache->keys = fastvlm_alloc_tensor(n_blocks, count_key_words(cache, weights, cache->capacity),
                                       "the KV cache", error);
    if (!cache->keys)
        return FALSE;
    cache->values =
        fastvlm_alloc_tensor(n_blocks * count_panels(weights->head_dim),
                             count_value_words(cache, cache->capacity), "the KV cache", error);
    return cache->values != NULL;
}

gboolean fastvlm_kv_cache_reserve(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                                  int n_kept, int n_positions, GError **error)
{
    FastvlmKvCache grown = {.type = cache->type};
    const gsize n_blocks = count_blocks(weights);

    n_kept = MIN(n_kept, cache->n_positions);
    if (n_positions <= cache->capacity) {
        cache->n_positions = n_kept;
        return TRUE;
    }
    grown.n_positions = n_kept;
    grown.capacity = (n_positions + CAPACITY_STEP - 1) / CAPACITY_STEP * CAPACITY_STEP;
    if (!alloc_tensors(&grown, weights, error)) {
        fastvlm_kv_cache_clear(&grown);
        return FALSE;
    }
    move_parts(cache->keys, count_key_words(cache, weights, cache->capacity), grown.keys,
               count_key_words(&grown, weights, grown.capacity),
               count_key_words(cache, weights, n_kept), n_blocks);
    move_parts(cache->values, count_value_words(cache, cache->capacity), grown.values,
               count_value_words(&grown, grown.capacity), count_value_words(cache, n_kept),
               n_blocks * count_panels(weights->head_dim));
    fastvlm_kv_cache_clear(cache);
    *cache = grown;
    return TRUE;
}

static gsize find_block(const FastvlmLanguageWeights *weights, int layer, int kv_head)
{
    return (gsize)layer * (gsize)weights->n_kv_heads + (gsize)kv_head;
}

static guint32 *find_keys(const FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                          int layer, int kv_head)
{
    return (guint32 *)cache->keys +
           find_block(weights, layer, kv_head) * count_key_words(cache, weights, cache->capacity);
}

static guint32 *find_values(const FastvlmKvCache *cache, const FastvlmLanguageWeights *weights,
                            int layer, int kv_head, int channel)
{
    const gsize panel = find_block(weights, layer, kv_head) * count_panels(weights->head_dim) +
                        (gsize)(channel / PANEL);

    return (guint32 *)cache->values + panel * count_value_words(cache, cache->capacity);
}

const guint32 *fastvlm_kv_cache_get_keys(const FastvlmKvCache *cache,
                                         const FastvlmLanguageWeights *weights, int layer,
                                         int kv_head)
{
    return find_keys(cache, weights, layer, kv_head);
}

const guint32 *fastvlm_kv_cache_get_values(const FastvlmKvCache *cache,
                                           const FastvlmLanguageWeights *weights, int layer,
                                           int kv_head, int channel)
{
    return find_values(cache, weights, layer, kv_head, channel);
}

/** A column of keys: `to` is its first word. */
static void place_key(FastvlmKvType type, const float *key, int head_dim, guint32 *to)
{
    if (type == FASTVLM_KV_F32)
        for (int i = 0; i < head_dim; i++)
            memcpy(to + i * PANEL, key + i, sizeof *to);
    else
        for (int i = 0; i < head_dim / 2; i++)
            to[i * PANEL] = fastvlm_bf16_pair(key[2 * i], key[2 * i + 1]);
}

/** `n` channels of a value to a panel's words `to`, of which bf16 takes the low or the high half. */
static void place_value(FastvlmKvType type, const float *value, int n, gboolean is_high,
                        gboolean is_last, guint32 *to)
{
    guint16 *halves = (void *)to;

    if (type == FASTVLM_KV_F32)
        memcpy(to, value, (gsize)n * sizeof *to);
    else
        for (int i = 0; i < n; i++) {
            halves[2 * i + (is_high ? 1 : 0)] = fastvlm_bf16_from_f32(value[i]);
            if (is_last && !is_high)
                halves[2 * i + 1] = 0;
        }
}

void fastvlm_kv_cache_place(FastvlmKvCache *cache, const FastvlmLanguageWeights *weights, int layer,
                            int kv_head, int position, gboolean is_last, const float *key,
                            const float *value)
{
    const int head_dim = weights->head_dim; /* even */
    guint32 *keys = find_keys(cache, weights, layer, kv_head) +
                    (gsize)(position / PANEL) * count_key_words(cache, weights, 1) +
                    (gsize)(position % PANEL);
    const gsize unit = count_units(cache, position + 1) - 1;

    place_key(cache->type, key, head_dim, keys);
    for (int channel = 0; channel < head_dim; channel += PANEL)
        place_value(cache->type, value + channel, MIN(PANEL, head_dim - channel), position % 2 == 1,
                    is_last, find_values(cache, weights, layer, kv_head, channel) + unit * PANEL);
}
