/*
 * Attention over the KV cache: the queries of a group are gathered into one matrix, so that keys and
 * values are read once for all of them.
 *
 *     q [rows, head_dim] * keys -> scores [rows, n_keys] -> softmax -> * values -> out
 *
 * Beside a cache in bf16 queries and probabilities are rounded to bf16 as well, where they lie. A row that
 * sees fewer keys than the last one has zeros behind them, which add nothing.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/attend.h"

#include <math.h>
#include <string.h>

#define WANTED_ROWS 36 /* query rows: whole blocks of the kernels, few enough for the cache */

static int group_size(const FastvlmLanguageWeights *weights)
{
    return weights->n_heads / weights->n_kv_heads;
}

/** Floats from one row of `n` to the next: what a rounded row takes. */
static gsize row_step(int n)
{
    return FASTVLM_ROUNDED_ROW_BYTES(n) / sizeof(float);
}

int fastvlm_attend_tile_rows(const FastvlmLanguageWeights *weights)
{
    return MAX(WANTED_ROWS / group_size(weights), 1);
}

gsize fastvlm_attend_scratch_size(const FastvlmLanguageWeights *weights, int n_positions)
{
    const int n_rows = fastvlm_attend_tile_rows(weights) * group_size(weights);

    return (gsize)n_rows * (row_step(weights->head_dim) + row_step(n_positions));
}

/** `n_rows` rows of `n` that multiply() is to take. */
static void round_rows(const FastvlmAttend *attend, float *rows, int n_rows, int n)
{
    if (attend->cache->type == FASTVLM_KV_BF16)
        attend->kernels->round_rows_bf16(rows, row_step(n), n_rows, n, rows);
}

/** c [n_rows, n_columns] = a [n_rows, k], as round_rows() left it, * panels. */
static void multiply(const FastvlmAttend *attend, const float *a, const guint32 *panels, int n_rows,
                     int n_columns, int k, float *c, gsize ldc)
{
    const FastvlmGemm gemm = {
        .a = a,
        .lda = row_step(k),
        .b = panels,
        .c = c,
        .ldc = ldc,
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = k,
    };

    if (attend->cache->type == FASTVLM_KV_BF16)
        attend->kernels->gemm_bf16(&gemm);
    else
        attend->kernels->gemm_f32(&gemm);
}

/** Scaled, one below the other: [n_rows * group, head_dim]. */
static void gather_queries(const FastvlmAttend *attend, float *to)
{
    const int group = group_size(attend->weights), head_dim = attend->weights->head_dim;
    const float scale = 1.0f / sqrtf((float)head_dim);

    for (int row = 0; row < attend->n_rows; row++) {
        const float *from = attend->q + (gsize)row * attend->ldq;

        for (int head = 0; head < group; head++, from += head_dim, to += row_step(head_dim))
            for (int i = 0; i < head_dim; i++)
                to[i] = from[i] * scale;
    }
}

/** Scores to probabilities: each row over the keys up to its own position. */
static void weigh_keys(const FastvlmAttend *attend, int n_keys, float *scores)
{
    const int group = group_size(attend->weights);

    for (int i = 0; i < attend->n_rows * group; i++, scores += row_step(n_keys)) {
        const int n_seen = attend->first_position + i / group + 1;

        attend->kernels->softmax_f32(scores, (size_t)n_seen);
        memset(scores + n_seen, 0, (gsize)(n_keys - n_seen) * sizeof *scores);
        round_rows(attend, scores, 1, n_keys);
    }
}

/** Rows of all heads of the group, to where they belong. */
static void scatter_result(const FastvlmAttend *attend, const float *from)
{
    const int group = group_size(attend->weights), head_dim = attend->weights->head_dim;

    for (int row = 0; row < attend->n_rows; row++) {
        float *to = attend->out + (gsize)row * attend->ldo;

        for (int head = 0; head < group; head++, to += head_dim, from += row_step(head_dim))
            memcpy(to, from, (gsize)head_dim * sizeof *to);
    }
}

void fastvlm_attend(const FastvlmAttend *attend)
{
    const int head_dim = attend->weights->head_dim;
    const int n_queries = attend->n_rows * group_size(attend->weights);
    const int n_keys = attend->first_position + attend->n_rows;
    float *q = attend->scratch; /* [n_queries, head_dim], then the result */
    float *scores = q + (gsize)n_queries * row_step(head_dim);

    gather_queries(attend, q);
    round_rows(attend, q, n_queries, head_dim);
    multiply(
        attend, q,
        fastvlm_kv_cache_get_keys(attend->cache, attend->weights, attend->layer, attend->kv_head),
        n_queries, n_keys, head_dim, scores, row_step(n_keys));
    weigh_keys(attend, n_keys, scores);
    for (int channel = 0; channel < head_dim; channel += FASTVLM_PANEL_COLUMNS)
        multiply(attend, scores,
                 fastvlm_kv_cache_get_values(attend->cache, attend->weights, attend->layer,
                                             attend->kv_head, channel),
                 n_queries, MIN(FASTVLM_PANEL_COLUMNS, head_dim - channel), n_keys, q + channel,
                 row_step(head_dim));
    scatter_result(attend, q);
}
