/*
 * GELU, SiLU, softmax and its sum, AVX-512.
 *
 * GELU by the tail of the normal distribution, which loses nothing to cancellation, from a table:
 *     r(a) = a (1 - Phi(a)), a = |v|;  gelu(v) = max(v, 0) - r(a)
 *     i = 0 .. 15 is what 2.87 a rounds to;  r ~ a polynomial of degree 4 in a for each i
 * One permutation looks a coefficient up for 16 values, and there is neither exp nor division. The
 * polynomials are our own fits (Lawson's, with coefficients rounded one after the other), within 3e-7 as they
 * are computed; that of i = 0 is 0 at 0. Beyond 5.4 r stays at 2e-7.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/x86/finish.h"
#include "kernels/x86/simd_avx512.h"

#define GELU_DEGREE 4
#define GELU_END 5.4f
#define GELU_STEPS_PER_UNIT 2.86851852f /* 15.49 to the end, so that the last one is whole */
#define MIN_OF_MAGNITUDES 10            /* of vrangeps: the lesser magnitude, without its sign */

/* [power][piece] */
static const float gelu_table[GELU_DEGREE + 1][16] = {
    {0.0f, -5.7872272e-05f, -0.00345262536f, -0.0229765084f, -0.0475917384f, 0.00336713251f,
     0.210714921f, 0.521720648f, 0.759418845f, 0.788778961f, 0.628757119f, 0.399652511f,
     0.207387716f, 0.0892685726f, 0.0322394781f, 0.00991061516f},
    {0.500000298f, 0.500926077f, 0.525119722f, 0.613926649f, 0.697538853f, 0.572610021f,
     0.142682806f, -0.407992661f, -0.775548041f, -0.818273067f, -0.626065969f, -0.375359207f,
     -0.182788342f, -0.0737998337f, -0.0250353068f, -0.0072462582f},
    {-0.398957938f, -0.404516369f, -0.470275611f, -0.622972786f, -0.72980392f, -0.614865959f,
     -0.280035734f, 0.0860458761f, 0.29935658f, 0.322572351f, 0.235953704f, 0.133026451f,
     0.0606696866f, 0.0229463391f, 0.00730558252f, 0.00198997534f},
    {0.000237966888f, 0.0153593887f, 0.096363537f, 0.214006275f, 0.274846494f, 0.227810442f,
     0.111723594f, 0.0034311763f, -0.0516336448f, -0.0572194345f, -0.0398616754f, -0.0210722927f,
     -0.00898440648f, -0.00317952107f, -0.00094932731f, -0.000243239745f},
    {0.0652828664f, 0.049161844f, 0.0109360833f, -0.0233285129f, -0.036356315f, -0.0291319415f,
     -0.0140141286f, -0.00198691199f, 0.00334782735f, 0.00385016715f, 0.0025451025f, 0.00125825987f,
     0.000500700611f, 0.000165624646f, 4.63437464e-05f, 1.11643294e-05f},
};

typedef struct {
    __m512 coefficients[GELU_DEGREE + 1];
} GeluTable;

static BLOCK GeluTable load_gelu_table(void)
{
    GeluTable table;

#pragma GCC unroll 5
    for (int i = 0; i <= GELU_DEGREE; i++)
        table.coefficients[i] = _mm512_loadu_ps(gelu_table[i]);
    return table;
}

static BLOCK __m512 gelu(__m512 v, const GeluTable *table)
{
    const __m512 end = _mm512_set1_ps(GELU_END);
    /* of a number and NaN it is the number; max gives its second operand: v stays NaN */
    const __m512 a = _mm512_range_ps(v, end, MIN_OF_MAGNITUDES);
    /* 1.5 * 2^23 more leaves the integer in the low bits, of which a permutation takes four */
    const __m512i i = _mm512_castps_si512(
        _mm512_fmadd_ps(a, _mm512_set1_ps(GELU_STEPS_PER_UNIT), _mm512_set1_ps(0x1.8p23f)));
    __m512 r = _mm512_permutexvar_ps(i, table->coefficients[GELU_DEGREE]);

#pragma GCC unroll 5
    for (int j = GELU_DEGREE - 1; j >= 0; j--)
        r = _mm512_fmadd_ps(r, a, _mm512_permutexvar_ps(i, table->coefficients[j]));
    return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), v), r);
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
    const __m512 scale =
        steps.has_scale ? load_part_avx512(e->scale + column, n) : _mm512_setzero_ps();
    const __m512 bias = e->bias ? load_part_avx512(e->bias + column, n) : _mm512_setzero_ps();
    float *c = gemm->c + (size_t)row * ldc + column;

    for (int i = 0; i < n_rows; i++, c += ldc) {
        __m512 v = load_part_avx512(c, n);

        if (steps.has_scale)
            v = _mm512_mul_ps(v, scale);
        v = _mm512_add_ps(v, bias);
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
