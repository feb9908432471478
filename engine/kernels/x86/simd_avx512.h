/*
 * AVX-512 helpers: masks and exp.
 *
 * Everything is static inline, so that no tier ever calls code built for another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_SIMD_AVX512_H
#define FASTVLM_KERNELS_X86_SIMD_AVX512_H

#include <stddef.h>

#include "kernels/x86/intrinsics.h"

/** The first `n` of 16 lanes, all of them where n is more. */
static inline __mmask16 tail_mask_avx512(size_t n)
{
    return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1u);
}

/** Up to 16 floats, zeros behind them. Whole vectors go without a mask: see store_part_avx512(). */
static inline __m512 load_part_avx512(const float *from, size_t n)
{
    return n >= 16 ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(tail_mask_avx512(n), from);
}

/** The first `n` of 16 lanes. A masked store is not forwarded to the loads behind it, which then wait. */
static inline void store_part_avx512(float *to, size_t n, __m512 v)
{
    if (n >= 16)
        _mm512_storeu_ps(to, v);
    else
        _mm512_mask_storeu_ps(to, tail_mask_avx512(n), v);
}

/**
 * exp(x), within 2 ulp, for x clamped to [-87, 88]: x = k ln 2 / 16 + r with |r| <= ln 2 / 32, then
 * 2^(k / 16) times Taylor's polynomial of degree 3 in r (its remainder is under 1e-8). The fraction of
 * k / 16 is looked up, its whole part goes to the exponent. ln 2 / 16 is split in two (Cody and Waite),
 * so that its multiples are exact where it matters.
 */
static inline __m512 exp_avx512(__m512 x)
{
    /* 2^(i / 16) */
    static const float powers[16] = {1.0f,        1.04427378f, 1.09050773f, 1.13878863f,
                                     1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                                     1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f,
                                     1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
    /* 1.5 * 2^23 more leaves k in the low bits, of which a permutation takes four */
    const __m512 shift = _mm512_set1_ps(0x1.8p23f);
    __m512 shifted, k, r, p, power;
    __m512i whole;

    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(88.0f));
    shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(23.0831203f), shift);
    k = _mm512_sub_ps(shifted, shift);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693145752f / 16), x);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(1.42860677e-6f / 16), r);
    p = _mm512_fmadd_ps(_mm512_set1_ps(1.0f / 6), r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    power = _mm512_permutexvar_ps(_mm512_castps_si512(shifted), _mm512_loadu_ps(powers));
    whole = _mm512_slli_epi32(_mm512_srli_epi32(_mm512_castps_si512(shifted), 4), 23);
    power = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(power), whole));
    return _mm512_mul_ps(p, power);
}

#endif
