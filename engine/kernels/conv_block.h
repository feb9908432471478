/*
 * A block of kernels/conv_dw.h, in the vectors of the tier that includes this.
 *
 *     sums [2 rows][CONV_PIXELS pixels of CONV_LANES channels] += input [pixel] * weight [tap], tap by tap
 *
 * A tap takes CONV_PIXELS loads of input and 2 of weights for twice as many products as pixels, none of which
 * waits for another. Where a vector has fewer lanes than a chunk has channels, they come one part after
 * the other. Before it includes this, a tier's file defines what stands below for plain C, which is there
 * so that the header can be read and compiled by itself.
 *
 * With 16 registers a tap's loads and the sums fill them. A compiler that sees the next tap read the same
 * pixels again would keep those too, and the sums in memory (GCC 12: 1.6 times as long); one that sees both
 * rows read a pixel would read it twice. CONV_FEW_REGISTERS hides the one and conv_in_register() the other.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_CONV_BLOCK_H
#define FASTVLM_KERNELS_CONV_BLOCK_H

#include "kernels/conv_dw.h"

#define CONV_INLINE inline __attribute__((always_inline))

#define CONV_SHORT_PIXELS 4 /* of a block of 7x7 taps at the end of a row that has no more */

#ifndef CONV_LANES
#define CONV_LANES 1
#define CONV_PIXELS 8 /* of a block: as many sums as registers hold beside what is loaded */
#define CONV_FEW_REGISTERS 0
typedef float ConvVector;

static CONV_INLINE ConvVector conv_load(const float *from)
{
    return *from;
}

static CONV_INLINE ConvVector conv_multiply_add(ConvVector sum, ConvVector a, ConvVector b)
{
    return sum + a * b;
}

/** All lanes, or the first `n` where that is fewer. */
static CONV_INLINE void conv_store(float *to, int n, ConvVector v)
{
    if (n > 0)
        *to = v;
}

/** The same, read from memory once however often it is used. */
static CONV_INLINE ConvVector conv_in_register(ConvVector v)
{
    return v;
}
#endif

/** Pixels of a block, and those of its input's columns that are in the picture; the rest is 0. Constants. */
typedef struct {
    int n_pixels;
    int begin;
    int end;
} FastvlmConvColumns;

/**
 * An input row to the sums of rows first .. end - 1, tap by tap; `w` is its taps of the first row. `step` is how
 * many floats pixels, and taps, are apart. All but the pointers, and sometimes `step`, are constants.
 */
static CONV_INLINE void add_taps(FastvlmConvShape shape, FastvlmConvColumns columns,
                                 const float *in, const float *w, int step, int first, int end,
                                 ConvVector (*sums)[CONV_PIXELS])
{
    const int above = shape.stride * shape.kernel_size * step;

#pragma GCC unroll 7
    for (int j = 0; j < shape.kernel_size; j++) {
        ConvVector taps[CONV_BLOCK_ROWS];

        if (CONV_FEW_REGISTERS)
            __asm__("" : "+r"(in), "+r"(w));
#pragma GCC unroll 2
        for (int r = first; r < end; r++)
            taps[r] = conv_load(w + j * step - r * above);
#pragma GCC unroll 8
        for (int p = 0; p < columns.n_pixels; p++) {
            const int column = p * shape.stride + j;
            ConvVector value;

            if (column < columns.begin || column >= columns.end)
                continue;
            value = conv_in_register(conv_load(in + column * step));

#pragma GCC unroll 2
            for (int r = first; r < end; r++)
                sums[r][p] = conv_multiply_add(sums[r][p], value, taps[r]);
        }
    }
}

/** Row number `row` of a block's input. */
static CONV_INLINE void add_row(const FastvlmConvBlock *block, FastvlmConvShape shape,
                                FastvlmConvColumns columns, int row, int first, int end,
                                ConvVector (*sums)[CONV_PIXELS])
{
    add_taps(shape, columns, block->input + row * block->row_step,
             block->weight + row * shape.kernel_size * CONV_CHANNELS, CONV_CHANNELS, first, end,
             sums);
}

static CONV_INLINE void convolve_columns(const FastvlmConvBlock *block, FastvlmConvShape shape,
                                         FastvlmConvColumns columns)
{
    const int below = shape.n_rows == 2 ? shape.stride : 0; /* where the second row's taps begin */
    const int end = min_int(block->end_row, shape.kernel_size + below);
    ConvVector sums[CONV_BLOCK_ROWS][CONV_PIXELS];
    int row = block->first_row;

#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < columns.n_pixels; p++)
            sums[r][p] = conv_load(block->bias);
    for (; row < min_int(below, end); row++)
        add_row(block, shape, columns, row, 0, 1, sums);
    for (; row < min_int(shape.kernel_size, end); row++)
        add_row(block, shape, columns, row, 0, shape.n_rows, sums);
    if (shape.n_rows == 2)
        for (; row < end; row++)
            add_row(block, shape, columns, row, 1, 2, sums);
#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < columns.n_pixels; p++)
            if (p < block->n_pixels)
                conv_store(block->out + r * block->out_row_step + p * block->out_pixel_step,
                           block->n_channels, sums[r][p]);
}

/** A block as wide as `n_pixels`. At the picture's edges a tenth of 16 pixels' 7x7 taps are left out. */
static CONV_INLINE void convolve_pixels(const FastvlmConvBlock *block, FastvlmConvShape shape,
                                        int n_pixels)
{
    const int pad = shape.kernel_size / 2;
    const int n_columns = (n_pixels - 1) * shape.stride + shape.kernel_size;
    const int has_edges = shape.kernel_size == 7 && shape.stride == 1;

    if (has_edges && block->is_left)
        convolve_columns(block, shape, (FastvlmConvColumns){n_pixels, pad, n_columns});
    else if (has_edges && block->is_right && block->n_pixels == n_pixels)
        convolve_columns(block, shape, (FastvlmConvColumns){n_pixels, 0, n_columns - pad});
    else
        convolve_columns(block, shape, (FastvlmConvColumns){n_pixels, 0, n_columns});
}

static CONV_INLINE void convolve_shape(const FastvlmConvBlock *block, FastvlmConvShape shape)
{
    if (shape.kernel_size == 7 && block->n_pixels <= CONV_SHORT_PIXELS)
        convolve_pixels(block, shape, CONV_SHORT_PIXELS);
    else
        convolve_pixels(block, shape, CONV_PIXELS);
}

static void convolve_block(const FastvlmConvBlock *block)
{
    FastvlmConvBlock part;

    if (CONV_LANES == CONV_CHANNELS) {
        CONV_WITH_SHAPE(convolve_shape, block);
        return;
    }
    for (part = *block; part.n_channels > 0; part.n_channels -= CONV_LANES) {
        CONV_WITH_SHAPE(convolve_shape, &part);
        part.input += CONV_LANES;
        part.weight += CONV_LANES;
        part.bias += CONV_LANES;
        part.out += CONV_LANES;
    }
}

#endif
