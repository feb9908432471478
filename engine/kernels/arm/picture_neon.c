/*
 * Pictures: colour conversion and resizing, NEON. See picture.h.
 *
 * A weight has 24 bits with its sign, more than a product of 16-bit numbers takes: its parts `high`
 * and `low` are multiplied and summed apart and put together at the end. Integers throughout, so that
 * bytes are those of the scalar tier.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <arm_neon.h>
#include <string.h>

#include "kernels/kernels.h"

#define CHUNK 16 /* pixels converted at once */

/** 16 of each of y, u, v, for 16 pixels. */
typedef struct {
    uint8x16_t y, u, v;
} Samples;

/** 8 bytes to 16, each twice. */
static inline uint8x16_t double_bytes(uint8x8_t half)
{
    return vcombine_u8(vzip1_u8(half, half), vzip2_u8(half, half));
}

static inline Samples load_planar(const FastvlmYuvRow *row, size_t x)
{
    if (row->chroma_shift == 0)
        return (Samples){vld1q_u8(row->y + x), vld1q_u8(row->u + x), vld1q_u8(row->v + x)};
    return (Samples){vld1q_u8(row->y + x), double_bytes(vld1_u8(row->u + x / 2)),
                     double_bytes(vld1_u8(row->v + x / 2))};
}

/** Cb and Cr alternate, in either order. */
static inline Samples load_paired(const FastvlmYuvRow *row, size_t x)
{
    const int v_first = row->v < row->u;
    const uint8x8x2_t pairs = vld2_u8((v_first ? row->v : row->u) + x);

    return (Samples){vld1q_u8(row->y + x), double_bytes(v_first ? pairs.val[1] : pairs.val[0]),
                     double_bytes(v_first ? pairs.val[0] : pairs.val[1])};
}

/** Of four bytes two are Y, the first and third or the others; Cb comes before Cr. */
static inline Samples load_packed(const FastvlmYuvRow *row, size_t x)
{
    const int y_first = row->y < row->u;
    const uint8x8x4_t bytes = vld4_u8((y_first ? row->y : row->u) + 2 * x);
    const uint8x8_t y0 = y_first ? bytes.val[0] : bytes.val[1];
    const uint8x8_t y1 = y_first ? bytes.val[2] : bytes.val[3];

    return (Samples){vcombine_u8(vzip1_u8(y0, y1), vzip2_u8(y0, y1)),
                     double_bytes(y_first ? bytes.val[1] : bytes.val[0]),
                     double_bytes(y_first ? bytes.val[3] : bytes.val[2])};
}

static inline Samples load_grey(const FastvlmYuvRow *row, size_t x)
{
    return (Samples){vld1q_u8(row->y + x), vdupq_n_u8(128), vdupq_n_u8(128)};
}

/** Any layout, `n` pixels: for the end of a row. */
static Samples load_tail(const FastvlmYuvRow *row, size_t x, size_t n)
{
    uint8_t y[CHUNK] = {0}, u[CHUNK], v[CHUNK];

    memset(u, 128, sizeof u);
    memset(v, 128, sizeof v);
    for (size_t i = 0; i < n; i++) {
        const size_t at = ((x + i) >> row->chroma_shift) * (size_t)row->chroma_step;

        y[i] = row->y[(x + i) * (size_t)row->y_step];
        u[i] = row->u ? row->u[at] : 128;
        v[i] = row->v ? row->v[at] : 128;
    }
    return (Samples){vld1q_u8(y), vld1q_u8(u), vld1q_u8(v)};
}

