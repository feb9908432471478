/*
 * GELU, SiLU, softmax and its sum, AVX2.
 *
 * GELU by the tail of the normal distribution, which loses nothing to cancellation, from a table:
 *     r(a) = a (1 - Phi(a)), a = |v|;  gelu(v) = max(v, 0) - r(a)
 *     i = 0 .. 7 is what 1.44 a rounds to;  r ~ a polynomial of degree 5 in a - 2 for each i
 * One permutation looks a coefficient up for 8 values. The polynomials are our own fits (Lawson's, with
 * coefficients rounded one after the other), within 4e-7 as they are computed: in a itself rounding would
 * double that. That of i = 0 is 0 at 0. Beyond 5.2 r stays at 3e-7.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/finish.h"
#include "kernels/x86/simd_avx2.h"

#define GELU_DEGREE 5
#define GELU_END 5.2f
#define GELU_STEPS_PER_UNIT 1.44038462f /* 7.49 to the end, so that the last one is whole */

/* [power][piece] */
static const float gelu_table[GELU_DEGREE + 1][8] = {
    {0.20529753f, 0.0284698065f, 0.045346152f, 0.0455002747f, 0.0457525849f, 0.0481872745f,
     0.0361581296f, 0.0127659151f},
    {0.349666029f, -0.17174381f, -0.0870167464f, -0.0852327272f, -0.0874499679f, -0.0991862938f,
     -0.0674496964f, -0.019975543f},
    {0.488072544f, -0.127861038f, 0.045866508f, 0.053989619f, 0.0619476475f, 0.0849548206f,
     0.0512951091f, 0.0125936298f},
    {0.16367729f, -0.200671345f, -0.0183902904f, 4.84652155e-05f, -0.014882138f, -0.0377795957f,
     -0.0198347941f, -0.00399514334f},
    {-0.0291997716f, -0.137122482f, -0.0391294509f, -0.0179987475f, -0.00284593273f, 0.00870167837f,
     0.00389143429f, 0.000637228659f},
    {-0.00994872022f, -0.0227538869f, -0.00116203446f, 0.00841639377f, 0.00152753235f,
     -0.000828061195f, -0.000309284078f, -4.08533197e-05f},
};

static BLOCK __m256 look_up(int power, __m256i i)
{
    return _mm256_permutevar8x32_ps(_mm256_loadu_ps(gelu_table[power]), i);
}

static BLOCK __m256 gelu(__m256 v)
{
    /* min and max give their second operand where one is NaN: v stays NaN */
    const __m256 a =
        _mm256_min_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), v), _mm256_set1_ps(GELU_END));
    const __m256 b = _mm256_sub_ps(a, _mm256_set1_ps(2.0f));
    /* 1.5 * 2^23 more leaves the integer in the low bits, of which a permutation takes three */
    const __m256i i = _mm256_castps_si256(
        _mm256_fmadd_ps(a, _mm256_set1_ps(GELU_STEPS_PER_UNIT), _mm256_set1_ps(0x1.8p23f)));
    __m256 r = look_up(GELU_DEGREE, i);

#pragma GCC unroll 5
    for (int j = GELU_DEGREE - 1; j >= 0; j--)
        r = _mm256_fmadd_ps(r, b, look_up(j, i));
    return _mm256_sub_ps(_mm256_max_ps(_mm256_setzero_ps(), v), r);
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
    const __m256 scale =
        steps.has_scale ? load_part_avx2(e->scale + column, n) : _mm256_setzero_ps();
    const __m256 bias = e->bias ? load_part_avx2(e->bias + column, n) : _mm256_setzero_ps();
    float *c = gemm->c + (size_t)row * ldc + column;

    for (int i = 0; i < n_rows; i++, c += ldc) {
        __m256 v = load_part_avx2(c, n);

        if (steps.has_scale)
            v = _mm256_mul_ps(v, scale);
        v = _mm256_add_ps(v, bias);
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
