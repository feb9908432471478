/*
 * How every tier with vectors cuts a depthwise or grouped convolution.
 *
 *     tile of output -> parts; of each part, 16 channels at a time: input -> L1, zeros around it -> blocks
 *
 * A block is a few rows and pixels whose sums stay in registers while all taps pass; the tier's own file
 * computes it. It knows no borders: what it reads was copied next to each other, with zeros for columns
 * outside the picture, and rows outside are left out. The copy costs a load and a store for some 40
 * products, and without it pixels of late stages, thousands of bytes apart, would crowd in a few sets of
 * the cache. A 3x3 kernel has too few products for that: its blocks inside the picture read the picture
 * itself, all channels of a few pixels at a time, as they lie in memory.
 *
 * Every output is one chain of sums, taps from left to right, row by row, whatever is computed with it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_CONV_DW_H
#define FASTVLM_KERNELS_CONV_DW_H

#include <string.h>

#include "kernels/kernels.h"

#define CONV_CHANNELS 16  /* of a chunk: a cache line */
#define CONV_MAX_KERNEL 7 /* what the copies have room for */
#define CONV_MAX_STRIDE 2
#define CONV_PREFETCH_CHUNKS 2 /* how far ahead of the copy memory is asked */

/* A part of stride 1, and of stride 2: with 7x7 taps 42 and 49 KB. */
#define CONV_PART_ROWS 16
#define CONV_PART_PIXELS 24
#define CONV_PART_ROWS_BY_2 8
#define CONV_PART_PIXELS_BY_2 16
#define CONV_COPY_PIXELS 1000 /* of any part */

/** 16 channels of a few pixels of output, and what they read. Steps are in floats. */
typedef struct {
    const float *input;  /* of the first pixel's first tap, [rows, pixels, 16] */
    const float *weight; /* [kernel_size, kernel_size, 16] */
    const float *bias;   /* [16] */
    float *out;          /* [n_rows, n_pixels, n_channels] */
    ptrdiff_t row_step;
    ptrdiff_t pixel_step;
    ptrdiff_t tap_step;
    ptrdiff_t out_row_step;
    ptrdiff_t out_pixel_step;
    int first_row; /* of the input rows, those in the picture; counted from the first tap's */
    int end_row;
    int kernel_size;
    int stride;
    int n_rows;     /* 1 up to the tier's */
    int n_pixels;   /* 1 up to the tier's: these are stored, input is there for all of them */
    int n_channels; /* 1 to 16, likewise */
} FastvlmConvBlock;

/** What a tier gives. */
typedef struct {
    void (*convolve)(const FastvlmConvBlock *block);
    int n_rows; /* of a block, at most */
    int n_pixels;
} FastvlmConvTier;

/** A chunk's values in memory, in as many registers as the tier has them in. */
typedef float FastvlmConvLine
    __attribute__((vector_size(CONV_CHANNELS * sizeof(float)), aligned(4), may_alias));
typedef float FastvlmConvHalf
    __attribute__((vector_size(CONV_CHANNELS / 2 * sizeof(float)), aligned(4), may_alias));

static inline void copy_line(const float *from, float *to)
{
    *(FastvlmConvLine *)to = *(const FastvlmConvLine *)from;
}

/** Eight values, each of them twice. */
static inline void copy_line_twice(const float *from, float *to)
{
    const FastvlmConvHalf v = *(const FastvlmConvHalf *)from;

    *(FastvlmConvLine *)to =
        __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}

