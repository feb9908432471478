/*
 * Norms over rows, on all threads.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_NORM_H
#define FASTVLM_NN_NORM_H

#include "nn/compute.h"

/**
 * out = RMSNorm(x) with `weight` [n], or where `weight` is NULL LayerNorm without an affine part
 * (which is folded into the layer behind it).
 *
 * @param x    [n_rows, n]
 * @param out  [n_rows, n]
 * Errors: CANCELLED.
 */
gboolean fastvlm_norm_run(const FastvlmCompute *compute, const float *x, const float *weight,
                          float epsilon, int n_rows, int n, float *out, GError **error);

#endif
