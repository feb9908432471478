/*
 * Matrix products by OpenBLAS, the only place that knows it.
 *
 * OpenBLAS is held to one thread: our own threads call it, a tile each. OpenBLAS 0.3 can be told so
 * for the whole process only, so every other user of it in the process computes on one thread too.
 * Its serial build may not be called from two threads at once (wrong products were seen): there calls
 * take turns. Its OpenMP build must be told in each thread anew.
 *
 * What a row of the result is depends on the row's own operands and on the sizes of the product, not
 * on its neighbours, if tiles are whole: with its AVX2 kernels OpenBLAS computes rows in groups of 12,
 * and the rows of a group that is not full round differently. So the number of rows must be a multiple
 * of FASTVLM_BLAS_ROWS. With its AVX-512 kernels the sizes count for small products alone, those of
 * n_rows * n_columns <= 1200, which have kernels of their own (sgemm_small_kernel_permit_skylakex.c).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_BLAS_H
#define FASTVLM_KERNELS_BLAS_H

#include <stddef.h>

#include "base/cpu.h"

/** Rows of a product come in multiples of this. */
#define FASTVLM_BLAS_ROWS 12

/**
 * Whether products of f32 shall go through OpenBLAS: where the environment variable FASTVLM_BLAS is
 * "openblas", or where `tier` has no kernels of its own and OpenBLAS passes a check against the scalar
 * ones. Otherwise OpenBLAS is left alone. Thread-safe.
 */
int fastvlm_blas_is_wanted(FastvlmTier tier);

/** Holds OpenBLAS to one thread; to be called before the first product. Thread-safe. */
void fastvlm_blas_init(void);

/** As "OpenBLAS 0.3.21 (Haswell)"; constant. */
const char *fastvlm_blas_describe(void);

/**
 * c = a * transpose(b): a linear layer.
 *
 * @param a  [n_rows, n_inner], rows lda floats apart; n_rows a multiple of FASTVLM_BLAS_ROWS
 * @param b  [n_columns, n_inner], rows ldb floats apart
 * @param c  [n_rows, n_columns], rows ldc floats apart
 */
void fastvlm_blas_multiply_nt(int n_rows, int n_columns, int n_inner, const float *a, size_t lda,
                              const float *b, size_t ldb, float *c, size_t ldc);

/** c = a * b with b [n_inner, n_columns]; otherwise as above. */
void fastvlm_blas_multiply_nn(int n_rows, int n_columns, int n_inner, const float *a, size_t lda,
                              const float *b, size_t ldb, float *c, size_t ldc);

#endif
