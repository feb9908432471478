/*
 * Linear layers, which 1x1 convolutions on NHWC rows are too.
 *
 *     y [n_rows, n_out] = activation(x [n_rows, n_in] * transpose(weight) + bias)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_LINEAR_H
#define FASTVLM_NN_LINEAR_H

#include "nn/compute.h"

typedef enum { FASTVLM_ACTIVATION_NONE, FASTVLM_ACTIVATION_GELU } FastvlmActivation;

typedef struct {
    int n_out;
    int n_in;
    float *weight;                /* [n_out, n_in] */
    float *bias;                  /* [n_out], or NULL: none */
    FastvlmActivation activation; /* GELU needs a bias */
} FastvlmLinear;

/** Frees what `linear` points to. */
void fastvlm_linear_clear(FastvlmLinear *linear);

/** Rows of one tile, on this thread. `n_rows` is a multiple of FASTVLM_ROW_GROUP. */
void fastvlm_linear_tile(const FastvlmKernels *kernels, const FastvlmLinear *linear, const float *x,
                         int n_rows, float *y);

/**
 * All rows, on all threads: tiles of rows, and of output channels where there are few rows.
 *
 * @param x  [fastvlm_pad_rows(n_rows), n_in]
 * @param y  [fastvlm_pad_rows(n_rows), n_out], not x
 * Errors: CANCELLED.
 */
gboolean fastvlm_linear_run(const FastvlmCompute *compute, const FastvlmLinear *linear,
                            const float *x, int n_rows, float *y, GError **error);

#endif
