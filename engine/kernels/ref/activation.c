/*
 * GELU, SiLU, softmax and its sum, the reference.
 *
 * GELU is the exact one of the reference model (torch.nn.GELU(), approximate='none'):
 * v * Phi(v) = v * erfc(-v / sqrt(2)) / 2.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"

static float gelu(float v)
{
    return 0.5f * v * erfcf(v * -0.70710678f);
}

void fastvlm_gelu_bias_f32_scalar(float *x, const float *bias, size_t n_rows, size_t n)
{
    for (size_t row = 0; row < n_rows; row++, x += n)
        for (size_t i = 0; i < n; i++)
            x[i] = gelu(x[i] + bias[i]);
}

void fastvlm_finish_f32_scalar(const FastvlmGemm *gemm, int row, int n_rows, int column,
                               int n_columns)
{
    const FastvlmEpilogue *e = &gemm->epilogue;

    for (int i = row; i < row + n_rows; i++)
        for (int j = column; j < column + n_columns; j++) {
            float *c = gemm->c + (size_t)i * gemm->ldc + j;
            float v = *c;

            v *= e->scale ? e->scale[j] : 1.0f;
            v += e->bias ? e->bias[j] : 0.0f;
            v = e->gelu ? gelu(v) : v;
            *c = e->residual ? e->residual[(size_t)i * e->ldr + (size_t)j] + v : v;
        }
}

void fastvlm_silu_mul_f32_scalar(const float *gate, const float *up, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
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

float fastvlm_sum_exp_f32_scalar(const float *x, float max, size_t n)
{
    float sum = 0.0f;

    for (size_t i = 0; i < n; i++)
        sum += expf(x[i] - max);
    return sum;
}
