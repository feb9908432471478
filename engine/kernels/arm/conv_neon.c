/*
 * Depthwise and grouped convolution, NEON: the vectors of kernels/conv_block.h and conv_direct.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/arm/simd_neon.h"

#define CONV_LANES 4
#define CONV_PIXELS 8
#define CONV_FEW_REGISTERS 0
typedef float32x4_t ConvVector;

static inline __attribute__((always_inline)) ConvVector conv_load(const float *from)
{
    return vld1q_f32(from);
}

static inline __attribute__((always_inline)) ConvVector conv_multiply_add(ConvVector sum,
                                                                          ConvVector a,
                                                                          ConvVector b)
{
    return vfmaq_f32(sum, a, b);
}

static inline __attribute__((always_inline)) void conv_store(float *to, int n, ConvVector v)
{
    if (n >= 4)
        vst1q_f32(to, v);
    else
        store_part_neon(to, (size_t)n, v);
}

static inline __attribute__((always_inline)) ConvVector conv_in_register(ConvVector v)
{
    return v;
}

#include "kernels/conv_direct.h"

void fastvlm_conv_dw_f32_neon(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    convolve_dw(conv, tile);
}
