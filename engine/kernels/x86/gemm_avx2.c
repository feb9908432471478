/*
 * Packed matrix products, AVX2.
 *
 * Blocks of 6 rows by 16 columns (f32, bf16) or 8 columns (int8) stay in 12 registers while k
 * passes; b streams from its panel, a is broadcast. All of a tile's rows pass a panel before the next
 * panel comes, so a panel is read from memory once.
 *
 * There is no dot product of bytes here that cannot overflow (vpmaddubsw saturates), so int8 goes
 * through vpmaddwd: rounded rows are int16, b is widened as it is loaded; for many rows once per panel. That
 * is still 16 multiply-adds an instruction where f32 has 8. Rounded bf16 rows are f32 of bf16 precision.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx2.h"

#define BLOCK_ROWS 6
#define ASKING_ROWS 24 /* most rows that wait for memory, and so ask for b ahead */
#define FEWEST_ROWS 2  /* most of them that ask for it FEWEST_AHEAD words ahead, not a panel */
#define FEWEST_AHEAD 512
#define NEAR_UNITS 256       /* one row asks for the next panel of int8 where both fit into L1 */
#define WIDE_ROWS 24         /* from how many on a panel is widened before */
#define WIDE_MOST_UNITS 1536 /* for which there is room: 196 KB */

/**
 * How many words ahead the block of rows at `row` asks for b; 0: not at all. The first block asks for the
 * next panel, which by then is near for all of them.
 */
static size_t find_ahead(int n_rows, int row, size_t panel_words)
{
    if (row > 0 || n_rows > ASKING_ROWS)
        return 0;
    return n_rows <= FEWEST_ROWS ? FEWEST_AHEAD : panel_words;
}

