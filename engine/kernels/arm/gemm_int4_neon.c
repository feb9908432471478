/*
 * Packed matrix products with weights of 4 bits and the rounding of their rows, NEON as every 64-bit
 * ARM processor has it.
 *
 * A group's 8 products of a lane fit 16 bits (8 * 15 * 127 < 2^15), so that widening multiply-adds run
 * through a group and pairs are added at its end.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/arm/gemm_int4_neon.h"

/** Rows of a block: their sums take twice the registers. */
#define INT4_BLOCK_ROWS 4

static BLOCK_NEON void start_sum(SumNeon *sum, int32_t offset)
{
    sum->low = sum->high = vdupq_n_s16(0);
}

static BLOCK_NEON void add_products(SumNeon *sum, int8x16_t nibbles, int8x16_t a, int lane)
{
    const int32x4_t units = vreinterpretq_s32_s8(a);
    const int8x8_t unit = vreinterpret_s8_s32(lane == 0   ? vdup_laneq_s32(units, 0)
                                              : lane == 1 ? vdup_laneq_s32(units, 1)
                                              : lane == 2 ? vdup_laneq_s32(units, 2)
                                                          : vdup_laneq_s32(units, 3));

    sum->low = vmlal_s8(sum->low, vget_low_s8(nibbles), unit);
    sum->high = vmlal_s8(sum->high, vget_high_s8(nibbles), unit);
}

static BLOCK_NEON int32x4_t end_sum(const SumNeon *sum, int32_t offset)
{
    return vaddq_s32(vpaddq_s32(vpaddlq_s16(sum->low), vpaddlq_s16(sum->high)),
                     vdupq_n_s32(offset));
}

static BLOCK_NEON void multiply_int4(const FastvlmGemm *gemm, int row, int column, float *c,
                                     size_t ldc, int n_quads, int n_rows)
{
    multiply_int4_neon(gemm, row, column, c, ldc, (StepsNeon){start_sum, add_products, end_sum},
                       n_quads, n_rows);
}

void fastvlm_gemm_int4_neon(const FastvlmGemm *gemm)
{
    multiply_neon(gemm, multiply_int4, INT4_BLOCK_ROWS);
}

/** -8 times the sum of a group. */
static int32_t sum_group(const int8_t *group)
{
    return -8 * (vaddlvq_s8(vld1q_s8(group)) + vaddlvq_s8(vld1q_s8(group + 16)));
}

void fastvlm_round_rows_int4_neon(const float *x, size_t ldx, int n_rows, int k, void *out,
                                  float *scale)
{
    const size_t n_bytes = FASTVLM_INT4_ROW_BYTES(k);

    fastvlm_round_rows_int8_neon(x, ldx, n_rows, k, out, scale);
    for (int row = 0; row < n_rows; row++) {
        int8_t *to = (int8_t *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k);
        int32_t *offset = (int32_t *)(void *)(to + n_bytes);

        memset(to + k, 0, n_bytes - (size_t)k);
        for (size_t i = 0; i < n_bytes; i += FASTVLM_INT4_GROUP)
            *offset++ = sum_group(to + i);
    }
}
