/*
 * The convolutional feed-forward block, fused by row tile or layer by layer.
 *
 * With few rows a row tile would be low, and every tile packs all weights anew: there the two linear
 * layers are split by output channels instead (nn/linear.c).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/conv_ffn.h"

#define MAX_TILE_ROWS (24 * FASTVLM_ROW_GROUP)
#define MIN_FUSED_ROWS 3000
#define MAX_FUSED_CHANNELS 1024 /* beyond, a tile takes too long for a cancellation to be heard */

void fastvlm_conv_ffn_clear(FastvlmConvFfn *ffn)
{
    fastvlm_conv_clear(&ffn->conv);
    fastvlm_linear_clear(&ffn->fc1);
    fastvlm_linear_clear(&ffn->fc2);
}

static gboolean is_fused(const FastvlmConvFfn *ffn, int n_rows)
{
    return n_rows >= MIN_FUSED_ROWS && ffn->conv.n_channels <= MAX_FUSED_CHANNELS;
}

gsize fastvlm_conv_ffn_scratch_size(const FastvlmConvFfn *ffn, int height, int width)
{
    const gsize row = (gsize)ffn->conv.n_channels * 2 + (gsize)ffn->fc1.n_out;

    return is_fused(ffn, height * width)
               ? (gsize)fastvlm_tile_rows(height * width, MAX_TILE_ROWS) * row
               : 0;
}

gsize fastvlm_conv_ffn_hidden_size(const FastvlmConvFfn *ffn, int height, int width)
{
    const gsize row = (gsize)ffn->conv.n_channels + (gsize)ffn->fc1.n_out;

    return is_fused(ffn, height * width) ? 0 : (gsize)fastvlm_pad_rows(height * width) * row;
}

typedef struct {
    const FastvlmCompute *compute;
    const FastvlmConvFfn *ffn;
    FastvlmConvDw conv;
    const float *x;
    float *y;
    int n_rows;
    int tile_rows;
} FfnRun;

static void add(const float *x, const float *branch, float *y, gsize n)
{
    for (gsize i = 0; i < n; i++)
        y[i] = x[i] + branch[i];
}

static void run_tile(int tile, int worker, void *data)
{
    const FfnRun *run = data;
    const FastvlmKernels *kernels = run->compute->kernels;
    const gsize n_channels = (gsize)run->ffn->conv.n_channels;
    const int row = tile * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, run->n_rows - row);
    const gsize offset = (gsize)row * n_channels;
    float *mixed = run->compute->scratch[worker];                /* [tile_rows, C] */
    float *branch = mixed + (gsize)run->tile_rows * n_channels;  /* [tile_rows, C] */
    float *hidden = branch + (gsize)run->tile_rows * n_channels; /* [tile_rows, 4C] */

    fastvlm_conv_pixels(kernels, &run->conv, row, n_rows, mixed);
    fastvlm_linear_tile(kernels, &run->ffn->fc1, mixed, fastvlm_pad_rows(n_rows), hidden);
    fastvlm_linear_tile(kernels, &run->ffn->fc2, hidden, fastvlm_pad_rows(n_rows), branch);
    add(run->x + offset, branch, run->y + offset, (gsize)n_rows * n_channels);
}

static void add_rows(int tile, int worker, void *data)
{
    const FfnRun *run = data;
    const gsize n_channels = (gsize)run->ffn->conv.n_channels;
    const int row = tile * run->tile_rows;
    const gsize n = (gsize)MIN(run->tile_rows, run->n_rows - row) * n_channels;
    float *y = run->y + (gsize)row * n_channels;

    add(run->x + (gsize)row * n_channels, y, y, n);
}

static gboolean run_layers(const FastvlmCompute *compute, FfnRun *run, int height, int width,
                           float *buffer, GError **error)
{
    const FastvlmConvFfn *ffn = run->ffn;
    float *mixed = buffer; /* [padded rows, C], then hidden [padded rows, 4C] */
    float *hidden = buffer + (gsize)fastvlm_pad_rows(run->n_rows) * (gsize)ffn->conv.n_channels;
    const int n_tiles = (run->n_rows + run->tile_rows - 1) / run->tile_rows;

    return fastvlm_conv_run(compute, &ffn->conv, run->x, height, width, FALSE, mixed, error) &&
           fastvlm_linear_run(compute, &ffn->fc1, mixed, run->n_rows, hidden, error) &&
           fastvlm_linear_run(compute, &ffn->fc2, hidden, run->n_rows, run->y, error) &&
           fastvlm_compute_run(compute, n_tiles, add_rows, run, error);
}

gboolean fastvlm_conv_ffn_run(const FastvlmCompute *compute, const FastvlmConvFfn *ffn,
                              const float *x, int height, int width, float *y, float *hidden,
                              GError **error)
{
    const int n_rows = height * width;
    FfnRun run = {
        .compute = compute,
        .ffn = ffn,
        .conv = fastvlm_conv_bind(&ffn->conv, x, height, width),
        .x = x,
        .y = y,
        .n_rows = n_rows,
        .tile_rows = fastvlm_tile_rows(n_rows, MAX_TILE_ROWS),
    };

    if (!is_fused(ffn, n_rows))
        return run_layers(compute, &run, height, width, hidden, error);
    return fastvlm_compute_run(compute, (n_rows + run.tile_rows - 1) / run.tile_rows, run_tile,
                               &run, error);
}
