/*
 * GELU, SiLU and softmax, the reference.
 *
 * GELU is the exact one of the reference model (torch.nn.GELU(), approximate='none'):
 * v * Phi(v) = v * erfc(-v / sqrt(2)) / 2.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"

void fastvlm_gelu_bias_f32_scalar(float *x, const float *bias, size_t n_rows, size_t n)
{
    for (size_t row = 0; row < n_rows; row++, x += n) {
        for (size_t i = 0; i < n; i++) {
            const float v = x[i] + bias[i];

            x[i] = 0.5f * v * erfcf(v * -0.70710678f);
        }
    }
}

void fastvlm_silu_mul_f32_scalar(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

void fastvlm_softmax_f32_scalar(float *x, size_t n)
{
    float max = x[0];
    float sum = 0.0f;

    for (size_t i = 1; i < n; i++)
        max = fmaxf(max, x[i]);
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++)
        x[i] *= 1.0f / sum;
}
