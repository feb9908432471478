/*
 * Depthwise and grouped convolutions: an item is a stripe, some rows of output.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/conv.h"

/* Every stripe reads some rows of its neighbours: few high ones are the fastest. */
#define N_STRIPES_WANTED 4
#define MIN_STRIPE_ROWS 4
#define MAX_STRIPE_ROWS 16

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
        .is_bf16 = conv->is_bf16,
    };
}

void fastvlm_conv_pixels(const FastvlmKernels *kernels, const FastvlmConvDw *conv, gint64 first,
                         int n_pixels, float *out)
{
    const int width = (conv->width - 1) / conv->stride + 1;
    int y = (int)(first / width);
    int x = (int)(first % width);

    while (n_pixels > 0) {
        const int n_rows = x == 0 && n_pixels >= width ? n_pixels / width : 1;
        const int n = MIN(n_pixels, width - x);
        const FastvlmConvTile tile = {
            .y0 = y,
            .y1 = y + n_rows,
            .x0 = x,
            .x1 = x + n,
            .out = out,
            .row_step = (gsize)width * (gsize)conv->n_channels,
        };

        kernels->conv_dw_f32(conv, &tile);
        out += (gsize)n_rows * (gsize)n * (gsize)conv->n_channels;
        n_pixels -= n_rows * n;
        x = 0;
        y += n_rows;
    }
}

typedef struct {
    const FastvlmKernels *kernels;
    FastvlmConvDw conv;
    const float *zero_bias; /* GELU comes with a bias, which the convolution has added already */
    float *output;
    int height; /* of the output */
    int width;
    int n_rows; /* of a stripe */
} ConvRun;

static void run_stripe(int stripe, int worker, void *data)
{
    const ConvRun *run = data;
    const int y = stripe * run->n_rows;
    const int n_pixels = MIN(run->n_rows, run->height - y) * run->width;
    float *out = run->output + (gsize)y * (gsize)run->width * (gsize)run->conv.n_channels;

    fastvlm_conv_pixels(run->kernels, &run->conv, (gint64)y * run->width, n_pixels, out);
    if (run->zero_bias)
        run->kernels->gelu_bias_f32(out, run->zero_bias, (size_t)n_pixels,
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
        .height = fastvlm_conv_output_size(conv, height),
        .width = fastvlm_conv_output_size(conv, width),
    };

    run.n_rows = CLAMP(run.height / N_STRIPES_WANTED, MIN_STRIPE_ROWS, MAX_STRIPE_ROWS);
    return fastvlm_compute_run(compute, (run.height + run.n_rows - 1) / run.n_rows, run_stripe,
                               &run, error);
}
