/*
 * The convolutional feed-forward block, fused by row tile or layer by layer.
 *
 * A tile's hidden rows fill about half a second-level cache. With few rows in all there would be too
 * few tiles for the threads: there the two linear layers are split by output channels instead
 * (nn/linear.c).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/conv_ffn.h"

#define HIDDEN_BYTES (320 * 1024)
#define MAX_TILE_ROWS (24 * FASTVLM_ROW_GROUP)
#define MIN_FUSED_ROWS 3000

static gboolean is_fused(int n_rows)
{
    return n_rows >= MIN_FUSED_ROWS;
}

static int choose_tile_rows(const FastvlmConvFfn *ffn, int n_rows)
{
    const int n = HIDDEN_BYTES / (ffn->fc1.matrix.n_out * (int)sizeof(float));
    const int n_groups = MAX(n / FASTVLM_ROW_GROUP, 1);

    return fastvlm_tile_rows(n_rows, MIN(n_groups * FASTVLM_ROW_GROUP, MAX_TILE_ROWS));
}

/** Bytes of the linear layers' scratch in a tile: they run one after the other. */
static gsize count_tile_bytes(const FastvlmConvFfn *ffn, int n_rows)
{
    return MAX(fastvlm_linear_tile_bytes(&ffn->fc1, n_rows),
               fastvlm_linear_tile_bytes(&ffn->fc2, n_rows));
}

/** Floats from one row of a tile's hidden layer to the next: not a power of two, for the cache's sake. */
static gsize hidden_step(const FastvlmConvFfn *ffn)
{
    return (gsize)ffn->fc1.matrix.n_out + 16;
}

gsize fastvlm_conv_ffn_scratch_size(const FastvlmConvFfn *ffn, int height, int width)
{
    const gsize row = (gsize)ffn->conv.n_channels + hidden_step(ffn);
    const int tile_rows = choose_tile_rows(ffn, height * width);

    return is_fused(height * width)
               ? (gsize)tile_rows * row + count_tile_bytes(ffn, tile_rows) / sizeof(float)
               : 0;
}

gsize fastvlm_conv_ffn_hidden_size(const FastvlmConvFfn *ffn, int height, int width)
{
    const gsize row = (gsize)ffn->conv.n_channels + (gsize)ffn->fc1.matrix.n_out;

    return is_fused(height * width) ? 0 : (gsize)fastvlm_pad_rows(height * width) * row;
}

gboolean fastvlm_conv_ffn_reserve(FastvlmCompute *compute, const FastvlmConvFfn *ffn, int height,
                                  int width, GError **error)
{
    const int n_rows = height * width;

    return is_fused(n_rows) || (fastvlm_linear_reserve(compute, &ffn->fc1, n_rows, error) &&
                                fastvlm_linear_reserve(compute, &ffn->fc2, n_rows, error));
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

static void run_tile(int tile, int worker, void *data)
{
    const FfnRun *run = data;
    const FastvlmConvFfn *ffn = run->ffn;
    const FastvlmKernels *kernels = run->compute->kernels;
    const gsize n_channels = (gsize)ffn->conv.n_channels;
    const int row = tile * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, run->n_rows - row);
    const gsize offset = (gsize)row * n_channels;
    float *scratch = run->compute->scratch[worker]; /* the linear layers' */
    float *mixed = scratch + count_tile_bytes(ffn, run->tile_rows) / sizeof(float);
    float *hidden = mixed + (gsize)run->tile_rows * n_channels; /* [tile_rows, 4C] */

    fastvlm_conv_pixels(kernels, &run->conv, row, n_rows, mixed);
    fastvlm_linear_tile(kernels, &ffn->fc1, mixed, n_channels, n_rows, NULL, scratch, hidden,
                        hidden_step(ffn));
    fastvlm_linear_tile(kernels, &ffn->fc2, hidden, hidden_step(ffn), n_rows, run->x + offset,
                        scratch, run->y + offset, n_channels);
}

static gboolean run_layers(const FfnRun *run, int height, int width, float *buffer, GError **error)
{
    const FastvlmConvFfn *ffn = run->ffn;
    float *mixed = buffer; /* [padded rows, C], then hidden [padded rows, 4C] */
    float *hidden = buffer + (gsize)fastvlm_pad_rows(run->n_rows) * (gsize)ffn->conv.n_channels;

    return fastvlm_conv_run(run->compute, &ffn->conv, run->x, height, width, FALSE, mixed, error) &&
           fastvlm_linear_run(run->compute, &ffn->fc1, mixed, run->n_rows, NULL, hidden, error) &&
           fastvlm_linear_run(run->compute, &ffn->fc2, hidden, run->n_rows, run->x, run->y, error);
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
        .tile_rows = choose_tile_rows(ffn, n_rows),
    };

    if (!is_fused(n_rows))
        return run_layers(&run, height, width, hidden, error);
    return fastvlm_compute_run(compute, (n_rows + run.tile_rows - 1) / run.tile_rows, run_tile,
                               &run, error);
}
