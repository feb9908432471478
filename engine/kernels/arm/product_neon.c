/*
 * Products of activations, NEON: blocks of up to 4 rows and 16 columns in registers.
 *
 *     per k: 16 values of b (bf16 widened by a shift), and for each row 4 multiply-adds by a[k]
 *
 * Columns beyond the last 16 are computed one by one, by the same fused chain.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <arm_neon.h>
#include <math.h>

#include "kernels/kernels.h"

#define MAX_ROWS 4
#define COLUMNS 16

typedef enum { TYPE_F32, TYPE_BF16 } Type;

static inline __attribute__((always_inline)) float32x4_t load(const void *b, size_t index,
                                                              Type type)
{
    if (type == TYPE_F32)
        return vld1q_f32((const float *)b + index);
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)b + index), 16));
}

/** Rows row .. row + n_rows - 1, columns column .. column + 15. */
static inline __attribute__((always_inline)) void multiply_block(const FastvlmProduct *product,
                                                                 int row, int n_rows, int column,
                                                                 Type type)
{
    const float *a = product->a + (size_t)row * product->lda;
    float *c = product->c + (size_t)row * product->ldc + column;
    float32x4_t sum[MAX_ROWS][4];

    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < 4; v++)
            sum[r][v] = vdupq_n_f32(0.0f);
    for (int i = 0; i < product->k; i++) {
        const size_t index = (size_t)i * product->ldb + (size_t)column;
        float32x4_t b[4];

        for (size_t v = 0; v < 4; v++)
            b[v] = load(product->b, index + 4 * v, type);
        for (int r = 0; r < n_rows; r++)
            for (int v = 0; v < 4; v++)
                sum[r][v] = vfmaq_n_f32(sum[r][v], b[v], a[(size_t)r * product->lda + (size_t)i]);
    }
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < 4; v++)
            vst1q_f32(c + (size_t)r * product->ldc + 4 * v, sum[r][v]);
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
    default:
        multiply_block(product, row, 4, column, type);
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

void fastvlm_product_f32_neon(const FastvlmProduct *product)
{
    multiply(product, TYPE_F32);
}

void fastvlm_product_bf16_neon(const FastvlmProduct *product)
{
    multiply(product, TYPE_BF16);
}
