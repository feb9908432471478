/*
 * Packed matrix products, c = a * transpose(b): what a linear layer is.
 *
 *     b [n_columns, k]  packed once:   panels of 16 columns, k in units of 4 bytes, the same bytes on
 *                                      every tier: [ceil(n_columns / 16)][n_units][16] words
 *     a [n_rows, k]     f32 as it is; for bf16 and int8 rounded first, row by row, to a form that
 *                       each tier chooses for itself (round_rows_*)
 *     c [n_rows, n_columns]  f32
 *
 * A word of b holds one f32, two bf16 or four int8 of one column, of rising k, the first in the low
 * bits; beyond the matrix they are 0. Rows of a and columns of b may be any number. Each element of c is one chain
 * of sums over rising k, whatever is computed beside it: a row's bytes depend neither on how many
 * rows there are nor on where a tile begins.
 *
 *     f32    c = sum of a * b, fused multiply-adds where the tier has them
 *     bf16   a and b rounded to nearest even, products exact, sums in f32
 *     int8   a = scale_a [row] * integer (-127 .. 127), scale_a = max |a| / 127; b likewise by column;
 *            c = ((float)(sum of integers) * scale_a) * scale_b: the same bytes on every tier
 *
 * What a layer does to its sums comes as an epilogue, block by block, while they are in the cache.
 *
 * An int8 row of a with NaN or infinity makes a row of NaN; one with nothing above 2^-100 counts as 0.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_GEMM_H
#define FASTVLM_KERNELS_GEMM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/** Columns of a panel. */
#define FASTVLM_PANEL_COLUMNS 16

/** Largest k: sums of int8 products stay within 32 bits, with room for an offset of 128. */
#define FASTVLM_GEMM_MAX_K 65536

/** int8: what a row's largest magnitude must reach to count, so that 127 / largest is finite. */
#define FASTVLM_GEMM_SMALLEST 0x1p-100f

/**
 * int8: the scale of a row whose largest magnitude is `largest`, and in `inverse` what its elements are
 * multiplied by: 0 where the row counts as 0, or is not finite and has a scale of NaN.
 */
static inline float fastvlm_int8_scale(float largest, float *inverse)
{
    *inverse = 0.0f;
    if (!isfinite(largest))
        return NAN;
    if (largest < FASTVLM_GEMM_SMALLEST)
        return 0.0f;
    *inverse = 127.0f / largest;
    return largest / 127.0f;
}

/** Units of k (words of a column) for a k of f32, bf16 or int8. */
#define FASTVLM_UNITS_F32(k) ((size_t)(k))
#define FASTVLM_UNITS_BF16(k) (((size_t)(k) + 1) / 2)
#define FASTVLM_UNITS_INT8(k) (((size_t)(k) + 3) / 4)

/**
 * How far rounded rows of a lie apart, in bytes: room for 4 bytes an element, and a cache line more,
 * so that rows of a power of two do not all fall into the same sets of the cache.
 */
#define FASTVLM_ROUNDED_ROW_BYTES(k) (((size_t)(k) + 15) / 16 * 64 + 64)

/** c = residual + activation(c * scale + bias); NULL and 0 leave a step out. */
typedef struct {
    const float *scale;    /* [n_columns] */
    const float *bias;     /* [n_columns] */
    const float *residual; /* [n_rows, n_columns], not c */
    size_t ldr;            /* floats from one row of it to the next */
    int gelu;
} FastvlmEpilogue;

typedef struct FastvlmGemm FastvlmGemm;

/** Finishes rows row .. row + n_rows - 1 of columns column .. column + n_columns - 1 of c. */
typedef void (*FastvlmFinishFunc)(const FastvlmGemm *gemm, int row, int n_rows, int column,
                                  int n_columns);

/** A product. Columns of b begin at a panel; `b`, `scale_b` and `offset_b` point to the first. */
struct FastvlmGemm {
    const void *a;           /* f32 rows [n_rows, k], or what round_rows_* wrote */
    size_t lda;              /* f32: floats from one row to the next; else unused */
    const float *scale_a;    /* int8: [n_rows] */
    const uint32_t *b;       /* [panels][n_units][16] */
    const float *scale_b;    /* int8: [whole panels] */
    const int32_t *offset_b; /* int8: [whole panels], 128 * sum over k of the column's integers */
    float *c;                /* [n_rows, n_columns], not overlapping a */
    size_t ldc;              /* floats from one row of c to the next */
    int n_rows;
    int n_columns;
    int k;
    FastvlmEpilogue epilogue;
    FastvlmFinishFunc finish; /* the tier's finish_f32, called once for each element; NULL: none */
};

/** What a product calls when the sums of `n_columns` columns, or as many as there are, are complete. */
static inline void fastvlm_gemm_finish(const FastvlmGemm *gemm, int row, int n_rows, int column,
                                       int n_columns)
{
    const int n_left = gemm->n_columns - column;

    if (gemm->finish)
        gemm->finish(gemm, row, n_rows, column, n_columns < n_left ? n_columns : n_left);
}

#endif
