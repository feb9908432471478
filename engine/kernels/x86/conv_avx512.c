/*
 * Depthwise and grouped convolution, AVX-512: the vectors of kernels/conv_block.h and conv_direct.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/x86/simd_avx512.h"

#define CONV_LANES 16
#define CONV_PIXELS 8
#define CONV_FEW_REGISTERS 0
typedef __m512 ConvVector;

static inline __attribute__((always_inline)) ConvVector conv_load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline __attribute__((always_inline)) ConvVector conv_multiply_add(ConvVector sum,
                                                                          ConvVector a,
                                                                          ConvVector b)
{
    return _mm512_fmadd_ps(a, b, sum);
}

static inline __attribute__((always_inline)) void conv_store(float *to, int n, ConvVector v)
{
    _mm512_mask_storeu_ps(to, tail_mask_avx512((size_t)n), v);
}

static inline __attribute__((always_inline)) ConvVector conv_in_register(ConvVector v)
{
    return v;
}

#include "kernels/conv_direct.h"

void fastvlm_conv_dw_f32_avx512(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    convolve_dw(conv, tile);
}
