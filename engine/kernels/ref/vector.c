/*
 * The largest, dot product and the two norms, the reference.
 *
 * Sums are kept in eight lanes: as exact as pairwise sums need to be here, and fast enough where no
 * vector tier is.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/largest.h"

#define N_LANES 8

static float sum_lanes(const float lanes[N_LANES])
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

float fastvlm_largest_f32_scalar(const float *x, size_t n)
{
    return find_largest(x, n);
}

float fastvlm_dot_f32_scalar(const float *a, const float *b, size_t n)
{
    float lanes[N_LANES] = {0};

    for (size_t i = 0; i < n; i++)
        lanes[i % N_LANES] += a[i] * b[i];
    return sum_lanes(lanes);
}

void fastvlm_rms_norm_f32_scalar(const float *x, const float *weight, float epsilon, float *out,
                                 size_t n)
{
    const float mean = fastvlm_dot_f32_scalar(x, x, n) / (float)n;
    const float scale = 1.0f / sqrtf(mean + epsilon);

    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

void fastvlm_layer_norm_f32_scalar(const float *x, float epsilon, float *out, size_t n)
{
    float lanes[N_LANES] = {0};
    float mean, scale;

    for (size_t i = 0; i < n; i++)
        lanes[i % N_LANES] += x[i];
    mean = sum_lanes(lanes) / (float)n;
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] - mean;
    scale = 1.0f / sqrtf(fastvlm_dot_f32_scalar(out, out, n) / (float)n + epsilon);
    for (size_t i = 0; i < n; i++)
        out[i] *= scale;
}
