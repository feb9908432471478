/*
 * Packed matrix products, NEON as every 64-bit ARM processor has it.
 *
 * f32 and bf16 keep 8 rows by 8 columns in 16 registers while k passes; a's rows are loaded four
 * elements at a time and multiplied by lane. Rounded bf16 rows are f32 of bf16 precision.
 *
 * int8 without a dot product: two units' products of 8 bits fit 16 (2 * 127 * 127 < 2^15), so a widening
 * multiply, a widening multiply-add and a pairwise addition to 32 bits make 16 multiply-adds. Rounded
 * int8 rows are int8, as they are for the tier with a dot product.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "kernels/arm/gemm_neon.h"

/** Rows of a block of int8: their sums take twice the registers. */
#define INT8_BLOCK_ROWS 4

/** sum [n_rows][n_quads] += lane of a [n_rows] * b [n_quads]. */
#define ADD_LANE(sum, a, b, lane)              \
    UNROLL_NEON                                \
    for (int row = 0; row < n_rows; row++)     \
        UNROLL_NEON                            \
    for (int quad = 0; quad < n_quads; quad++) \
    (sum)[row][quad] = vfmaq_laneq_f32((sum)[row][quad], (b)[quad], (a)[row], lane)

static BLOCK_NEON void store_f32(float *c, const float32x4_t *sum, int n_quads)
{
    UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        vst1q_f32(c + 4 * quad, sum[quad]);
}

static BLOCK_NEON void load_f32(const uint32_t *words, int n_quads, float32x4_t *b)
{
    UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        b[quad] = vreinterpretq_f32_u32(vld1q_u32(words + 4 * quad));
}

static BLOCK_NEON void multiply_f32(const FastvlmGemm *gemm, int row0, int column, float *c,
                                    size_t ldc, int n_quads, int n_rows)
{
    const size_t k = (size_t)gemm->k;
    const size_t lda = gemm->lda;
    const float *from = (const float *)gemm->a + (size_t)row0 * lda;
    const uint32_t *words = find_words_neon(gemm, column, FASTVLM_UNITS_F32(k));
    float32x4_t sum[BLOCK_ROWS_NEON][BLOCK_QUADS_NEON];
    float32x4_t a[BLOCK_ROWS_NEON], b[BLOCK_QUADS_NEON];
    size_t i = 0;

    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        sum[row][quad] = vdupq_n_f32(0.0f);
    for (; i + 4 <= k; i += 4, from += 4, words += 4 * FASTVLM_PANEL_COLUMNS) {
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++)
            a[row] = vld1q_f32(from + (size_t)row * lda);
        load_f32(words, n_quads, b);
        ADD_LANE(sum, a, b, 0);
        load_f32(words + FASTVLM_PANEL_COLUMNS, n_quads, b);
        ADD_LANE(sum, a, b, 1);
        load_f32(words + 2 * FASTVLM_PANEL_COLUMNS, n_quads, b);
        ADD_LANE(sum, a, b, 2);
        load_f32(words + 3 * FASTVLM_PANEL_COLUMNS, n_quads, b);
        ADD_LANE(sum, a, b, 3);
    }
    for (; i < k; i++, from++, words += FASTVLM_PANEL_COLUMNS) {
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++)
            a[row] = vld1q_dup_f32(from + (size_t)row * lda);
        load_f32(words, n_quads, b);
        ADD_LANE(sum, a, b, 0);
    }
    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        store_f32(c + (size_t)row * ldc, sum[row], n_quads);
}

void fastvlm_gemm_f32_neon(const FastvlmGemm *gemm)
{
    multiply_neon(gemm, multiply_f32, BLOCK_ROWS_NEON);
}

/** The even elements of k, or the odd ones, as f32. */
static BLOCK_NEON void widen_bf16(const uint32_t *words, int n_quads, int is_odd, float32x4_t *b)
{
    UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++) {
        const uint32x4_t word = vld1q_u32(words + 4 * quad);

        b[quad] = vreinterpretq_f32_u32(is_odd ? vandq_u32(word, vdupq_n_u32(0xffff0000u))
                                               : vshlq_n_u32(word, 16));
    }
}

