/*
 * Depthwise and grouped convolutions over a whole picture, NHWC.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_CONV_H
#define FASTVLM_NN_CONV_H

#include "nn/compute.h"

/** Weights of one convolution, in a store; see FastvlmConvDw for the fields' meaning. */
typedef struct {
    int n_channels;
    int multiplier;
    int kernel_size;
    int stride;
    float *weight;    /* [kernel_size * kernel_size, n_channels] */
    float *bias;      /* [n_channels] */
    gboolean is_bf16; /* input and weights may be rounded: see FastvlmConvDw */
} FastvlmConv;

/** Side of the output for `size` pixels of input. */
int fastvlm_conv_output_size(const FastvlmConv *conv, int size);

/** The kernel's arguments for `input` [height, width, n_channels / multiplier]. */
FastvlmConvDw fastvlm_conv_bind(const FastvlmConv *conv, const float *input, int height, int width);

/**
 * Output pixels first .. first + n_pixels - 1, counted row by row, on this thread.
 *
 * @param out  [n_pixels, n_channels]
 */
void fastvlm_conv_pixels(const FastvlmKernels *kernels, const FastvlmConvDw *conv, gint64 first,
                         int n_pixels, float *out);

/**
 * The whole picture, on all threads.
 *
 * @param input   [height, width, n_channels / multiplier]
 * @param gelu    apply GELU to the result
 * @param output  [output height, output width, n_channels]
 * Errors: CANCELLED.
 */
gboolean fastvlm_conv_run(const FastvlmCompute *compute, const FastvlmConv *conv,
                          const float *input, int height, int width, gboolean gelu, float *output,
                          GError **error);

#endif
