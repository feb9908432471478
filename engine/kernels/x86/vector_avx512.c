/*
 * Dot product and the two norms, AVX-512.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/x86/simd_avx512.h"

float fastvlm_dot_f32_avx512(const float *a, const float *b, size_t n)
{
    __m512 sum0 = _mm512_setzero_ps();
    __m512 sum1 = _mm512_setzero_ps();
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        sum0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), sum0);
        sum1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), sum1);
    }
    for (; i < n; i += 16) {
        const __mmask16 mask = tail_mask_avx512(n - i);

        sum0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i),
                               _mm512_maskz_loadu_ps(mask, b + i), sum0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
}

void fastvlm_rms_norm_f32_avx512(const float *x, const float *weight, float epsilon, float *out,
                                 size_t n)
{
    const float mean = fastvlm_dot_f32_avx512(x, x, n) / (float)n;
    const __m512 scale = _mm512_set1_ps(1.0f / sqrtf(mean + epsilon));

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = tail_mask_avx512(n - i);

        _mm512_mask_storeu_ps(
            out + i, mask,
            _mm512_mul_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scale),
                          _mm512_maskz_loadu_ps(mask, weight + i)));
    }
}

static float sum_of(const float *x, size_t n)
{
    __m512 sum = _mm512_setzero_ps();

    for (size_t i = 0; i < n; i += 16)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(tail_mask_avx512(n - i), x + i));
    return _mm512_reduce_add_ps(sum);
}

void fastvlm_layer_norm_f32_avx512(const float *x, float epsilon, float *out, size_t n)
{
    const __m512 mean = _mm512_set1_ps(sum_of(x, n) / (float)n);
    __m512 scale;

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = tail_mask_avx512(n - i);

        _mm512_mask_storeu_ps(out + i, mask,
                              _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), mean));
    }
    scale = _mm512_set1_ps(1.0f / sqrtf(fastvlm_dot_f32_avx512(out, out, n) / (float)n + epsilon));
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = tail_mask_avx512(n - i);

        _mm512_mask_storeu_ps(out + i, mask,
                              _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, out + i), scale));
    }
}
