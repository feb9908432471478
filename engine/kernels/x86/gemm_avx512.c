/*
 * Packed matrix products, AVX-512 without products of bytes or bf16.
 *
 * f32 multiplies words as they are. Rounded bf16 rows are f32 of bf16 precision, two to a unit of k; b
 * is widened in registers. int8 goes through vpmaddwd, which takes 16 bits: rounded rows are int16, b
 * is widened as it is loaded, and a panel's sums come as two of 8 columns, two partial sums a column.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/x86/gemm_avx512.h"

static BLOCK __m512i start_float(const FastvlmGemm *gemm, int column)
{
    return _mm512_setzero_si512();
}

static BLOCK __m512 finish_float(const Result *result, __m512i sum, int row, int panel)
{
    return _mm512_castsi512_ps(sum);
}

/** sum + a * b. As assembly, since GCC 12 copies and spills the sums otherwise: half speed. */
static BLOCK __m512i multiply_add(__m512i sum, uint32_t a, __m512i b)
{
    const __m512i value = _mm512_set1_epi32((int)a);

#ifdef FASTVLM_EMULATE
    sum = _mm512_castps_si512(_mm512_fmadd_ps(_mm512_castsi512_ps(value), _mm512_castsi512_ps(b),
                                              _mm512_castsi512_ps(sum)));
#else
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(value), "v"(b));
#endif
    return sum;
}

static BLOCK __m512i add_f32(__m512i sum, const uint32_t *a, __m512i b)
{
    return multiply_add(sum, *a, b);
}

/** The even element of k is in the low halves of b. */
static BLOCK __m512i add_bf16(__m512i sum, const uint32_t *a, __m512i b)
{
    sum = multiply_add(sum, a[0], _mm512_slli_epi32(b, 16));
    return multiply_add(sum, a[1], _mm512_maskz_mov_epi16(0xaaaaaaaau, b));
}

void fastvlm_gemm_f32_avx512(const FastvlmGemm *gemm)
{
    multiply_avx512(gemm, gemm->lda, 1, FASTVLM_UNITS_F32(gemm->k), start_float, add_f32,
                    finish_float);
}

void fastvlm_gemm_bf16_avx512(const FastvlmGemm *gemm)
{
    multiply_avx512(gemm, FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(uint32_t), 2,
                    FASTVLM_UNITS_BF16(gemm->k), start_float, add_bf16, finish_float);
}

/** The sums of 16 columns, from partial sums of columns 0 0 1 1 .. 7 7 and 8 8 .. 15 15. */
static BLOCK __m512i add_pairs(__m512i first, __m512i second)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));

    return _mm512_add_epi32(_mm512_permutex2var_epi32(first, even, second),
                            _mm512_permutex2var_epi32(first, odd, second));
}

/** sum + pairs of a * b. */
static BLOCK __m512i add_products(__m512i sum, __m512i a, __m512i b)
{
#ifdef FASTVLM_EMULATE
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#else
    __m512i products;

    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
            : "+v"(sum), "=&v"(products)
            : "v"(a), "v"(b));
#endif
    return sum;
}

/** `n_rows` rows (a constant) of a panel; c is given the first `n_columns` columns. */
static BLOCK void multiply_int8(const FastvlmGemm *gemm, int row, int column, size_t n_units,
                                int n_rows)
{
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(int64_t);
    const int64_t *a = (const int64_t *)gemm->a + (size_t)row * lda; /* a unit: four int16 */
    const uint32_t *b =
        gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * n_units * FASTVLM_PANEL_COLUMNS;
    const __mmask16 mask = tail_mask_avx512((size_t)(gemm->n_columns - column));
    __m512i first[BLOCK_ROWS], second[BLOCK_ROWS];

#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
        first[i] = second[i] = _mm512_setzero_si512();
    for (size_t unit = 0; unit < n_units; unit++, b += FASTVLM_PANEL_COLUMNS) {
        const __m512i b0 = _mm512_cvtepi8_epi16(_mm256_load_si256((const void *)b));
        const __m512i b1 = _mm512_cvtepi8_epi16(_mm256_load_si256((const void *)(b + 8)));

#pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            const __m512i four = _mm512_set1_epi64(a[(size_t)i * lda + unit]);

            first[i] = add_products(first[i], four, b0);
            second[i] = add_products(second[i], four, b1);
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++) {
        const __m512 sum = _mm512_cvtepi32_ps(add_pairs(first[i], second[i]));

        _mm512_mask_storeu_ps(
            gemm->c + (size_t)(row + i) * gemm->ldc + column, mask,
            _mm512_mul_ps(_mm512_mul_ps(sum, _mm512_set1_ps(gemm->scale_a[row + i])),
                          _mm512_loadu_ps(gemm->scale_b + column)));
    }
}

void fastvlm_gemm_int8_avx512(const FastvlmGemm *gemm)
{
    const size_t n_units = FASTVLM_UNITS_INT8(gemm->k);

    for (int column = 0; column < gemm->n_columns; column += FASTVLM_PANEL_COLUMNS)
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            WITH_ROWS_12(n_rows, multiply_int8, gemm, row, column, n_units);
            fastvlm_gemm_finish(gemm, row, n_rows, column, FASTVLM_PANEL_COLUMNS);
        }
}
