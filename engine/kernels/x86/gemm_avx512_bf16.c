/*
 * Packed bf16 matrix products, AVX-512 BF16.
 *
 * vdpbf16ps adds the products of two pairs of bf16 to a f32; it takes denormals for 0. Rounded rows
 * are bf16, 0 behind the last.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/gemm_avx512.h"

static BLOCK __m512i start_bf16(const FastvlmGemm *gemm, int column)
{
    return _mm512_setzero_si512();
}

/** As assembly, since GCC 12 copies and spills the sums otherwise: half speed. */
static BLOCK __m512i add_bf16(__m512i sum, const uint32_t *a, __m512i b)
{
    const __m512i pair = _mm512_set1_epi32((int)*a);

#ifdef FASTVLM_EMULATE
    sum = _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), pair, b));
#else
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(pair), "v"(b));
#endif
    return sum;
}

static BLOCK __m512 finish_bf16(const Result *result, __m512i sum, int row, int panel)
{
    return _mm512_castsi512_ps(sum);
}

void fastvlm_gemm_bf16_avx512_bf16(const FastvlmGemm *gemm)
{
    multiply_avx512(gemm, FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(uint32_t), 1,
                    FASTVLM_UNITS_BF16(gemm->k), start_bf16, add_bf16, finish_bf16);
}

void fastvlm_round_rows_bf16_avx512_bf16(const float *x, size_t ldx, int n_rows, int k, void *out)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        char *to = (char *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k);

        for (int i = 0; i < k; i += 16) { /* there is room for a multiple of 16 */
            const __m512 v = _mm512_maskz_loadu_ps(tail_mask_avx512((size_t)(k - i)), x + i);

            _mm256_storeu_si256((__m256i *)(void *)(to + 2 * i), (__m256i)_mm512_cvtneps_pbh(v));
        }
    }
}