static BLOCK_NEON void multiply_bf16(const FastvlmGemm *gemm, int row0, int column, float *c,
                                     size_t ldc, int n_quads, int n_rows)
{
    const size_t n_units = FASTVLM_UNITS_BF16(gemm->k);
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(float);
    const float *from = (const float *)gemm->a + (size_t)row0 * lda;
    const uint32_t *words = find_words_neon(gemm, column, n_units);
    float32x4_t sum[BLOCK_ROWS_NEON][BLOCK_QUADS_NEON];
    float32x4_t a[BLOCK_ROWS_NEON], b[BLOCK_QUADS_NEON];
    size_t i = 0;

    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        sum[row][quad] = vdupq_n_f32(0.0f);
    for (; i + 2 <= n_units; i += 2, from += 4, words += 2 * FASTVLM_PANEL_COLUMNS) {
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++)
            a[row] = vld1q_f32(from + (size_t)row * lda);
        widen_bf16(words, n_quads, 0, b);
        ADD_LANE(sum, a, b, 0);
        widen_bf16(words, n_quads, 1, b);
        ADD_LANE(sum, a, b, 1);
        widen_bf16(words + FASTVLM_PANEL_COLUMNS, n_quads, 0, b);
        ADD_LANE(sum, a, b, 2);
        widen_bf16(words + FASTVLM_PANEL_COLUMNS, n_quads, 1, b);
        ADD_LANE(sum, a, b, 3);
    }
    if (i < n_units) { /* rows are a multiple of 16 floats apart */
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++)
            a[row] = vld1q_f32(from + (size_t)row * lda);
        widen_bf16(words, n_quads, 0, b);
        ADD_LANE(sum, a, b, 0);
        widen_bf16(words, n_quads, 1, b);
        ADD_LANE(sum, a, b, 1);
    }
    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        store_f32(c + (size_t)row * ldc, sum[row], n_quads);
}

void fastvlm_gemm_bf16_neon(const FastvlmGemm *gemm)
{
    multiply_neon(gemm, multiply_bf16, BLOCK_ROWS_NEON);
}

/** Two units of k, or the last one beside zeros, of 4 columns: each sum holds 2 columns, halved. */
static BLOCK_NEON void add_products(int32x4_t sum[2], int8x16_t a0, int8x16_t b0, int8x16_t a1,
                                    int8x16_t b1)
{
    const int16x8_t low = vmull_s8(vget_low_s8(a0), vget_low_s8(b0));
    const int16x8_t high = vmull_high_s8(a0, b0);

    sum[0] = vpadalq_s16(sum[0], vmlal_s8(low, vget_low_s8(a1), vget_low_s8(b1)));
    sum[1] = vpadalq_s16(sum[1], vmlal_high_s8(high, a1, b1));
}

static BLOCK_NEON void load_int8(const uint32_t *words, int n_quads, int8x16_t *b)
{
    UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        b[quad] = vreinterpretq_s8_u32(vld1q_u32(words + 4 * quad));
}

