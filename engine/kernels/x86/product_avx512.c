/*
 * Products of activations, AVX-512: blocks of up to 12 rows and 32 columns in registers.
 *
 *     per k: 32 values of b (bf16 widened by a shift), and for each row a broadcast and 2 multiply-adds
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx512.h"

#define MAX_ROWS 12

typedef enum { TYPE_F32, TYPE_BF16 } Type;

/** 16 values of b, or the first `n` and zeros; a constant 16 where they are whole. */
static BLOCK __m512 load(const void *b, size_t index, size_t n, Type type)
{
    const uint16_t *words = (const uint16_t *)b + index;
    uint16_t part[16] = {0};

    if (type == TYPE_F32)
        return load_part_avx512((const float *)b + index, n);
    if (n < 16)
        words = memcpy(part, words, n * sizeof *words);
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)words)), 16));
}

/** sum + a * b. As assembly, since GCC 12 copies and spills the sums otherwise. */
static BLOCK __m512 multiply_add(__m512 sum, __m512 a, __m512 b)
{
#ifdef FASTVLM_EMULATE
    sum = _mm512_fmadd_ps(a, b, sum);
#else
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#endif
    return sum;
}

/** Rows from `row` on, `n_vectors` times 16 columns; both numbers are constants, and so is the type. */
static BLOCK void multiply_block(const FastvlmProduct *product, int row, int column, int n_vectors,
                                 Type type, int n_rows)
{
    const float *a = product->a + (size_t)row * product->lda;
    float *c = product->c + (size_t)row * product->ldc + column;
    const size_t n_last = (size_t)(product->n_columns - column) - 16 * ((size_t)n_vectors - 1);
    __m512 sum[MAX_ROWS][2];

#pragma GCC unroll 12
    for (int r = 0; r < n_rows; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int i = 0; i < product->k; i++) {
        const size_t index = (size_t)i * product->ldb + (size_t)column;
        const __m512 b0 = load(product->b, index, n_vectors == 1 ? n_last : 16, type);
        const __m512 b1 = n_vectors == 1 ? b0 : load(product->b, index + 16, n_last, type);

#pragma GCC unroll 12
        for (int r = 0; r < n_rows; r++) {
            const __m512 factor = _mm512_set1_ps(a[(size_t)r * product->lda + (size_t)i]);

            sum[r][0] = multiply_add(sum[r][0], factor, b0);
            if (n_vectors > 1)
                sum[r][1] = multiply_add(sum[r][1], factor, b1);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < n_rows; r++) {
        store_part_avx512(c + (size_t)r * product->ldc, n_vectors == 1 ? n_last : 16, sum[r][0]);
        if (n_vectors > 1)
            store_part_avx512(c + (size_t)r * product->ldc + 16, n_last, sum[r][1]);
    }
}

static BLOCK void multiply(const FastvlmProduct *product, Type type)
{
    for (int column = 0; column < product->n_columns; column += 32)
        for (int row = 0, n_rows; row < product->n_rows; row += n_rows) {
            n_rows = take_rows(product->n_rows - row, MAX_ROWS);
            if (product->n_columns - column > 16)
                WITH_ROWS_12(n_rows, multiply_block, product, row, column, 2, type);
            else
                WITH_ROWS_12(n_rows, multiply_block, product, row, column, 1, type);
        }
}

void fastvlm_product_f32_avx512(const FastvlmProduct *product)
{
    multiply(product, TYPE_F32);
}

void fastvlm_product_bf16_avx512(const FastvlmProduct *product)
{
    multiply(product, TYPE_BF16);
}
