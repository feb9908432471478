/*
 * Packed matrix products with weights of 4 bits in 512 bits: a template for both tiers that have them.
 *
 * A word of nibbles is widened once for all rows of a block: bytes of its low bits are one unit of k,
 * those of its high bits another. Blocks of 6 rows by 2 panels keep the sums of a group and the totals
 * in 24 registers. One row takes a panel at a time, so that it reads memory in one stream.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_GEMM_INT4_AVX512_H
#define FASTVLM_KERNELS_X86_GEMM_INT4_AVX512_H

#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx512.h"

#define BLOCK_ROWS 6   /* of two panels */
#define FEW_ROWS 12    /* at most so many take a panel at a time */
#define AHEAD_BLOCKS 8 /* how far ahead those ask for one line of 9: see gemm_avx512.h */

/** A group's sums at their beginning, sum + nibbles * a, and in 32 bits at their end. */
typedef __m512i (*StartFunc)(const int32_t *offset);
typedef __m512i (*AddFunc)(__m512i sum, __m512i nibbles, const int32_t *a);
typedef __m512i (*EndFunc)(__m512i sum, const int32_t *offset);

typedef struct {
    StartFunc start;
    AddFunc add;
    AddFunc add_once; /* the same for an `a` that is added to no other sum */
    EndFunc end;
} Steps;

/** sums += a unit of `a` * the low bits of `words`. */
static BLOCK void add_unit(const int32_t *a, size_t lda, const __m512i *words,
                           __m512i sums[FEW_ROWS][2], Steps steps, int n_panels, int n_rows)
{
    const __m512i low = _mm512_set1_epi32(0x0f0f0f0f);
    __m512i nibbles[2];

#pragma GCC unroll 2
    for (int p = 0; p < n_panels; p++)
        nibbles[p] = _mm512_and_si512(words[p], low);
#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            sums[i][p] = (n_panels == 1 ? steps.add_once : steps.add)(sums[i][p], nibbles[p],
                                                                      a + (size_t)i * lda);
}

/** One group of `n_rows` rows and `n_panels` panels; `scale` f32 of each column. */
static BLOCK void multiply_group(const int32_t *a, const int32_t *offset, size_t lda,
                                 const uint32_t *b, size_t panel_words, const __m512 *scale,
                                 __m512 totals[FEW_ROWS][2], Steps steps, int n_panels, int n_rows)
{
    __m512i sums[FEW_ROWS][2];

#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            sums[i][p] = steps.start(offset + (size_t)i * lda);
#pragma GCC unroll 4
    for (int unit = 0; unit < 4; unit++) {
        __m512i words[2];

#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            words[p] = _mm512_load_si512((const void *)(b + (size_t)p * panel_words + 16 * unit));
        add_unit(a + unit, lda, words, sums, steps, n_panels, n_rows);
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            words[p] = _mm512_srli_epi32(words[p], 4);
        add_unit(a + unit + 4, lda, words, sums, steps, n_panels, n_rows);
    }
#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            totals[i][p] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(steps.end(sums[i][p], offset + (size_t)i * lda)),
                                scale[p], totals[i][p]);
}

/** `n_rows` rows and `n_panels` panels, constants. */
static BLOCK void multiply_block(const FastvlmGemm *gemm, int row, int column, int n_panels,
                                 Steps steps, int n_rows)
{
    const size_t n_blocks = FASTVLM_INT4_BLOCKS(gemm->k);
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(int32_t);
    const size_t panel_words = n_blocks * FASTVLM_INT4_WORDS * FASTVLM_PANEL_COLUMNS;
    const int32_t *a = (const int32_t *)gemm->a + (size_t)row * lda;
    const int32_t *offset = a + FASTVLM_INT4_ROW_BYTES(gemm->k) / sizeof(int32_t);
    const uint32_t *b = gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * panel_words;
    __m512 totals[FEW_ROWS][2];

#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
        totals[i][0] = totals[i][1] = _mm512_setzero_ps();
    for (size_t block = 0; block < n_blocks; block++) {
        __m512 scale[2][2];

#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++) {
            const __m512i both = _mm512_load_si512((const void *)(b + (size_t)p * panel_words));

            scale[0][p] = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
            scale[1][p] =
                _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000u)));
        }
        if (n_panels == 1)
            _mm_prefetch((const char *)b + 64 * AHEAD_BLOCKS * FASTVLM_INT4_WORDS, _MM_HINT_T0);
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++)
            multiply_group(a + 8 * g, offset + g, lda, b + 16 + 64 * g, panel_words, scale[g],
                           totals, steps, n_panels, n_rows);
        a += FASTVLM_INT4_BLOCK / sizeof(int32_t);
        offset += 2;
        b += FASTVLM_INT4_WORDS * FASTVLM_PANEL_COLUMNS;
    }
#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            store_part_avx512(gemm->c + (size_t)(row + i) * gemm->ldc + column + 16 * p,
                              (size_t)(gemm->n_columns - column - 16 * p),
                              _mm512_mul_ps(totals[i][p], _mm512_set1_ps(gemm->scale_a[row + i])));
}

static BLOCK void multiply_int4_avx512(const FastvlmGemm *gemm, Steps steps)
{
    int column = 0;

    for (; gemm->n_rows > FEW_ROWS && gemm->n_columns - column > FASTVLM_PANEL_COLUMNS;
         column += 2 * FASTVLM_PANEL_COLUMNS) {
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            WITH_ROWS_6(n_rows, multiply_block, gemm, row, column, 2, steps);
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, 2 * FASTVLM_PANEL_COLUMNS);
    }
    for (; column < gemm->n_columns; column += FASTVLM_PANEL_COLUMNS) {
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            n_rows = take_rows(gemm->n_rows - row, FEW_ROWS);
            WITH_ROWS_12(n_rows, multiply_block, gemm, row, column, 1, steps);
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, FASTVLM_PANEL_COLUMNS);
    }
}

#endif
