/*
 * Attention over the KV cache: the queries of a group are gathered into one matrix, so that keys and
 * values are read once for all of them.
 *
 *     q [rows, head_dim] * panels of keys -> scores [rows, n_keys] -> softmax -> * values -> out
 *
 * A row that sees fewer keys than the last one has zeros behind them, which add nothing.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/attend.h"

#include <math.h>
#include <string.h>

#define WANTED_ROWS 32 /* query rows: enough for the kernels, few enough for the cache */

static int group_size(const FastvlmLanguageWeights *weights)
{
    return weights->n_heads / weights->n_kv_heads;
}

static int pad_keys(int n_keys)
{
    return (n_keys + FASTVLM_KV_PANEL - 1) / FASTVLM_KV_PANEL * FASTVLM_KV_PANEL;
}

int fastvlm_attend_tile_rows(const FastvlmLanguageWeights *weights)
{
    return MAX(WANTED_ROWS / group_size(weights), 1);
}

gsize fastvlm_attend_scratch_size(const FastvlmLanguageWeights *weights, int n_positions)
{
    const int n_rows = fastvlm_attend_tile_rows(weights) * group_size(weights);

    return (gsize)n_rows * ((gsize)weights->head_dim + (gsize)pad_keys(n_positions));
}

/** Scaled, one below the other: [n_rows * group, head_dim]. */
static void gather_queries(const FastvlmAttend *attend, float *to)
{
    const gsize n = (gsize)group_size(attend->weights) * (gsize)attend->weights->head_dim;
    const float scale = 1.0f / sqrtf((float)attend->weights->head_dim);

    for (int row = 0; row < attend->n_rows; row++) {
        const float *from = attend->q + (gsize)row * attend->ldq;

        for (gsize i = 0; i < n; i++)
            *to++ = from[i] * scale;
    }
}

static void multiply(const FastvlmAttend *attend, const FastvlmProduct *product)
{
    if (attend->cache->type == FASTVLM_KV_BF16)
        attend->kernels->product_bf16(product);
    else
        attend->kernels->product_f32(product);
}

static void score_keys(const FastvlmAttend *attend, const float *q, int n_queries, int n_keys,
                       float *scores)
{
    const gsize head_dim = (gsize)attend->weights->head_dim;
    const char *keys =
        fastvlm_kv_cache_get_keys(attend->cache, attend->weights, attend->layer, attend->kv_head);
    const gsize panel_bytes =
        head_dim * FASTVLM_KV_PANEL * fastvlm_kv_cache_element_size(attend->cache);
    FastvlmProduct product = {
        .a = q,
        .lda = head_dim,
        .ldb = FASTVLM_KV_PANEL,
        .ldc = (gsize)pad_keys(n_keys),
        .n_rows = n_queries,
        .n_columns = FASTVLM_KV_PANEL,
        .k = attend->weights->head_dim,
    };

    for (int first = 0; first < n_keys; first += FASTVLM_KV_PANEL) {
        product.b = keys + (gsize)(first / FASTVLM_KV_PANEL) * panel_bytes;
        product.c = scores + first;
        multiply(attend, &product);
    }
}

/** Each row over the keys up to its own position. */
static void weigh_keys(const FastvlmAttend *attend, int n_keys, float *scores)
{
    const int group = group_size(attend->weights);
    const gsize ld = (gsize)pad_keys(n_keys);

    for (int i = 0; i < attend->n_rows * group; i++) {
        float *row = scores + (gsize)i * ld;
        const int n_seen = attend->first_position + i / group + 1;

        attend->kernels->softmax_f32(row, (size_t)n_seen);
        memset(row + n_seen, 0, (gsize)(n_keys - n_seen) * sizeof *row);
    }
}

void fastvlm_attend(const FastvlmAttend *attend)
{
    const int group = group_size(attend->weights);
    const int n_queries = attend->n_rows * group;
    const int n_keys = attend->first_position + attend->n_rows;
    const gsize head_dim = (gsize)attend->weights->head_dim;
    float *q = attend->scratch; /* [n_queries, head_dim], then the result */
    float *scores = q + (gsize)n_queries * head_dim;
    const FastvlmProduct sum = {
        .a = scores,
        .lda = (gsize)pad_keys(n_keys),
        .b = fastvlm_kv_cache_get_values(attend->cache, attend->weights, attend->layer,
                                         attend->kv_head),
        .ldb = head_dim,
        .c = q,
        .ldc = head_dim,
        .n_rows = n_queries,
        .n_columns = attend->weights->head_dim,
        .k = n_keys,
    };

    gather_queries(attend, q);
    score_keys(attend, q, n_queries, n_keys, scores);
    weigh_keys(attend, n_keys, scores);
    multiply(attend, &sum);
    for (int row = 0; row < attend->n_rows; row++)
        memcpy(attend->out + (gsize)row * attend->ldo, q + (gsize)row * (gsize)group * head_dim,
               (gsize)group * head_dim * sizeof *q);
}
