/*
 * Depthwise and grouped convolution, AVX2.
 *
 * Channels go in chunks of 16, one cache line, so that a chunk's weights stay in L1 while a row of
 * pixels passes. Inside the row four output pixels share each weight; at its ends, and for channels
 * beyond the last whole chunk of 8, one pixel at a time takes only the taps inside the picture.
 * Every output sums its taps in the same order, whichever way it is computed.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/simd_avx2.h"

#define N_PIXELS 4

/** What one row of output reads: the taps and input rows inside the picture. */
typedef struct {
    const float *input;  /* row of tap i0, column -pad, first input channel of the chunk */
    const float *weight; /* tap i0, first output channel of the chunk */
    const float *bias;
    size_t row_step;   /* floats from one input row to the next */
    size_t pixel_step; /* floats from one input pixel to the next */
    size_t tap_step;   /* floats from one tap to the next: n_channels */
    int n_rows;        /* taps inside the picture, vertically */
    int kernel_size;
    int stride;
} Row;

/** Eight output channels' inputs: eight channels, or four of them twice. */
static inline __m256 load_input(const float *p, int multiplier)
{
    if (multiplier == 1)
        return _mm256_loadu_ps(p);
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)),
                                    _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

/** Pixel x, chunk of 8 channels, taps j0 .. j1 - 1 of each row. */
static inline __m256 convolve_pixel(const Row *row, int x, int j0, int j1, int multiplier)
{
    __m256 sum = _mm256_loadu_ps(row->bias);

    for (int i = 0; i < row->n_rows; i++) {
        const float *in = row->input + (size_t)i * row->row_step;
        const float *w = row->weight + (size_t)(i * row->kernel_size) * row->tap_step;

        for (int j = j0; j < j1; j++)
            sum = _mm256_fmadd_ps(
                load_input(in + (size_t)(x * row->stride + j) * row->pixel_step, multiplier),
                _mm256_loadu_ps(w + (size_t)j * row->tap_step), sum);
    }
    return sum;
}

/** Four pixels from x on, chunk of 16 channels, all taps inside the picture. */
static inline __attribute__((always_inline)) void convolve_block(const Row *row, int x, float *out,
                                                                 int multiplier)
{
    const size_t half = (size_t)(8 / multiplier);
    const size_t pixel = (size_t)row->stride * row->pixel_step;
    __m256 a0 = _mm256_loadu_ps(row->bias), b0 = _mm256_loadu_ps(row->bias + 8);
    __m256 a1 = a0, a2 = a0, a3 = a0, b1 = b0, b2 = b0, b3 = b0;

    for (int i = 0; i < row->n_rows; i++) {
        const float *in =
            row->input + (size_t)i * row->row_step + (size_t)(x * row->stride) * row->pixel_step;
        const float *w = row->weight + (size_t)(i * row->kernel_size) * row->tap_step;

        for (int j = 0; j < row->kernel_size; j++, in += row->pixel_step, w += row->tap_step) {
            const __m256 wa = _mm256_loadu_ps(w);
            const __m256 wb = _mm256_loadu_ps(w + 8);

            a0 = _mm256_fmadd_ps(load_input(in, multiplier), wa, a0);
            b0 = _mm256_fmadd_ps(load_input(in + half, multiplier), wb, b0);
            a1 = _mm256_fmadd_ps(load_input(in + pixel, multiplier), wa, a1);
            b1 = _mm256_fmadd_ps(load_input(in + pixel + half, multiplier), wb, b1);
            a2 = _mm256_fmadd_ps(load_input(in + 2 * pixel, multiplier), wa, a2);
            b2 = _mm256_fmadd_ps(load_input(in + 2 * pixel + half, multiplier), wb, b2);
            a3 = _mm256_fmadd_ps(load_input(in + 3 * pixel, multiplier), wa, a3);
            b3 = _mm256_fmadd_ps(load_input(in + 3 * pixel + half, multiplier), wb, b3);
        }
    }
    _mm256_storeu_ps(out, a0);
    _mm256_storeu_ps(out + 8, b0);
    _mm256_storeu_ps(out + row->tap_step, a1);
    _mm256_storeu_ps(out + row->tap_step + 8, b1);
    _mm256_storeu_ps(out + 2 * row->tap_step, a2);
    _mm256_storeu_ps(out + 2 * row->tap_step + 8, b2);
    _mm256_storeu_ps(out + 3 * row->tap_step, a3);
    _mm256_storeu_ps(out + 3 * row->tap_step + 8, b3);
}

