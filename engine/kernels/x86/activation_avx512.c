/*
 * GELU, SiLU, softmax and its sum, AVX-512.
 *
 * GELU by the tail of the normal distribution, which loses nothing to cancellation, from a table:
 *     r(a) = a (1 - Phi(a)), a = |v|;  gelu(v) = max(v, 0) - r(a)
 *     a * 8 / 3 = i + d, i = 0 .. 15, |d| <= 1/2;  r ~ a polynomial of degree 5 in d for each i
 * One permutation looks a coefficient up for 16 values, and there is neither exp nor division. The
 * polynomials are our own fits at Chebyshev's nodes, within 2e-8; beyond 5.625 r stays at 5e-8.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/finish.h"
#include "kernels/x86/simd_avx512.h"

#define GELU_DEGREE 5
#define GELU_STEPS_PER_UNIT 2.66666675f /* float(8 / 3) */
#define GELU_END 5.625f                 /* 15 steps */

static const float gelu_table[GELU_DEGREE + 1][16] = {
    {0.0f, 0.132686332f, 0.169970512f, 0.146581337f, 0.100210808f, 0.056993179f, 0.0275050607f,
     0.0113726743f, 0.00404969323f, 0.00124563964f, 0.000331565039f, 7.64642173e-05f,
     1.52896118e-05f, 2.65223525e-06f, 3.99268458e-07f, 5.21758992e-08f},
    {0.1875f, 0.0803942233f, 0.000290359283f, -0.0405250154f, -0.0478009507f, -0.0369667187f,
     -0.022196155f, -0.0109006977f, -0.00447961688f, -0.00155894889f, -0.000462681171f,
     -0.000117634772f, -2.56984731e-05f, -4.83420899e-06f, -7.84279734e-07f, -1.09864779e-07f},
    {-0.0561010912f, -0.0486147739f, -0.0304374658f, -0.0109410631f, 0.0022762008f, 0.00733030681f,
     0.0068347347f, 0.00437566126f, 0.00218137656f, 0.000885518442f, 0.000299037143f,
     8.50209981e-05f, 2.05043798e-05f, 4.21557706e-06f, 7.41458962e-07f, 1.1185589e-07f},
    {-2.66241113e-06f, 0.0047298735f, 0.00682340609f, 0.00572841754f, 0.00298822229f,
     0.000549150689f, -0.000666870154f, -0.00084859808f, -0.000584297581f, -0.000294021389f,
     -0.000116939402f, -3.80039601e-05f, -1.02715412e-05f, -2.33343326e-06f, -4.4868176e-07f,
     -7.33801997e-08f},
    {0.00132982573f, 0.000924066466f, 9.65249346e-05f, -0.000561704801f, -0.000708605978f,
     -0.000466872443f, -0.000153740664f, 3.22145243e-05f, 7.95273154e-05f, 5.9614722e-05f,
     3.01766067e-05f, 1.17085128e-05f, 3.6504216e-06f, 9.36292281e-07f, 2.00295034e-07f,
     3.60547965e-08f},
    {-3.43410575e-05f, -0.000140645556f, -0.000168022249f, -8.35000319e-05f, 1.95825814e-05f,
     6.56017874e-05f, 5.30352008e-05f, 2.14283737e-05f, 1.65584382e-07f, -6.20285073e-06f,
     -4.98092641e-06f, -2.48286324e-06f, -9.22302434e-07f, -2.71238321e-07f, -6.49929959e-08f,
     -1.28981315e-08f},
};

typedef struct {
    __m512 coefficients[GELU_DEGREE + 1];
} GeluTable;

static BLOCK GeluTable load_gelu_table(void)
{
    GeluTable table;

#pragma GCC unroll 6
    for (int i = 0; i <= GELU_DEGREE; i++)
        table.coefficients[i] = _mm512_loadu_ps(gelu_table[i]);
    return table;
}

static BLOCK __m512 gelu(__m512 v, const GeluTable *table)
{
    const __m512 zero = _mm512_setzero_ps();
    const __m512 steps = _mm512_set1_ps(GELU_STEPS_PER_UNIT);
    /* min gives its second operand where one is NaN, max too: v stays NaN */
    const __m512 a = _mm512_min_ps(_mm512_castsi512_ps(_mm512_and_si512(
                                       _mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff))),
                                   _mm512_set1_ps(GELU_END));
    /* 1.5 * 2^23 more leaves the integer in the low bits, of which a permutation takes four */
    const __m512 shifted = _mm512_fmadd_ps(a, steps, _mm512_set1_ps(0x1.8p23f));
    const __m512 d = _mm512_fmsub_ps(a, steps, _mm512_sub_ps(shifted, _mm512_set1_ps(0x1.8p23f)));
    const __m512i i = _mm512_castps_si512(shifted);
    __m512 r = _mm512_permutexvar_ps(i, table->coefficients[GELU_DEGREE]);

#pragma GCC unroll 6
    for (int j = GELU_DEGREE - 1; j >= 0; j--)
        r = _mm512_fmadd_ps(r, d, _mm512_permutexvar_ps(i, table->coefficients[j]));
    return _mm512_sub_ps(_mm512_max_ps(zero, v), r);
}