/** `n_rows` rows (a constant) of 16 columns; meanwhile asks for b `ahead` words ahead, 0: for nothing. */
static BLOCK void multiply_f32(const float *a, size_t lda, const uint32_t *b, size_t ahead,
                               size_t k, float *c, size_t ldc, int n_columns, int n_rows)
{
    __m256 low[BLOCK_ROWS], high[BLOCK_ROWS];

#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++)
        low[row] = high[row] = _mm256_setzero_ps();
    for (size_t i = 0; i < k; i++, b += FASTVLM_PANEL_COLUMNS) {
        const __m256 b0 = _mm256_load_ps((const float *)b);
        const __m256 b1 = _mm256_load_ps((const float *)b + 8);

        if (ahead > 0)
            _mm_prefetch((const char *)(b + ahead), _MM_HINT_T0);
#pragma GCC unroll 6
        for (int row = 0; row < n_rows; row++) {
            const __m256 value = _mm256_broadcast_ss(a + (size_t)row * lda + i);

            low[row] = _mm256_fmadd_ps(value, b0, low[row]);
            high[row] = _mm256_fmadd_ps(value, b1, high[row]);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++)
        store_row_avx2(c + (size_t)row * ldc, (size_t)n_columns, low[row], high[row]);
}

/** As above; a word of b holds an even and an odd element of k. */
static BLOCK void multiply_bf16(const float *a, size_t lda, const uint32_t *b, size_t ahead,
                                size_t n_units, float *c, size_t ldc, int n_columns, int n_rows)
{
    const __m256i odd = _mm256_set1_epi32((int)0xffff0000u);
    __m256 low[BLOCK_ROWS], high[BLOCK_ROWS];

#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++)
        low[row] = high[row] = _mm256_setzero_ps();
    for (size_t i = 0; i < n_units; i++, b += FASTVLM_PANEL_COLUMNS) {
        const __m256i w0 = _mm256_load_si256((const __m256i *)b);
        const __m256i w1 = _mm256_load_si256((const __m256i *)b + 1);
        __m256 b0 = _mm256_castsi256_ps(_mm256_slli_epi32(w0, 16));
        __m256 b1 = _mm256_castsi256_ps(_mm256_slli_epi32(w1, 16));

        if (ahead > 0)
            _mm_prefetch((const char *)(b + ahead), _MM_HINT_T0);
#pragma GCC unroll 6
        for (int row = 0; row < n_rows; row++) {
            const __m256 value = _mm256_broadcast_ss(a + (size_t)row * lda + 2 * i);

            low[row] = _mm256_fmadd_ps(value, b0, low[row]);
            high[row] = _mm256_fmadd_ps(value, b1, high[row]);
        }
        b0 = _mm256_castsi256_ps(_mm256_and_si256(w0, odd));
        b1 = _mm256_castsi256_ps(_mm256_and_si256(w1, odd));
#pragma GCC unroll 6
        for (int row = 0; row < n_rows; row++) {
            const __m256 value = _mm256_broadcast_ss(a + (size_t)row * lda + 2 * i + 1);

            low[row] = _mm256_fmadd_ps(value, b0, low[row]);
            high[row] = _mm256_fmadd_ps(value, b1, high[row]);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++)
        store_row_avx2(c + (size_t)row * ldc, (size_t)n_columns, low[row], high[row]);
}

/** Products of an element of each row to 16 columns' sums, which are `step` vectors apart. */
static BLOCK void add_element(const float *a, size_t lda, __m256 b0, __m256 b1, __m256 *sums,
                              int step, int n_rows)
{
#pragma GCC unroll 2
    for (int row = 0; row < n_rows; row++, sums += step) {
        const __m256 value = _mm256_broadcast_ss(a + (size_t)row * lda);

        sums[0] = _mm256_fmadd_ps(value, b0, sums[0]);
        sums[1] = _mm256_fmadd_ps(value, b1, sums[1]);
    }
}

/**
 * One or two rows of f32 or bf16 (constants, as `n_panels`) of as many whole panels as make eight sums: each
 * waits four cycles for itself, and fewer would be slower than memory.
 */
static BLOCK void multiply_few(const FastvlmGemm *gemm, size_t lda, int column, size_t n_units,
                               int is_bf16, int n_panels, int n_rows)
{
    const __m256i odd = _mm256_set1_epi32((int)0xffff0000u);
    const uint32_t *b = gemm->b + (size_t)column * n_units;
    const float *a = gemm->a;
    __m256 sums[8];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        sums[i] = _mm256_setzero_ps();
    for (size_t i = 0; i < n_units; i++, a += 1 + is_bf16, b += FASTVLM_PANEL_COLUMNS)
#pragma GCC unroll 4
        for (int p = 0; p < n_panels; p++) {
            const uint32_t *from = b + (size_t)p * n_units * FASTVLM_PANEL_COLUMNS;
            const __m256i w0 = _mm256_load_si256((const __m256i *)from);
            const __m256i w1 = _mm256_load_si256((const __m256i *)from + 1);

            _mm_prefetch((const char *)(from + FEWEST_AHEAD), _MM_HINT_T0);
            if (is_bf16) {
                add_element(a, lda, _mm256_castsi256_ps(_mm256_slli_epi32(w0, 16)),
                            _mm256_castsi256_ps(_mm256_slli_epi32(w1, 16)), sums + 2 * p,
                            2 * n_panels, n_rows);
                add_element(a + 1, lda, _mm256_castsi256_ps(_mm256_and_si256(w0, odd)),
                            _mm256_castsi256_ps(_mm256_and_si256(w1, odd)), sums + 2 * p,
                            2 * n_panels, n_rows);
            } else
                add_element(a, lda, _mm256_castsi256_ps(w0), _mm256_castsi256_ps(w1), sums + 2 * p,
                            2 * n_panels, n_rows);
        }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        _mm256_storeu_ps(gemm->c + (size_t)(i / (2 * n_panels)) * gemm->ldc + column +
                             i % (2 * n_panels) * 8,
                         sums[i]);
}

/** Returns the first column that is left: all with more rows. */
static BLOCK int gemm_few(const FastvlmGemm *gemm, size_t lda, size_t n_units, int is_bf16)
{
    const int n_panels = gemm->n_rows == 1 ? 4 : 2, n = n_panels * FASTVLM_PANEL_COLUMNS;
    int column = 0;

    for (; gemm->n_rows <= 2 && column + n <= gemm->n_columns; column += n) {
        if (gemm->n_rows == 1)
            multiply_few(gemm, lda, column, n_units, is_bf16, 4, 1);
        else
            multiply_few(gemm, lda, column, n_units, is_bf16, 2, 2);
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, n);
    }
    return column;
}

/** Sums of eight columns, which come as 0 1 4 5 | 2 3 6 7, put in order and scaled. */
static BLOCK __m256 scale_sums(__m256i sums, const float *scale_a, const float *scale_b)
{
    const __m256i ordered = _mm256_permute4x64_epi64(sums, _MM_SHUFFLE(3, 1, 2, 0));

    return _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(ordered), _mm256_set1_ps(*scale_a)),
                         _mm256_loadu_ps(scale_b));
}

