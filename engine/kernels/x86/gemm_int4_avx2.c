/*
 * Packed matrix products with weights of 4 bits and the rounding of their rows, AVX2.
 *
 * vpmaddubsw adds two products in 16 bits, and a group's sums stay within them (gemm_int4.h): twice as
 * many multiply-adds an instruction as int8 has here.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "kernels/x86/gemm_int4_avx2.h"

static BLOCK __m256i start_sum(const int32_t *offset)
{
    return _mm256_setzero_si256();
}

static BLOCK __m256i add_products(__m256i sum, __m256i nibbles, __m256i a)
{
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(nibbles, a));
}

static BLOCK __m256i end_sum(__m256i sum, const int32_t *offset)
{
    return _mm256_add_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)),
                            _mm256_set1_epi32(*offset));
}

void fastvlm_gemm_int4_avx2(const FastvlmGemm *gemm)
{
    multiply_int4_avx2(gemm, (Steps){start_sum, add_products, end_sum});
}

/** x [n] * inverse, rounded, as a group of bytes; 0 behind them. n may be 0 or less. */
static BLOCK __m256i round_group(const float *x, int n, __m256 inverse)
{
    /* packs works in halves: dword 4 * i + j of its result is dword 2 * j + i of ours */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i rounded[4];

#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        const int n_left = n - 8 * j;
        const __m256 v =
            n_left >= 8
                ? _mm256_loadu_ps(x + 8 * j)
                : _mm256_maskload_ps(x + 8 * j, tail_mask_avx2((size_t)(n_left > 0 ? n_left : 0)));

        rounded[j] = _mm256_cvtps_epi32(_mm256_mul_ps(v, inverse));
    }
    return _mm256_permutevar8x32_epi32(
        _mm256_packs_epi16(_mm256_packs_epi32(rounded[0], rounded[1]),
                           _mm256_packs_epi32(rounded[2], rounded[3])),
        order);
}

/** -8 times the sum of a group's bytes. */
static BLOCK int32_t sum_group(__m256i bytes)
{
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(8), bytes);
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(-1));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));

    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(sum);
}

void fastvlm_round_rows_int4_avx2(const float *x, size_t ldx, int n_rows, int k, void *out,
                                  float *scale)
{
    const size_t row_bytes = FASTVLM_INT4_ROW_BYTES(k);

    for (int row = 0; row < n_rows; row++, x += ldx) {
        int8_t *to = (int8_t *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k);
        int32_t *offset = (int32_t *)(void *)(to + row_bytes);
        float inverse;

        scale[row] = fastvlm_int8_scale(find_largest_avx2(x, k), &inverse);
        if (!(inverse > 0.0f)) {
            memset(to, 0, row_bytes + row_bytes / FASTVLM_INT4_GROUP * sizeof *offset);
            continue;
        }
        for (int i = 0; i < (int)row_bytes; i += FASTVLM_INT4_GROUP) {
            const __m256i bytes = round_group(x + i, k - i, _mm256_set1_ps(inverse));

            _mm256_storeu_si256((__m256i *)(void *)(to + i), bytes);
            *offset++ = sum_group(bytes);
        }
    }
}
