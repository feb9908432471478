/*
 * Packed int8 matrix products, NEON with the dot product of bytes (sdot, Armv8.2 FEAT_DotProd).
 *
 * A word of b is what a lane of sdot takes. 8 rows by 8 columns stay in 16 registers while k passes;
 * a's rows, int8 as the tier below rounds them, are loaded four units at a time.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/arm/gemm_neon.h"

/** sum [n_rows][n_quads] += lane of a [n_rows] . b [n_quads], of the unit at `words`. */
#define ADD_LANE(words, lane)                  \
    load_int8(words, n_quads, b);              \
    UNROLL_NEON                                \
    for (int row = 0; row < n_rows; row++)     \
        UNROLL_NEON                            \
    for (int quad = 0; quad < n_quads; quad++) \
    sum[row][quad] = vdotq_laneq_s32(sum[row][quad], b[quad], a[row], lane)

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
    int32x4_t sum[BLOCK_ROWS_NEON][BLOCK_QUADS_NEON];
    int8x16_t a[BLOCK_ROWS_NEON], b[BLOCK_QUADS_NEON];
    size_t i = 0;

    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        sum[row][quad] = vdupq_n_s32(0);
    for (; i + 4 <= n_units; i += 4, from += 4, words += 4 * FASTVLM_PANEL_COLUMNS) {
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++)
            a[row] = vreinterpretq_s8_u32(vld1q_u32(from + (size_t)row * lda));
        ADD_LANE(words, 0);
        ADD_LANE(words + FASTVLM_PANEL_COLUMNS, 1);
        ADD_LANE(words + 2 * FASTVLM_PANEL_COLUMNS, 2);
        ADD_LANE(words + 3 * FASTVLM_PANEL_COLUMNS, 3);
    }
    for (; i < n_units; i++, from++, words += FASTVLM_PANEL_COLUMNS) {
        UNROLL_NEON
        for (int row = 0; row < n_rows; row++)
            a[row] = vreinterpretq_s8_u32(vld1q_dup_u32(from + (size_t)row * lda));
        ADD_LANE(words, 0);
    }
    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        store_sums_neon(gemm, row0 + row, column, sum[row], n_quads, c + (size_t)row * ldc);
}

void fastvlm_gemm_int8_neon_dotprod(const FastvlmGemm *gemm)
{
    multiply_neon(gemm, multiply_int8, BLOCK_ROWS_NEON);
}