/** sum += pairs of a * b. As assembly, since GCC 12 copies and spills the sums otherwise: half speed. */
static BLOCK __m256i add_products(__m256i sum, __m256i a, __m256i b)
{
    __m256i products;

    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
            : "+x"(sum), "=&x"(products)
            : "x"(a), "x"(b));
    return sum;
}

/**
 * `n_rows` rows (a constant) of 8 columns; c is given the first `n_columns` of them. Meanwhile asks for b
 * `ahead` words ahead, 0: for nothing.
 */
static BLOCK void multiply_int8(const int16_t *a, size_t lda, const float *scale_a,
                                const uint32_t *b, size_t ahead, const float *scale_b,
                                size_t n_units, float *c, size_t ldc, int n_columns, int n_rows)
{
    __m256i first[BLOCK_ROWS], second[BLOCK_ROWS]; /* columns 0 .. 3 and 4 .. 7, two sums each */

#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++)
        first[row] = second[row] = _mm256_setzero_si256();
    for (size_t i = 0; i < n_units; i++, b += FASTVLM_PANEL_COLUMNS) {
        const __m256i b0 = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)b));
        const __m256i b1 = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)b + 1));

        if (ahead > 0)
            _mm_prefetch((const char *)(b + ahead), _MM_HINT_T0);
#pragma GCC unroll 6
        for (int row = 0; row < n_rows; row++) {
            const __m256i four = _mm256_castpd_si256(
                _mm256_broadcast_sd((const double *)(a + (size_t)row * lda + 4 * i)));

            first[row] = add_products(first[row], four, b0);
            second[row] = add_products(second[row], four, b1);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++) {
        const __m256 value =
            scale_sums(_mm256_hadd_epi32(first[row], second[row]), scale_a + row, scale_b);

        if (n_columns >= 8)
            _mm256_storeu_ps(c + (size_t)row * ldc, value);
        else
            _mm256_maskstore_ps(c + (size_t)row * ldc, tail_mask_avx2((size_t)n_columns), value);
    }
}

/** A panel as int16: of each unit elements 0 and 1 of k of 16 columns, then 2 and 3. */
static void widen_panel(const uint32_t *b, size_t n_units, __m256i *wide)
{
    for (size_t i = 0; i < n_units; i++, wide += 4)
        for (int half = 0; half < 2; half++, b += FASTVLM_PANEL_COLUMNS / 2) {
            const __m256 b0 =
                _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)b)));
            const __m256 b1 =
                _mm256_castsi256_ps(_mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)b + 1)));

            /* Columns 0 1 4 5 | 2 3 6 7, as shuffles within lanes have it. */
            wide[half] = _mm256_castps_si256(_mm256_shuffle_ps(b0, b1, _MM_SHUFFLE(2, 0, 2, 0)));
            wide[2 + half] =
                _mm256_castps_si256(_mm256_shuffle_ps(b0, b1, _MM_SHUFFLE(3, 1, 3, 1)));
        }
}

