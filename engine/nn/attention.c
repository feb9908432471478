/*
 * Self-attention: keys and values of each head are packed once, as the weights of two products; then
 * an item is one head and one tile of query rows, its scores in the scratch.
 *
 *     scores [tile, n] = q [tile, head_dim] * transpose(keys);  out = softmax(scores) * values
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/attention.h"

#include <string.h>

#include "kernels/blas.h"

#define MAX_TILE_ROWS (8 * FASTVLM_ROW_GROUP)
#define PANEL FASTVLM_PANEL_COLUMNS

typedef struct {
    const FastvlmCompute *compute;
    const float *qkv;
    float *packed;
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

static gsize pad_to_panels(int n)
{
    return ((gsize)n + PANEL - 1) / PANEL * PANEL;
}

gsize fastvlm_attention_scratch_size(int n_rows)
{
    return (gsize)tile_rows(n_rows) * (gsize)n_rows;
}

/** Floats of one head's packed keys; its values follow. */
static gsize count_key_floats(int n_rows, int head_dim)
{
    return pad_to_panels(n_rows) * (gsize)head_dim;
}

static gsize count_head_floats(int n_rows, int head_dim)
{
    return count_key_floats(n_rows, head_dim) + (gsize)n_rows * pad_to_panels(head_dim);
}

gsize fastvlm_attention_packed_size(int n_rows, int n_heads, int head_dim)
{
    return (gsize)n_heads * count_head_floats(n_rows, head_dim);
}

/** keys: panels of 16 rows [head_dim][16]. */
static void pack_keys(const float *k, gsize step, int n_rows, int head_dim, float *packed)
{
    memset(packed, 0, count_key_floats(n_rows, head_dim) * sizeof *packed);
    for (int row = 0; row < n_rows; row++, k += step) {
        float *to = packed + (gsize)(row / PANEL) * (gsize)head_dim * PANEL + row % PANEL;

        for (int i = 0; i < head_dim; i++)
            to[i * PANEL] = k[i];
    }
}

/** values: panels of 16 channels [n_rows][16]. */
static void pack_values(const float *v, gsize step, int n_rows, int head_dim, float *packed)
{
    for (int first = 0; first < head_dim; first += PANEL) {
        const gsize n = (gsize)MIN(PANEL, head_dim - first);

        for (int row = 0; row < n_rows; row++, packed += PANEL) {
            memcpy(packed, v + (gsize)row * step + first, n * sizeof *packed);
            memset(packed + n, 0, (PANEL - n) * sizeof *packed);
        }
    }
}

static void pack_head(int head, int worker, void *data)
{
    const AttentionRun *run = data;
    const gsize n_channels = (gsize)run->n_heads * (gsize)run->head_dim;
    const float *k = run->qkv + n_channels + (gsize)head * (gsize)run->head_dim;
    float *packed = run->packed + (gsize)head * count_head_floats(run->n_rows, run->head_dim);

    pack_keys(k, 3 * n_channels, run->n_rows, run->head_dim, packed);
    pack_values(k + n_channels, 3 * n_channels, run->n_rows, run->head_dim,
                packed + count_key_floats(run->n_rows, run->head_dim));
}

static void multiply(const AttentionRun *run, const float *a, gsize lda, const float *packed,
                     int n_rows, int n_columns, int k, float *c, gsize ldc)
{
    const FastvlmGemm gemm = {
        .a = a,
        .lda = lda,
        .b = (const uint32_t *)packed,
        .c = c,
        .ldc = ldc,
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = k,
    };

    run->compute->kernels->gemm_f32(&gemm);
}

static void soften(const AttentionRun *run, int n_rows, float *scores)
{
    for (int i = 0; i < n_rows; i++)
        run->compute->kernels->softmax_f32(scores + (gsize)i * (gsize)run->n_rows,
                                           (size_t)run->n_rows);
}

static void run_tile(int item, int worker, void *data)
{
    const AttentionRun *run = data;
    const int n_tiles = (run->n_rows + run->tile_rows - 1) / run->tile_rows;
    const int head = item / n_tiles;
    const int row = item % n_tiles * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, run->n_rows - row);
    const gsize n_channels = (gsize)run->n_heads * (gsize)run->head_dim;
    const gsize column = (gsize)head * (gsize)run->head_dim;
    const float *keys = run->packed + (gsize)head * count_head_floats(run->n_rows, run->head_dim);
    float *scores = run->compute->scratch[worker]; /* [tile_rows, n_rows] */

    multiply(run, run->qkv + (gsize)row * 3 * n_channels + column, 3 * n_channels, keys, n_rows,
             run->n_rows, run->head_dim, scores, (gsize)run->n_rows);
    soften(run, n_rows, scores);
    multiply(run, scores, (gsize)run->n_rows, keys + count_key_floats(run->n_rows, run->head_dim),
             n_rows, run->head_dim, run->n_rows, run->out + (gsize)row * n_channels + column,
             n_channels);
}

/** The same by OpenBLAS, which packs for itself. */
static void run_blas_tile(int item, int worker, void *data)
{
    const AttentionRun *run = data;
    const int head = item % run->n_heads;
    const int row = item / run->n_heads * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, fastvlm_pad_rows(run->n_rows) - row);
    const gsize n_channels = (gsize)run->n_heads * (gsize)run->head_dim;
    const gsize step = 3 * n_channels;
    const float *q = run->qkv + (gsize)head * (gsize)run->head_dim + (gsize)row * step;
    const float *k = run->qkv + n_channels + (gsize)head * (gsize)run->head_dim;
    float *scores = run->compute->scratch[worker]; /* [tile_rows, n_rows] */

    fastvlm_blas_multiply_nt(n_rows, run->n_rows, run->head_dim, q, step, k, step, scores,
                             (gsize)run->n_rows);
    soften(run, n_rows, scores);
    fastvlm_blas_multiply_nn(
        n_rows, run->head_dim, run->n_rows, scores, (gsize)run->n_rows, k + n_channels, step,
        run->out + (gsize)row * n_channels + (gsize)head * (gsize)run->head_dim, n_channels);
}

gboolean fastvlm_attention_run(const FastvlmCompute *compute, const float *qkv, int n_rows,
                               int n_heads, int head_dim, float *packed, float *out, GError **error)
{
    AttentionRun run = {compute, qkv, packed, out, n_rows, n_heads, head_dim, tile_rows(n_rows)};
    const int n_tiles = (n_rows + run.tile_rows - 1) / run.tile_rows;

    if (compute->use_blas)
        return fastvlm_compute_run(compute, n_tiles * n_heads, run_blas_tile, &run, error);
    return fastvlm_compute_run(compute, n_heads, pack_head, &run, error) &&
           fastvlm_compute_run(compute, n_tiles * n_heads, run_tile, &run, error);
}
