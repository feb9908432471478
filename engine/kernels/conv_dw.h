/*
 * How every tier with vectors cuts a depthwise or grouped convolution.
 *
 *     tile of output -> parts; of each part, 16 channels at a time: input -> L1, zeros around it -> blocks
 *
 * A block is a few rows and pixels whose sums stay in registers while all taps pass; the tier's own file
 * computes it. It knows no borders: what it reads was copied next to each other, with zeros for columns
 * outside the picture, and rows outside are left out. The copy is where memory is waited for, and the
 * blocks find all they read in L1: pixels of late stages are thousands of bytes apart and would crowd in
 * a few sets of the cache.
 *
 * Every output is one chain of sums, taps from left to right, row by row, whatever is computed with it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_CONV_DW_H
#define FASTVLM_KERNELS_CONV_DW_H

#include <string.h>

#include "kernels/kernels.h"

#define CONV_CHANNELS 16 /* of a chunk: a cache line */
#define CONV_BLOCK_ROWS 2
#define CONV_MAX_KERNEL 7
#define CONV_PREFETCH_CHUNKS 2 /* how far ahead of the copy memory is asked */

/* A part of stride 1, and of stride 2. */
#define CONV_PART_ROWS 16 /* at most */
#define CONV_PART_ROWS_BY_2 8
#define CONV_COPY_PIXELS 800     /* of any part: 50 KB. What is copied for two neighbours counts */
#define CONV_COPY_PIXELS_3X3 600 /* of 3x3 taps, which take little time for what L1 does not hold */

/** 16 channels of a few pixels of output, and the copy of what they read. Steps are in floats. */
typedef struct {
    const float *input;  /* [rows, row_step / 16, 16], from the first pixel's first tap on */
    const float *weight; /* [kernel_size, kernel_size, 16] */
    const float *bias;   /* [16] */
    float *out;          /* [n_rows, n_pixels, n_channels] */
    ptrdiff_t row_step;  /* of the input */
    ptrdiff_t out_row_step;
    ptrdiff_t out_pixel_step;
    int first_row; /* of the input rows, those in the picture; counted from the first tap's */
    int end_row;
    int kernel_size; /* 3 or 7 */
    int stride;      /* 1 or 2 */
    int n_rows;      /* 1 or 2 */
    int n_pixels;    /* 1 up to the tier's: these are stored, input is there for all of them */
    int n_channels;  /* 1 to 16, likewise */
    int is_left;     /* whether the picture's rows begin with it, */
    int is_right;    /* or end with its last pixel */
} FastvlmConvBlock;

/** What a tier's code for a block is made for: constants. */
typedef struct {
    int kernel_size;
    int stride;
    int n_rows;
} FastvlmConvShape;

/** What a tier gives. */
typedef struct {
    void (*convolve)(const FastvlmConvBlock *block);
    int n_pixels; /* of a block, at most */
} FastvlmConvTier;

/** A chunk's values in memory, in as many registers as the tier has them in. */
typedef float FastvlmConvLine
    __attribute__((vector_size(CONV_CHANNELS * sizeof(float)), aligned(4), may_alias));
typedef float FastvlmConvQuarter
    __attribute__((vector_size(CONV_CHANNELS / 4 * sizeof(float)), aligned(4), may_alias));

static inline void copy_line(const float *from, float *to)
{
    *(FastvlmConvLine *)to = *(const FastvlmConvLine *)from;
}

/** Eight values, each of them twice: four by four, which every tier has an instruction for. */
static inline void copy_line_twice(const float *from, float *to)
{
    for (int i = 0; i < 2; i++, from += 4, to += 8) {
        const FastvlmConvQuarter v = *(const FastvlmConvQuarter *)from;

        *(FastvlmConvQuarter *)to = __builtin_shufflevector(v, v, 0, 0, 1, 1);
        *(FastvlmConvQuarter *)(to + 4) = __builtin_shufflevector(v, v, 2, 2, 3, 3);
    }
}

/** Calls f(block, shape) with the block's shape as constants, which f is inlined for. */
#define CONV_CASE(f, block, kernel_size, stride, n_rows)           \
    case kernel_size * 100 + stride * 10 + n_rows:                 \
        f(block, (FastvlmConvShape){kernel_size, stride, n_rows}); \
        break;
