/*
 * Pictures: colour conversion and resizing, plain C. See picture.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"

static uint8_t clamp_to_byte(int value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/** sample * 2^7 (Q7) * factor (Q13) to Q5, rounded. */
static int multiply(int sample, int16_t factor)
{
    return (sample * 128 * factor + (1 << 14)) >> 15;
}

void fastvlm_yuv_to_rgbx_scalar(const FastvlmYuvRow *row, size_t n, uint8_t *out)
{
    const FastvlmYuvMatrix *matrix = row->matrix;

    for (size_t x = 0; x < n; x++, out += 4) {
        const size_t at = (x >> row->chroma_shift) * (size_t)row->chroma_step;
        const int u = row->u ? row->u[at] - 128 : 0;
        const int v = row->v ? row->v[at] - 128 : 0;
        const int level = multiply(row->y[x * (size_t)row->y_step], matrix->y_scale) + matrix->bias;

        out[0] = clamp_to_byte((level + multiply(v, matrix->red_v)) >> 5);
        out[1] = clamp_to_byte(
            (level - multiply(u, matrix->green_u) - multiply(v, matrix->green_v)) >> 5);
        out[2] = clamp_to_byte((level + multiply(u, matrix->blue_u)) >> 5);
        out[3] = 0;
    }
}

void fastvlm_packed_to_rgbx_scalar(const FastvlmPackedRow *row, size_t n, uint8_t *out)
{
    const uint8_t *pixel = row->data;

    for (size_t x = 0; x < n; x++, pixel += row->n_bytes, out += 4) {
        out[0] = pixel[row->order[0]];
        out[1] = pixel[row->order[1]];
        out[2] = pixel[row->order[2]];
        out[3] = 0;
    }
}

/** A sum of bytes times weights to a byte, rounded. */
static uint8_t round_sum(int sum)
{
    return clamp_to_byte((sum + (1 << (FASTVLM_WEIGHT_BITS - 1))) >> FASTVLM_WEIGHT_BITS);
}

static int get_weight(const int16_t *high, const int16_t *low, int tap)
{
    return high[tap] * (1 << FASTVLM_WEIGHT_LOW_BITS) + low[tap];
}

void fastvlm_resize_across_scalar(const FastvlmResize *resize, int n_rows)
{
    const FastvlmTaps *taps = resize->taps;
    const uint8_t *in = resize->in;
    uint8_t *out = resize->out;

    for (int row = 0; row < n_rows; row++, in += resize->in_stride, out += resize->out_stride)
        for (int x = 0; x < taps->n_out; x++) {
            const size_t at = (size_t)x * (size_t)taps->n_taps;
            const uint8_t *pixel = in + (size_t)taps->first[x] * 4;
            int sum[3] = {0, 0, 0};

            for (int tap = 0; tap < taps->n_taps; tap++, pixel += 4)
                for (int c = 0; c < 3; c++)
                    sum[c] += get_weight(taps->high + at, taps->low + at, tap) * pixel[c];
            for (int c = 0; c < 3; c++)
                out[x * 3 + c] = round_sum(sum[c]);
        }
}

void fastvlm_resize_down_scalar(const FastvlmResize *resize, int y, size_t n)
{
    const FastvlmTaps *taps = resize->taps;
    const size_t in_stride = resize->in_stride;
    uint8_t *out = resize->out;

    const size_t at = (size_t)y * (size_t)taps->n_taps;
    const uint8_t *rows = resize->in + (size_t)taps->first[y] * in_stride;

    for (size_t i = 0; i < n; i++) {
        int sum = 0;

        for (int tap = 0; tap < taps->n_taps; tap++)
            sum += get_weight(taps->high + at, taps->low + at, tap) *
                   rows[(size_t)tap * in_stride + i];
        out[i] = round_sum(sum);
    }
}
