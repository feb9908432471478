/*
 * The largest, dot product and the two norms, NEON.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/largest.h"
#include "kernels/arm/simd_neon.h"

float fastvlm_largest_f32_neon(const float *x, size_t n)
{
    return find_largest(x, n);
}

float fastvlm_dot_f32_neon(const float *a, const float *b, size_t n)
{
    float32x4_t sum0 = vdupq_n_f32(0.0f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        sum0 = vfmaq_f32(sum0, vld1q_f32(a + i), vld1q_f32(b + i));
        sum1 = vfmaq_f32(sum1, vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
        sum2 = vfmaq_f32(sum2, vld1q_f32(a + i + 8), vld1q_f32(b + i + 8));
        sum3 = vfmaq_f32(sum3, vld1q_f32(a + i + 12), vld1q_f32(b + i + 12));
    }
    for (; i + 4 <= n; i += 4)
        sum0 = vfmaq_f32(sum0, vld1q_f32(a + i), vld1q_f32(b + i));
    if (i < n)
        sum1 = vfmaq_f32(sum1, load_part_neon(a + i, n - i), load_part_neon(b + i, n - i));
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum0, sum1), vaddq_f32(sum2, sum3)));
}

void fastvlm_rms_norm_f32_neon(const float *x, const float *weight, float epsilon, float *out,
                               size_t n)
{
    const float mean = fastvlm_dot_f32_neon(x, x, n) / (float)n;
    const float scale = 1.0f / sqrtf(mean + epsilon);

    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static float sum_of(const float *x, size_t n)
{
    float32x4_t sum0 = vdupq_n_f32(0.0f), sum1 = sum0;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        sum0 = vaddq_f32(sum0, vld1q_f32(x + i));
        sum1 = vaddq_f32(sum1, vld1q_f32(x + i + 4));
    }
    for (; i < n; i += 4)
        sum0 = vaddq_f32(sum0, n - i >= 4 ? vld1q_f32(x + i) : load_part_neon(x + i, n - i));
    return vaddvq_f32(vaddq_f32(sum0, sum1));
}

void fastvlm_layer_norm_f32_neon(const float *x, float epsilon, float *out, size_t n)
{
    const float mean = sum_of(x, n) / (float)n;
    float scale;

    for (size_t i = 0; i < n; i++)
        out[i] = x[i] - mean;
    scale = 1.0f / sqrtf(fastvlm_dot_f32_neon(out, out, n) / (float)n + epsilon);
    for (size_t i = 0; i < n; i++)
        out[i] *= scale;
}
