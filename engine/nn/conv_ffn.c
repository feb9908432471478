/*
 * The convolutional feed-forward block, fused by stripe or layer by layer.
 *
 * A stripe is some rows of the picture, as high as suits the depthwise convolution, which reads three rows
 * more above and below. Its pixels then go through the linear layers in tiles, whose hidden rows fill
 * about half a second-level cache. With few pixels in all there would be too few stripes for the threads:
 * there the two linear layers are split by output channels instead (nn/linear.c).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/conv_ffn.h"

#define HIDDEN_BYTES (320 * 1024)
#define MAX_TILE_ROWS (24 * FASTVLM_ROW_GROUP)
#define MIN_FUSED_ROWS 1000
#define STRIPE_ROWS 4 /* of the picture: two blocks of the convolution's */
#define N_STRIPES_WANTED 16

static gboolean is_fused(int n_rows)
{
    return n_rows >= MIN_FUSED_ROWS;
}

/** Pixels of a stripe. OpenBLAS writes whole groups of rows, which must not reach into the next one. */
static int choose_stripe_pixels(const FastvlmConvFfn *ffn, int height, int width)
{
    const gboolean in_groups = ffn->fc1.matrix.type == FASTVLM_MATRIX_BLAS;
    int n_rows = height < STRIPE_ROWS * N_STRIPES_WANTED ? STRIPE_ROWS / 2 : STRIPE_ROWS;

    while (in_groups && n_rows * width % FASTVLM_ROW_GROUP != 0)
        n_rows++;
    return n_rows * width;
}

/** Pixels of a tile: whole groups, even parts of a stripe. */
static int choose_tile_rows(const FastvlmConvFfn *ffn, int stripe_pixels)
{
    const int most = CLAMP(HIDDEN_BYTES / (ffn->fc1.matrix.n_out * (int)sizeof(float)),
                           FASTVLM_ROW_GROUP, MAX_TILE_ROWS);
    const int n_tiles = (stripe_pixels + most - 1) / most;

    return fastvlm_pad_rows((stripe_pixels + n_tiles - 1) / n_tiles);
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
    const int stripe_pixels = choose_stripe_pixels(ffn, height, width);
    const int tile_rows = choose_tile_rows(ffn, stripe_pixels);

    if (!is_fused(height * width))
        return 0;
    return count_tile_bytes(ffn, tile_rows) / sizeof(float) + (gsize)tile_rows * hidden_step(ffn) +
           (gsize)fastvlm_pad_rows(stripe_pixels) * (gsize)ffn->conv.n_channels;
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
    int stripe_pixels;
    int tile_rows;
} FfnRun;

/** Pixels pixel .. pixel + n_rows - 1, mixed [n_rows, C], through the linear layers. */
static void run_tile(const FfnRun *run, float *scratch, const float *mixed, int pixel, int n_rows)
{
    const FastvlmConvFfn *ffn = run->ffn;
    const FastvlmKernels *kernels = run->compute->kernels;
    const gsize n_channels = (gsize)ffn->conv.n_channels;
    const gsize at = (gsize)pixel * n_channels;
    float *hidden = scratch + count_tile_bytes(ffn, run->tile_rows) / sizeof(float);

    fastvlm_linear_tile(kernels, &ffn->fc1, mixed, n_channels, n_rows, NULL, scratch, hidden,
                        hidden_step(ffn));
    fastvlm_linear_tile(kernels, &ffn->fc2, hidden, hidden_step(ffn), n_rows, run->x + at, scratch,
                        run->y + at, n_channels);
}

static void run_stripe(int stripe, int worker, void *data)
{
    const FfnRun *run = data;
    const FastvlmConvFfn *ffn = run->ffn;
    const int first = stripe * run->stripe_pixels;
    const int n_pixels = MIN(run->stripe_pixels, run->n_rows - first);
    float *scratch = run->compute->scratch[worker]; /* rounded rows, hidden [tile_rows, 4C] */
    float *mixed = scratch + count_tile_bytes(ffn, run->tile_rows) / sizeof(float) +
                   (gsize)run->tile_rows * hidden_step(ffn); /* [stripe_pixels, C] */

    fastvlm_conv_pixels(run->compute->kernels, &run->conv, first, n_pixels, mixed);
    for (int i = 0; i < n_pixels; i += run->tile_rows)
        run_tile(run, scratch, mixed + (gsize)i * (gsize)ffn->conv.n_channels, first + i,
                 MIN(run->tile_rows, n_pixels - i));
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
        .stripe_pixels = choose_stripe_pixels(ffn, height, width),
    };

    if (!is_fused(n_rows))
        return run_layers(&run, height, width, hidden, error);
    run.tile_rows = choose_tile_rows(ffn, run.stripe_pixels);
    return fastvlm_compute_run(compute, (n_rows + run.stripe_pixels - 1) / run.stripe_pixels,
                               run_stripe, &run, error);
}
