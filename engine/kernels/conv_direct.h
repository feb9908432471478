/*
 * Depthwise convolutions that read the picture where it lies.
 *
 *     rows of output, one or two at a time -> blocks of pixels -> all channels: what is read of a row is one piece
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

/* Most channels for 7x7 taps: with more, memory is waited for. */
#define CONV_DIRECT_CHANNELS 96

/* Most channels for which the next block's pixels are asked for: with more, the processor does so by itself. */
#define CONV_AHEAD_CHANNELS 96

#define CONV_MOST_VECTORS 3

/* With more, a block's pixels of three rows fill L1: some channels of a row of blocks at a time. */
#define CONV_MANY_CHANNELS 192

/** One or two rows of output, and what CONV_WITH_SHAPE wants to know of them. */
typedef struct {
    const FastvlmConvDw *conv;
    const FastvlmConvTile *inside; /* whose pixels they are */
    int y;
    int kernel_size;
    int stride;
    int n_rows;
} FastvlmConvRows;

/** A block: n_rows x n_vectors x CONV_PIXELS sums, that stay in registers while all taps pass. Constants. */
typedef struct {
    FastvlmConvShape conv;
    int n_vectors;  /* of channels */
    int n_channels; /* of the picture: how far pixels and taps are apart */
} FastvlmConvDirect;

typedef ConvVector FastvlmConvSums[CONV_MOST_VECTORS][CONV_BLOCK_ROWS][CONV_PIXELS];

/** Two rows read much of the same; by strides of 2, or with sums for few of their pixels, that gains nothing. */
static CONV_INLINE int choose_rows(int kernel_size, int stride)
{
    return kernel_size == 3 && (CONV_FEW_REGISTERS || stride == 2) ? 1 : CONV_BLOCK_ROWS;
}

static CONV_INLINE int choose_vectors(FastvlmConvShape shape)
{
    if (choose_rows(shape.kernel_size, shape.stride) > 1)
        return 1;
    return CONV_FEW_REGISTERS ? 2 : 3;
}

/** A vector of input row `in` to the sums of rows first .. end - 1: every pixel is read once. */
static CONV_INLINE void add_columns(FastvlmConvDirect block, const float *in, const float *w,
                                    int first, int end, ConvVector (*sums)[CONV_PIXELS])
{
    const int size = block.conv.kernel_size, stride = block.conv.stride;
    ConvVector taps[CONV_BLOCK_ROWS][CONV_MAX_KERNEL];

#pragma GCC unroll 7
    for (int j = 0; j < size; j++)
#pragma GCC unroll 2
        for (int r = first; r < end; r++)
            taps[r][j] = conv_load(w + (j - r * stride * size) * block.n_channels);
#pragma GCC unroll 24
    for (int column = 0; column < (CONV_PIXELS - 1) * stride + size; column++) {
        const ConvVector value = conv_load(in + column * block.n_channels);

#pragma GCC unroll 7
        for (int j = 0; j < size; j++) {
            const int p = (column - j) / stride;

            if (column < j || (column - j) % stride != 0 || p >= CONV_PIXELS)
                continue;
#pragma GCC unroll 2
            for (int r = first; r < end; r++)
                sums[r][p] = conv_multiply_add(sums[r][p], value, taps[r][j]);
        }
    }
}

/** Taps of input row `in`, the block's row number `row`, to the sums of rows first .. end - 1. */
static CONV_INLINE void add_row_direct(const FastvlmConvDw *conv, FastvlmConvDirect block,
                                       const float *in, int channel, int row, int first, int end,
                                       FastvlmConvSums sums)
{
    const FastvlmConvColumns all = {CONV_PIXELS, 0, CONV_PIXELS * 2 + CONV_MAX_KERNEL};
    const float *w = conv->weight + row * block.conv.kernel_size * block.n_channels + channel;

#pragma GCC unroll 3
    for (int v = 0; v < block.n_vectors; v++, in += CONV_LANES, w += CONV_LANES)
        if (CONV_FEW_REGISTERS && block.conv.kernel_size == 7)
            add_taps(block.conv, all, in, w, block.n_channels, first, end, sums[v]);
        else
            add_columns(block, in, w, first, end, sums[v]);
}

/** Asks for what the block to the right reads in rows first .. end - 1, which no block above has read. */
static CONV_INLINE void ask_ahead(FastvlmConvDirect block, const float *in, ptrdiff_t row_step,
                                  int first, int end)
{
    in += (CONV_PIXELS * block.conv.stride + block.conv.kernel_size - 1) * block.n_channels;
    for (int row = first; row < end; row++)
#pragma GCC unroll 16
        for (int p = 0; p < CONV_PIXELS * block.conv.stride; p++)
#pragma GCC unroll 3
            for (int c = 0; c < block.n_vectors * CONV_LANES; c += CONV_CHANNELS)
                __builtin_prefetch(in + row * row_step + p * block.n_channels + c);
}

