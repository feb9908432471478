/*
 * Products of activations, AVX2: blocks of up to 6 rows and 16 columns in registers.
 *
 *     per k: 16 values of b (bf16 widened by a shift), and for each row a broadcast and 2 multiply-adds
 *
 * Columns beyond the last 16 are computed one by one, by the same fused chain.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/x86/simd_avx2.h"

#define MAX_ROWS 6
#define COLUMNS 16

typedef enum { TYPE_F32, TYPE_BF16 } Type;

static inline __attribute__((always_inline)) __m256 load(const void *b, size_t index, Type type)
{
    const uint16_t *words = b;

    if (type == TYPE_F32)
        return _mm256_loadu_ps((const float *)b + index);
    return _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(words + index))),
        16));
}

/** Rows row .. row + n_rows - 1, columns column .. column + 15. */
static inline __attribute__((always_inline)) void multiply_block(const FastvlmProduct *product,
                                                                 int row, int n_rows, int column,
                                                                 Type type)
{
    const float *a = product->a + (size_t)row * product->lda;
    float *c = product->c + (size_t)row * product->ldc + column;
    __m256 sum[MAX_ROWS][2];

    for (int r = 0; r < n_rows; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (int i = 0; i < product->k; i++) {
        const size_t index = (size_t)i * product->ldb + (size_t)column;
        const __m256 b0 = load(product->b, index, type);
        const __m256 b1 = load(product->b, index + 8, type);

        for (int r = 0; r < n_rows; r++) {
            const __m256 factor = _mm256_broadcast_ss(a + (size_t)r * product->lda + i);

            sum[r][0] = _mm256_fmadd_ps(factor, b0, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(factor, b1, sum[r][1]);
        }
    }
    for (int r = 0; r < n_rows; r++) {
        _mm256_storeu_ps(c + (size_t)r * product->ldc, sum[r][0]);
        _mm256_storeu_ps(c + (size_t)r * product->ldc + 8, sum[r][1]);
    }
}

static inline __attribute__((always_inline)) void multiply_rows(const FastvlmProduct *product,
                                                                int row, int n_rows, int column,
                                                                Type type)
{
    switch (n_rows) {
    case 1:
        multiply_block(product, row, 1, column, type);
        break;
    case 2:
        multiply_block(product, row, 2, column, type);
        break;
    case 3:
        multiply_block(product, row, 3, column, type);
        break;
    case 4:
        multiply_block(product, row, 4, column, type);
        break;
    case 5:
        multiply_block(product, row, 5, column, type);
        break;
    default:
        multiply_block(product, row, 6, column, type);
        break;
    }
}

static inline __attribute__((always_inline)) void multiply_column(const FastvlmProduct *product,
                                                                  int column, Type type)
{
    for (int row = 0; row < product->n_rows; row++) {
        const float *a = product->a + (size_t)row * product->lda;
        float sum = 0.0f;

        for (int i = 0; i < product->k; i++) {
            const size_t index = (size_t)i * product->ldb + (size_t)column;

            sum =
                fmaf(a[i],
                     type == TYPE_F32 ? ((const float *)product->b)[index]
                                      : fastvlm_bf16_to_f32(((const uint16_t *)product->b)[index]),
                     sum);
        }
        product->c[(size_t)row * product->ldc + (size_t)column] = sum;
    }
}

static inline __attribute__((always_inline)) void multiply(const FastvlmProduct *product, Type type)
{
    /* Blocks of about the same height: a block of one row would wait for its own sums. */
    const int n_blocks = (product->n_rows + MAX_ROWS - 1) / MAX_ROWS;
    int column = 0;

    for (; column + COLUMNS <= product->n_columns; column += COLUMNS)
        for (int i = 0; i < n_blocks; i++) {
            const int row = (int)((long)product->n_rows * i / n_blocks);
            const int end = (int)((long)product->n_rows * (i + 1) / n_blocks);

            multiply_rows(product, row, end - row, column, type);
        }
    for (; column < product->n_columns; column++)
        multiply_column(product, column, type);
}

void fastvlm_product_f32_avx2(const FastvlmProduct *product)
{
    multiply(product, TYPE_F32);
}

void fastvlm_product_bf16_avx2(const FastvlmProduct *product)
{
    multiply(product, TYPE_BF16);
}