static BLOCK_NEON void multiply_int8(const FastvlmGemm *gemm, int row0, int column, float *c,
                                     size_t ldc, int n_quads, int n_rows)
{
    const size_t n_units = FASTVLM_UNITS_INT8(gemm->k);
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(uint32_t);
    const uint32_t *from = (const uint32_t *)gemm->a + (size_t)row0 * lda;
    const uint32_t *words = find_words_neon(gemm, column, n_units);
    int32x4_t sum[INT8_BLOCK_ROWS][BLOCK_QUADS_NEON][2];
    int8x16_t b0[BLOCK_QUADS_NEON], b1[BLOCK_QUADS_NEON];
    size_t i = 0;

    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        sum[row][quad][0] = sum[row][quad][1] = vdupq_n_s32(0);
    for (; i + 2 <= n_units; i += 2, from += 2, words += 2 * FASTVLM_PANEL_COLUMNS) {
        load_int8(words, n_quads, b0);
        load_int8(words + FASTVLM_PANEL_COLUMNS, n_quads, b1);
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++) {
            const uint32_t *p = from + (size_t)row * lda;
            const int8x16_t a0 = vreinterpretq_s8_u32(vld1q_dup_u32(p));
            const int8x16_t a1 = vreinterpretq_s8_u32(vld1q_dup_u32(p + 1));

            UNROLL_NEON
            for (int quad = 0; quad < n_quads; quad++)
                add_products(sum[row][quad], a0, b0[quad], a1, b1[quad]);
        }
    }
    if (i < n_units) {
        load_int8(words, n_quads, b0);
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++) {
            const int8x16_t a = vreinterpretq_s8_u32(vld1q_dup_u32(from + (size_t)row * lda));

            UNROLL_NEON
            for (int quad = 0; quad < n_quads; quad++)
                add_products(sum[row][quad], a, b0[quad], vdupq_n_s8(0), vdupq_n_s8(0));
        }
    }
    UNROLL_NEON
    for (int row = 0; row < n_rows; row++) {
        int32x4_t whole[BLOCK_QUADS_NEON];

        UNROLL_NEON
        for (int quad = 0; quad < n_quads; quad++)
            whole[quad] = vpaddq_s32(sum[row][quad][0], sum[row][quad][1]);
        store_sums_neon(gemm, row0 + row, column, whole, n_quads, c + (size_t)row * ldc);
    }
}

void fastvlm_gemm_int8_neon(const FastvlmGemm *gemm)
{
    multiply_neon(gemm, multiply_int8, INT8_BLOCK_ROWS);
}

/** Four values rounded to bf16 precision, to nearest even; NaN stays NaN. */
static inline float32x4_t round_to_bf16(float32x4_t v)
{
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t cut = vandq_u32(rounded, vdupq_n_u32(0xffff0000u));

    return vbslq_f32(vceqq_f32(v, v), vreinterpretq_f32_u32(cut), v);
}

void fastvlm_round_rows_bf16_neon(const float *x, size_t ldx, int n_rows, int k, void *out)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        float *to = (float *)((char *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k));
        int i = 0;

        for (; i + 4 <= k; i += 4)
            vst1q_f32(to + i, round_to_bf16(vld1q_f32(x + i)));
        if (i < k) /* rows are a multiple of 16 floats apart */
            vst1q_f32(to + i, round_to_bf16(load_part_neon(x + i, (size_t)(k - i))));
    }
}

/** The largest magnitude, by its bits, which order as magnitudes do with NaN above all. */
static float find_largest(const float *x, int k)
{
    uint32x4_t largest = vdupq_n_u32(0);
    int i = 0;

    for (; i + 4 <= k; i += 4)
        largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
    if (i < k)
        largest = vmaxq_u32(
            largest, vreinterpretq_u32_f32(vabsq_f32(load_part_neon(x + i, (size_t)(k - i)))));
    return vgetq_lane_f32(vreinterpretq_f32_u32(vdupq_n_u32(vmaxvq_u32(largest))), 0);
}

/** A unit of 4 int8; beyond k they are 0. */
static void round_row(const float *x, int k, float inverse, uint32_t *to)
{
    for (int i = 0; i < k; i += 4) {
        const float32x4_t v =
            i + 4 <= k ? vld1q_f32(x + i) : load_part_neon(x + i, (size_t)(k - i));
        const int16x4_t half = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(v, inverse)));
        const int8x8_t unit = vmovn_s16(vcombine_s16(half, half));

        vst1_lane_u32(to + i / 4, vreinterpret_u32_s8(unit), 0);
    }
}

void fastvlm_round_rows_int8_neon(const float *x, size_t ldx, int n_rows, int k, void *out,
                                  float *scale)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        uint32_t *to = (uint32_t *)((char *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k));
        float inverse;

        scale[row] = fastvlm_int8_scale(find_largest(x, k), &inverse);
        if (inverse > 0.0f)
            round_row(x, k, inverse, to);
        else
            memset(to, 0, FASTVLM_UNITS_INT8(k) * sizeof *to);
    }
}
