/*
 * Products of activations, NEON: blocks of up to 4 rows by 16 columns, or 8 rows by 8, in registers.
 *
 *     four k at a time: a's rows are loaded as they are and multiplied by lane; per k the block's values
 *     of b, bf16 widened by a shift
 *
 * Columns beyond the last 8 are computed four by four and then one by one, by the same fused chain.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/arm/simd_neon.h"

#define MAX_ROWS 8
#define MAX_QUADS 4
#define BLOCK inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

typedef enum { TYPE_F32, TYPE_BF16 } Type;

/** Row i of b, `n_quads` vectors of 4 columns from `column` on. */
static BLOCK void load(const FastvlmProduct *product, int i, int column, Type type, int n_quads,
                       float32x4_t *b)
{
    const size_t index = (size_t)i * product->ldb + (size_t)column;

    UNROLL
    for (int quad = 0; quad < n_quads; quad++)
        if (type == TYPE_F32)
            b[quad] = vld1q_f32((const float *)product->b + index + 4 * quad);
        else
            b[quad] = vreinterpretq_f32_u32(
                vshll_n_u16(vld1_u16((const uint16_t *)product->b + index + 4 * quad), 16));
}

/** sum += lane of a's rows * row `i` of b. */
#define ADD_LANE(i, lane)                       \
    load(product, i, column, type, n_quads, b); \
    UNROLL                                      \
    for (int r = 0; r < n_rows; r++)            \
        UNROLL                                  \
    for (int quad = 0; quad < n_quads; quad++)  \
    sum[r][quad] = vfmaq_laneq_f32(sum[r][quad], b[quad], a[r], lane)

/** Rows row .. row + n_rows - 1, columns column .. column + 4 * n_quads - 1; both sizes constants. */
static BLOCK void multiply_block(const FastvlmProduct *product, int row, int n_rows, int column,
                                 int n_quads, Type type)
{
    const float *from = product->a + (size_t)row * product->lda;
    float *c = product->c + (size_t)row * product->ldc + column;
    float32x4_t sum[MAX_ROWS][MAX_QUADS];
    float32x4_t a[MAX_ROWS], b[MAX_QUADS];
    int i = 0;

    UNROLL
    for (int r = 0; r < n_rows; r++)
        UNROLL
    for (int quad = 0; quad < n_quads; quad++)
        sum[r][quad] = vdupq_n_f32(0.0f);
    for (; i + 4 <= product->k; i += 4) {
        UNROLL
        for (int r = 0; r < n_rows; r++)
            a[r] = vld1q_f32(from + (size_t)r * product->lda + i);
        ADD_LANE(i, 0);
        ADD_LANE(i + 1, 1);
        ADD_LANE(i + 2, 2);
        ADD_LANE(i + 3, 3);
    }
    for (; i < product->k; i++) {
        UNROLL
        for (int r = 0; r < n_rows; r++)
            a[r] = vld1q_dup_f32(from + (size_t)r * product->lda + i);
        ADD_LANE(i, 0);
    }
    UNROLL
    for (int r = 0; r < n_rows; r++)
        UNROLL
    for (int quad = 0; quad < n_quads; quad++)
        vst1q_f32(c + (size_t)r * product->ldc + 4 * quad, sum[r][quad]);
}

/** Up to half of the rows there may be. */
static BLOCK void multiply_few(const FastvlmProduct *product, int row, int n_rows, int column,
                               int n_quads, Type type)
{
    if (n_rows == 1)
        multiply_block(product, row, 1, column, n_quads, type);
    else if (n_rows == 2)
        multiply_block(product, row, 2, column, n_quads, type);
    else if (n_rows == 3)
        multiply_block(product, row, 3, column, n_quads, type);
    else
        multiply_block(product, row, 4, column, n_quads, type);
}

/** Any number of rows; 4 vectors go with few rows alone, or the sums would not fit the registers. */
static BLOCK void multiply_rows(const FastvlmProduct *product, int row, int n_rows, int column,
                                int n_quads, Type type)
{
    if (n_rows <= MAX_ROWS / 2 || n_quads == MAX_QUADS)
        multiply_few(product, row, n_rows, column, n_quads, type);
    else if (n_rows == 5)
        multiply_block(product, row, 5, column, n_quads, type);
    else if (n_rows == 6)
        multiply_block(product, row, 6, column, n_quads, type);
    else if (n_rows == 7)
        multiply_block(product, row, 7, column, n_quads, type);
    else
        multiply_block(product, row, 8, column, n_quads, type);
}

static BLOCK void multiply_column(const FastvlmProduct *product, int column, Type type)
{
    for (int row = 0; row < product->n_rows; row++) {
        const float *a = product->a + (size_t)row * product->lda;
        float sum = 0.0f;

        for (int i = 0; i < product->k; i++) {
            const size_t index = (size_t)i * product->ldb + (size_t)column;
            const float b = type == TYPE_F32
                                ? ((const float *)product->b)[index]
                                : fastvlm_bf16_to_f32(((const uint16_t *)product->b)[index]);

            sum = fmaf(a[i], b, sum);
        }
        product->c[(size_t)row * product->ldc + (size_t)column] = sum;
    }
}

/** All rows, `n_quads` (a constant) vectors of 4 columns, in blocks of about the same height. */
static BLOCK void multiply_columns(const FastvlmProduct *product, int column, int n_quads,
                                   Type type)
{
    const int n_blocks = (product->n_rows + MAX_ROWS - 1) / MAX_ROWS;

    for (int i = 0; i < n_blocks; i++) {
        const int row = (int)((long)product->n_rows * i / n_blocks);
        const int end = (int)((long)product->n_rows * (i + 1) / n_blocks);

        multiply_rows(product, row, end - row, column, n_quads, type);
    }
}

static BLOCK void multiply(const FastvlmProduct *product, Type type)
{
    int column = 0;

    if (product->n_rows <= MAX_ROWS / 2)
        for (; column + 16 <= product->n_columns; column += 16)
            multiply_columns(product, column, 4, type);
    for (; column + 8 <= product->n_columns; column += 8)
        multiply_columns(product, column, 2, type);
    for (; column + 4 <= product->n_columns; column += 4)
        multiply_columns(product, column, 1, type);
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
