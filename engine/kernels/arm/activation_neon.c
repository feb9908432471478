/*
 * GELU, SiLU, softmax and its sum, NEON.
 *
 * GELU by the tail of the normal distribution, which loses nothing to cancellation:
 *     t = 1 / (1 + |v| / 4);  tail = exp(-v^2 / 2) * P(t), P(t) ~ (1 - Phi(|v|)) exp(v^2 / 2)
 *     gelu(v) = max(v, 0) - |v| * tail
 * P is our own least-squares fit, reweighted to an even relative error of 5e-8 on 0 <= |v| <= 6.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"
#include "kernels/arm/simd_neon.h"

static inline float32x4_t gelu(float32x4_t v)
{
    static const float p[8] = {0.00023298835f, 0.0957117383f, 0.12879614f,  -0.0219064599f,
                               0.356672593f,   -0.337620451f, 0.377202348f, -0.0990889209f};
    const float32x4_t magnitude = vabsq_f32(v);
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t t = vdivq_f32(one, vfmaq_f32(one, magnitude, vdupq_n_f32(0.25f)));
    const float32x4_t gauss = exp_neon(vmulq_f32(vmulq_f32(v, v), vdupq_n_f32(-0.5f)));
    float32x4_t tail = vdupq_n_f32(p[7]);

    for (int i = 6; i >= 0; i--)
        tail = vfmaq_f32(vdupq_n_f32(p[i]), tail, t);
    tail = vmulq_f32(tail, gauss);
    return vfmsq_f32(vmaxq_f32(v, vdupq_n_f32(0.0f)), magnitude, tail);
}

void fastvlm_gelu_bias_f32_neon(float *x, const float *bias, size_t n_rows, size_t n)
{
    for (size_t row = 0; row < n_rows; row++, x += n) {
        size_t i = 0;

        for (; i + 4 <= n; i += 4)
            vst1q_f32(x + i, gelu(vaddq_f32(vld1q_f32(x + i), vld1q_f32(bias + i))));
        if (i < n)
            store_part_neon(
                x + i, n - i,
                gelu(vaddq_f32(load_part_neon(x + i, n - i), load_part_neon(bias + i, n - i))));
    }
}

static inline float32x4_t finish_lanes(const FastvlmEpilogue *e, size_t row, size_t column,
                                       float32x4_t v)
{
    if (e->scale)
        v = vmulq_f32(v, vld1q_f32(e->scale + column));
    if (e->bias)
        v = vaddq_f32(v, vld1q_f32(e->bias + column));
    if (e->gelu)
        v = gelu(v);
    if (e->residual)
        v = vaddq_f32(v, vld1q_f32(e->residual + row * e->ldr + column));
    return v;
}

/** Fewer than 4 columns. */
static void finish_part(const FastvlmEpilogue *e, size_t row, size_t column, size_t n, float *c)
{
    float32x4_t v = load_part_neon(c, n);

    if (e->scale)
        v = vmulq_f32(v, load_part_neon(e->scale + column, n));
    if (e->bias)
        v = vaddq_f32(v, load_part_neon(e->bias + column, n));
    if (e->gelu)
        v = gelu(v);
    if (e->residual)
        v = vaddq_f32(v, load_part_neon(e->residual + row * e->ldr + column, n));
    store_part_neon(c, n, v);
}

void fastvlm_finish_f32_neon(const FastvlmGemm *gemm, int row, int n_rows, int column,
                             int n_columns)
{
    const size_t end = (size_t)(column + n_columns);

    for (size_t i = (size_t)row; i < (size_t)(row + n_rows); i++) {
        float *c = gemm->c + i * gemm->ldc;
        size_t j = (size_t)column;

        for (; j + 4 <= end; j += 4)
            vst1q_f32(c + j, finish_lanes(&gemm->epilogue, i, j, vld1q_f32(c + j)));
        if (j < end)
            finish_part(&gemm->epilogue, i, j, end - j, c + j);
    }
}

static inline float32x4_t silu_mul(float32x4_t gate, float32x4_t up)
{
    const float32x4_t e = exp_neon(vnegq_f32(gate));

    return vmulq_f32(vdivq_f32(gate, vaddq_f32(vdupq_n_f32(1.0f), e)), up);
}

void fastvlm_silu_mul_f32_neon(const float *gate, const float *up, float *out, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, silu_mul(vld1q_f32(gate + i), vld1q_f32(up + i)));
    if (i < n)
        store_part_neon(out + i, n - i,
                        silu_mul(load_part_neon(gate + i, n - i), load_part_neon(up + i, n - i)));
}

static float find_max(const float *x, size_t n)
{
    float32x4_t max = vdupq_n_f32(x[0]);
    size_t i = 0;
    float result;

    for (; i + 4 <= n; i += 4)
        max = vmaxq_f32(max, vld1q_f32(x + i));
    result = vmaxvq_f32(max);
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

void fastvlm_softmax_f32_neon(float *x, size_t n)
{
    const size_t n_whole = n & ~(size_t)3;
    const float32x4_t max = vdupq_n_f32(find_max(x, n));
    float32x4_t sum = vdupq_n_f32(0.0f);
    float total, scale;

    for (size_t i = 0; i < n_whole; i += 4) {
        const float32x4_t e = exp_neon(vsubq_f32(vld1q_f32(x + i), max));

        sum = vaddq_f32(sum, e);
        vst1q_f32(x + i, e);
    }
    total = vaddvq_f32(sum);
    if (n_whole < n)
        store_part_neon(x + n_whole, n - n_whole,
                        exp_neon(vsubq_f32(load_part_neon(x + n_whole, n - n_whole), max)));
    for (size_t i = n_whole; i < n; i++)
        total += x[i];
    scale = 1.0f / total;
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

float fastvlm_sum_exp_f32_neon(const float *x, float max, size_t n)
{
    const size_t n_whole = n & ~(size_t)3;
    const float32x4_t v = vdupq_n_f32(max);
    float32x4_t sum = vdupq_n_f32(0.0f);
    float rest[4];

    for (size_t i = 0; i < n_whole; i += 4)
        sum = vaddq_f32(sum, exp_neon(vsubq_f32(vld1q_f32(x + i), v)));
    vst1q_f32(rest, exp_neon(vsubq_f32(load_part_neon(x + n_whole, n - n_whole), v)));
    for (size_t i = n_whole; i < n; i++)
        sum = vsetq_lane_f32(vgetq_lane_f32(sum, 0) + rest[i - n_whole], sum, 0);
    return vaddvq_f32(sum);
}
