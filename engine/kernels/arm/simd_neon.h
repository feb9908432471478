/*
 * NEON helpers: parts of a vector at a row's end, and exp.
 *
 * Everything is static inline, so that no tier ever calls code built for another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_ARM_SIMD_NEON_H
#define FASTVLM_KERNELS_ARM_SIMD_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <string.h>

/** The first `n` of 4 floats; 0 in the other lanes. */
static inline float32x4_t load_part_neon(const float *from, size_t n)
{
    float lanes[4] = {0};

    memcpy(lanes, from, n * sizeof *from);
    return vld1q_f32(lanes);
}

/** Stores the first `n` of 4 lanes. */
static inline void store_part_neon(float *to, size_t n, float32x4_t v)
{
    float lanes[4];

    vst1q_f32(lanes, v);
    memcpy(to, lanes, n * sizeof *to);
}

/**
 * exp(x), within 2 ulp, for x clamped to [-87, 88]: x = k ln 2 + r with |r| <= ln 2 / 2, then
 * 2^k times Taylor's polynomial of degree 7 in r (its remainder is under 5e-9). ln 2 is split in two
 * (Cody and Waite), so that k ln 2 is exact where it matters.
 */
static inline float32x4_t exp_neon(float32x4_t x)
{
    float32x4_t k, r, p;

    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-87.0f)), vdupq_n_f32(88.0f));
    k = vrndnq_f32(vmulq_f32(x, vdupq_n_f32(1.44269504f)));
    r = vfmsq_f32(x, k, vdupq_n_f32(0.693145752f));
    r = vfmsq_f32(r, k, vdupq_n_f32(1.42860677e-6f));
    p = vdupq_n_f32(1.0f / 5040);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 720), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 120), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 24), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 6), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    return vreinterpretq_f32_s32(
        vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(vcvtq_s32_f32(k), 23)));
}

#endif