/** `n_rows` rows (a constant) of 16 columns. */
static BLOCK void multiply_wide(const int16_t *a, size_t lda, const float *scale_a,
                                const __m256i *wide, const float *scale_b, size_t n_units, float *c,
                                size_t ldc, int n_columns, int n_rows)
{
    __m256i low[BLOCK_ROWS], high[BLOCK_ROWS];

#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++)
        low[row] = high[row] = _mm256_setzero_si256();
    for (size_t i = 0; i < 2 * n_units; i++, wide += 2) {
        const __m256i b0 = wide[0], b1 = wide[1];

#pragma GCC unroll 6
        for (int row = 0; row < n_rows; row++) {
            const __m256i two = _mm256_castps_si256(
                _mm256_broadcast_ss((const float *)(a + (size_t)row * lda + 2 * i)));

            low[row] = add_products(low[row], two, b0);
            high[row] = add_products(high[row], two, b1);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < n_rows; row++)
        store_row_avx2(c + (size_t)row * ldc, (size_t)n_columns,
                       scale_sums(low[row], scale_a + row, scale_b),
                       scale_sums(high[row], scale_a + row, scale_b + 8));
}

void fastvlm_gemm_f32_avx2(const FastvlmGemm *gemm)
{
    const size_t n_units = FASTVLM_UNITS_F32(gemm->k);
    int column = gemm_few(gemm, gemm->lda, n_units, 0);
    const uint32_t *b = gemm->b + (size_t)column * n_units;

    for (; column < gemm->n_columns; column += FASTVLM_PANEL_COLUMNS) {
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            const size_t ahead = find_ahead(gemm->n_rows, row, n_units * FASTVLM_PANEL_COLUMNS);
            const float *a = (const float *)gemm->a + (size_t)row * gemm->lda;
            float *c = gemm->c + (size_t)row * gemm->ldc + column;

            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            if (ahead > 0)
                WITH_ROWS_6(n_rows, multiply_f32, a, gemm->lda, b, ahead, n_units, c, gemm->ldc,
                            gemm->n_columns - column);
            else
                WITH_ROWS_6(n_rows, multiply_f32, a, gemm->lda, b, 0, n_units, c, gemm->ldc,
                            gemm->n_columns - column);
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, FASTVLM_PANEL_COLUMNS);
        b += n_units * FASTVLM_PANEL_COLUMNS;
    }
}

void fastvlm_gemm_bf16_avx2(const FastvlmGemm *gemm)
{
    const size_t n_units = FASTVLM_UNITS_BF16(gemm->k);
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(float);
    int column = gemm_few(gemm, lda, n_units, 1);
    const uint32_t *b = gemm->b + (size_t)column * n_units;

    for (; column < gemm->n_columns; column += FASTVLM_PANEL_COLUMNS) {
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            const size_t ahead = find_ahead(gemm->n_rows, row, n_units * FASTVLM_PANEL_COLUMNS);
            const float *a = (const float *)gemm->a + (size_t)row * lda;
            float *c = gemm->c + (size_t)row * gemm->ldc + column;

            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            if (ahead > 0)
                WITH_ROWS_6(n_rows, multiply_bf16, a, lda, b, ahead, n_units, c, gemm->ldc,
                            gemm->n_columns - column);
            else
                WITH_ROWS_6(n_rows, multiply_bf16, a, lda, b, 0, n_units, c, gemm->ldc,
                            gemm->n_columns - column);
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, FASTVLM_PANEL_COLUMNS);
        b += n_units * FASTVLM_PANEL_COLUMNS;
    }
}

/** Many rows: what a panel takes to be widened is less than what widening it for each block would. */
static void gemm_wide(const FastvlmGemm *gemm, size_t n_units)
{
    __m256i wide[4 * WIDE_MOST_UNITS];
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(int16_t);
    const uint32_t *b = gemm->b;

    for (int column = 0; column < gemm->n_columns; column += FASTVLM_PANEL_COLUMNS) {
        widen_panel(b, n_units, wide);
        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            const int16_t *a = (const int16_t *)gemm->a + (size_t)row * lda;
            float *c = gemm->c + (size_t)row * gemm->ldc + column;

            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            WITH_ROWS_6(n_rows, multiply_wide, a, lda, gemm->scale_a + row, wide,
                        gemm->scale_b + column, n_units, c, gemm->ldc, gemm->n_columns - column);
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, FASTVLM_PANEL_COLUMNS);
        b += n_units * FASTVLM_PANEL_COLUMNS;
    }
}

