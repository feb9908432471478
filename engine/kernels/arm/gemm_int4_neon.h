/*
 * Packed matrix products with weights of 4 bits: a template for the NEON tiers.
 *
 * A word of nibbles is widened once for all rows of a block: bytes of its low bits are one unit of k,
 * those of its high bits another, and of a group's 8 units a row is loaded four at a time.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_ARM_GEMM_INT4_NEON_H
#define FASTVLM_KERNELS_ARM_GEMM_INT4_NEON_H

#include "kernels/arm/gemm_neon.h"

/** The sum of a group and 4 columns; what its halves are, the tier decides. */
typedef struct {
    int32x4_t whole; /* of 4 columns */
    int16x8_t low;   /* of columns 0 0 0 0 1 1 1 1 */
    int16x8_t high;  /* of columns 2 2 2 2 3 3 3 3 */
} SumNeon;

/** A sum at its beginning, += the product of unit `lane` of `a` and nibbles, and at its end. */
typedef void (*StartNeon)(SumNeon *sum, int32_t offset);
typedef void (*AddNeon)(SumNeon *sum, int8x16_t nibbles, int8x16_t a, int lane);
typedef int32x4_t (*EndNeon)(const SumNeon *sum, int32_t offset);

typedef struct {
    StartNeon start;
    AddNeon add;
    EndNeon end;
} StepsNeon;

/** total [n_rows][n_quads] += a group's sums * scale [n_quads]. */
static BLOCK_NEON void multiply_group_neon(const int8_t *a, const int32_t *offset, size_t lda,
                                           const uint32_t *b, const float32x4_t *scale,
                                           float32x4_t total[][BLOCK_QUADS_NEON], StepsNeon steps,
                                           int n_quads, int n_rows)
{
    SumNeon sum[BLOCK_ROWS_NEON][BLOCK_QUADS_NEON];

    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        steps.start(&sum[row][quad], offset[(size_t)row * lda / sizeof(int32_t)]);
    UNROLL_NEON
    for (int unit = 0; unit < 4; unit++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++) {
        const uint8x16_t words = vreinterpretq_u8_u32(vld1q_u32(b + 16 * unit + 4 * quad));
        const int8x16_t first = vreinterpretq_s8_u8(vandq_u8(words, vdupq_n_u8(15)));
        const int8x16_t second = vreinterpretq_s8_u8(vshrq_n_u8(words, 4));

        UNROLL_NEON
        for (int row = 0; row < n_rows; row++) {
            const int8_t *from = a + (size_t)row * lda;

            steps.add(&sum[row][quad], first, vld1q_s8(from), unit);
            steps.add(&sum[row][quad], second, vld1q_s8(from + 16), unit);
        }
    }
    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        total[row][quad] = vfmaq_f32(
            total[row][quad],
            vcvtq_f32_s32(steps.end(&sum[row][quad], offset[(size_t)row * lda / sizeof(int32_t)])),
            scale[quad]);
}

/** As MultiplyBlockNeon has it. */
static BLOCK_NEON void multiply_int4_neon(const FastvlmGemm *gemm, int row0, int column, float *c,
                                          size_t ldc, StepsNeon steps, int n_quads, int n_rows)
{
    const size_t n_blocks = FASTVLM_INT4_BLOCKS(gemm->k);
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k);
    const int8_t *a = (const int8_t *)gemm->a + (size_t)row0 * lda;
    const int32_t *offset = (const int32_t *)(const void *)(a + FASTVLM_INT4_ROW_BYTES(gemm->k));
    const uint32_t *b = find_words_neon(gemm, column, FASTVLM_UNITS_INT4(gemm->k));
    float32x4_t total[BLOCK_ROWS_NEON][BLOCK_QUADS_NEON];

    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        total[row][quad] = vdupq_n_f32(0.0f);
    for (size_t block = 0; block < n_blocks; block++) {
        float32x4_t scale[2][BLOCK_QUADS_NEON];

        UNROLL_NEON
        for (int quad = 0; quad < n_quads; quad++) {
            const uint32x4_t both = vld1q_u32(b + 4 * quad);

            scale[0][quad] = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
            scale[1][quad] = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000u)));
        }
        UNROLL_NEON
        for (int g = 0; g < 2; g++)
            multiply_group_neon(a + FASTVLM_INT4_GROUP * g, offset + g, lda, b + 16 + 64 * g,
                                scale[g], total, steps, n_quads, n_rows);
        a += FASTVLM_INT4_BLOCK;
        offset += 2;
        b += FASTVLM_INT4_WORDS * FASTVLM_PANEL_COLUMNS;
    }
    UNROLL_NEON
    for (int row = 0; row < n_rows; row++)
        UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        vst1q_f32(c + (size_t)row * ldc + 4 * quad,
                  vmulq_n_f32(total[row][quad], gemm->scale_a[row0 + row]));
}

#endif
