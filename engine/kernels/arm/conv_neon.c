/*
 * Depthwise and grouped convolution, NEON.
 *
 * Channels go in chunks of 16, one cache line, so that a chunk's weights stay in L1 while a row of
 * pixels passes. Inside the row, for the shapes of the released models, eight output pixels of four
 * channels stay in registers with a row of taps: an input pixel is loaded once for all the outputs that
 * it goes to. At the row's ends and for other shapes one pixel at a time takes only the taps inside the
 * picture. Every output sums its taps in the same order, whichever way it is computed.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/arm/simd_neon.h"

#define N_PIXELS 8
#define CHUNK 16
#define BLOCK inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

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

/** Four output channels' inputs: four channels, or two of them twice. */
static BLOCK float32x4_t load_input(const float *p, int multiplier)
{
    float32x2_t two;

    if (multiplier == 1)
        return vld1q_f32(p);
    two = vld1_f32(p);
    return vcombine_f32(vdup_lane_f32(two, 0), vdup_lane_f32(two, 1));
}

/** Pixel x, `n` (a constant) vectors of 4 channels, taps j0 .. j1 - 1 of each row. */
static BLOCK void convolve_pixel(const Row *row, int x, int j0, int j1, float *out, int n,
                                 int multiplier)
{
    float32x4_t sum[CHUNK / 4];

    UNROLL
    for (int c = 0; c < n; c++)
        sum[c] = vld1q_f32(row->bias + 4 * c);
    for (int i = 0; i < row->n_rows; i++) {
        const float *in = row->input + (size_t)i * row->row_step;
        const float *w = row->weight + (size_t)(i * row->kernel_size) * row->tap_step;

        for (int j = j0; j < j1; j++) {
            const float *pixel = in + (size_t)(x * row->stride + j) * row->pixel_step;
            const float *tap = w + (size_t)j * row->tap_step;

            UNROLL
            for (int c = 0; c < n; c++)
                sum[c] = vfmaq_f32(sum[c], load_input(pixel + c * (4 / multiplier), multiplier),
                                   vld1q_f32(tap + 4 * c));
        }
    }
    UNROLL
    for (int c = 0; c < n; c++)
        vst1q_f32(out + 4 * c, sum[c]);
}

/**
 * Eight pixels from x on, 4 channels, all taps inside the picture. The last three are constants: input
 * pixel p goes to output pixel i through tap p - i * stride, if there is one.
 */
static BLOCK void convolve_block(const Row *row, int x, float *out, int kernel_size, int stride,
                                 int multiplier)
{
    const float32x4_t bias = vld1q_f32(row->bias);
    float32x4_t sum[N_PIXELS];

    UNROLL
    for (int i = 0; i < N_PIXELS; i++)
        sum[i] = bias;
    for (int r = 0; r < row->n_rows; r++) {
        const float *in =
            row->input + (size_t)r * row->row_step + (size_t)(x * stride) * row->pixel_step;
        const float *w = row->weight + (size_t)(r * kernel_size) * row->tap_step;
        float32x4_t tap[7];

        UNROLL
        for (int j = 0; j < kernel_size; j++)
            tap[j] = vld1q_f32(w + (size_t)j * row->tap_step);
        UNROLL
        for (int p = 0; p < stride * (N_PIXELS - 1) + kernel_size; p++) {
            const float32x4_t pixel = load_input(in + (size_t)p * row->pixel_step, multiplier);

            UNROLL
            for (int i = 0; i < N_PIXELS; i++)
                if (p >= i * stride && p < i * stride + kernel_size)
                    sum[i] = vfmaq_f32(sum[i], pixel, tap[p - i * stride]);
        }
    }
    UNROLL
    for (int i = 0; i < N_PIXELS; i++)
        vst1q_f32(out + (size_t)i * row->tap_step, sum[i]);
}

typedef void (*ConvolveBlock)(const Row *row, int x, float *out);

static void convolve_block_7x7(const Row *row, int x, float *out)
{
    convolve_block(row, x, out, 7, 1, 1);
}

static void convolve_block_3x3(const Row *row, int x, float *out)
{
    convolve_block(row, x, out, 3, 1, 1);
}