/** 8 pixels: bytes of red, green, blue. */
static inline void convert_half(const FastvlmYuvMatrix *m, uint8x8_t y, uint8x8_t u, uint8x8_t v,
                                uint8x8_t rgb[3])
{
    const uint8x8_t sign = vdup_n_u8(128);
    const int16x8_t luma = vreinterpretq_s16_u16(vshll_n_u8(y, 7));
    const int16x8_t cb = vshll_n_s8(vreinterpret_s8_u8(veor_u8(u, sign)), 7);
    const int16x8_t cr = vshll_n_s8(vreinterpret_s8_u8(veor_u8(v, sign)), 7);
    const int16x8_t level = vaddq_s16(vqrdmulhq_n_s16(luma, m->y_scale), vdupq_n_s16(m->bias));
    const int16x8_t green = vsubq_s16(vsubq_s16(level, vqrdmulhq_n_s16(cb, m->green_u)),
                                      vqrdmulhq_n_s16(cr, m->green_v));

    rgb[0] = vqshrun_n_s16(vaddq_s16(level, vqrdmulhq_n_s16(cr, m->red_v)), 5);
    rgb[1] = vqshrun_n_s16(green, 5);
    rgb[2] = vqshrun_n_s16(vaddq_s16(level, vqrdmulhq_n_s16(cb, m->blue_u)), 5);
}

/** 16 pixels to out [16, 4]. */
static inline void convert_chunk(const FastvlmYuvMatrix *matrix, Samples s, uint8_t *out)
{
    uint8x8_t low[3], high[3];
    uint8x16x4_t pixels;

    convert_half(matrix, vget_low_u8(s.y), vget_low_u8(s.u), vget_low_u8(s.v), low);
    convert_half(matrix, vget_high_u8(s.y), vget_high_u8(s.u), vget_high_u8(s.v), high);
    for (int c = 0; c < 3; c++)
        pixels.val[c] = vcombine_u8(low[c], high[c]);
    pixels.val[3] = vdupq_n_u8(0);
    vst4q_u8(out, pixels);
}

/** Pixels of whole chunks that `loader` reads; x: in and out. */
#define CONVERT_WITH(loader)           \
    for (; x + CHUNK <= n; x += CHUNK) \
    convert_chunk(row->matrix, loader(row, x), out + 4 * x)

void fastvlm_yuv_to_rgbx_neon(const FastvlmYuvRow *row, size_t n, uint8_t *out)
{
    size_t x = 0;

    if (row->y_step == 2)
        CONVERT_WITH(load_packed);
    else if (!row->u)
        CONVERT_WITH(load_grey);
    else if (row->chroma_step == 2)
        CONVERT_WITH(load_paired);
    else
        CONVERT_WITH(load_planar);
    if (x < n) {
        uint8_t tail[4 * CHUNK];

        convert_chunk(row->matrix, load_tail(row, x, n - x), tail);
        memcpy(out + 4 * x, tail, 4 * (n - x));
    }
}

void fastvlm_packed_to_rgbx_neon(const FastvlmPackedRow *row, size_t n, uint8_t *out)
{
    const size_t n_bytes = (size_t)row->n_bytes;
    uint8_t order[16];
    size_t x = 0;

    for (size_t i = 0; i < 16; i++)
        order[i] = i % 4 == 3 ? 0xff : (uint8_t)(i / 4 * n_bytes + row->order[i % 4]);
    const uint8x16_t shuffle = vld1q_u8(order);
    /* All 16 bytes must be there, though of three a pixel the last four are not wanted. */
    for (; x * n_bytes + 16 <= n * n_bytes; x += 4)
        vst1q_u8(out + 4 * x, vqtbl1q_u8(vld1q_u8(row->data + x * n_bytes), shuffle));
    for (; x < n; x++) {
        const uint8_t *pixel = row->data + x * n_bytes;

        out[4 * x] = pixel[row->order[0]];
        out[4 * x + 1] = pixel[row->order[1]];
        out[4 * x + 2] = pixel[row->order[2]];
        out[4 * x + 3] = 0;
    }
}

/** The two sums put together, rounded and clamped to bytes, in words. */
static inline int16x4_t round_sums(int32x4_t high, int32x4_t low)
{
    const int32x4_t sum = vaddq_s32(vshlq_n_s32(high, FASTVLM_WEIGHT_LOW_BITS), low);

    return vqmovn_s32(vrshrq_n_s32(sum, FASTVLM_WEIGHT_BITS));
}

