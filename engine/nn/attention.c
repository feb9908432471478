/*
 * Self-attention: an item is one head and one tile of query rows, its scores in the scratch.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/attention.h"

#include "kernels/blas.h"

#define MAX_TILE_ROWS (16 * FASTVLM_ROW_GROUP)

typedef struct {
    const FastvlmCompute *compute;
    const float *qkv;
    float *out;
    int n_rows;
    int n_heads;
    int head_dim;
    int tile_rows;
} AttentionRun;

static int tile_rows(int n_rows)
{
    return MIN(fastvlm_pad_rows(n_rows), MAX_TILE_ROWS);
}

gsize fastvlm_attention_scratch_size(int n_rows)
{
    return (gsize)tile_rows(n_rows) * (gsize)n_rows;
}

static void run_tile(int item, int worker, void *data)
{
    const AttentionRun *run = data;
    const int head = item % run->n_heads;
    const int row = item / run->n_heads * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, fastvlm_pad_rows(run->n_rows) - row);
    const gsize n_channels = (gsize)run->n_heads * (gsize)run->head_dim;
    const gsize step = 3 * n_channels;
    const float *q = run->qkv + (gsize)head * (gsize)run->head_dim + (gsize)row * step;
    const float *k = run->qkv + n_channels + (gsize)head * (gsize)run->head_dim;
    const float *v = k + n_channels;
    float *scores = run->compute->scratch[worker]; /* [tile_rows, n_rows] */

    fastvlm_blas_multiply_nt(n_rows, run->n_rows, run->head_dim, q, step, k, step, scores,
                             (gsize)run->n_rows);
    for (int i = 0; i < n_rows; i++)
        run->compute->kernels->softmax_f32(scores + (gsize)i * (gsize)run->n_rows,
                                           (size_t)run->n_rows);
    fastvlm_blas_multiply_nn(
        n_rows, run->head_dim, run->n_rows, scores, (gsize)run->n_rows, v, step,
        run->out + (gsize)row * n_channels + (gsize)head * (gsize)run->head_dim, n_channels);
}

gboolean fastvlm_attention_run(const FastvlmCompute *compute, const float *qkv, int n_rows,
                               int n_heads, int head_dim, float *out, GError **error)
{
    AttentionRun run = {compute, qkv, out, n_rows, n_heads, head_dim, tile_rows(n_rows)};
    const int n_tiles = (fastvlm_pad_rows(n_rows) + run.tile_rows - 1) / run.tile_rows;

    return fastvlm_compute_run(compute, n_tiles * n_heads, run_tile, &run, error);
}
