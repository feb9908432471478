/*
 * Packed matrix products in 512 bits, whatever a word holds.
 *
 *     sum [12 rows][2 panels of 16 columns] += word of a, in all lanes, * word of b, lane by lane
 *
 * The 24 sums stay in registers while k passes; two vectors of b are loaded and 12 words of a broadcast
 * for 24 products. All rows of a tile pass a part of a panel that fits into the first-level cache
 * before the next part comes; between parts the sums wait in c. A single block of rows takes all of k at
 * once, of panels far apart (multiply_few).
 *
 * A tier gives three functions: what sums start from, the product and the result. They are inlined.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_GEMM_AVX512_H
#define FASTVLM_KERNELS_X86_GEMM_AVX512_H

#include <string.h>

#include "kernels/gemm.h"
#include "kernels/x86/block.h"
#include "kernels/x86/simd_avx512.h"

#define BLOCK_ROWS 12
#define ROWS_OF_BASE 3 /* an address reaches base, base + lda and base + 2 * lda */
#define PART_UNITS 224 /* of k, at most: 14 KB of each panel, of 32 KB of L1 or more */

/* A single block of rows waits for memory rather than computes. What goes on where it has ended, the
 * processor asks for itself, in several streams, but not across pages. One row leaves room for so many loads
 * on their way that asking for a line a page ahead, once in so many, is all that helps: for every line it is
 * slower than for none (Zen 5). More rows do not: they ask for every line. */
#define N_STREAMS 4 /* of half a block's rows and less; of more half as many */
#define AHEAD_WORDS 1024
#define AHEAD_UNITS 8
#define UNITS_AT_ONCE 4        /* of a stream, before the next one's turn */
#define LINES_ON_THEIR_WAY 128 /* of all streams, with several rows */

/** Makes a pointer one of its own: GCC 12 would compute 12 rows from one, and spill what it needs. */
#ifdef FASTVLM_EMULATE
#define HIDE(pointer)
#else
#define HIDE(pointer) __asm__("" : "+r"(pointer))
#endif

/** Where a block's sums go, and int8's scales. Copies: a store to c could change what `gemm` holds. */
typedef struct {
    float *c; /* [n_rows, ldc] */
    size_t ldc;
    size_t n_columns; /* that there are from the first on */
    const float *scale_a;
    __m512 scale_b[2];
} Result;

/** The sums' first value, columns `column` to column + 15. */
typedef __m512i (*StartFunc)(const FastvlmGemm *gemm, int column);

/** sum + products; `a` points to one unit of k of a row, b holds that unit of 16 columns. */
typedef __m512i (*AddFunc)(__m512i sum, const uint32_t *a, __m512i b);

/** What a sum of row `row` and panel `panel` of a block comes to. */
typedef __m512 (*FinishFunc)(const Result *result, __m512i sum, int row, int panel);

typedef struct {
    const FastvlmGemm *gemm;
    const uint32_t *a; /* [n_rows, n_units * unit_words] */
    size_t lda;        /* words from one row to the next */
    size_t unit_words; /* words of a that a unit of k takes: 1 or 2 */
    size_t n_units;
    size_t first; /* the part of k at hand */
    size_t end;
} Product;

static BLOCK Result find_result(const FastvlmGemm *gemm, int row, int column, int n_panels)
{
    Result result = {
        .c = gemm->c + (size_t)row * gemm->ldc + column,
        .ldc = gemm->ldc,
        .n_columns = (size_t)(gemm->n_columns - column),
    };

    if (gemm->scale_b) {
        result.scale_a = gemm->scale_a + row;
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            result.scale_b[p] = _mm512_loadu_ps(gemm->scale_b + column + 16 * p);
    }
    return result;
}

/** What waits in c since the last part of k. */
static BLOCK void load_sums(const Result *result, int n_panels, int n_rows, __m512i (*sums)[2])
{
#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            sums[i][p] =
                _mm512_castps_si512(load_part_avx512(result->c + (size_t)i * result->ldc + 16 * p,
                                                     result->n_columns - (size_t)(16 * p)));
}

