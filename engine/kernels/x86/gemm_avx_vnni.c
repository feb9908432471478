/*
 * Packed int8 matrix products, AVX-VNNI: vpdpbusd in 256 bits.
 *
 * Blocks of 6 rows by 16 columns stay in 12 registers while k passes. Rounded rows are u8 = integer +
 * 128, and the sums start at -128 times the sum of the column (see gemm_avx512_vnni.c).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx2.h"

#define BLOCK_ROWS 6
#define PREFETCH_WORDS 512 /* how far ahead few rows, which wait for memory, ask for b */
#define PREFETCH_MOST_ROWS 2

static BLOCK __m256 finish_sum(__m256i sum, float scale_a, const float *scale_b)
{
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(scale_a)),
                         _mm256_loadu_ps(scale_b));
}

/** `n_rows` rows (a constant) of a panel; c is given the first `n_columns` columns. */
static BLOCK void multiply_block(const FastvlmGemm *gemm, int row, int column, size_t n_units,
                                 int n_rows)
{
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(uint32_t);
    const uint32_t *a = (const uint32_t *)gemm->a + (size_t)row * lda;
    const uint32_t *b =
        gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * n_units * FASTVLM_PANEL_COLUMNS;
    const uint32_t *b_end = b + n_units * FASTVLM_PANEL_COLUMNS;
    const __m256i *offset = (const __m256i *)(const void *)(gemm->offset_b + column);
    const size_t n_columns = (size_t)(gemm->n_columns - column);
    __m256i low[BLOCK_ROWS], high[BLOCK_ROWS];

#pragma GCC unroll 6
    for (int i = 0; i < n_rows; i++) {
        low[i] = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_loadu_si256(offset));
        high[i] = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_loadu_si256(offset + 1));
    }
    for (; b < b_end; b += FASTVLM_PANEL_COLUMNS, a++) {
        const __m256i b0 = _mm256_load_si256((const __m256i *)(const void *)b);
        const __m256i b1 = _mm256_load_si256((const __m256i *)(const void *)b + 1);

        if (n_rows <= PREFETCH_MOST_ROWS)
            _mm_prefetch((const char *)(b + PREFETCH_WORDS), _MM_HINT_T0);
#pragma GCC unroll 6
        for (int i = 0; i < n_rows; i++) {
            const __m256i four = _mm256_set1_epi32((int)a[(size_t)i * lda]);

            low[i] = _mm256_dpbusd_avx_epi32(low[i], four, b0);
            high[i] = _mm256_dpbusd_avx_epi32(high[i], four, b1);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < n_rows; i++)
        store_row_avx2(gemm->c + (size_t)(row + i) * gemm->ldc + column, n_columns,
                       finish_sum(low[i], gemm->scale_a[row + i], gemm->scale_b + column),
                       finish_sum(high[i], gemm->scale_a[row + i], gemm->scale_b + column + 8));
}

void fastvlm_gemm_int8_avx_vnni(const FastvlmGemm *gemm)
{
    const size_t n_units = FASTVLM_UNITS_INT8(gemm->k);

    for (int column = 0; column < gemm->n_columns; column += FASTVLM_PANEL_COLUMNS) {
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            WITH_ROWS_6(n_rows, multiply_block, gemm, row, column, n_units);
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, FASTVLM_PANEL_COLUMNS);
    }
}

/** x [k] * inverse, rounded, + 128, in bytes; behind them up to a whole 32 bytes is 128. */
static void round_row(const float *x, int k, float inverse, uint8_t *to)
{
    /* packs works in halves: dword 4 * i + j of its result is dword 2 * j + i of ours */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256 factor = _mm256_set1_ps(inverse);

    for (int i = 0; i < k; i += 32) {
        __m256i rounded[4];
        __m256i bytes;

#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const int first = i + 8 * j;
            const __m256 v =
                first + 8 <= k
                    ? _mm256_loadu_ps(x + first)
                    : _mm256_maskload_ps(x + first,
                                         tail_mask_avx2(first < k ? (size_t)(k - first) : 0));

            rounded[j] = _mm256_cvtps_epi32(_mm256_mul_ps(v, factor));
        }
        bytes = _mm256_packs_epi16(_mm256_packs_epi32(rounded[0], rounded[1]),
                                   _mm256_packs_epi32(rounded[2], rounded[3]));
        bytes = _mm256_xor_si256(_mm256_permutevar8x32_epi32(bytes, order), _mm256_set1_epi8(-128));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), bytes);
    }
}

void fastvlm_round_rows_int8_avx_vnni(const float *x, size_t ldx, int n_rows, int k, void *out,
                                      float *scale)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        uint8_t *to = (uint8_t *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k);
        float inverse;

        scale[row] = fastvlm_int8_scale(find_largest_avx2(x, k), &inverse);
        if (inverse > 0.0f)
            round_row(x, k, inverse, to);
        else
            memset(to, 128, FASTVLM_UNITS_INT8(k) * 4);
    }
}
