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

#define N_ROWS 2
#define N_PIXELS 6

static BLOCK void store_part(float *to, int n, __m256 v)
{
    if (n >= 8)
        _mm256_storeu_ps(to, v);
    else
        _mm256_maskstore_ps(to, tail_mask_avx2((size_t)n), v);
}

/** Input row `row` to the sums of rows first .. end - 1: constants, as is `stride`. */
static BLOCK void add_row(const FastvlmConvBlock *block, int row, __m256 (*sums)[N_PIXELS],
                          int first, int end, int stride)
{
    const float *in = block->input + row * block->row_step;
    const float *w = block->weight + row * block->kernel_size * block->tap_step;
    const ptrdiff_t above = stride * block->kernel_size * block->tap_step;

#pragma GCC unroll 1
    for (int j = 0; j < block->kernel_size; j++) {
        __m256 taps[N_ROWS];

#pragma GCC unroll 2
        for (int r = first; r < end; r++)
            taps[r] = _mm256_loadu_ps(w - r * above);
#pragma GCC unroll 6
        for (int p = 0; p < N_PIXELS; p++) {
            const __m256 value = _mm256_loadu_ps(in + p * stride * block->pixel_step);

#pragma GCC unroll 2
            for (int r = first; r < end; r++)
                sums[r][p] = _mm256_fmadd_ps(value, taps[r], sums[r][p]);
        }
        in += block->pixel_step;
        w += block->tap_step;
    }
}

/** `n_rows`, 1 or 2, and `stride` are constants. */
static BLOCK void convolve_half(const FastvlmConvBlock *block, int n_rows, int stride)
{
    const int below = n_rows == 2 ? stride : 0; /* rows of input between those of output */
    const int end = min_int(block->end_row, block->kernel_size + below);
    const __m256 bias = _mm256_loadu_ps(block->bias);
    __m256 sums[N_ROWS][N_PIXELS];
    int row = block->first_row;

#pragma GCC unroll 2
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 6
        for (int p = 0; p < N_PIXELS; p++)
            sums[r][p] = bias;
    for (; row < min_int(below, end); row++)
        add_row(block, row, sums, 0, 1, stride);
    for (; row < min_int(block->kernel_size, end); row++)
        add_row(block, row, sums, 0, n_rows, stride);
    for (; row < end; row++)
        add_row(block, row, sums, 1, 2, stride);
#pragma GCC unroll 2
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 6
        for (int p = 0; p < N_PIXELS; p++)
            if (p < block->n_pixels)
                store_part(block->out + r * block->out_row_step + p * block->out_pixel_step,
                           block->n_channels, sums[r][p]);
}

static void convolve_halves(FastvlmConvBlock block)
{
    for (; block.n_channels > 0; block.n_channels -= 8) {
        if (block.n_rows == 2 && block.stride == 1)
            convolve_half(&block, 2, 1);
        else if (block.n_rows == 2)
            convolve_half(&block, 2, 2);
        else if (block.stride == 1)
            convolve_half(&block, 1, 1);
        else
            convolve_half(&block, 1, 2);
        block.input += 8;
        block.weight += 8;
        block.bias += 8;
        block.out += 8;
    }
}

static void convolve_block(const FastvlmConvBlock *block)
{
    convolve_halves(*block);
}

void fastvlm_conv_dw_f32_avx2(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    static const FastvlmConvTier tier = {convolve_block, N_ROWS, N_PIXELS};

    if (is_conv_supported(conv))
        convolve(conv, &tier, tile);
    else
        fastvlm_conv_dw_f32_scalar(conv, tile);
}