/** With a constant for `n_columns`, no store asks whether it is whole. */
static BLOCK void store_columns(const Result *result, size_t n_columns, int n_panels,
                                FinishFunc finish, int n_rows, __m512i (*sums)[2])
{
    float *c = result->c;

#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++, c += result->ldc)
#pragma GCC unroll 2
        for (int p = 0; p < n_panels; p++)
            store_part_avx512(c + 16 * p, n_columns - (size_t)(16 * p),
                              finish ? finish(result, sums[i][p], i, p)
                                     : _mm512_castsi512_ps(sums[i][p]));
}

/** Without `finish` sums go as they are, to wait in c for the next part of k. */
static BLOCK void store_sums(const Result *result, int n_panels, FinishFunc finish, int n_rows,
                             __m512i (*sums)[2])
{
    if (result->n_columns >= (size_t)(16 * n_panels))
        store_columns(result, (size_t)(16 * n_panels), n_panels, finish, n_rows, sums);
    else
        store_columns(result, result->n_columns, n_panels, finish, n_rows, sums);
}

/**
 * `n_rows` rows and `n_panels` panels, constants; meanwhile asks for the cache lines from `ahead` on,
 * `ahead_step` bytes apart, one for each unit of k.
 */
static BLOCK void multiply_block(const Product *product, int row, int column, const char *ahead,
                                 size_t ahead_step, int n_panels, StartFunc start, AddFunc add,
                                 FinishFunc finish, int n_rows)
{
    const size_t panel_words = product->n_units * FASTVLM_PANEL_COLUMNS;
    const size_t lda = product->lda;
    const uint32_t *a[BLOCK_ROWS / ROWS_OF_BASE];
    const FastvlmGemm *gemm = product->gemm;
    const uint32_t *b = gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * panel_words +
                        product->first * FASTVLM_PANEL_COLUMNS;
    const uint32_t *b_end = b + (product->end - product->first) * FASTVLM_PANEL_COLUMNS;
    const Result result = find_result(gemm, row, column, n_panels);
    __m512i sums[BLOCK_ROWS][2];

#pragma GCC unroll 4
    for (int i = 0; i * ROWS_OF_BASE < n_rows; i++) {
        a[i] = product->a + (size_t)(row + i * ROWS_OF_BASE) * lda +
               product->first * product->unit_words;
        HIDE(a[i]);
    }
    if (product->first > 0)
        load_sums(&result, n_panels, n_rows, sums);
    else
#pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 2
            for (int p = 0; p < n_panels; p++)
                sums[i][p] = start(gemm, column + 16 * p);
    for (; b < b_end; b += FASTVLM_PANEL_COLUMNS) {
        const __m512i b0 = _mm512_load_si512((const void *)b);
        const __m512i b1 = n_panels > 1 ? _mm512_load_si512((const void *)(b + panel_words)) : b0;

        _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += ahead_step;
#pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            const uint32_t *unit = a[i / ROWS_OF_BASE] + (size_t)(i % ROWS_OF_BASE) * lda;

            sums[i][0] = add(sums[i][0], unit, b0);
            if (n_panels > 1)
                sums[i][1] = add(sums[i][1], unit, b1);
        }
#pragma GCC unroll 4
        for (int i = 0; i * ROWS_OF_BASE < n_rows; i++)
            a[i] += product->unit_words;
    }
    if (product->end == product->n_units)
        store_sums(&result, n_panels, finish, n_rows, sums);
    else
        store_sums(&result, n_panels, NULL, n_rows, sums);
}

/** Where the part begins that comes behind this one: in the same panels or in the next two. */
static inline const uint32_t *find_next_part(const Product *product, int column)
{
    const size_t panel_words = product->n_units * FASTVLM_PANEL_COLUMNS;
    const uint32_t *b = product->gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * panel_words;

    return product->end < product->n_units ? b + product->end * FASTVLM_PANEL_COLUMNS
                                           : b + 2 * panel_words;
}