static void convolve_block_3x3_by_2(const Row *row, int x, float *out)
{
    convolve_block(row, x, out, 3, 2, 1);
}

static void convolve_block_7x7_by_2(const Row *row, int x, float *out)
{
    convolve_block(row, x, out, 7, 2, 1);
}

static void convolve_block_7x7_by_2_twice(const Row *row, int x, float *out)
{
    convolve_block(row, x, out, 7, 2, 2);
}

/** The block of this shape; NULL where there is none. */
static ConvolveBlock find_block(const FastvlmConvDw *conv)
{
    static const struct {
        int kernel_size, stride, multiplier;
        ConvolveBlock block;
    } blocks[] = {
        {7, 1, 1, convolve_block_7x7},
        {3, 1, 1, convolve_block_3x3},
        {3, 2, 1, convolve_block_3x3_by_2},
        {7, 2, 1, convolve_block_7x7_by_2},
        {7, 2, 2, convolve_block_7x7_by_2_twice},
    };

    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i].kernel_size == conv->kernel_size && blocks[i].stride == conv->stride &&
            blocks[i].multiplier == conv->multiplier)
            return blocks[i].block;
    return NULL;
}

static int clamp_int(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

/** Pixels x0 .. x1 - 1, one by one, `n` (a constant) vectors of 4 channels. */
static BLOCK void convolve_pixels(const FastvlmConvDw *conv, const Row *row, int x0, int x1,
                                  float *out, int n, int multiplier)
{
    const int pad = conv->kernel_size / 2;

    for (int x = x0; x < x1; x++, out += conv->n_channels) {
        const int first = x * conv->stride - pad;
        const int j0 = clamp_int(-first, 0, conv->kernel_size);
        const int j1 = clamp_int(conv->width - first, 0, conv->kernel_size);

        convolve_pixel(row, x, j0, j1, out, n, multiplier);
    }
}

/** The next 4 * n channels. */
static BLOCK void advance(Row *row, int n, int multiplier)
{
    row->input += 4 * n / multiplier;
    row->weight += 4 * n;
    row->bias += 4 * n;
}

/** A chunk of 16 channels over pixels x0 .. x1 - 1; from inner0 to inner1 all taps are inside. */
static BLOCK void convolve_chunk(const FastvlmConvDw *conv, const Row *row, int x0, int x1,
                                 float *out, ConvolveBlock block, int multiplier)
{
    const int pad = conv->kernel_size / 2;
    const int inner0 = clamp_int((pad + conv->stride - 1) / conv->stride, x0, x1);
    const int last = conv->width - conv->kernel_size + pad; /* centre of the last inner pixel */
    const int inner1 = last < 0 ? inner0 : clamp_int(last / conv->stride + 1, inner0, x1);
    int x = inner0;

    convolve_pixels(conv, row, x0, x, out, CHUNK / 4, multiplier);
    for (; block && x + N_PIXELS <= inner1; x += N_PIXELS) {
        Row part = *row;

        for (int c = 0; c < CHUNK; c += 4) {
            block(&part, x, out + (size_t)(x - x0) * row->tap_step + c);
            advance(&part, 1, multiplier);
        }
    }
    convolve_pixels(conv, row, x, x1, out + (size_t)(x - x0) * row->tap_step, CHUNK / 4,
                    multiplier);
}

/** Channels beyond the last whole four. */
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

static BLOCK void convolve_row(const FastvlmConvDw *conv, Row row, int x0, int x1, float *out,
                               int multiplier)
{
    const Row whole = row;
    const ConvolveBlock block = find_block(conv);
    int c = 0;

    for (; c + CHUNK <= conv->n_channels; c += CHUNK) {
        convolve_chunk(conv, &row, x0, x1, out + c, block, multiplier);
        advance(&row, CHUNK / 4, multiplier);
    }
    for (; c + 4 <= conv->n_channels; c += 4) {
        convolve_pixels(conv, &row, x0, x1, out + c, 1, multiplier);
        advance(&row, 1, multiplier);
    }
    if (c < conv->n_channels)
        convolve_tail(conv, &whole, x0, x1, c, out);
}

void fastvlm_conv_dw_f32_neon(const FastvlmConvDw *conv, int y, int x0, int x1, float *out)
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
