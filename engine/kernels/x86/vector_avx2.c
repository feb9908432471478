/*
 * The largest, dot product and the two norms, AVX2.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/largest.h"
#include "kernels/x86/simd_avx2.h"

float fastvlm_largest_f32_avx2(const float *x, size_t n)
{
    return find_largest(x, n);
}

float fastvlm_dot_f32_avx2(const float *a, const float *b, size_t n)
{
    __m256 sum0 = _mm256_setzero_ps();
    __m256 sum1 = _mm256_setzero_ps();
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        sum0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sum0);
        sum1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), sum1);
    }
    for (; i < n; i += 8) {
        const __m256i mask = tail_mask_avx2(n - i);

        sum0 =
            _mm256_fmadd_ps(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask), sum0);
    }
    return sum_avx2(_mm256_add_ps(sum0, sum1));
}

void fastvlm_rms_norm_f32_avx2(const float *x, const float *weight, float epsilon, float *out,
                               size_t n)
{
    const float mean = fastvlm_dot_f32_avx2(x, x, n) / (float)n;
    const float scale = 1.0f / sqrtf(mean + epsilon);

    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static float sum_of(const float *x, size_t n)
{
    __m256 sum = _mm256_setzero_ps();

    for (size_t i = 0; i < n; i += 8)
        sum = _mm256_add_ps(sum, n - i >= 8 ? _mm256_loadu_ps(x + i)
                                            : _mm256_maskload_ps(x + i, tail_mask_avx2(n - i)));
    return sum_avx2(sum);
}

void fastvlm_layer_norm_f32_avx2(const float *x, float epsilon, float *out, size_t n)
{
    const float mean = sum_of(x, n) / (float)n;
    float scale;

    for (size_t i = 0; i < n; i++)
        out[i] = x[i] - mean;
    scale = 1.0f / sqrtf(fastvlm_dot_f32_avx2(out, out, n) / (float)n + epsilon);
    for (size_t i = 0; i < n; i++)
        out[i] *= scale;
}
