/*
 * A weight matrix, packed for the kernels at the precision it computes in.
 *
 *     f32 rows of a checkpoint -> fastvlm_matrix_set_rows() -> panels of 16 (kernels/gemm.h), in a store
 *     x [n_rows, n_in] -> fastvlm_matrix_round() -> fastvlm_matrix_multiply() -> y = x * transpose(matrix)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_MATRIX_H
#define FASTVLM_NN_MATRIX_H

#include <glib.h>

#include "base/store.h"
#include "kernels/kernels.h"

typedef enum {
    FASTVLM_MATRIX_F32,
    FASTVLM_MATRIX_BF16,
    FASTVLM_MATRIX_INT8,
    FASTVLM_MATRIX_INT4, /* scales by groups of 32 inputs (kernels/gemm_int4.h) */
    FASTVLM_MATRIX_BLAS, /* f32 [n_out, n_in] as it is, for OpenBLAS; rows of x in whole groups */
    FASTVLM_N_MATRIX_TYPES,
} FastvlmMatrixType;

/** All zero is none. What it points to belongs to the store that it was taken from. */
typedef struct {
    FastvlmMatrixType type;
    int n_out;
    int n_in;
    void *data;     /* panels; BLAS: f32 [n_out, n_in] */
    float *scale;   /* int8: [whole panels] */
    gint32 *offset; /* int8: [whole panels], 128 * sum of the column's integers */
} FastvlmMatrix;

/** "f32", "bf16", "int8", "int4"; BLAS computes in "f32" too. */
const char *fastvlm_matrix_type_to_string(FastvlmMatrixType type);

/** Bytes of memory that a matrix takes. */
gsize fastvlm_matrix_count_bytes(FastvlmMatrixType type, int n_out, int n_in);

/**
 * Takes a matrix from `store`: zeros where that is to be filled, otherwise what it holds, checked so
 * far that no value can do harm.
 *
 * @param name  of the tensor
 * Errors: LIMIT (n_in beyond FASTVLM_GEMM_MAX_K), FORMAT (what the store holds is no matrix).
 */
gboolean fastvlm_matrix_take(FastvlmMatrix *matrix, FastvlmMatrixType type, int n_out, int n_in,
                             FastvlmStore *store, const char *name, GError **error);

/**
 * Rounds and packs rows first .. first + n_rows - 1. Different rows may be set from several threads at
 * once; whole panels go faster.
 *
 * @param rows  [n_rows, n_in], finite
 */
void fastvlm_matrix_set_rows(FastvlmMatrix *matrix, int first, int n_rows, const float *rows);

/** Rows of x as a matrix multiplies them: rounded, or NULLs where it takes f32. */
typedef struct {
    char *rows;      /* row_bytes apart */
    float *scale;    /* [n_rows] */
    gsize row_bytes; /* FASTVLM_ROUNDED_ROW_BYTES(n_in) */
} FastvlmRounded;

/** Whether rows of x must be rounded before they are multiplied. */
gboolean fastvlm_matrix_is_rounding(const FastvlmMatrix *matrix);

/** Bytes of memory for `n_rows` rounded rows, a multiple of 64; 0 where there is no rounding. */
gsize fastvlm_matrix_count_rounded_bytes(const FastvlmMatrix *matrix, int n_rows);

/** Rounded rows in `memory`, aligned to 64 bytes. */
FastvlmRounded fastvlm_matrix_bind_rounded(const FastvlmMatrix *matrix, int n_rows, void *memory);

/** The rows from `n_rows` on. */
FastvlmRounded fastvlm_rounded_skip(FastvlmRounded rounded, int n_rows);

/**
 * Rounds x [n_rows, n_in], rows ldx floats apart, into `rounded`, on this thread; does nothing where
 * there is no rounding.
 */
void fastvlm_matrix_round(const FastvlmKernels *kernels, const FastvlmMatrix *matrix,
                          const float *x, gsize ldx, int n_rows, FastvlmRounded *rounded);

/**
 * Columns first .. first + n_columns - 1 of y = x * transpose(matrix), on this thread.
 *
 * @param x          [n_rows, n_in], rows ldx floats apart; BLAS: memory of whole row groups, here
 *                   and in y
 * @param rounded    the same rows, rounded
 * @param first      a multiple of FASTVLM_PANEL_COLUMNS
 * @param epilogue   of these rows and columns, or NULL
 * @param y          rows ldy floats apart; y [0] is row 0, column `first`
 */
void fastvlm_matrix_multiply(const FastvlmKernels *kernels, const FastvlmMatrix *matrix,
                             const float *x, gsize ldx, FastvlmRounded rounded, int n_rows,
                             int first, int n_columns, const FastvlmEpilogue *epilogue, float *y,
                             gsize ldy);

#endif
