/*
 * Depthwise and grouped convolution, AVX2: the block of kernels/conv_dw.h, one half of its channels after
 * the other.
 *
 *     sums [2 rows][6 pixels of 8 channels] += input [pixel] * weight [tap], tap by tap
 *
 * A tap takes 6 loads of input and 2 of weights for 12 products, none of which waits for another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/conv_dw.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx2.h"

#define N_PIXELS 6

/** 8 lanes, or the first `n` where that is fewer. */
static BLOCK void store_part(float *to, int n, __m256 v)
{
    if (n >= 8)
        _mm256_storeu_ps(to, v);
    else
        _mm256_maskstore_ps(to, tail_mask_avx2((size_t)n), v);
}

/** Input row `row` to the sums of rows first .. end - 1: constants, as is `shape`. */
static BLOCK void add_row(const FastvlmConvBlock *block, FastvlmConvShape shape, int row, int first,
                          int end, __m256 (*sums)[N_PIXELS])
{
    const int above = shape.stride * shape.kernel_size * CONV_CHANNELS;
    const float *in = block->input + row * block->row_step;
    const float *w = block->weight + row * shape.kernel_size * CONV_CHANNELS;

#pragma GCC unroll 7
    for (int j = 0; j < shape.kernel_size; j++) {
        __m256 taps[CONV_BLOCK_ROWS];

#pragma GCC unroll 2
        for (int r = first; r < end; r++)
            taps[r] = _mm256_loadu_ps(w + j * CONV_CHANNELS - r * above);
#pragma GCC unroll 6
        for (int p = 0; p < N_PIXELS; p++) {
            const __m256 value = _mm256_loadu_ps(in + (p * shape.stride + j) * CONV_CHANNELS);

#pragma GCC unroll 2
            for (int r = first; r < end; r++)
                sums[r][p] = _mm256_fmadd_ps(value, taps[r], sums[r][p]);
        }
    }
}

static BLOCK void convolve_shape(const FastvlmConvBlock *block, FastvlmConvShape shape)
{
    const int below = shape.n_rows == 2 ? shape.stride : 0; /* where the second row's taps begin */
    const int end = min_int(block->end_row, shape.kernel_size + below);
    __m256 sums[CONV_BLOCK_ROWS][N_PIXELS];
    int row = block->first_row;

#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 6
        for (int p = 0; p < N_PIXELS; p++)
            sums[r][p] = _mm256_loadu_ps(block->bias);
    for (; row < min_int(below, end); row++)
        add_row(block, shape, row, 0, 1, sums);
    for (; row < min_int(shape.kernel_size, end); row++)
        add_row(block, shape, row, 0, shape.n_rows, sums);
    if (shape.n_rows == 2)
        for (; row < end; row++)
            add_row(block, shape, row, 1, 2, sums);
#pragma GCC unroll 2
    for (int r = 0; r < shape.n_rows; r++)
#pragma GCC unroll 6
        for (int p = 0; p < N_PIXELS; p++)
            if (p < block->n_pixels)
                store_part(block->out + r * block->out_row_step + p * block->out_pixel_step,
                           block->n_channels, sums[r][p]);
}

static void convolve_block(const FastvlmConvBlock *block)
{
    FastvlmConvBlock half = *block;

    for (; half.n_channels > 0; half.n_channels -= 8) {
        CONV_WITH_SHAPE(convolve_shape, &half);
        half.input += 8;
        half.weight += 8;
        half.bias += 8;
        half.out += 8;
    }
}

void fastvlm_conv_dw_f32_avx2(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    static const FastvlmConvTier tier = {convolve_block, N_PIXELS};

    if (is_conv_supported(conv))
        convolve(conv, &tier, tile);
    else
        fastvlm_conv_dw_f32_scalar(conv, tile);
}