/** One output pixel: bytes R, G, B, X at the beginning. */
static inline uint8x8_t resize_pixel(const uint8_t *in, const int16_t *high, const int16_t *low,
                                     int n_taps)
{
    int32x4_t high_sum = vdupq_n_s32(0), low_sum = vdupq_n_s32(0);
    int16x4_t words;

    for (int tap = 0; tap < n_taps; tap += 2) {
        const int16x8_t pair = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(in + 4 * tap)));

        high_sum = vmlal_n_s16(high_sum, vget_low_s16(pair), high[tap]);
        low_sum = vmlal_n_s16(low_sum, vget_low_s16(pair), low[tap]);
        high_sum = vmlal_n_s16(high_sum, vget_high_s16(pair), high[tap + 1]);
        low_sum = vmlal_n_s16(low_sum, vget_high_s16(pair), low[tap + 1]);
    }
    words = round_sums(high_sum, low_sum);
    return vqmovun_s16(vcombine_s16(words, words));
}

void fastvlm_resize_across_neon(const FastvlmResize *resize, int n_rows)
{
    const FastvlmTaps *taps = resize->taps;
    const int n_taps = taps->n_taps;
    const uint8_t *in = resize->in;
    uint8_t *out = resize->out;

    for (int row = 0; row < n_rows; row++, in += resize->in_stride, out += resize->out_stride) {
        const int16_t *high = taps->high, *low = taps->low;

        for (int x = 0; x < taps->n_out; x++, high += n_taps, low += n_taps) {
            const uint8x8_t bytes =
                resize_pixel(in + (size_t)taps->first[x] * 4, high, low, n_taps);
            const uint32_t pixel = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);

            /* The last byte is the next pixel's or nobody's. */
            memcpy(out + 3 * x, &pixel, sizeof pixel);
        }
    }
}

/** 16 columns of one output row. */
static inline uint8x16_t resize_columns(const uint8_t *in, size_t in_stride, const int16_t *high,
                                        const int16_t *low, int n_taps)
{
    const int32x4_t zero = vdupq_n_s32(0);
    int32x4_t high_sum[4] = {zero, zero, zero, zero}, low_sum[4] = {zero, zero, zero, zero};
    int16x4_t words[4];

    for (int tap = 0; tap < n_taps; tap++, in += in_stride) {
        const uint8x16_t bytes = vld1q_u8(in);
        const int16x8_t half[2] = {vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))),
                                   vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes)))};

        for (int i = 0; i < 4; i++) {
            const int16x4_t four = i % 2 ? vget_high_s16(half[i / 2]) : vget_low_s16(half[i / 2]);

            high_sum[i] = vmlal_n_s16(high_sum[i], four, high[tap]);
            low_sum[i] = vmlal_n_s16(low_sum[i], four, low[tap]);
        }
    }
    for (int i = 0; i < 4; i++)
        words[i] = round_sums(high_sum[i], low_sum[i]);
    return vcombine_u8(vqmovun_s16(vcombine_s16(words[0], words[1])),
                       vqmovun_s16(vcombine_s16(words[2], words[3])));
}

void fastvlm_resize_down_neon(const FastvlmResize *resize, int y, size_t n)
{
    const FastvlmTaps *taps = resize->taps;
    const size_t in_stride = resize->in_stride;
    const int16_t *high = taps->high + (size_t)y * (size_t)taps->n_taps;
    const int16_t *low = taps->low + (size_t)y * (size_t)taps->n_taps;
    const uint8_t *in = resize->in + (size_t)taps->first[y] * in_stride;
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        vst1q_u8(resize->out + i, resize_columns(in + i, in_stride, high, low, taps->n_taps));
    if (i < n) {
        uint8_t tail[16];

        vst1q_u8(tail, resize_columns(in + i, in_stride, high, low, taps->n_taps));
        memcpy(resize->out + i, tail, n - i);
    }
}