void fastvlm_gelu_bias_f32_avx512(float *x, const float *bias, size_t n_rows, size_t n)
{
    const GeluTable table = load_gelu_table();
    const size_t n_whole = n & ~(size_t)15;
    const __mmask16 mask = tail_mask_avx512(n - n_whole);

    for (size_t row = 0; row < n_rows; row++, x += n) {
        for (size_t i = 0; i < n_whole; i += 16)
            _mm512_storeu_ps(
                x + i,
                gelu(_mm512_add_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(bias + i)), &table));
        if (n_whole < n) {
            const __m512 v = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, x + n_whole),
                                           _mm512_maskz_loadu_ps(mask, bias + n_whole));

            _mm512_mask_storeu_ps(x + n_whole, mask, gelu(v, &table));
        }
    }
}

/** The first `n` of 16 columns of all rows. */
static BLOCK void finish_columns(const FastvlmGemm *gemm, int row, int n_rows, int column, size_t n,
                                 const GeluTable *table, FinishSteps steps)
{
    const FastvlmEpilogue *e = &gemm->epilogue;
    const size_t ldc = gemm->ldc, ldr = e->ldr;
    const float *residual = e->residual + (steps.has_residual ? (size_t)row * ldr + column : 0);
    const __m512 scale = e->scale ? load_part_avx512(e->scale + column, n) : _mm512_set1_ps(1.0f);
    const __m512 bias = e->bias ? load_part_avx512(e->bias + column, n) : _mm512_setzero_ps();
    float *c = gemm->c + (size_t)row * ldc + column;

    for (int i = 0; i < n_rows; i++, c += ldc) {
        __m512 v = _mm512_add_ps(_mm512_mul_ps(load_part_avx512(c, n), scale), bias);

        if (steps.has_gelu)
            v = gelu(v, table);
        if (steps.has_residual) {
            v = _mm512_add_ps(v, load_part_avx512(residual, n));
            residual += ldr;
        }
        store_part_avx512(c, n, v);
    }
}

static BLOCK void finish(const FastvlmGemm *gemm, int row, int n_rows, int column, int n_columns,
                         FinishSteps steps)
{
    const GeluTable table = load_gelu_table();

    for (; n_columns >= 16; n_columns -= 16, column += 16)
        finish_columns(gemm, row, n_rows, column, 16, &table, steps);
    if (n_columns > 0)
        finish_columns(gemm, row, n_rows, column, (size_t)n_columns, &table, steps);
}

void fastvlm_finish_f32_avx512(const FastvlmGemm *gemm, int row, int n_rows, int column,
                               int n_columns)
{
    finish_by_steps(gemm, row, n_rows, column, n_columns, finish);
}

static BLOCK __m512 silu_mul(__m512 gate, __m512 up)
{
    const __m512 e = exp_avx512(_mm512_sub_ps(_mm512_setzero_ps(), gate));

    return _mm512_mul_ps(_mm512_div_ps(gate, _mm512_add_ps(_mm512_set1_ps(1.0f), e)), up);
}

void fastvlm_silu_mul_f32_avx512(const float *gate, const float *up, float *out, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        store_part_avx512(
            out + i, n - i,
            silu_mul(load_part_avx512(gate + i, n - i), load_part_avx512(up + i, n - i)));
}

static float find_max(const float *x, size_t n)
{
    __m512 max = _mm512_set1_ps(x[0]);
    size_t i = 0;
    float result;

    for (; i + 16 <= n; i += 16)
        max = _mm512_max_ps(max, _mm512_loadu_ps(x + i));
    result = _mm512_reduce_max_ps(max);
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

void fastvlm_softmax_f32_avx512(float *x, size_t n)
{
    const size_t n_whole = n & ~(size_t)15;
    const __mmask16 mask = tail_mask_avx512(n - n_whole);
    const __m512 max = _mm512_set1_ps(find_max(x, n));
    __m512 sum = _mm512_setzero_ps();
    __m512 scale;

    for (size_t i = 0; i < n_whole; i += 16) {
        const __m512 e = exp_avx512(_mm512_sub_ps(_mm512_loadu_ps(x + i), max));

        sum = _mm512_add_ps(sum, e);
        _mm512_storeu_ps(x + i, e);
    }
    if (n_whole < n) {
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + n_whole);

        _mm512_mask_storeu_ps(x + n_whole, mask, exp_avx512(_mm512_sub_ps(v, max)));
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, x + n_whole));
    }
    scale = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(sum));
    for (size_t i = 0; i < n_whole; i += 16)
        _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), scale));
    if (n_whole < n)
        _mm512_mask_storeu_ps(x + n_whole, mask,
                              _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + n_whole), scale));
}

float fastvlm_sum_exp_f32_avx512(const float *x, float max, size_t n)
{
    const size_t n_whole = n & ~(size_t)15;
    const __mmask16 mask = tail_mask_avx512(n - n_whole);
    const __m512 v = _mm512_set1_ps(max);
    __m512 sum = _mm512_setzero_ps();
    float rest[16];

    for (size_t i = 0; i < n_whole; i += 16)
        sum = _mm512_add_ps(sum, exp_avx512(_mm512_sub_ps(_mm512_loadu_ps(x + i), v)));
    _mm512_storeu_ps(rest, exp_avx512(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + n_whole), v)));
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, rest));
    return _mm512_reduce_add_ps(sum);
}
