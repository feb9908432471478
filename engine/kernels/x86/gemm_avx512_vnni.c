/*
 * Packed int8 matrix products, AVX-512 VNNI.
 *
 * vpdpbusd multiplies unsigned bytes by signed ones and adds four products to a sum of 32 bits. So
 * rounded rows are u8 = integer + 128, and the sums start at -128 times the sum of the column.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/gemm_avx512.h"

static BLOCK __m512i start_int8(const FastvlmGemm *gemm, int column)
{
    return _mm512_sub_epi32(_mm512_setzero_si512(),
                            _mm512_loadu_si512((const void *)(gemm->offset_b + column)));
}

static BLOCK __m512i add_int8(__m512i sum, const uint32_t *a, __m512i b)
{
    return _mm512_dpbusd_epi32(sum, _mm512_set1_epi32((int)*a), b);
}

static BLOCK __m512 finish_int8(const Result *result, __m512i sum, int row, int panel)
{
    return _mm512_mul_ps(
        _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(result->scale_a[row])),
        result->scale_b[panel]);
}

void fastvlm_gemm_int8_avx512_vnni(const FastvlmGemm *gemm)
{
    multiply_avx512(gemm, FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(uint32_t), 1,
                    FASTVLM_UNITS_INT8(gemm->k), start_int8, add_int8, finish_int8);
}

/** The largest magnitude, by its bits, which order as magnitudes do with NaN above all. */
static float find_largest(const float *x, int k)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i largest[4];
    int32_t bits;
    float result;
    int i = 0;

    for (int j = 0; j < 4; j++)
        largest[j] = _mm512_setzero_si512();
    for (; i + 64 <= k; i += 64)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            largest[j] = _mm512_max_epi32(
                largest[j],
                _mm512_and_si512(_mm512_loadu_si512((const void *)(x + i + 16 * j)), magnitude));
    for (; i < k; i += 16)
        largest[0] = _mm512_max_epi32(
            largest[0], _mm512_and_si512(_mm512_castps_si512(_mm512_maskz_loadu_ps(
                                             tail_mask_avx512((size_t)(k - i)), x + i)),
                                         magnitude));
    bits = _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_max_epi32(largest[0], largest[1]),
                                                    _mm512_max_epi32(largest[2], largest[3])));
    memcpy(&result, &bits, sizeof result);
    return result;
}

/** x [k] * inverse, rounded, + 128, in bytes; behind them up to a whole 64 bytes is 128. */
static void round_row(const float *x, int k, float inverse, uint8_t *to)
{
    /* packs works in lanes of 128 bits: dword 4 * i + j of its result is dword 4 * j + i of ours */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512 factor = _mm512_set1_ps(inverse);

    for (int i = 0; i < k; i += 64) {
        __m512i rounded[4];
        __m512i bytes;

#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const int first = i + 16 * j;
            const __m512 v =
                first + 16 <= k
                    ? _mm512_loadu_ps(x + first)
                    : _mm512_maskz_loadu_ps(tail_mask_avx512(first < k ? (size_t)(k - first) : 0),
                                            x + first);

            rounded[j] = _mm512_cvtps_epi32(_mm512_mul_ps(v, factor));
        }
        bytes = _mm512_packs_epi16(_mm512_packs_epi32(rounded[0], rounded[1]),
                                   _mm512_packs_epi32(rounded[2], rounded[3]));
        bytes = _mm512_xor_si512(_mm512_permutexvar_epi32(order, bytes),
                                 _mm512_set1_epi32((int)0x80808080u));
        _mm512_storeu_si512((void *)(to + i), bytes);
    }
}

void fastvlm_round_rows_int8_avx512_vnni(const float *x, size_t ldx, int n_rows, int k, void *out,
                                         float *scale)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        uint8_t *to = (uint8_t *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k);
        float inverse;

        scale[row] = fastvlm_int8_scale(find_largest(x, k), &inverse);
        if (inverse > 0.0f)
            round_row(x, k, inverse, to);
        else
            memset(to, 128, FASTVLM_UNITS_INT8(k) * 4);
    }
}
