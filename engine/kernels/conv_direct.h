/*
 * Depthwise convolutions that read the picture where it lies.
 *
 *     rows of output, two at a time -> blocks of pixels -> all channels: what a block reads of a row is one piece
 *
 * With few taps or few channels that is faster than the copies of conv_dw.h: the next channels lie in the
 * next cache lines, so that the processor asks for them by itself, and the few rows around are still near.
 * Rows outside the picture are left out. Pixels whose taps reach over its left or right edge come one by one.
 *
 * Every output is the same chain of sums as there.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_CONV_DIRECT_H
#define FASTVLM_KERNELS_CONV_DIRECT_H

#include "kernels/conv_block.h"

/* Most channels for 7x7 taps: with 8 lanes multiply-adds last longer than reading what is far apart. */
#define CONV_DIRECT_CHANNELS (CONV_LANES > 8 ? 96 : 192)

/* Most channels for which the next block's pixels are asked for: with more, the processor does so by itself. */
#define CONV_AHEAD_CHANNELS 96

/** CONV_LANES channels of a block of output, one or two rows of CONV_PIXELS pixels. */
typedef struct {
    const FastvlmConvDw *conv;
    int y;
    int x;
    int channel;
    float *out; /* [n_rows, CONV_PIXELS, C], rows `row_step` floats apart */
    ptrdiff_t row_step;
    int kernel_size; /* this and what follows: for CONV_WITH_SHAPE */
    int stride;
    int n_rows;
} FastvlmConvDirect;

/** Taps of input row `row` to the sums of rows first .. end - 1, constants; see add_row(). */
static CONV_INLINE void add_row_direct(const FastvlmConvDirect *block, FastvlmConvShape shape,
                                       const float *in, int row, int first, int end,
                                       ConvVector (*sums)[CONV_PIXELS])
{
    const ptrdiff_t step = block->conv->n_channels;
    const float *w = block->conv->weight + row * shape.kernel_size * step + block->channel;
    ConvVector taps[CONV_BLOCK_ROWS][CONV_MAX_KERNEL];

#pragma GCC unroll 7
    for (int j = 0; j < shape.kernel_size; j++)
#pragma GCC unroll 2
        for (int r = first; r < end; r++)
            taps[r][j] = conv_load(w + (j - r * shape.stride * shape.kernel_size) * step);
#pragma GCC unroll 24
    for (int column = 0; column < (CONV_PIXELS - 1) * shape.stride + shape.kernel_size;
         column++, in += step) {
        const ConvVector value = conv_load(in);

#pragma GCC unroll 7
        for (int j = 0; j < shape.kernel_size; j++) {
            const int p = (column - j) / shape.stride;

            if (column < j || (column - j) % shape.stride != 0 || p >= CONV_PIXELS)
                continue;
#pragma GCC unroll 2
            for (int r = first; r < end; r++)
                sums[r][p] = conv_multiply_add(sums[r][p], value, taps[r][j]);
        }
    }
}

/** Asks for what the block to the right reads in rows first .. end - 1, which no block above has read. */
static CONV_INLINE void ask_ahead(const FastvlmConvDirect *block, FastvlmConvShape shape,
                                  const float *in, ptrdiff_t row_step, int first, int end)
{
    const ptrdiff_t step = block->conv->n_channels;

    in += (CONV_PIXELS * shape.stride + shape.kernel_size - 1) * step;
    for (int row = first; row < end; row++)
#pragma GCC unroll 16
        for (int p = 0; p < CONV_PIXELS * shape.stride; p++)
            __builtin_prefetch(in + row * row_step + p * step);
}

/** The block's shape as constants. */
static CONV_INLINE void convolve_direct_shape(const FastvlmConvDirect *block,
                                              FastvlmConvShape shape)
{
    const FastvlmConvDw *conv = block->conv;
    const int below = shape.n_rows == 2 ? shape.stride : 0;
    const int y = block->y * shape.stride - shape.kernel_size / 2;
    const int end = min_int(conv->height - y, shape.kernel_size + below);
    const ptrdiff_t row_step = (ptrdiff_t)conv->width * conv->n_channels;
    const float *in =
        conv->input + y * row_step +
        (ptrdiff_t)(block->x * shape.stride - shape.kernel_size / 2) * conv->n_channels +
        block->channel;
    ConvVector sums[CONV_BLOCK_ROWS][CONV_PIXELS];
    int row = y < 0 ? -y : 0;

    if (conv->n_channels <= CONV_AHEAD_CHANNELS)
        ask_ahead(block, shape, in, row_step, shape.kernel_size - shape.stride, end);
#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < CONV_PIXELS; p++)
            sums[r][p] = conv_load(conv->bias + block->channel);
    for (; row < min_int(below, end); row++)
        add_row_direct(block, shape, in + row * row_step, row, 0, 1, sums);
    for (; row < min_int(shape.kernel_size, end); row++)
        add_row_direct(block, shape, in + row * row_step, row, 0, shape.n_rows, sums);
    if (shape.n_rows == 2)
        for (; row < end; row++)
            add_row_direct(block, shape, in + row * row_step, row, 1, 2, sums);
#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < CONV_PIXELS; p++)
            conv_store(block->out + r * block->row_step + p * conv->n_channels, CONV_LANES,
                       sums[r][p]);
}

