/*
 * Packed matrix products with weights of 4 bits, AVX-512 VNNI.
 *
 * vpdpbusd takes nibbles for the unsigned bytes and the rows for the signed ones, so that sums can
 * start at the groups' offsets.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/x86/gemm_int4_avx512.h"

static BLOCK __m512i start_sum(const int32_t *offset)
{
    return _mm512_set1_epi32(*offset);
}

static BLOCK __m512i add_products(__m512i sum, __m512i nibbles, const int32_t *a)
{
    return _mm512_dpbusd_epi32(sum, nibbles, _mm512_set1_epi32(*a));
}

/** As assembly, since GCC 12 would broadcast `a` by an instruction of its own: a quarter more. */
static BLOCK __m512i add_products_once(__m512i sum, __m512i nibbles, const int32_t *a)
{
#ifdef FASTVLM_EMULATE
    sum = add_products(sum, nibbles, a);
#else
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(nibbles), "m"(*a));
#endif
    return sum;
}

static BLOCK __m512i end_sum(__m512i sum, const int32_t *offset)
{
    return sum;
}

void fastvlm_gemm_int4_avx512_vnni(const FastvlmGemm *gemm)
{
    multiply_int4_avx512(gemm, (Steps){start_sum, add_products, add_products_once, end_sum});
}
