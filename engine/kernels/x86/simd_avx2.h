/*
 * AVX2 helpers: sums across lanes and exp.
 *
 * Everything is static inline, so that no tier ever calls code built for another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_SIMD_AVX2_H
#define FASTVLM_KERNELS_X86_SIMD_AVX2_H

#include <stddef.h>

#include "kernels/x86/intrinsics.h"

static inline float sum_avx2(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

static inline float max_avx2(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    s = _mm_max_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

/** All bits set in the first `n` of 8 lanes; a mask for maskload and maskstore. */
static inline __m256i tail_mask_avx2(size_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

/** Up to 8 floats, zeros behind them. Whole vectors go without a mask: see store_part_avx2(). */
static inline __m256 load_part_avx2(const float *from, size_t n)
{
    return n >= 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, tail_mask_avx2(n));
}

/** The first `n` of 8 lanes. A masked store takes some processors tens of steps, and loads wait for it. */
static inline void store_part_avx2(float *to, size_t n, __m256 v)
{
    if (n >= 8)
        _mm256_storeu_ps(to, v);
    else
        _mm256_maskstore_ps(to, tail_mask_avx2(n), v);
}

/** Stores 16 columns of a row, or the first `n` of them. */
static inline void store_row_avx2(float *c, size_t n, __m256 low, __m256 high)
{
    if (n >= 16) {
        _mm256_storeu_ps(c, low);
        _mm256_storeu_ps(c + 8, high);
        return;
    }
    _mm256_maskstore_ps(c, tail_mask_avx2(n), low);
    if (n > 8)
        _mm256_maskstore_ps(c + 8, tail_mask_avx2(n - 8), high);
}

/** The largest magnitude, by its bits, which order as magnitudes do with NaN above all. */
static inline float find_largest_avx2(const float *x, int n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i largest = _mm256_setzero_si256();
    __m128i half;
    int i = 0;

    for (; i + 8 <= n; i += 8)
        largest = _mm256_max_epi32(
            largest, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), magnitude));
    if (i < n)
        largest =
            _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(_mm256_maskload_ps(
                                                           x + i, tail_mask_avx2((size_t)(n - i)))),
                                                       magnitude));
    half = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(1, 0, 3, 2)));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(half));
}

/**
 * exp(x), within 2 ulp, for x clamped to [-87, 88]: x = k ln 2 + r with |r| <= ln 2 / 2, then
 * 2^k times Taylor's polynomial of degree 7 in r (its remainder is under 5e-9). ln 2 is split in two
 * (Cody and Waite), so that k ln 2 is exact where it matters.
 */
static inline __m256 exp_avx2(__m256 x)
{
    __m256 k, r, p;

    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0f)), _mm256_set1_ps(88.0f));
    k = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm256_fnmadd_ps(k, _mm256_set1_ps(0.693145752f), x);
    r = _mm256_fnmadd_ps(k, _mm256_set1_ps(1.42860677e-6f), r);
    p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_cvtps_epi32(k), 23)));
}

#endif