/** One pixel, without the taps that lie outside the picture. */
static void convolve_pixel(const FastvlmConvDw *conv, int y, int x, float *out)
{
    const int top = y * conv->stride - conv->kernel_size / 2;
    const int left = x * conv->stride - conv->kernel_size / 2;
    const int i_end = min_int(conv->kernel_size, conv->height - top);
    const int j_end = min_int(conv->kernel_size, conv->width - left);
    const ptrdiff_t step = conv->n_channels;

    for (int c = 0; c < conv->n_channels; c += CONV_LANES) {
        ConvVector sum = conv_load(conv->bias + c);

        for (int i = top < 0 ? -top : 0; i < i_end; i++)
            for (int j = left < 0 ? -left : 0; j < j_end; j++)
                sum = conv_multiply_add(
                    sum,
                    conv_load(conv->input + ((ptrdiff_t)(top + i) * conv->width + left + j) * step +
                              c),
                    conv_load(conv->weight + (i * conv->kernel_size + j) * step + c));
        conv_store(out + c, CONV_LANES, sum);
    }
}

/** The part of a tile's pixels all of whose columns of taps are inside: x0 .. x1 - 1, or none. */
static inline FastvlmConvTile find_inside(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    const int pad = conv->kernel_size / 2;
    FastvlmConvTile inside = *tile;

    inside.x0 = clamp_int((pad + conv->stride - 1) / conv->stride, tile->x0, tile->x1);
    inside.x1 =
        clamp_int((conv->width - 1 - pad + conv->stride) / conv->stride, inside.x0, tile->x1);
    inside.out += (inside.x0 - tile->x0) * conv->n_channels;
    return inside;
}

static inline int is_conv_direct(const FastvlmConvDw *conv, const FastvlmConvTile *inside)
{
    return conv->multiplier == 1 && conv->n_channels % CONV_LANES == 0 &&
           (conv->kernel_size == 3 || conv->n_channels <= CONV_DIRECT_CHANNELS) &&
           inside->x1 - inside->x0 >= CONV_PIXELS;
}

/** Rows y .. y + n_rows - 1 of blocks; the last one reaches back over the one before. */
static void convolve_direct_rows(const FastvlmConvDw *conv, const FastvlmConvTile *inside, int y,
                                 int n_rows)
{
    FastvlmConvDirect block = {
        .conv = conv,
        .y = y,
        .row_step = (ptrdiff_t)inside->row_step,
        .kernel_size = conv->kernel_size,
        .stride = conv->stride,
        .n_rows = n_rows,
    };
    float *row = inside->out + (ptrdiff_t)(y - inside->y0) * block.row_step;

    for (int x = inside->x0; x < inside->x1; x += CONV_PIXELS) {
        block.x = min_int(x, inside->x1 - CONV_PIXELS);
        for (block.channel = 0; block.channel < conv->n_channels; block.channel += CONV_LANES) {
            block.out = row + (block.x - inside->x0) * conv->n_channels + block.channel;
            CONV_WITH_SHAPE(convolve_direct_shape, &block);
        }
    }
}

/** Pixels x0 .. x1 - 1 of row y, one by one. */
static void convolve_edge(const FastvlmConvDw *conv, const FastvlmConvTile *tile, int y, int x0,
                          int x1)
{
    float *row = tile->out + (ptrdiff_t)(y - tile->y0) * (ptrdiff_t)tile->row_step;

    for (int x = x0; x < x1; x++)
        convolve_pixel(conv, y, x, row + (x - tile->x0) * conv->n_channels);
}

static void convolve_direct(const FastvlmConvDw *conv, const FastvlmConvTile *tile,
                            const FastvlmConvTile *inside)
{
    for (int y = tile->y0; y < tile->y1; y += CONV_BLOCK_ROWS) {
        const int n_rows = min_int(CONV_BLOCK_ROWS, tile->y1 - y);

        convolve_direct_rows(conv, inside, y, n_rows);
        for (int r = 0; r < n_rows; r++) {
            convolve_edge(conv, tile, y + r, tile->x0, inside->x0);
            convolve_edge(conv, tile, y + r, inside->x1, tile->x1);
        }
    }
}

/** What a tier's conv_dw_f32 is. */
static inline void convolve_dw(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    static const FastvlmConvTier tier = {convolve_block, CONV_PIXELS};
    const FastvlmConvTile inside = find_inside(conv, tile);

    if (!is_conv_supported(conv))
        fastvlm_conv_dw_f32_scalar(conv, tile);
    else if (is_conv_direct(conv, &inside))
        convolve_direct(conv, tile, &inside);
    else
        convolve(conv, &tier, tile);
}

#endif
