/*
 * Packed matrix products with weights of 4 bits, AVX-VNNI: vpdpbusd in 256 bits.
 *
 * It takes nibbles for the unsigned bytes and the rows for the signed ones, so that sums can start at
 * the groups' offsets.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/x86/gemm_int4_avx2.h"

static BLOCK __m256i start_sum(const int32_t *offset)
{
    return _mm256_set1_epi32(*offset);
}

static BLOCK __m256i add_products(__m256i sum, __m256i nibbles, __m256i a)
{
    return _mm256_dpbusd_avx_epi32(sum, nibbles, a);
}

static BLOCK __m256i end_sum(__m256i sum, const int32_t *offset)
{
    return sum;
}

void fastvlm_gemm_int4_avx_vnni(const FastvlmGemm *gemm)
{
    multiply_int4_avx2(gemm, (Steps){start_sum, add_products, end_sum});
}
