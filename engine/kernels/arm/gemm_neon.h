/*
 * What the NEON tiers' packed matrix products share: how a product is cut into blocks.
 *
 *     for each panel of 16 columns, for each block of rows:
 *         few rows    n rows x 16 columns
 *         many rows   n rows x 8 columns, twice: each load of b or a serves more products
 *
 * All of the rows pass a panel before the next panel comes, so a panel is read from memory once.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_ARM_GEMM_NEON_H
#define FASTVLM_KERNELS_ARM_GEMM_NEON_H

#include "kernels/kernels.h"
#include "kernels/arm/simd_neon.h"

#define BLOCK_NEON inline __attribute__((always_inline))

/** Most rows of a block, and vectors of 4 columns in a block of few rows. */
#define BLOCK_ROWS_NEON 8
#define BLOCK_QUADS_NEON 4

/** Unrolls the next loop, also inside a macro. */
#define UNROLL_NEON _Pragma("GCC unroll 8")

/**
 * One block: rows from `row` on, vectors of 4 columns from `column` on, to `c`, whose rows lie `ldc`
 * floats apart. The last two are constants.
 */
typedef void (*MultiplyBlockNeon)(const FastvlmGemm *gemm, int row, int column, float *c,
                                  size_t ldc, int n_quads, int n_rows);

/** The words of b from `column` on. */
static BLOCK_NEON const uint32_t *find_words_neon(const FastvlmGemm *gemm, int column,
                                                  size_t n_units)
{
    return gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * n_units * FASTVLM_PANEL_COLUMNS +
           (size_t)(column % FASTVLM_PANEL_COLUMNS);
}

/** The first `n` columns of a block to c. Not inline, so that it takes no registers from blocks. */
static __attribute__((noinline)) void copy_block_neon(const float *block, size_t ld, int n_rows,
                                                      int n, float *c, size_t ldc)
{
    for (int row = 0; row < n_rows; row++)
        memcpy(c + (size_t)row * ldc, block + (size_t)row * ld, (size_t)n * sizeof *c);
}

/** A block, by way of memory of our own where c ends inside. */
static BLOCK_NEON void multiply_block_neon(const FastvlmGemm *gemm, int row, int column,
                                           MultiplyBlockNeon multiply, int n_quads, int n_rows)
{
    float block[BLOCK_ROWS_NEON * BLOCK_QUADS_NEON * 4];
    float *c = gemm->c + (size_t)row * gemm->ldc + (size_t)column;
    const size_t ld = 4 * (size_t)n_quads;
    const int n = gemm->n_columns - column;
    const int is_whole = n >= 4 * n_quads;

    multiply(gemm, row, column, is_whole ? c : block, is_whole ? gemm->ldc : ld, n_quads, n_rows);
    if (!is_whole)
        copy_block_neon(block, ld, n_rows, n, c, gemm->ldc);
}

/** A panel's part of c in halves of 8 columns. */
static BLOCK_NEON void multiply_halves_neon(const FastvlmGemm *gemm, int row, int column,
                                            MultiplyBlockNeon multiply, int n_rows)
{
    multiply_block_neon(gemm, row, column, multiply, 2, n_rows);
    if (gemm->n_columns - column > 8)
        multiply_block_neon(gemm, row, column + 8, multiply, 2, n_rows);
}

/** A panel's part of c, a row's 16 columns at once up to half of `max_rows` rows (4 or 8). */
static BLOCK_NEON void multiply_rows_neon(const FastvlmGemm *gemm, int row, int column,
                                          MultiplyBlockNeon multiply, int max_rows)
{
    const int n_rows = gemm->n_rows - row;

    if (n_rows == 1)
        multiply_block_neon(gemm, row, column, multiply, 4, 1);
    else if (n_rows == 2)
        multiply_block_neon(gemm, row, column, multiply, 4, 2);
    else if (max_rows == 4 && n_rows == 3)
        multiply_halves_neon(gemm, row, column, multiply, 3);
    else if (max_rows == 4)
        multiply_halves_neon(gemm, row, column, multiply, 4);
    else if (n_rows == 3)
        multiply_block_neon(gemm, row, column, multiply, 4, 3);
    else if (n_rows == 4)
        multiply_block_neon(gemm, row, column, multiply, 4, 4);
    else if (n_rows == 5)
        multiply_halves_neon(gemm, row, column, multiply, 5);
    else if (n_rows == 6)
        multiply_halves_neon(gemm, row, column, multiply, 6);
    else if (n_rows == 7)
        multiply_halves_neon(gemm, row, column, multiply, 7);
    else
        multiply_halves_neon(gemm, row, column, multiply, 8);
}

/** All of c. */
static BLOCK_NEON void multiply_neon(const FastvlmGemm *gemm, MultiplyBlockNeon multiply,
                                     int max_rows)
{
    for (int column = 0; column < gemm->n_columns; column += FASTVLM_PANEL_COLUMNS) {
        for (int row = 0; row < gemm->n_rows; row += max_rows)
            multiply_rows_neon(gemm, row, column, multiply, max_rows);
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, FASTVLM_PANEL_COLUMNS);
    }
}

/** Integer sums of row `row`, scaled, to its row `c` of a block. */
static BLOCK_NEON void store_sums_neon(const FastvlmGemm *gemm, int row, int column,
                                       const int32x4_t *sum, int n_quads, float *c)
{
    const float32x4_t scale = vdupq_n_f32(gemm->scale_a[row]);

    UNROLL_NEON
    for (int quad = 0; quad < n_quads; quad++)
        vst1q_f32(c + 4 * quad, vmulq_f32(vmulq_f32(vcvtq_f32_s32(sum[quad]), scale),
                                          vld1q_f32(gemm->scale_b + column + 4 * quad)));
}

#endif
