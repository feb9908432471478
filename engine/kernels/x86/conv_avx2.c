/*
 * Depthwise and grouped convolution, AVX2: the vectors of kernels/conv_block.h and conv_direct.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/x86/simd_avx2.h"

#define CONV_LANES 8
#define CONV_PIXELS 6
#define CONV_FEW_REGISTERS 1
typedef __m256 ConvVector;

static inline __attribute__((always_inline)) ConvVector conv_load(const float *from)
{
    return _mm256_loadu_ps(from);
}

static inline __attribute__((always_inline)) ConvVector conv_multiply_add(ConvVector sum,
                                                                          ConvVector a,
                                                                          ConvVector b)
{
    return _mm256_fmadd_ps(a, b, sum);
}

static inline __attribute__((always_inline)) void conv_store(float *to, int n, ConvVector v)
{
    if (n >= 8)
        _mm256_storeu_ps(to, v);
    else
        _mm256_maskstore_ps(to, tail_mask_avx2((size_t)n), v);
}

static inline __attribute__((always_inline)) ConvVector conv_in_register(ConvVector v)
{
    __asm__("" : "+x"(v));
    return v;
}

#include "kernels/conv_direct.h"

void fastvlm_conv_dw_f32_avx2(const FastvlmConvDw *conv, const FastvlmConvTile *tile)
{
    convolve_dw(conv, tile);
}