#define CONV_WITH_SHAPE(f, block)                                                      \
    do {                                                                               \
        switch ((block)->kernel_size * 100 + (block)->stride * 10 + (block)->n_rows) { \
            CONV_CASE(f, block, 7, 1, 2)                                               \
            CONV_CASE(f, block, 7, 1, 1)                                               \
            CONV_CASE(f, block, 7, 2, 2)                                               \
            CONV_CASE(f, block, 7, 2, 1)                                               \
            CONV_CASE(f, block, 3, 1, 2)                                               \
            CONV_CASE(f, block, 3, 1, 1)                                               \
            CONV_CASE(f, block, 3, 2, 2)                                               \
            CONV_CASE(f, block, 3, 2, 1)                                               \
        default:                                                                       \
            __builtin_unreachable();                                                   \
        }                                                                              \
    } while (0)

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
            __builtin_prefetch(next + i * step, 0, 2);
            copy_line(from + i * step, to);
        }
    else if (conv->multiplier == 2 && n == CONV_CHANNELS)
        for (int i = 0; i < n_pixels; i++, to += CONV_CHANNELS) {
            __builtin_prefetch(next + i * step, 0, 2);
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

    for (int y = 0; y < n_rows; y += CONV_BLOCK_ROWS) {
        const int row = y * part.stride;

        block.n_rows = min_int(CONV_BLOCK_ROWS, n_rows - y);
        block.first_row = part.first_row > row ? part.first_row - row : 0;
        block.end_row = part.end_row - row;
        for (int x = 0; x < n_pixels; x += tier->n_pixels) {
            block.n_pixels = min_int(tier->n_pixels, n_pixels - x);
            block.is_left = part.is_left && x == 0;
            block.is_right = part.is_right && x + block.n_pixels == n_pixels;
            block.input = part.input + row * part.row_step + x * part.stride * CONV_CHANNELS;
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
        .out_row_step = (ptrdiff_t)tile->row_step,
        .out_pixel_step = conv->n_channels,
        .first_row = clamp_int(-y, 0, n_input_rows),
        .end_row = clamp_int(conv->height - y, 0, n_input_rows),
        .kernel_size = conv->kernel_size,
        .stride = conv->stride,
        .is_left = tile->x0 == 0,
        .is_right = tile->x1 * conv->stride >= conv->width,
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

/** Whether there are blocks for this convolution: all of the released models' are. */
static inline int is_conv_supported(const FastvlmConvDw *conv)
{
    return (conv->kernel_size == 3 || conv->kernel_size == 7) &&
           (conv->stride == 1 || conv->stride == 2);
}

/** Pixels of a part of `n_rows` rows: whole blocks, as many as the copy has room for what they read. */
static inline int choose_part_pixels(const FastvlmConvDw *conv, const FastvlmConvTier *tier,
                                     int n_rows)
{
    const int most = conv->kernel_size == 3 ? CONV_COPY_PIXELS_3X3 : CONV_COPY_PIXELS;
    const int n_columns = most / ((n_rows - 1) * conv->stride + conv->kernel_size);
    const int n_pixels = (n_columns - conv->kernel_size) / conv->stride + 1;

    return n_pixels / tier->n_pixels * tier->n_pixels;
}

/** The whole of `tile`, of a convolution that is supported, part by part. */
static inline void convolve(const FastvlmConvDw *conv, const FastvlmConvTier *tier,
                            const FastvlmConvTile *tile)
{
    const int most_rows = conv->stride == 1 ? CONV_PART_ROWS : CONV_PART_ROWS_BY_2;
    const int n_rows = min_int(tile->y1 - tile->y0, most_rows);
    const int n_pixels = choose_part_pixels(conv, tier, n_rows);

    for (int y = tile->y0; y < tile->y1; y += n_rows)
        for (int x = tile->x0; x < tile->x1; x += n_pixels) {
            const FastvlmConvTile part = {
                .y0 = y,
                .y1 = min_int(y + n_rows, tile->y1),
                .x0 = x,
                .x1 = min_int(x + n_pixels, tile->x1),
                .out = tile->out + (size_t)(y - tile->y0) * tile->row_step +
                       (size_t)(x - tile->x0) * (size_t)conv->n_channels,
                .row_step = tile->row_step,
            };

            convolve_part(conv, tier, &part);
        }
}

#endif