static int clamp_int(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

/** Pixels x0 .. x1 - 1, one by one, `n` chunks of 8 channels. */
static inline __attribute__((always_inline)) void convolve_pixels(const FastvlmConvDw *conv,
                                                                  const Row *row, int x0, int x1,
                                                                  int n, float *out, int multiplier)
{
    const int pad = conv->kernel_size / 2;

    for (int x = x0; x < x1; x++, out += conv->n_channels) {
        const int first = x * conv->stride - pad;
        const int j0 = clamp_int(-first, 0, conv->kernel_size);
        const int j1 = clamp_int(conv->width - first, 0, conv->kernel_size);
        Row part = *row;

        for (int c = 0; c < n; c++) {
            _mm256_storeu_ps(out + 8 * c, convolve_pixel(&part, x, j0, j1, multiplier));
            part.input += 8 / multiplier;
            part.weight += 8;
            part.bias += 8;
        }
    }
}

/** A chunk of 16 channels over pixels x0 .. x1 - 1; [inner0, inner1) have all taps inside. */
static inline __attribute__((always_inline)) void convolve_chunk(const FastvlmConvDw *conv,
                                                                 const Row *row, int x0, int x1,
                                                                 float *out, int multiplier)
{
    const int pad = conv->kernel_size / 2;
    const int inner0 = clamp_int((pad + conv->stride - 1) / conv->stride, x0, x1);
    const int inner1 =
        clamp_int((conv->width - conv->kernel_size + pad) / conv->stride + 1, inner0, x1);
    int x = inner0;

    if (conv->width < conv->kernel_size)
        x = x0;
    convolve_pixels(conv, row, x0, x, 2, out, multiplier);
    for (; conv->width >= conv->kernel_size && x + N_PIXELS <= inner1; x += N_PIXELS)
        convolve_block(row, x, out + (size_t)(x - x0) * row->tap_step, multiplier);
    convolve_pixels(conv, row, x, x1, 2, out + (size_t)(x - x0) * row->tap_step, multiplier);
}

/** Channels beyond the last whole eight. */
static void convolve_tail(const FastvlmConvDw *conv, const Row *row, int x0, int x1, int channel,
                          float *out)
{
    const int pad = conv->kernel_size / 2;

    for (int x = x0; x < x1; x++, out += conv->n_channels) {
        const int first = x * conv->stride - pad;
        const int j0 = clamp_int(-first, 0, conv->kernel_size);
        const int j1 = clamp_int(conv->width - first, 0, conv->kernel_size);

        for (int c = channel; c < conv->n_channels; c++) {
            float sum = conv->bias[c];

            for (int i = 0; i < row->n_rows; i++)
                for (int j = j0; j < j1; j++)
                    sum += row->input[(size_t)i * row->row_step +
                                      (size_t)(x * conv->stride + j) * row->pixel_step +
                                      (size_t)(c / conv->multiplier)] *
                           row->weight[(size_t)(i * conv->kernel_size + j) * row->tap_step +
                                       (size_t)c];
            out[c] = sum;
        }
    }
}

static inline __attribute__((always_inline)) void convolve_row(const FastvlmConvDw *conv, Row row,
                                                               int x0, int x1, float *out,
                                                               int multiplier)
{
    const Row whole = row;
    int c = 0;

    for (; c + 16 <= conv->n_channels; c += 16) {
        convolve_chunk(conv, &row, x0, x1, out + c, multiplier);
        row.input += 16 / multiplier;
        row.weight += 16;
        row.bias += 16;
    }
    if (c + 8 <= conv->n_channels) {
        convolve_pixels(conv, &row, x0, x1, 1, out + c, multiplier);
        c += 8;
    }
    if (c < conv->n_channels)
        convolve_tail(conv, &whole, x0, x1, c, out);
}

void fastvlm_conv_dw_f32_avx2(const FastvlmConvDw *conv, int y, int x0, int x1, float *out)
{
    const int pad = conv->kernel_size / 2;
    const int first = y * conv->stride - pad;
    const int i0 = clamp_int(-first, 0, conv->kernel_size);
    const int i1 = clamp_int(conv->height - first, 0, conv->kernel_size);
    const size_t in_channels = (size_t)(conv->n_channels / conv->multiplier);
    const size_t row_step = (size_t)conv->width * in_channels;
    Row row = {
        .input = conv->input + (ptrdiff_t)((first + i0) * (ptrdiff_t)row_step) -
                 (ptrdiff_t)pad * (ptrdiff_t)in_channels,
        .weight = conv->weight + (size_t)(i0 * conv->kernel_size) * (size_t)conv->n_channels,
        .bias = conv->bias,
        .row_step = row_step,
        .pixel_step = in_channels,
        .tap_step = (size_t)conv->n_channels,
        .n_rows = i1 - i0,
        .kernel_size = conv->kernel_size,
        .stride = conv->stride,
    };

    if (conv->multiplier == 1)
        convolve_row(conv, row, x0, x1, out, 1);
    else if (conv->multiplier == 2)
        convolve_row(conv, row, x0, x1, out, 2);
    else /* no released model has this */
        fastvlm_conv_dw_f32_scalar(conv, y, x0, x1, out);
}