/**
 * All rows of one panel or two, a part of k. The first block of rows asks for the first panel of the
 * next part and the second for its second: weights come from far away, and by the time that they are
 * needed they are near.
 */
static BLOCK void multiply_panels(const Product *product, int column, int n_panels, StartFunc start,
                                  AddFunc add, FinishFunc finish)
{
    const uint32_t *next = find_next_part(product, column);
    int row = 0;

    for (int i = 0; row < product->gemm->n_rows; i++) {
        const int n_rows = take_rows(product->gemm->n_rows - row, BLOCK_ROWS);
        const char *ahead =
            (const char *)(i == 0 ? next : next + product->n_units * FASTVLM_PANEL_COLUMNS);

        WITH_ROWS_12(n_rows, multiply_block, product, row, column, ahead, i < 2 ? 64 : 0, n_panels,
                     start, add, finish);
        row += n_rows;
    }
    if (product->end == product->n_units)
        fastvlm_gemm_finish(product->gemm, 0, row, column, n_panels * FASTVLM_PANEL_COLUMNS);
}

/** Units of a part: all parts are equal, but for the last by what is left of a division. */
static inline size_t choose_part_units(size_t n_units)
{
    const size_t n_parts = (n_units + PART_UNITS - 1) / PART_UNITS;

    return (n_units + n_parts - 1) / n_parts;
}

/** Units `unit` to unit + n - 1, a constant, of one row and one stream, whose panel is b. */
static BLOCK __m512i add_units(const Product *product, size_t unit, const uint32_t *b, int n,
                               AddFunc add, __m512i sum)
{
    const uint32_t *a = product->a + unit * product->unit_words;

    b += unit * FASTVLM_PANEL_COLUMNS;
    if (unit % AHEAD_UNITS == 0)
        _mm_prefetch((const char *)(b + AHEAD_WORDS), _MM_HINT_T0);
#pragma GCC unroll 4
    for (int j = 0; j < n; j++, a += product->unit_words, b += FASTVLM_PANEL_COLUMNS)
        sum = add(sum, a, _mm512_load_si512((const void *)b));
    return sum;
}

/** One row of all streams, the first of which is b: some units of a stream, then of the next. */
static BLOCK void add_row(const Product *product, const uint32_t *b, size_t stream_words,
                          int n_streams, AddFunc add, __m512i *sums)
{
    size_t unit = 0;

    for (; product->n_units - unit >= UNITS_AT_ONCE; unit += UNITS_AT_ONCE)
#pragma GCC unroll 4
        for (int s = 0; s < n_streams; s++)
            sums[s] =
                add_units(product, unit, b + (size_t)s * stream_words, UNITS_AT_ONCE, add, sums[s]);
    for (; unit < product->n_units; unit++)
#pragma GCC unroll 4
        for (int s = 0; s < n_streams; s++)
            sums[s] = add_units(product, unit, b + (size_t)s * stream_words, 1, add, sums[s]);
}

/** Several rows: a unit of all streams at a time, so that a word of a row is broadcast for all of them. */
static BLOCK void add_rows(const Product *product, const uint32_t *b, size_t stream_words,
                           int n_streams, AddFunc add, int n_rows, __m512i (*sums)[N_STREAMS])
{
    const size_t ahead_words = (size_t)(LINES_ON_THEIR_WAY / n_streams) * FASTVLM_PANEL_COLUMNS;
    const uint32_t *b_end = b + product->n_units * FASTVLM_PANEL_COLUMNS;
    const uint32_t *a = product->a;

    for (; b < b_end; b += FASTVLM_PANEL_COLUMNS, a += product->unit_words) {
        __m512i words[N_STREAMS];

#pragma GCC unroll 4
        for (int s = 0; s < n_streams; s++) {
            const uint32_t *from = b + (size_t)s * stream_words;

            words[s] = _mm512_load_si512((const void *)from);
            _mm_prefetch((const char *)(from + ahead_words), _MM_HINT_T0);
        }
#pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 4
            for (int s = 0; s < n_streams; s++)
                sums[i][s] = add(sums[i][s], a + (size_t)i * product->lda, words[s]);
    }
}

