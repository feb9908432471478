/*
 * Packed matrix products with weights of 4 bits, AVX-512 without products of bytes in 32 bits.
 *
 * vpmaddubsw adds two products in 16 bits, and a group's sums stay within them (gemm_int4.h).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/x86/gemm_int4_avx512.h"

static BLOCK __m512i start_sum(const int32_t *offset)
{
    return _mm512_setzero_si512();
}

/** As assembly, since GCC 12 copies and spills the sums otherwise: half speed. */
static BLOCK __m512i add_products(__m512i sum, __m512i nibbles, const int32_t *a)
{
    const __m512i unit = _mm512_set1_epi32(*a);
#ifdef FASTVLM_EMULATE
    sum = _mm512_add_epi16(sum, _mm512_maddubs_epi16(nibbles, unit));
#else
    __m512i products;

    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0"
            : "+v"(sum), "=&v"(products)
            : "v"(nibbles), "v"(unit));
#endif
    return sum;
}

static BLOCK __m512i end_sum(__m512i sum, const int32_t *offset)
{
    return _mm512_add_epi32(_mm512_madd_epi16(sum, _mm512_set1_epi32(0x00010001)),
                            _mm512_set1_epi32(*offset));
}

void fastvlm_gemm_int4_avx512(const FastvlmGemm *gemm)
{
    multiply_int4_avx512(gemm, (Steps){start_sum, add_products, add_products, end_sum});
}
