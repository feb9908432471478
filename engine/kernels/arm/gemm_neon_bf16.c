/*
 * Packed bf16 matrix products, NEON with the matrix instruction of bf16 (bfmmla, FEAT_BF16).
 *
 * bfmmla adds to 2 rows by 2 columns the products of 4 elements of k. It wants the 4 elements of one
 * column side by side: two units of b, zipped by words. Rows of a go in pairs, an odd last one beside
 * itself. Rounded rows are bf16, with zeros up to a multiple of 4.
 *
 *     word i    c0 c1 c2 c3    zip1   c0 [k .. k + 3]  c1 [k .. k + 3]
 *     word i+1  c0 c1 c2 c3    zip2   c2 [k .. k + 3]  c3 [k .. k + 3]
 *
 * The instruction rounds in its own way (Arm ARM, BFDotAdd): each pair of products is added to the sum
 * rounding to odd, subnormals are zero. That depends on nothing but the element's own operands.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/arm/gemm_neon.h"

#define BLOCK_PAIRS (BLOCK_ROWS_NEON / 2)

/** Two rows' elements k .. k + 3; the second row is the first again where there is none. */
static BLOCK_NEON bfloat16x8_t load_pair(const uint16_t *row, size_t lda, int has_second)
{
    return vreinterpretq_bf16_u16(vcombine_u16(vld1_u16(row), vld1_u16(row + has_second * lda)));
}

/** Columns in pairs of elements k .. k + 3; the second unit is 0 where there is none. */
static BLOCK_NEON void load_columns(const uint32_t *words, int n_quads, int has_second,
                                    bfloat16x8_t *b)
{
    UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++) {
        const uint32x4_t first = vld1q_u32(words + 4 * quad);
        const uint32x4_t second =
            has_second ? vld1q_u32(words + FASTVLM_PANEL_COLUMNS + 4 * quad) : vdupq_n_u32(0);

        b[2 * quad] = vreinterpretq_bf16_u32(vzip1q_u32(first, second));
        b[2 * quad + 1] = vreinterpretq_bf16_u32(vzip2q_u32(first, second));
    }
}

/** Two rows of a block, or one; sum holds two columns of both rows. */
static BLOCK_NEON void store_pair(float *c, size_t ldc, const float32x4_t *sum, int n_quads,
                                  int has_second)
{
    UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++) {
        const float64x2_t low = vreinterpretq_f64_f32(sum[2 * quad]);
        const float64x2_t high = vreinterpretq_f64_f32(sum[2 * quad + 1]);

        vst1q_f32(c + 4 * quad, vreinterpretq_f32_f64(vzip1q_f64(low, high)));
        if (has_second)
            vst1q_f32(c + ldc + 4 * quad, vreinterpretq_f32_f64(vzip2q_f64(low, high)));
    }
}

/** sum [pairs of rows][pairs of columns] += the products of units i and i + 1. */
static BLOCK_NEON void add_units(float32x4_t sum[BLOCK_PAIRS][2 * BLOCK_QUADS_NEON],
                                 const uint16_t *from, size_t lda, const uint32_t *words,
                                 int has_second, int n_quads, int n_rows)
{
    bfloat16x8_t b[2 * BLOCK_QUADS_NEON];

    load_columns(words, n_quads, has_second, b);
    UNROLL_NEON
    for (int row = 0; row < n_rows; row += 2) {
        const bfloat16x8_t a = load_pair(from + (size_t)row * lda, lda, row + 1 < n_rows);

        UNROLL_NEON
        for (int two = 0; two < 2 * n_quads; two++)
            sum[row / 2][two] = vbfmmlaq_f32(sum[row / 2][two], a, b[two]);
    }
}

static BLOCK_NEON void multiply_bf16(const FastvlmGemm *gemm, int row0, int column, float *c,
                                     size_t ldc, int n_quads, int n_rows)
{
    const size_t n_units = FASTVLM_UNITS_BF16(gemm->k);
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(uint16_t);
    const uint16_t *from = (const uint16_t *)gemm->a + (size_t)row0 * lda;
    const uint32_t *words = find_words_neon(gemm, column, n_units);
    float32x4_t sum[BLOCK_PAIRS][2 * BLOCK_QUADS_NEON];
    size_t i = 0;

    UNROLL_NEON
    for (int row = 0; row < n_rows; row += 2)
        UNROLL_NEON
    for (int two = 0; two < 2 * n_quads; two++)
        sum[row / 2][two] = vdupq_n_f32(0.0f);
    for (; i + 2 <= n_units; i += 2, from += 4, words += 2 * FASTVLM_PANEL_COLUMNS)
        add_units(sum, from, lda, words, 1, n_quads, n_rows);
    if (i < n_units)
        add_units(sum, from, lda, words, 0, n_quads, n_rows);
    UNROLL_NEON
    for (int row = 0; row < n_rows; row += 2)
        store_pair(c + (size_t)row * ldc, ldc, sum[row / 2], n_quads, row + 1 < n_rows);
}

void fastvlm_gemm_bf16_neon_bf16(const FastvlmGemm *gemm)
{
    multiply_neon(gemm, multiply_bf16, BLOCK_ROWS_NEON);
}

void fastvlm_round_rows_bf16_neon_bf16(const float *x, size_t ldx, int n_rows, int k, void *out)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        bfloat16_t *to = (bfloat16_t *)((char *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k));

        for (int i = 0; i < k; i += 4) {
            const float32x4_t v =
                i + 4 <= k ? vld1q_f32(x + i) : load_part_neon(x + i, (size_t)(k - i));

            vst1_bf16(to + i, vcvt_bf16_f32(v));
        }
    }
}
