/*
 * Depthwise and grouped convolution, AVX-512.
 *
 *     sum [8 pixels of 16 channels] += input [pixel] * weight [tap], row of taps by row of taps
 *
 * A row's weights stay in registers, and each input is loaded once to meet all the taps that it has
 * among the 8 pixels: 21 loads for 56 products of a 7x7 kernel. Channels go in chunks of 16, one cache
 * line, so that a chunk's weights stay in L1 while a row of pixels passes. At the ends of a row, inputs
 * outside the picture are 0; every output sums its taps in the same order everywhere.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx512.h"

#define N_PIXELS 8
#define MAX_KERNEL 7

/** What a chunk of 16 channels of one row of output reads. */
typedef struct {
    const float *input;  /* row of the first tap inside the picture, column -pad, first channel */
    const float *weight; /* that tap's row, first channel */
    const float *bias;
    ptrdiff_t row_step;   /* floats from one input row to the next */
    ptrdiff_t pixel_step; /* floats from one input pixel to the next */
    ptrdiff_t tap_step;   /* floats from one tap to the next: n_channels */
    int n_rows;           /* of taps inside the picture */
    int pad;
    int width;        /* of the input */
    __mmask16 lanes;  /* channels of the chunk */
    __mmask16 inputs; /* input channels of the chunk */
} Chunk;

/** Input of 16 output channels: 16 channels, or 8 of them twice. */
static BLOCK __m512 load_input(const float *p, __mmask16 mask, int multiplier, int is_whole)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);

    if (multiplier == 1)
        return is_whole ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(mask, p);
    return _mm512_permutexvar_ps(twice, _mm512_maskz_loadu_ps(is_whole ? 0xff : mask, p));
}

/**
 * Eight pixels from `x` on, of which `n` are stored. All but these and `out` are constants.
 *
 * @param is_whole  all inputs inside the picture, 16 channels
 */
static BLOCK void convolve_block(const Chunk *chunk, int x, int n, float *out, int kernel_size,
                                 int stride, int multiplier, int is_whole)
{
    const int first = x * stride - chunk->pad; /* column of the first input */
    const float *in = chunk->input + (ptrdiff_t)(x * stride) * chunk->pixel_step;
    const float *w = chunk->weight;
    __m512 sums[N_PIXELS];

#pragma GCC unroll 8
    for (int p = 0; p < N_PIXELS; p++)
        sums[p] = _mm512_maskz_loadu_ps(chunk->lanes, chunk->bias);
    for (int i = 0; i < chunk->n_rows; i++) {
        __m512 weights[MAX_KERNEL];

#pragma GCC unroll 7
        for (int j = 0; j < kernel_size; j++)
            weights[j] = is_whole ? _mm512_loadu_ps(w + j * chunk->tap_step)
                                  : _mm512_maskz_loadu_ps(chunk->lanes, w + j * chunk->tap_step);
#pragma GCC unroll 21
        for (int m = 0; m < (N_PIXELS - 1) * stride + kernel_size; m++) {
            const int is_inside = first + m >= 0 && first + m < chunk->width;
            const __m512 value =
                load_input(in + m * chunk->pixel_step, (__mmask16)(is_inside ? chunk->inputs : 0),
                           multiplier, is_whole);

#pragma GCC unroll 8
            for (int p = 0; p < N_PIXELS; p++)
                if (m - stride * p >= 0 && m - stride * p < kernel_size)
                    sums[p] = _mm512_fmadd_ps(value, weights[m - stride * p], sums[p]);
        }
        in += chunk->row_step;
        w += kernel_size * chunk->tap_step;
    }
#pragma GCC unroll 8
    for (int p = 0; p < N_PIXELS; p++)
        if (p < n)
            _mm512_mask_storeu_ps(out + p * chunk->tap_step, chunk->lanes, sums[p]);
}

/** A chunk over pixels x0 .. x1 - 1. */
static BLOCK void convolve_chunk(const Chunk *chunk, int x0, int x1, float *out, int kernel_size,
                                 int stride, int multiplier)
{
    for (int x = x0; x < x1; x += N_PIXELS) {
        const int first = x * stride - chunk->pad;
        const int end = first + (N_PIXELS - 1) * stride + kernel_size;
        float *to = out + (ptrdiff_t)(x - x0) * chunk->tap_step;

        if (x + N_PIXELS <= x1 && first >= 0 && end <= chunk->width && chunk->lanes == 0xffff)
            convolve_block(chunk, x, N_PIXELS, to, kernel_size, stride, multiplier, 1);
        else
            convolve_block(chunk, x, x1 - x, to, kernel_size, stride, multiplier, 0);
    }
}

static BLOCK void convolve_row(const FastvlmConvDw *conv, Chunk chunk, int x0, int x1, float *out,
                               int kernel_size, int stride, int multiplier)
{
    for (int c = 0; c < conv->n_channels; c += 16) {
        const size_t n = (size_t)(conv->n_channels - c);

        chunk.lanes = tail_mask_avx512(n);
        chunk.inputs = tail_mask_avx512(n < 16 ? n / (size_t)multiplier : 16 / (size_t)multiplier);
        convolve_chunk(&chunk, x0, x1, out + c, kernel_size, stride, multiplier);
        chunk.input += 16 / multiplier;
        chunk.weight += 16;
        chunk.bias += 16;
    }
}

static int clamp_int(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

void fastvlm_conv_dw_f32_avx512(const FastvlmConvDw *conv, int y, int x0, int x1, float *out)
{
    const int pad = conv->kernel_size / 2;
    const int first = y * conv->stride - pad;
    const int i0 = clamp_int(-first, 0, conv->kernel_size);
    const int i1 = clamp_int(conv->height - first, 0, conv->kernel_size);
    const ptrdiff_t in_channels = conv->n_channels / conv->multiplier;
    const Chunk chunk = {
        .input = conv->input + ((first + i0) * (ptrdiff_t)conv->width - pad) * in_channels,
        .weight = conv->weight + (ptrdiff_t)(i0 * conv->kernel_size) * conv->n_channels,
        .bias = conv->bias,
        .row_step = conv->width * in_channels,
        .pixel_step = in_channels,
        .tap_step = conv->n_channels,
        .n_rows = i1 - i0,
        .pad = pad,
        .width = conv->width,
    };
    const int shape = conv->kernel_size * 100 + conv->stride * 10 + conv->multiplier;

#define SHAPE(kernel_size, stride, multiplier)                                         \
    case (kernel_size)*100 + (stride)*10 + (multiplier):                               \
        convolve_row(conv, chunk, x0, x1, out, (kernel_size), (stride), (multiplier)); \
        break;
    switch (shape) {
        SHAPE(3, 1, 1)
        SHAPE(3, 2, 1)
        SHAPE(3, 2, 2)
        SHAPE(7, 1, 1)
        SHAPE(7, 2, 1)
        SHAPE(7, 2, 2)
    default: /* no released model has this */
        fastvlm_conv_dw_f32_avx2(conv, y, x0, x1, out);
    }
#undef SHAPE
}