/**
 * Few rows, or more units than gemm_wide() has room for. The second half of a panel is near, so that the
 * first block of rows asks for the next panel with it.
 */
static void gemm_narrow(const FastvlmGemm *gemm, size_t n_units)
{
    const size_t lda = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(int16_t);
    const size_t panel_words = n_units * FASTVLM_PANEL_COLUMNS;
    const int asks = gemm->n_rows > 1 || n_units <= NEAR_UNITS;

    for (int column = 0; column < gemm->n_columns; column += 8) {
        const int half = column % FASTVLM_PANEL_COLUMNS;
        const uint32_t *b =
            gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * panel_words + (size_t)half;

        for (int row = 0, n_rows; row < gemm->n_rows; row += n_rows) {
            const size_t ahead = asks && half > 0 && row == 0 ? panel_words : 0;
            const int16_t *a = (const int16_t *)gemm->a + (size_t)row * lda;
            float *c = gemm->c + (size_t)row * gemm->ldc + column;

            n_rows = take_rows(gemm->n_rows - row, BLOCK_ROWS);
            WITH_ROWS_6(n_rows, multiply_int8, a, lda, gemm->scale_a + row, b, ahead,
                        gemm->scale_b + column, n_units, c, gemm->ldc, gemm->n_columns - column);
        }
        fastvlm_gemm_finish(gemm, 0, gemm->n_rows, column, 8);
    }
}

void fastvlm_gemm_int8_avx2(const FastvlmGemm *gemm)
{
    const size_t n_units = FASTVLM_UNITS_INT8(gemm->k);

    if (gemm->n_rows >= WIDE_ROWS && n_units <= WIDE_MOST_UNITS)
        gemm_wide(gemm, n_units);
    else
        gemm_narrow(gemm, n_units);
}

/** Eight values rounded to bf16 precision, to nearest even; NaN stays NaN. */
static inline __m256 round_to_bf16(__m256 v)
{
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256 cut =
        _mm256_castsi256_ps(_mm256_and_si256(rounded, _mm256_set1_epi32((int)0xffff0000u)));

    return _mm256_blendv_ps(cut, v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}

void fastvlm_round_rows_bf16_avx2(const float *x, size_t ldx, int n_rows, int k, void *out)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        float *to = (float *)((char *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k));
        int i = 0;

        for (; i + 8 <= k; i += 8)
            _mm256_storeu_ps(to + i, round_to_bf16(_mm256_loadu_ps(x + i)));
        if (i < k) { /* rows are a multiple of 16 floats apart */
            const __m256i mask = tail_mask_avx2((size_t)(k - i));

            _mm256_storeu_ps(to + i, round_to_bf16(_mm256_maskload_ps(x + i, mask)));
        }
    }
}

static void round_row(const float *x, int k, float inverse, int16_t *to)
{
    const __m256 factor = _mm256_set1_ps(inverse);

    for (int i = 0; i < k; i += 8) {
        const __m256 v = i + 8 <= k ? _mm256_loadu_ps(x + i)
                                    : _mm256_maskload_ps(x + i, tail_mask_avx2((size_t)(k - i)));
        const __m256i rounded = _mm256_cvtps_epi32(_mm256_mul_ps(v, factor));

        _mm_storeu_si128(
            (__m128i *)(to + i),
            _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1)));
    }
}

void fastvlm_round_rows_int8_avx2(const float *x, size_t ldx, int n_rows, int k, void *out,
                                  float *scale)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        int16_t *to = (int16_t *)((char *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k));
        float inverse;

        scale[row] = fastvlm_int8_scale(find_largest_avx2(x, k), &inverse);
        if (inverse > 0.0f)
            round_row(x, k, inverse, to);
        else
            memset(to, 0, FASTVLM_UNITS_INT8(k) * 4 * sizeof *to);
    }
}