/** The block at pixel x, of channels from `channel` on. */
static CONV_INLINE void convolve_direct_block(const FastvlmConvRows *rows, FastvlmConvDirect block,
                                              int x, int channel)
{
    const FastvlmConvDw *conv = rows->conv;
    const int size = block.conv.kernel_size, stride = block.conv.stride;
    const int n_rows = block.conv.n_rows, below = n_rows == 2 ? stride : 0;
    const int y = rows->y * stride - size / 2;
    const int end = min_int(conv->height - y, size + below);
    const ptrdiff_t row_step = (ptrdiff_t)conv->width * block.n_channels;
    const float *in = conv->input + y * row_step +
                      (ptrdiff_t)(x * stride - size / 2) * block.n_channels + channel;
    float *out = rows->inside->out +
                 (ptrdiff_t)(rows->y - rows->inside->y0) * (ptrdiff_t)rows->inside->row_step +
                 (ptrdiff_t)(x - rows->inside->x0) * block.n_channels + channel;
    FastvlmConvSums sums;
    int row = y < 0 ? -y : 0;

    if (block.n_channels <= CONV_AHEAD_CHANNELS)
        ask_ahead(block, in, row_step, size - stride, end);
#pragma GCC unroll 2
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 3
        for (int v = 0; v < block.n_vectors; v++)
#pragma GCC unroll 8
            for (int p = 0; p < CONV_PIXELS; p++)
                sums[v][r][p] = conv_load(conv->bias + channel + v * CONV_LANES);
    for (; row < min_int(below, end); row++)
        add_row_direct(conv, block, in + row * row_step, channel, row, 0, 1, sums);
    for (; row < min_int(size, end); row++)
        add_row_direct(conv, block, in + row * row_step, channel, row, 0, n_rows, sums);
    if (n_rows == 2)
        for (; row < end; row++)
            add_row_direct(conv, block, in + row * row_step, channel, row, 1, 2, sums);
#pragma GCC unroll 2
    for (int r = 0; r < n_rows; r++, out += rows->inside->row_step)
#pragma GCC unroll 3
        for (int v = 0; v < block.n_vectors; v++)
#pragma GCC unroll 8
            for (int p = 0; p < CONV_PIXELS; p++)
                conv_store(out + p * block.n_channels + v * CONV_LANES, CONV_LANES, sums[v][r][p]);
}

/** Channels begin .. end - 1 of blocks from left to right; the last one reaches back over the one before. */
static CONV_INLINE void convolve_channels(const FastvlmConvRows *rows, FastvlmConvDirect block,
                                          int begin, int end)
{
    const FastvlmConvDirect single = {block.conv, 1, block.n_channels};
    const int n_together = block.n_vectors * CONV_LANES;

    for (int i = rows->inside->x0; i < rows->inside->x1; i += CONV_PIXELS) {
        const int x = min_int(i, rows->inside->x1 - CONV_PIXELS);
        int channel = begin;

        for (; channel + n_together <= end; channel += n_together)
            convolve_direct_block(rows, block, x, channel);
        for (; channel < end; channel += CONV_LANES)
            convolve_direct_block(rows, single, x, channel);
    }
}

static CONV_INLINE void convolve_blocks_direct(const FastvlmConvRows *rows, FastvlmConvShape shape,
                                               int n_channels)
{
    const FastvlmConvDirect block = {shape, choose_vectors(shape), n_channels};
    const int n_together = block.n_vectors * CONV_LANES;
    const int n_few = n_together > CONV_CHANNELS ? n_together : CONV_CHANNELS;
    const int n_at_once = n_channels > CONV_MANY_CHANNELS ? n_few : n_channels;

    if (shape.n_rows > choose_rows(shape.kernel_size, shape.stride))
        __builtin_unreachable();
    for (int channel = 0; channel < n_channels; channel += n_at_once)
        convolve_channels(rows, block, channel, min_int(channel + n_at_once, n_channels));
}

/** With the released models' widths as constants, which makes pixels and taps fixed distances. */
static CONV_INLINE void convolve_width(const FastvlmConvRows *rows, FastvlmConvShape shape)
{
    switch (rows->conv->n_channels) {
    case 96:
        convolve_blocks_direct(rows, shape, 96);
        break;
    case 192:
        convolve_blocks_direct(rows, shape, 192);
        break;
    case 384:
        convolve_blocks_direct(rows, shape, 384);
        break;
    default:
        convolve_blocks_direct(rows, shape, rows->conv->n_channels);
    }
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
    FastvlmConvRows rows = {
        .conv = conv,
        .inside = inside,
        .kernel_size = conv->kernel_size,
        .stride = conv->stride,
    };

    for (int y = tile->y0; y < tile->y1; y += rows.n_rows) {
        rows.y = y;
        rows.n_rows = min_int(choose_rows(conv->kernel_size, conv->stride), tile->y1 - y);
        CONV_WITH_SHAPE(convolve_width, &rows);
        for (int r = 0; r < rows.n_rows; r++) {
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
