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
 * exp(x), within 2 ulp, for x clamped to [-87, 88]: x = k ln 2 + r with |r| <= ln 2 / 2, then
 * 2^k times Taylor's polynomial of degree 7 in r (its remainder is under 5e-9). ln 2 is split in two
 * (Cody and Waite), so that k ln 2 is exact where it matters.
 */
static inline __m512 exp_avx512(__m512 x)
{
    __m512 k, r, p;

    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(88.0f));
    k = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693145752f), x);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(1.42860677e-6f), r);
    p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, k);
}

#endif