/** `n_rows` rows of `n_streams` panels (constants) that are `step` columns apart: all of k. */
static BLOCK void multiply_streams(const Product *product, int column, int step, int n_streams,
                                   StartFunc start, AddFunc add, FinishFunc finish, int n_rows)
{
    const FastvlmGemm *gemm = product->gemm;
    const size_t n_units = product->n_units, stream_words = (size_t)step * n_units;
    const uint32_t *b = gemm->b + (size_t)column * n_units;
    __m512i sums[BLOCK_ROWS][N_STREAMS];

#pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 4
        for (int s = 0; s < n_streams; s++)
            sums[i][s] = start(gemm, column + s * step);
    if (n_rows == 1)
        add_row(product, b, stream_words, n_streams, add, sums[0]);
    else
        add_rows(product, b, stream_words, n_streams, add, n_rows, sums);
#pragma GCC unroll 4
    for (int s = 0; s < n_streams; s++) {
        const Result result = find_result(gemm, 0, column + s * step, 1);

#pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++)
            store_part_avx512(result.c + (size_t)i * result.ldc, result.n_columns,
                              finish(&result, sums[i][s], i, 0));
        fastvlm_gemm_finish(gemm, 0, n_rows, column + s * step, FASTVLM_PANEL_COLUMNS);
    }
}

/**
 * A single block of rows. A stream's panels follow each other: each stream has an equal part of them, and
 * what is left comes panel by panel.
 */
static BLOCK void multiply_few(const Product *product, StartFunc start, AddFunc add,
                               FinishFunc finish)
{
    const int n_rows = product->gemm->n_rows, n_columns = product->gemm->n_columns;
    const int n_panels = (n_columns + FASTVLM_PANEL_COLUMNS - 1) / FASTVLM_PANEL_COLUMNS;
    const int n_streams = n_rows <= BLOCK_ROWS / 2 ? N_STREAMS : N_STREAMS / 2;
    const int step = n_panels / n_streams * FASTVLM_PANEL_COLUMNS;
    int column = 0;

    for (; column < step; column += FASTVLM_PANEL_COLUMNS)
        if (n_rows <= BLOCK_ROWS / 2)
            WITH_ROWS_6(n_rows, multiply_streams, product, column, step, N_STREAMS, start, add,
                        finish);
        else
            WITH_ROWS_12(n_rows, multiply_streams, product, column, step, N_STREAMS / 2, start, add,
                         finish);
    for (column = n_streams * step; column < n_columns; column += FASTVLM_PANEL_COLUMNS)
        WITH_ROWS_12(n_rows, multiply_streams, product, column, 0, 1, start, add, finish);
}

/** The whole product; `lda` in words, `unit_words` 1 or 2 (a constant). */
static BLOCK void multiply_avx512(const FastvlmGemm *gemm, size_t lda, size_t unit_words,
                                  size_t n_units, StartFunc start, AddFunc add, FinishFunc finish)
{
    Product product = {gemm, gemm->a, lda, unit_words, n_units, 0, 0};
    const size_t part_units = choose_part_units(n_units);

    if (gemm->n_rows <= BLOCK_ROWS) {
        multiply_few(&product, start, add, finish);
        return;
    }
    for (int column = 0; column < gemm->n_columns; column += 2 * FASTVLM_PANEL_COLUMNS)
        for (product.first = 0; product.first < n_units; product.first = product.end) {
            product.end =
                n_units - product.first < part_units ? n_units : product.first + part_units;
            if (gemm->n_columns - column > FASTVLM_PANEL_COLUMNS)
                multiply_panels(&product, column, 2, start, add, finish);
            else
                multiply_panels(&product, column, 1, start, add, finish);
        }
}

#endif
