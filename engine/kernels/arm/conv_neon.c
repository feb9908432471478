/*
 * Depthwise and grouped convolution, NEON: the block of kernels/conv_dw.h, four of its channels after
 * the other.
 *
 *     sums [2 rows][8 pixels of 4 channels] += input [pixel] * weight [tap], tap by tap
 *
 * A tap takes 8 loads of input and 2 of weights for 16 products, none of which waits for another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/arm/simd_neon.h"
#include "kernels/conv_dw.h"

#define N_PIXELS 8
#define BLOCK inline __attribute__((always_inline))

/** 4 lanes, or the first `n` where that is fewer. */
static BLOCK void store_part(float *to, int n, float32x4_t v)
{
    if (n >= 4)
        vst1q_f32(to, v);
    else
        store_part_neon(to, (size_t)n, v);
}

/** Input row `row` to the sums of rows first .. end - 1: constants, as is `shape`. */
static BLOCK void add_row(const FastvlmConvBlock *block, FastvlmConvShape shape, int row, int first,
                          int end, float32x4_t (*sums)[N_PIXELS])
{
    const int above = shape.stride * shape.kernel_size * CONV_CHANNELS;
    const float *in = block->input + row * block->row_step;
    const float *w = block->weight + row * shape.kernel_size * CONV_CHANNELS;

#pragma GCC unroll 7
    for (int j = 0; j < shape.kernel_size; j++) {
        float32x4_t taps[CONV_BLOCK_ROWS];

#pragma GCC unroll 2
        for (int r = first; r < end; r++)
            taps[r] = vld1q_f32(w + j * CONV_CHANNELS - r * above);
#pragma GCC unroll 8
        for (int p = 0; p < N_PIXELS; p++) {
            const float32x4_t value = vld1q_f32(in + (p * shape.stride + j) * CONV_CHANNELS);

#pragma GCC unroll 2
            for (int r = first; r < end; r++)
                sums[r][p] = vfmaq_f32(sums[r][p], value, taps[r]);
        }
    }
}

static BLOCK void convolve_shape(const FastvlmConvBlock *block, FastvlmConvShape shape)
{
    const int below = shape.n_rows == 2 ? shape.stride : 0; /* where the second row's taps begin */
    const int end = min_int(block->end_row, shape.kernel_size + below);
    float32x4_t sums[CONV_BLOCK_ROWS][N_PIXELS];
    int row = block->first_row;

#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < N_PIXELS; p++)
            sums[r][p] = vld1q_f32(block->bias);
    for (; row < min_int(below, end); row++)
        add_row(block, shape, row, 0, 1, sums);
    for (; row < min_int(shape.kernel_size, end); row++)
        add_row(block, shape, row, 0, shape.n_rows, sums);
    if (shape.n_rows == 2)
        for (; row < end; row++)
            add_row(block, shape, row, 1, 2, sums);
#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < N_PIXELS; p++)
            if (p < block->n_pixels)
                store_part(block->out + r * block->out_row_step + p * block->out_pixel_step,
                           block->n_channels, sums[r][p]);
}

static void convolve_block(const FastvlmConvBlock *block)
{
    FastvlmConvBlock quarter = *block;

    for (; quarter.n_channels > 0; quarter.n_channels -= 4) {
        CONV_WITH_SHAPE(convolve_shape, &quarter);
        quarter.input += 4;
        quarter.weight += 4;
        quarter.bias += 4;
        quarter.out += 4;
    }
}

void fastvlm_conv_dw_f32_neon(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    static const FastvlmConvTier tier = {convolve_block, N_PIXELS};

    if (is_conv_supported(conv))
        convolve(conv, &tier, tile);
    else
        fastvlm_conv_dw_f32_scalar(conv, tile);
}
