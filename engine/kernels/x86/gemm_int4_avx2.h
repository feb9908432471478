/*
 * Packed matrix products with weights of 4 bits in 256 bits: a template for both tiers that have them.
 *
 * A word of nibbles is widened once for all rows of a block: bytes of its low bits are one unit of k,
 * those of its high bits another. Blocks of 4 rows by half a panel keep the sums of a group and the
 * totals in 8 registers; one or two rows take both halves at once and read memory in one stream.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_GEMM_INT4_AVX2_H
#define FASTVLM_KERNELS_X86_GEMM_INT4_AVX2_H

#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx2.h"

#define BLOCK_ROWS 4
#define WIDE_MOST_ROWS 2 /* rows that take a whole panel */
#define AHEAD_BLOCKS 5   /* how far ahead those ask for one line of 9: see gemm_avx512.h */

/** A group's sums at their beginning, sum + nibbles * a, and in 32 bits at their end. */
typedef __m256i (*StartFunc)(const int32_t *offset);
typedef __m256i (*AddFunc)(__m256i sum, __m256i nibbles, __m256i a);
typedef __m256i (*EndFunc)(__m256i sum, const int32_t *offset);

typedef struct {
    StartFunc start;
    AddFunc add;
    EndFunc end;
} Steps;

static BLOCK __m256i load_words(const uint32_t *b)
{
    return _mm256_load_si256((const __m256i *)(const void *)b);
}

/** One group of `n_rows` rows and `n_halves` times 8 columns; `scale` f32 of each column. */
static BLOCK void multiply_group(const int32_t *a, const int32_t *offset, size_t lda,
                                 const uint32_t *b, const __m256 *scale,
                                 __m256 totals[BLOCK_ROWS][2], Steps steps, int n_halves,
                                 int n_rows)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sums[BLOCK_ROWS][2];

#pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int h = 0; h < n_halves; h++)
            sums[i][h] = steps.start(offset + (size_t)i * lda);
#pragma GCC unroll 4
    for (int unit = 0; unit < 4; unit++)
#pragma GCC unroll 2
        for (int h = 0; h < n_halves; h++) {
            const __m256i words = load_words(b + 16 * unit + 8 * h);
            const __m256i first = _mm256_and_si256(words, low);
            const __m256i second = _mm256_and_si256(_mm256_srli_epi32(words, 4), low);

#pragma GCC unroll 4
            for (int i = 0; i < n_rows; i++) {
                const int32_t *from = a + (size_t)i * lda + unit;

                sums[i][h] = steps.add(sums[i][h], first, _mm256_set1_epi32(from[0]));
                sums[i][h] = steps.add(sums[i][h], second, _mm256_set1_epi32(from[4]));
            }
        }
#pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int h = 0; h < n_halves; h++)
            totals[i][h] =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(steps.end(sums[i][h], offset + (size_t)i * lda)),
                                scale[h], totals[i][h]);
}

/** Stores 8 columns of a row, or those that there are. */
static BLOCK void store_half(float *c, int n_columns, __m256 value)
{
    if (n_columns >= 8)
        _mm256_storeu_ps(c, value);
    else
        _mm256_maskstore_ps(c, tail_mask_avx2((size_t)(n_columns > 0 ? n_columns : 0)), value);
}

/** `n_rows` rows and `n_halves` times 8 columns, constants. */
static BLOCK void multiply_block(const FastvlmGemm *gemm, int row, int column, int n_halves,
                                 Steps steps, int n_rows)
{
    const size_t n_blocks = FASTVLM_INT4_BLOCKS(gemm->k);
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(int32_t);
    const int32_t *a = (const int32_t *)gemm->a + (size_t)row * lda;
    const int32_t *offset = a + FASTVLM_INT4_ROW_BYTES(gemm->k) / sizeof(int32_t);
    const uint32_t *b =
        gemm->b + (size_t)(column / 16) * n_blocks * FASTVLM_INT4_WORDS * 16 + column % 16;
    __m256 totals[BLOCK_ROWS][2];

#pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++)
        totals[i][0] = totals[i][1] = _mm256_setzero_ps();
    for (size_t block = 0; block < n_blocks; block++) {
        const __m256i odd = _mm256_set1_epi32((int)0xffff0000u);
        __m256 scale[2][2];

#pragma GCC unroll 2
        for (int h = 0; h < n_halves; h++) {
            scale[0][h] = _mm256_castsi256_ps(_mm256_slli_epi32(load_words(b + 8 * h), 16));
            scale[1][h] = _mm256_castsi256_ps(_mm256_and_si256(load_words(b + 8 * h), odd));
        }
        if (n_rows <= WIDE_MOST_ROWS)
            _mm_prefetch((const char *)b + 64 * AHEAD_BLOCKS * FASTVLM_INT4_WORDS, _MM_HINT_T0);
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++)
            multiply_group(a + 8 * g, offset + g, lda, b + 16 + 64 * g, scale[g], totals, steps,
                           n_halves, n_rows);
        a += FASTVLM_INT4_BLOCK / sizeof(int32_t);
        offset += 2;
        b += FASTVLM_INT4_WORDS * FASTVLM_PANEL_COLUMNS;
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int h = 0; h < n_halves; h++)
            store_half(gemm->c + (size_t)(row + i) * gemm->ldc + column + 8 * h,
                       gemm->n_columns - column - 8 * h,
                       _mm256_mul_ps(totals[i][h], _mm256_set1_ps(gemm->scale_a[row + i])));
}

static BLOCK void multiply_int4_avx2(const FastvlmGemm *gemm, Steps steps)
{
    const int step = gemm->n_rows <= WIDE_MOST_ROWS ? 16 : 8;

    for (int column = 0; column < gemm->n_columns; column += step) {
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            switch (n_rows) {
            case 1:
                multiply_block(gemm, row, column, step / 8, steps, 1);
                break;
            case 2:
                multiply_block(gemm, row, column, step / 8, steps, 2);
                break;
            case 3:
                multiply_block(gemm, row, column, 1, steps, 3);
                break;
            default:
                multiply_block(gemm, row, column, 1, steps, 4);
            }
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, step);
    }
}

#endif
