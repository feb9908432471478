/*
 * Depthwise and grouped convolution, AVX-512: the block of kernels/conv_dw.h.
 *
 *     sums [2 rows][8 pixels of 16 channels] += input [pixel] * weight [tap], tap by tap
 *
 * A tap takes 8 loads of input and 2 of weights for 16 products, none of which waits for another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/conv_dw.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx512.h"

#define N_ROWS 2
#define N_PIXELS 8

/** Input row `row` to the sums of rows first .. end - 1: constants, as is `stride`. */
static BLOCK void add_row(const FastvlmConvBlock *block, int row, __m512 (*sums)[N_PIXELS],
                          int first, int end, int stride)
{
    const float *in = block->input + row * block->row_step;
    const float *w = block->weight + row * block->kernel_size * block->tap_step;
    const ptrdiff_t above = stride * block->kernel_size * block->tap_step;

#pragma GCC unroll 1
    for (int j = 0; j < block->kernel_size; j++) {
        __m512 taps[N_ROWS];

#pragma GCC unroll 2
        for (int r = first; r < end; r++)
            taps[r] = _mm512_loadu_ps(w - r * above);
#pragma GCC unroll 8
        for (int p = 0; p < N_PIXELS; p++) {
            const __m512 value = _mm512_loadu_ps(in + p * stride * block->pixel_step);

#pragma GCC unroll 2
            for (int r = first; r < end; r++)
                sums[r][p] = _mm512_fmadd_ps(value, taps[r], sums[r][p]);
        }
        in += block->pixel_step;
        w += block->tap_step;
    }
}

/** `n_rows`, 1 or 2, and `stride` are constants. */
static BLOCK void convolve_rows(const FastvlmConvBlock *block, int n_rows, int stride)
{
    const __mmask16 lanes = tail_mask_avx512((size_t)block->n_channels);
    const int below = n_rows == 2 ? stride : 0; /* rows of input between those of output */
    const int end = min_int(block->end_row, block->kernel_size + below);
    __m512 sums[N_ROWS][N_PIXELS];
    int row = block->first_row;

#pragma GCC unroll 2
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < N_PIXELS; p++)
            sums[r][p] = _mm512_loadu_ps(block->bias);
    for (; row < min_int(below, end); row++)
        add_row(block, row, sums, 0, 1, stride);
    for (; row < min_int(block->kernel_size, end); row++)
        add_row(block, row, sums, 0, n_rows, stride);
    for (; row < end; row++)
        add_row(block, row, sums, 1, 2, stride);
#pragma GCC unroll 2
    for (int r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (int p = 0; p < N_PIXELS; p++)
            if (p < block->n_pixels)
                _mm512_mask_storeu_ps(block->out + r * block->out_row_step +
                                          p * block->out_pixel_step,
                                      lanes, sums[r][p]);
}

static void convolve_block(const FastvlmConvBlock *block)
{
    if (block->n_rows == 2 && block->stride == 1)
        convolve_rows(block, 2, 1);
    else if (block->n_rows == 2)
        convolve_rows(block, 2, 2);
    else if (block->stride == 1)
        convolve_rows(block, 1, 1);
    else
        convolve_rows(block, 1, 2);
}

void fastvlm_conv_dw_f32_avx512(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    static const FastvlmConvTier tier = {convolve_block, N_ROWS, N_PIXELS};

    if (is_conv_supported(conv))
        convolve(conv, &tier, tile);
    else
        fastvlm_conv_dw_f32_scalar(conv, tile);
}
