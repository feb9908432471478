/*
 * FastViTHD's convolutional feed-forward block:
 *
 *     y = x + fc2(GELU(fc1(depthwise 7x7(x))))
 *
 * BatchNorm is folded into the depthwise weights and the layer scale into fc2 (vision/weights.c).
 * Where there are many rows, a stripe of the picture goes through all four steps at once, so that the
 * hidden layer, four times as wide as the picture, never leaves the cache.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_CONV_FFN_H
#define FASTVLM_NN_CONV_FFN_H

#include "nn/conv.h"
#include "nn/linear.h"

typedef struct {
    FastvlmConv conv;  /* depthwise 7x7, C channels */
    FastvlmLinear fc1; /* C -> 4C, GELU */
    FastvlmLinear fc2; /* 4C -> C */
} FastvlmConvFfn;

/** Floats of scratch memory fastvlm_conv_ffn_run() needs of each thread. */
gsize fastvlm_conv_ffn_scratch_size(const FastvlmConvFfn *ffn, int height, int width);

/** Floats of `hidden` it needs: 0 where the hidden layer stays in the scratch. */
gsize fastvlm_conv_ffn_hidden_size(const FastvlmConvFfn *ffn, int height, int width);

/**
 * Sees to it that `compute` has the shared memory that fastvlm_conv_ffn_run() needs.
 *
 * Errors: LIMIT.
 */
gboolean fastvlm_conv_ffn_reserve(FastvlmCompute *compute, const FastvlmConvFfn *ffn, int height,
                                  int width, GError **error);

/**
 * @param x       [height, width, C], padded rows
 * @param y       the same, not x
 * @param hidden  fastvlm_conv_ffn_hidden_size() floats
 * Errors: CANCELLED.
 */
gboolean fastvlm_conv_ffn_run(const FastvlmCompute *compute, const FastvlmConvFfn *ffn,
                              const float *x, int height, int width, float *y, float *hidden,
                              GError **error);

#endif
