/*
 * Depthwise and grouped convolution, AVX2.
 *
 *     sum [4 pixels of 16 channels] += input [pixel] * weight [tap], tap by tap
 *
 * 16 channels are a cache line, which is read whole: rows of a picture often lie a power of two apart,
 * so that lines crowd in few sets of the cache and one half would be gone when the other is wanted. At
 * the ends of a row, inputs outside the picture are 0; every output sums its taps in the same order.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx2.h"

#define N_PIXELS 4

/** What 16 channels of one row of output read. */
typedef struct {
    const float *input;  /* row of the first tap inside the picture, column -pad, first channel */
    const float *weight; /* that tap's row, first channel */
    const float *bias;
    ptrdiff_t row_step;   /* floats from one input row to the next */
    ptrdiff_t pixel_step; /* floats from one input pixel to the next */
    ptrdiff_t tap_step;   /* floats from one tap to the next: n_channels */
    int n_rows;           /* of taps inside the picture */
    int pad;
    int width;      /* of the input */
    int n_channels; /* 1 to 16 */
} Chunk;

/** Eight floats, or the first `n` where that is fewer, which may be none. */
static BLOCK __m256 load_8(const float *p, int n, int is_whole)
{
    return is_whole ? _mm256_loadu_ps(p)
                    : _mm256_maskload_ps(p, tail_mask_avx2((size_t)(n > 0 ? n : 0)));
}

/** Input of 8 output channels: 8 channels, or 4 of them twice. */
static BLOCK __m256 load_input(const float *p, int n, int multiplier, int is_whole)
{
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);

    if (multiplier == 1)
        return load_8(p, n, is_whole);
    if (is_whole) /* within lanes of four, faster than across */
        return _mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)(const void *)p), twice);
    return _mm256_permutevar8x32_ps(load_8(p, n / 2, 0), twice);
}

/**
 * Four pixels from `x` on, of which `n` are stored. All but these and `out` are constants.
 *
 * @param is_whole   16 channels
 * @param is_inside  all inputs inside the picture
 */
static BLOCK void convolve_block(const Chunk *chunk, int x, int n, float *out, int kernel_size,
                                 int stride, int multiplier, int is_whole, int is_inside)
{
    const int first = x * stride - chunk->pad; /* column of the first input */
    const int n_low = is_whole ? 16 : chunk->n_channels, n_high = n_low - 8;
    const ptrdiff_t half = 8 / multiplier, pixel = stride * chunk->pixel_step;
    __m256 low[N_PIXELS], high[N_PIXELS];

#pragma GCC unroll 4
    for (int p = 0; p < N_PIXELS; p++) {
        low[p] = load_8(chunk->bias, n_low, is_whole);
        high[p] = load_8(chunk->bias + 8, n_high, is_whole);
    }
    for (int i = 0; i < chunk->n_rows; i++) {
        const float *in =
            chunk->input + i * chunk->row_step + (ptrdiff_t)(x * stride) * chunk->pixel_step;
        const float *w = chunk->weight + i * kernel_size * chunk->tap_step;

#pragma GCC unroll 1 /* all of them unrolled take half as long again */
        for (int j = 0; j < kernel_size; j++, in += chunk->pixel_step, w += chunk->tap_step) {
            const __m256 w_low = load_8(w, n_low, is_whole);
            const __m256 w_high = load_8(w + 8, n_high, is_whole);

#pragma GCC unroll 4
            for (int p = 0; p < N_PIXELS; p++) {
                const int column = first + j + p * stride;

                if (!is_inside && (column < 0 || column >= chunk->width))
                    continue;
                low[p] = _mm256_fmadd_ps(load_input(in + p * pixel, n_low, multiplier, is_whole),
                                         w_low, low[p]);
                high[p] =
                    _mm256_fmadd_ps(load_input(in + p * pixel + half, n_high, multiplier, is_whole),
                                    w_high, high[p]);
            }
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < N_PIXELS; p++)
        if (p < n)
            store_row_avx2(out + p * chunk->tap_step, (size_t)n_low, low[p], high[p]);
}

/** Pixels x0 .. x1 - 1 of 16 channels. */
static BLOCK void convolve_chunk(const Chunk *chunk, int x0, int x1, float *out, int kernel_size,
                                 int stride, int multiplier)
{
    for (int x = x0; x < x1; x += N_PIXELS, out += N_PIXELS * chunk->tap_step) {
        const int first = x * stride - chunk->pad;
        const int end = first + (N_PIXELS - 1) * stride + kernel_size;

        if (x + N_PIXELS <= x1 && first >= 0 && end <= chunk->width && chunk->n_channels == 16)
            convolve_block(chunk, x, N_PIXELS, out, kernel_size, stride, multiplier, 1, 1);
        else if (chunk->n_channels == 16)
            convolve_block(chunk, x, x1 - x, out, kernel_size, stride, multiplier, 1, 0);
        else
            convolve_block(chunk, x, x1 - x, out, kernel_size, stride, multiplier, 0, 0);
    }
}

static BLOCK void convolve_row(const FastvlmConvDw *conv, Chunk chunk, int x0, int x1, float *out,
                               int kernel_size, int stride, int multiplier)
{
    /* A small kernel reads so little of a pixel that pixels, one after another in memory, go first. */
    const int step = kernel_size == 3 ? N_PIXELS : x1 - x0;

    for (int x = x0; x < x1; x += step) {
        Chunk part = chunk;

        for (int c = 0; c < conv->n_channels; c += 16) {
            part.n_channels = conv->n_channels - c < 16 ? conv->n_channels - c : 16;
            convolve_chunk(&part, x, x1 - x < step ? x1 : x + step,
                           out + (ptrdiff_t)(x - x0) * conv->n_channels + c, kernel_size, stride,
                           multiplier);
            part.input += 16 / multiplier;
            part.weight += 16;
            part.bias += 16;
        }
    }
}

static int clamp_int(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

void fastvlm_conv_dw_f32_avx2(const FastvlmConvDw *conv, int y, int x0, int x1, float *out)
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
        fastvlm_conv_dw_f32_scalar(conv, y, x0, x1, out);
    }
#undef SHAPE
}
