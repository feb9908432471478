/*
 * GELU, SiLU, softmax and its sum, AVX2.
 *
 * GELU by the tail of the normal distribution, which loses nothing to cancellation:
 *     t = 1 / (1 + |v| / 4);  tail = exp(-v^2 / 2) * P(t), P(t) ~ (1 - Phi(|v|)) exp(v^2 / 2)
 *     gelu(v) = max(v, 0) - |v| * tail
 * P is our own least-squares fit, reweighted to an even relative error of 5e-8 on 0 <= |v| <= 6
 * (tests hold gelu within 1e-6 of erfc's everywhere).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/finish.h"
#include "kernels/x86/simd_avx2.h"

static inline __m256 gelu(__m256 v)
{
    static const float p[8] = {0.00023298835f, 0.0957117383f, 0.12879614f,  -0.0219064599f,
                               0.356672593f,   -0.337620451f, 0.377202348f, -0.0990889209f};
    const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(magnitude, _mm256_set1_ps(0.25f), one));
    const __m256 gauss = exp_avx2(_mm256_mul_ps(_mm256_mul_ps(v, v), _mm256_set1_ps(-0.5f)));
    __m256 tail = _mm256_set1_ps(p[7]);

    for (int i = 6; i >= 0; i--)
        tail = _mm256_fmadd_ps(tail, t, _mm256_set1_ps(p[i]));
    tail = _mm256_mul_ps(tail, gauss);
    return _mm256_fnmadd_ps(magnitude, tail, _mm256_max_ps(v, _mm256_setzero_ps()));
}

void fastvlm_gelu_bias_f32_avx2(float *x, const float *bias, size_t n_rows, size_t n)
{
    const size_t n_whole = n & ~(size_t)7;
    const __m256i mask = tail_mask_avx2(n - n_whole);

    for (size_t row = 0; row < n_rows; row++, x += n) {
        for (size_t i = 0; i < n_whole; i += 8)
            _mm256_storeu_ps(
                x + i, gelu(_mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(bias + i))));
        if (n_whole < n) {
            const __m256 v = _mm256_maskload_ps(x + n_whole, mask);

            _mm256_maskstore_ps(x + n_whole, mask,
                                gelu(_mm256_add_ps(v, _mm256_maskload_ps(bias + n_whole, mask))));
        }
    }
}

/** The first `n` of 8 columns of all rows. */
static BLOCK void finish_columns(const FastvlmGemm *gemm, int row, int n_rows, int column, size_t n,
                                 FinishSteps steps)
{
    const FastvlmEpilogue *e = &gemm->epilogue;
    const size_t ldc = gemm->ldc, ldr = e->ldr;
    const float *residual = e->residual + (steps.has_residual ? (size_t)row * ldr + column : 0);
    const __m256 scale = e->scale ? load_part_avx2(e->scale + column, n) : _mm256_set1_ps(1.0f);
    const __m256 bias = e->bias ? load_part_avx2(e->bias + column, n) : _mm256_setzero_ps();
    float *c = gemm->c + (size_t)row * ldc + column;

    for (int i = 0; i < n_rows; i++, c += ldc) {
        __m256 v = _mm256_add_ps(_mm256_mul_ps(load_part_avx2(c, n), scale), bias);

        if (steps.has_gelu)
            v = gelu(v);
        if (steps.has_residual) {
            v = _mm256_add_ps(v, load_part_avx2(residual, n));
            residual += ldr;
        }
        store_part_avx2(c, n, v);
    }
}

static BLOCK void finish(const FastvlmGemm *gemm, int row, int n_rows, int column, int n_columns,
                         FinishSteps steps)
{
    for (; n_columns >= 8; n_columns -= 8, column += 8)
        finish_columns(gemm, row, n_rows, column, 8, steps);
    if (n_columns > 0)
        finish_columns(gemm, row, n_rows, column, (size_t)n_columns, steps);
}

void fastvlm_finish_f32_avx2(const FastvlmGemm *gemm, int row, int n_rows, int column,
                             int n_columns)
{
    finish_by_steps(gemm, row, n_rows, column, n_columns, finish);
}

static inline __m256 silu_mul(__m256 gate, __m256 up)
{
    const __m256 e = exp_avx2(_mm256_sub_ps(_mm256_setzero_ps(), gate));

    return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(_mm256_set1_ps(1.0f), e)), up);
}

void fastvlm_silu_mul_f32_avx2(const float *gate, const float *up, float *out, size_t n)
{
    const size_t n_whole = n & ~(size_t)7;

    for (size_t i = 0; i < n_whole; i += 8)
        _mm256_storeu_ps(out + i, silu_mul(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (n_whole < n) {
        const __m256i mask = tail_mask_avx2(n - n_whole);

        _mm256_maskstore_ps(out + n_whole, mask,
                            silu_mul(_mm256_maskload_ps(gate + n_whole, mask),
                                     _mm256_maskload_ps(up + n_whole, mask)));
    }
}

static float find_max(const float *x, size_t n)
{
    __m256 max = _mm256_set1_ps(x[0]);
    size_t i = 0;
    float result;

    for (; i + 8 <= n; i += 8)
        max = _mm256_max_ps(max, _mm256_loadu_ps(x + i));
    result = max_avx2(max);
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

void fastvlm_softmax_f32_avx2(float *x, size_t n)
{
    const size_t n_whole = n & ~(size_t)7;
    const __m256i mask = tail_mask_avx2(n - n_whole);
    const __m256 max = _mm256_set1_ps(find_max(x, n));
    __m256 sum = _mm256_setzero_ps();
    __m256 scale;

    for (size_t i = 0; i < n_whole; i += 8) {
        const __m256 e = exp_avx2(_mm256_sub_ps(_mm256_loadu_ps(x + i), max));

        sum = _mm256_add_ps(sum, e);
        _mm256_storeu_ps(x + i, e);
    }
    if (n_whole < n) {
        __m256 e = exp_avx2(_mm256_sub_ps(_mm256_maskload_ps(x + n_whole, mask), max));

        e = _mm256_and_ps(e, _mm256_castsi256_ps(mask));
        sum = _mm256_add_ps(sum, e);
        _mm256_maskstore_ps(x + n_whole, mask, e);
    }
    scale = _mm256_set1_ps(1.0f / sum_avx2(sum));
    for (size_t i = 0; i < n_whole; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), scale));
    if (n_whole < n)
        _mm256_maskstore_ps(x + n_whole, mask,
                            _mm256_mul_ps(_mm256_maskload_ps(x + n_whole, mask), scale));
}

float fastvlm_sum_exp_f32_avx2(const float *x, float max, size_t n)
{
    const size_t n_whole = n & ~(size_t)7;
    const __m256i mask = tail_mask_avx2(n - n_whole);
    const __m256 v = _mm256_set1_ps(max);
    __m256 sum = _mm256_setzero_ps();

    for (size_t i = 0; i < n_whole; i += 8)
        sum = _mm256_add_ps(sum, exp_avx2(_mm256_sub_ps(_mm256_loadu_ps(x + i), v)));
    if (n_whole < n) {
        const __m256 e = exp_avx2(_mm256_sub_ps(_mm256_maskload_ps(x + n_whole, mask), v));

        sum = _mm256_add_ps(sum, _mm256_and_ps(e, _mm256_castsi256_ps(mask)));
    }
    return sum_avx2(sum);
}
