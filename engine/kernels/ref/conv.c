/*
 * Depthwise and grouped convolution, the reference.
 *
 *     out[x, o] = bias[o] + sum over taps (i, j) inside the picture of
 *                 weight[i, j, o] * input[y * stride + i - pad, x * stride + j - pad, o / multiplier]
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"

static float convolve(const FastvlmConvDw *conv, int y, int x, int channel)
{
    const int pad = conv->kernel_size / 2;
    const size_t in_channels = (size_t)(conv->n_channels / conv->multiplier);
    float sum = conv->bias[channel];

    for (int i = 0; i < conv->kernel_size; i++) {
        const int in_y = y * conv->stride + i - pad;

        if (in_y < 0 || in_y >= conv->height)
            continue;
        for (int j = 0; j < conv->kernel_size; j++) {
            const int in_x = x * conv->stride + j - pad;
            const size_t tap = (size_t)(i * conv->kernel_size + j);

            if (in_x < 0 || in_x >= conv->width)
                continue;
            sum += conv->weight[tap * (size_t)conv->n_channels + (size_t)channel] *
                   conv->input[((size_t)in_y * (size_t)conv->width + (size_t)in_x) * in_channels +
                               (size_t)(channel / conv->multiplier)];
        }
    }
    return sum;
}

void fastvlm_conv_dw_f32_scalar(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    for (int y = tile->y0; y < tile->y1; y++) {
        float *out = tile->out + (size_t)(y - tile->y0) * tile->row_step;

        for (int x = tile->x0; x < tile->x1; x++)
            for (int channel = 0; channel < conv->n_channels; channel++)
                *out++ = convolve(conv, y, x, channel);
    }
}
