/*
 * Weights that MLX has quantized: words of packed integers, a scale and a bias for each group.
 *
 *     NAME.weight U32 [n, n_in * bits / 32], NAME.scales and NAME.biases [n, n_in / group]
 *         -> NAME.weight [n, n_in] = scale * integer + bias
 *
 * A word's lowest bits are its first integer (mlx.core.quantize).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_QUANTIZED_H
#define FASTVLM_LOAD_QUANTIZED_H

#include "load/tensor_set.h"

/**
 * Puts one derived tensor in the place of each three.
 *
 * Errors: FORMAT (one of the three is missing or misshapen), UNSUPPORTED (another width than 2, 4 or 8
 * bits).
 */
gboolean fastvlm_quantized_join(FastvlmTensorSet *set, GError **error);

#endif
