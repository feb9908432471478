/*
 * Depthwise and grouped convolutions: an item is one row of output.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/conv.h"

int fastvlm_conv_output_size(const FastvlmConv *conv, int size)
{
    return (size - 1) / conv->stride + 1;
}

FastvlmConvDw fastvlm_conv_bind(const FastvlmConv *conv, const float *input, int height, int width)
{
    return (FastvlmConvDw){
        .input = input,
        .weight = conv->weight,
        .bias = conv->bias,
        .height = height,
        .width = width,
        .n_channels = conv->n_channels,
        .multiplier = conv->multiplier,
        .kernel_size = conv->kernel_size,
        .stride = conv->stride,
    };
}

void fastvlm_conv_pixels(const FastvlmKernels *kernels, const FastvlmConvDw *conv, gint64 first,
                         int n_pixels, float *out)
{
    const int width = (conv->width - 1) / conv->stride + 1;
    int y = (int)(first / width);
    int x = (int)(first % width);

    while (n_pixels > 0) {
        const int n = MIN(n_pixels, width - x);

        kernels->conv_dw_f32(conv, y, x, x + n, out);
        out += (gsize)n * (gsize)conv->n_channels;
        n_pixels -= n;
        x = 0;
        y++;
    }
}

typedef struct {
    const FastvlmKernels *kernels;
    FastvlmConvDw conv;
    const float *zero_bias; /* GELU comes with a bias, which the convolution has added already */
    float *output;
    int width; /* of the output */
} ConvRun;

static void run_row(int y, int worker, void *data)
{
    const ConvRun *run = data;
    float *out = run->output + (gsize)y * (gsize)run->width * (gsize)run->conv.n_channels;

    run->kernels->conv_dw_f32(&run->conv, y, 0, run->width, out);
    if (run->zero_bias)
        run->kernels->gelu_bias_f32(out, run->zero_bias, (size_t)run->width,
                                    (size_t)run->conv.n_channels);
}

gboolean fastvlm_conv_run(const FastvlmCompute *compute, const FastvlmConv *conv,
                          const float *input, int height, int width, gboolean gelu, float *output,
                          GError **error)
{
    g_autofree float *zero_bias = gelu ? g_new0(float, conv->n_channels) : NULL;
    ConvRun run = {
        .kernels = compute->kernels,
        .conv = fastvlm_conv_bind(conv, input, height, width),
        .zero_bias = zero_bias,
        .output = output,
        .width = fastvlm_conv_output_size(conv, width),
    };

    return fastvlm_compute_run(compute, fastvlm_conv_output_size(conv, height), run_row, &run,
                               error);
}
