/*
 * Depthwise and grouped convolution, NEON: the block of kernels/conv_dw.h, four of its channels after the
 * other.
 *
 *     sums [2 rows][8 pixels of 4 channels] += input [pixel] * weight [tap], tap by tap
 *
 * A tap takes 8 loads of input and 2 of weights for 16 products, none of which waits for another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/arm/simd_neon.h"
#include "kernels/conv_dw.h"

#define N_ROWS 2
#define N_PIXELS 8
#define BLOCK inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

static BLOCK void store(float *to, int n, float32x4_t v)
{
    if (n >= 4)
        vst1q_f32(to, v);
    else
        store_part_neon(to, (size_t)n, v);
}

/** Input row `row` to the sums of rows first .. end - 1: constants, as is `stride`. */
static BLOCK void add_row(const FastvlmConvBlock *block, int row, float32x4_t (*sums)[N_PIXELS],
                          int first, int end, int stride)
{
    const float *in = block->input + row * block->row_step;
    const float *w = block->weight + row * block->kernel_size * block->tap_step;
    const ptrdiff_t above = stride * block->kernel_size * block->tap_step;

    for (int j = 0; j < block->kernel_size; j++) {
        float32x4_t taps[N_ROWS];

        UNROLL
        for (int r = first; r < end; r++)
            taps[r] = vld1q_f32(w - r * above);
        UNROLL
        for (int p = 0; p < N_PIXELS; p++) {
            const float32x4_t value = vld1q_f32(in + p * stride * block->pixel_step);

            UNROLL
            for (int r = first; r < end; r++)
                sums[r][p] = vfmaq_f32(sums[r][p], value, taps[r]);
        }
        in += block->pixel_step;
        w += block->tap_step;
    }
}

/** `n_rows`, 1 or 2, and `stride` are constants. */
static BLOCK void convolve_quarter(const FastvlmConvBlock *block, int n_rows, int stride)
{
    const int below = n_rows == 2 ? stride : 0; /* rows of input between those of output */
    const int end = min_int(block->end_row, block->kernel_size + below);
    const float32x4_t bias = vld1q_f32(block->bias);
    float32x4_t sums[N_ROWS][N_PIXELS];
    int row = block->first_row;

    UNROLL
    for (int r = 0; r < n_rows; r++)
        UNROLL
    for (int p = 0; p < N_PIXELS; p++)
        sums[r][p] = bias;
    for (; row < min_int(below, end); row++)
        add_row(block, row, sums, 0, 1, stride);
    for (; row < min_int(block->kernel_size, end); row++)
        add_row(block, row, sums, 0, n_rows, stride);
    for (; row < end; row++)
        add_row(block, row, sums, 1, 2, stride);
    UNROLL
    for (int r = 0; r < n_rows; r++)
        UNROLL
    for (int p = 0; p < N_PIXELS; p++)
        if (p < block->n_pixels)
            store(block->out + r * block->out_row_step + p * block->out_pixel_step,
                  block->n_channels, sums[r][p]);
}

static void convolve_quarters(FastvlmConvBlock block)
{
    for (; block.n_channels > 0; block.n_channels -= 4) {
        if (block.n_rows == 2 && block.stride == 1)
            convolve_quarter(&block, 2, 1);
        else if (block.n_rows == 2)
            convolve_quarter(&block, 2, 2);
        else if (block.stride == 1)
            convolve_quarter(&block, 1, 1);
        else
            convolve_quarter(&block, 1, 2);
        block.input += 4;
        block.weight += 4;
        block.bias += 4;
        block.out += 4;
    }
}

static void convolve_block(const FastvlmConvBlock *block)
{
    convolve_quarters(*block);
}

void fastvlm_conv_dw_f32_neon(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    static const FastvlmConvTier tier = {convolve_block, N_ROWS, N_PIXELS};

    if (is_conv_supported(conv))
        convolve(conv, &tier, tile);
    else
        fastvlm_conv_dw_f32_scalar(conv, tile);
}