static inline int clamp_int(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

/** Channels channel .. channel + n - 1 of the taps or of `n_taps` = 1 bias, and zeros up to 16. */
static inline void copy_weights(const FastvlmConvDw *conv, const float *from, int n_taps,
                                int channel, int n, float *to)
{
    const float *tap = from + channel;

    for (int i = 0; i < n_taps; i++, tap += conv->n_channels, to += CONV_CHANNELS)
        if (n == CONV_CHANNELS)
            copy_line(tap, to);
        else
            for (int c = 0; c < CONV_CHANNELS; c++)
                to[c] = c < n ? tap[c] : 0.0f;
}

/** What `n` output channels read of `n_pixels` pixels, one behind the other; `next` comes next. */
static inline void copy_pixels(const FastvlmConvDw *conv, const float *from, const float *next,
                               int n_pixels, int channel, int n, float *to)
{
    const ptrdiff_t step = conv->n_channels / conv->multiplier;

    if (conv->multiplier == 1 && n == CONV_CHANNELS)
        for (int i = 0; i < n_pixels; i++, to += CONV_CHANNELS) {
            __builtin_prefetch(next + i * step);
            copy_line(from + i * step, to);
        }
    else if (conv->multiplier == 2 && n == CONV_CHANNELS)
        for (int i = 0; i < n_pixels; i++, to += CONV_CHANNELS) {
            __builtin_prefetch(next + i * step);
            copy_line_twice(from + i * step, to);
        }
    else
        for (int i = 0; i < n_pixels; i++, to += CONV_CHANNELS)
            for (int c = 0; c < CONV_CHANNELS; c++)
                to[c] = c < n ? from[i * step + (channel + c) / conv->multiplier -
                                     channel / conv->multiplier]
                              : 0.0f;
}

/** Rows first .. end - 1 of a part's input, `n_columns` wide, beginning at column `x` of row `y`. */
static inline void copy_input(const FastvlmConvDw *conv, int y, int x, int first, int end,
                              int n_columns, int channel, int n, float *to)
{
    const ptrdiff_t n_inputs = conv->n_channels / conv->multiplier;
    const int begin = clamp_int(-x, 0, n_columns);
    const int n_inside = clamp_int(conv->width - x, begin, n_columns) - begin;
    const int ahead = channel + CONV_PREFETCH_CHUNKS * CONV_CHANNELS;
    /* Behind the last chunks comes the part to the right. */
    const ptrdiff_t next =
        ahead < conv->n_channels
            ? CONV_PREFETCH_CHUNKS * CONV_CHANNELS / conv->multiplier
            : (ahead - conv->n_channels - channel) / conv->multiplier + n_columns * n_inputs;

    for (int i = first; i < end; i++) {
        const float *from = conv->input +
                            ((ptrdiff_t)(y + i) * conv->width + x + begin) * n_inputs +
                            channel / conv->multiplier;
        float *row = to + (ptrdiff_t)i * n_columns * CONV_CHANNELS;

        memset(row, 0, (size_t)begin * CONV_CHANNELS * sizeof *row);
        row += begin * CONV_CHANNELS;
        copy_pixels(conv, from, from + next, n_inside, channel, n, row);
        row += n_inside * CONV_CHANNELS;
        memset(row, 0, (size_t)(n_columns - begin - n_inside) * CONV_CHANNELS * sizeof *row);
    }
}

/** The blocks of a part; `block` is the first of them. */
static inline void convolve_blocks(const FastvlmConvTier *tier, FastvlmConvBlock block, int n_rows,
                                   int n_pixels)
{
    const FastvlmConvBlock part = block;

    for (int y = 0; y < n_rows; y += tier->n_rows) {
        const int row = y * part.stride;

        block.n_rows = min_int(tier->n_rows, n_rows - y);
        block.first_row = part.first_row > row ? part.first_row - row : 0;
        block.end_row = part.end_row - row;
        for (int x = 0; x < n_pixels; x += tier->n_pixels) {
            block.n_pixels = min_int(tier->n_pixels, n_pixels - x);
            block.input = part.input + row * part.row_step + x * part.stride * part.pixel_step;
            block.out = part.out + y * part.out_row_step + x * part.out_pixel_step;
            tier->convolve(&block);
        }
    }
}

/** A part, of which the copy holds all input: rows y0 .. y1 - 1 and pixels x0 .. x1 - 1, to tile->out. */
static inline void convolve_part(const FastvlmConvDw *conv, const FastvlmConvTier *tier,
                                 const FastvlmConvTile *tile)
{
    _Alignas(64) float input[CONV_COPY_PIXELS * CONV_CHANNELS];
    _Alignas(64) float weight[CONV_MAX_KERNEL * CONV_MAX_KERNEL * CONV_CHANNELS];
    _Alignas(64) float bias[CONV_CHANNELS];
    const int n_rows = tile->y1 - tile->y0, n_pixels = tile->x1 - tile->x0;
    const int n_whole = (n_pixels + tier->n_pixels - 1) / tier->n_pixels * tier->n_pixels;
    const int n_columns = (n_whole - 1) * conv->stride + conv->kernel_size;
    const int n_input_rows = (n_rows - 1) * conv->stride + conv->kernel_size;
    const int y = tile->y0 * conv->stride - conv->kernel_size / 2;
    const int x = tile->x0 * conv->stride - conv->kernel_size / 2;
    FastvlmConvBlock block = {
        .input = input,
        .weight = weight,
        .bias = bias,
        .row_step = n_columns * CONV_CHANNELS,
        .pixel_step = CONV_CHANNELS,
        .tap_step = CONV_CHANNELS,
        .out_row_step = (ptrdiff_t)tile->row_step,
        .out_pixel_step = conv->n_channels,
        .first_row = clamp_int(-y, 0, n_input_rows),
        .end_row = clamp_int(conv->height - y, 0, n_input_rows),
        .kernel_size = conv->kernel_size,
        .stride = conv->stride,
    };

    for (int c = 0; c < conv->n_channels; c += CONV_CHANNELS) {
        const int n = min_int(CONV_CHANNELS, conv->n_channels - c);

        copy_weights(conv, conv->weight, conv->kernel_size * conv->kernel_size, c, n, weight);
        copy_weights(conv, conv->bias, 1, c, n, bias);
        copy_input(conv, y, x, block.first_row, block.end_row, n_columns, c, n, input);
        block.n_channels = n;
        block.out = tile->out + c;
        convolve_blocks(tier, block, n_rows, n_pixels);
    }
}

/** A block of a tile whose input is in the picture: all channels, whole chunks of them. */
static inline void convolve_inside(const FastvlmConvDw *conv, const FastvlmConvTier *tier,
                                   const FastvlmConvTile *tile)
{
    const ptrdiff_t n = conv->n_channels;
    const int y = tile->y0 * conv->stride - conv->kernel_size / 2;
    const int x = tile->x0 * conv->stride - conv->kernel_size / 2;
    FastvlmConvBlock block = {
        .input = conv->input + ((ptrdiff_t)y * conv->width + x) * n,
        .weight = conv->weight,
        .bias = conv->bias,
        .out = tile->out,
        .row_step = conv->width * n,
        .pixel_step = n,
        .tap_step = n,
        .out_row_step = (ptrdiff_t)tile->row_step,
        .out_pixel_step = n,
        .first_row = 0,
        .end_row = (tile->y1 - tile->y0 - 1) * conv->stride + conv->kernel_size,
        .kernel_size = conv->kernel_size,
        .stride = conv->stride,
        .n_rows = tile->y1 - tile->y0,
        .n_pixels = tile->x1 - tile->x0,
        .n_channels = CONV_CHANNELS,
    };

    for (int c = 0; c < conv->n_channels; c += CONV_CHANNELS) {
        tier->convolve(&block);
        block.input += CONV_CHANNELS;
        block.weight += CONV_CHANNELS;
        block.bias += CONV_CHANNELS;
        block.out += CONV_CHANNELS;
    }
}

static inline int is_inside(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    const int pad = conv->kernel_size / 2, stride = conv->stride;

    return tile->y0 * stride >= pad && (tile->y1 - 1) * stride + pad < conv->height &&
           tile->x0 * stride >= pad && (tile->x1 - 1) * stride + pad < conv->width;
}

/** `tile` in pieces of `n_rows` rows and `n_pixels` pixels, from left to right, row by row. */
static inline void convolve_tile(const FastvlmConvDw *conv, const FastvlmConvTier *tier,
                                 const FastvlmConvTile *tile, int n_rows, int n_pixels,
                                 int is_direct)
{
    for (int y = tile->y0; y < tile->y1; y += n_rows)
        for (int x = tile->x0; x < tile->x1; x += n_pixels) {
            const FastvlmConvTile piece = {
                .y0 = y,
                .y1 = min_int(y + n_rows, tile->y1),
                .x0 = x,
                .x1 = min_int(x + n_pixels, tile->x1),
                .out = tile->out + (size_t)(y - tile->y0) * tile->row_step +
                       (size_t)(x - tile->x0) * (size_t)conv->n_channels,
                .row_step = tile->row_step,
            };

            if (is_direct && piece.x1 - x == n_pixels && is_inside(conv, &piece))
                convolve_inside(conv, tier, &piece);
            else
                convolve_part(conv, tier, &piece);
        }
}

/** Whether the copies have room for this kernel. */
static inline int is_conv_supported(const FastvlmConvDw *conv)
{
    return conv->kernel_size <= CONV_MAX_KERNEL && conv->stride <= CONV_MAX_STRIDE &&
           conv->stride <= conv->kernel_size;
}

/** The whole of `tile`, of a convolution that is supported. */
static inline void convolve(const FastvlmConvDw *conv, const FastvlmConvTier *tier,
                            const FastvlmConvTile *tile)
{
    if (conv->kernel_size == 3 && conv->multiplier == 1 && conv->n_channels % CONV_CHANNELS == 0)
        convolve_tile(conv, tier, tile, tier->n_rows, tier->n_pixels, 1);
    else if (conv->stride == 1)
        convolve_tile(conv, tier, tile, CONV_PART_ROWS, CONV_PART_PIXELS, 0);
    else
        convolve_tile(conv, tier, tile, CONV_PART_ROWS_BY_2, CONV_PART_PIXELS_BY_2, 0);
}

#endif
