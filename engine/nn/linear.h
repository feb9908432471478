/*
 * Linear layers, which 1x1 convolutions on NHWC rows are too.
 *
 *     y [n_rows, n_out] = residual + activation(x [n_rows, n_in] * transpose(matrix) * scale + bias)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_LINEAR_H
#define FASTVLM_NN_LINEAR_H

#include "nn/compute.h"
#include "nn/matrix.h"

typedef enum { FASTVLM_ACTIVATION_NONE, FASTVLM_ACTIVATION_GELU } FastvlmActivation;

typedef struct {
    FastvlmMatrix matrix; /* [n_out, n_in] */
    float *scale;         /* [n_out], a store's, or NULL: none */
    float *bias;          /* [n_out], a store's, or NULL: none */
    FastvlmActivation activation;
} FastvlmLinear;

/** Bytes of scratch for fastvlm_linear_tile(). */
gsize fastvlm_linear_tile_bytes(const FastvlmLinear *linear, int n_rows);

/**
 * Rows of one tile, all columns, on this thread.
 *
 * @param x         [n_rows, n_in], rows ldx floats apart; OpenBLAS: memory of whole row groups, here
 *                  and in y
 * @param residual  as y, not y; NULL: none
 * @param scratch   fastvlm_linear_tile_bytes(), aligned to 64
 * @param y         [n_rows, n_out], rows ldy floats apart
 */
void fastvlm_linear_tile(const FastvlmKernels *kernels, const FastvlmLinear *linear, const float *x,
                         gsize ldx, int n_rows, const float *residual, void *scratch, float *y,
                         gsize ldy);

/**
 * Sees to it that `compute` has the memory that fastvlm_linear_run() needs.
 *
 * Errors: LIMIT.
 */
gboolean fastvlm_linear_reserve(FastvlmCompute *compute, const FastvlmLinear *linear, int n_rows,
                                GError **error);

/**
 * All rows, on all threads: tiles of rows, and of output channels.
 *
 * @param x         [fastvlm_pad_rows(n_rows), n_in]
 * @param residual  [n_rows, n_out], not y; NULL: none
 * @param y         [fastvlm_pad_rows(n_rows), n_out], not x
 * Errors: CANCELLED.
 */
gboolean fastvlm_linear_run(const FastvlmCompute *compute, const FastvlmLinear *linear,
                            const float *x, int n_rows, const float *residual, float *y,
                            GError **error);

/**
 * Sees to it that `compute` has the memory that fastvlm_linear_run_gated() needs, of which `linear` is
 * either layer.
 *
 * Errors: LIMIT.
 */
gboolean fastvlm_linear_reserve_gated(FastvlmCompute *compute, const FastvlmLinear *linear,
                                      int n_rows, GError **error);

/**
 * y = SiLU(gate(x)) * up(x), of two layers of the same shape and type: the first half of SwiGLU.
 *
 * @param x  [fastvlm_pad_rows(n_rows), n_in]
 * @param y  [n_rows, n_out], not x
 * Errors: CANCELLED.
 */
gboolean fastvlm_linear_run_gated(const FastvlmCompute *compute, const FastvlmLinear *gate,
                                  const FastvlmLinear *up, const float *x, int n_rows, float *y,
                                  GError **error);

#endif
