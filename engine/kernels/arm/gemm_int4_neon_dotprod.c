/*
 * Packed matrix products with weights of 4 bits, NEON with the dot product of bytes (sdot).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/arm/gemm_int4_neon.h"

static BLOCK_NEON void start_sum(SumNeon *sum, int32_t offset)
{
    sum->whole = vdupq_n_s32(offset);
}

static BLOCK_NEON void add_products(SumNeon *sum, int8x16_t nibbles, int8x16_t a, int lane)
{
    sum->whole = lane == 0   ? vdotq_laneq_s32(sum->whole, nibbles, a, 0)
                 : lane == 1 ? vdotq_laneq_s32(sum->whole, nibbles, a, 1)
                 : lane == 2 ? vdotq_laneq_s32(sum->whole, nibbles, a, 2)
                             : vdotq_laneq_s32(sum->whole, nibbles, a, 3);
}

static BLOCK_NEON int32x4_t end_sum(const SumNeon *sum, int32_t offset)
{
    return sum->whole;
}

static BLOCK_NEON void multiply_int4(const FastvlmGemm *gemm, int row, int column, float *c,
                                     size_t ldc, int n_quads, int n_rows)
{
    multiply_int4_neon(gemm, row, column, c, ldc, (StepsNeon){start_sum, add_products, end_sum},
                       n_quads, n_rows);
}

/** Half the rows of int8: totals stand beside the sums. */
#define INT4_BLOCK_ROWS 4

void fastvlm_gemm_int4_neon_dotprod(const FastvlmGemm *gemm)
{
    multiply_neon(gemm, multiply_int4, INT4_BLOCK_ROWS);
}
