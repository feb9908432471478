/*
 * The kernels: pure functions on pointers and sizes, one table of them for each CPU tier.
 *
 * A kernel allocates nothing, starts no thread and reports no error; sizes are asserted, not
 * checked. All tensors are row-major f32; pictures are NHWC, [height, width, channels]. The scalar
 * table is the reference that every other tier is tested against.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_KERNELS_H
#define FASTVLM_KERNELS_KERNELS_H

#include <stddef.h>

#include "base/cpu.h"
#include "kernels/bf16.h"
#include "kernels/gemm.h"
#include "kernels/gemm_int4.h"
#include "kernels/picture.h"

/**
 * A depthwise convolution, or a grouped one with one input and `multiplier` output channels a group:
 * output channel o reads input channel o / multiplier. Zero padding of kernel_size / 2.
 */
typedef struct {
    const float *input;  /* [height, width, n_channels / multiplier] */
    const float *weight; /* [kernel_size * kernel_size, n_channels] */
    const float *bias;   /* [n_channels] */
    int height;          /* of the input */
    int width;
    int n_channels;  /* of the output */
    int multiplier;  /* 1 or 2 */
    int kernel_size; /* odd */
    int stride;
    int is_bf16; /* input and weights may be rounded to bf16 */
} FastvlmConvDw;

/** A rectangle of a convolution's output, and where it goes. */
typedef struct {
    int y0; /* rows y0 .. y1 - 1 */
    int y1;
    int x0; /* pixels x0 .. x1 - 1 of each */
    int x1;
    float *out;      /* [y1 - y0, x1 - x0, n_channels] */
    size_t row_step; /* floats from one row of `out` to the next */
} FastvlmConvTile;

/**
 * One list of all kernels: X(result, name, (parameters)). It makes the table's fields and each
 * tier's prototypes, fastvlm_NAME_TIER.
 *
 * conv_dw_f32: a tile of the output. A pixel's bytes do not depend on its tile; tiles of some 16 x 16
 * pixels are the fastest, since what lies around a tile is read as well.
 * Where is_bf16 allows it, a tier with an instruction for bf16 may round; products are then exact, sums f32.
 * gelu_bias_f32: x [n_rows, n] = gelu(x + bias [n]), the exact one: v * Phi(v).
 * finish_f32: a product's epilogue, see gemm.h.
 * silu_mul_f32: out [n] = silu(gate [n]) * up [n]; out may be gate.
 * softmax_f32: x [n] = exp(x - max) / sum. n >= 1.
 * sum_exp_f32: sum of exp(x [n] - max), of which max is not less than any x.
 * largest_f32: the largest of x [n], NaN where one is not finite. n >= 1.
 * dot_f32: sum of a [n] * b [n].
 * rms_norm_f32: out [n] = weight [n] * x * rsqrt(mean(x^2) + epsilon).
 * layer_norm_f32: out [n] = (x - mean) / sqrt(variance + epsilon), no affine part.
 * gemm_f32, gemm_bf16, gemm_int8: see gemm.h.
 * round_rows_bf16, round_rows_int8: x [n_rows, k], rows ldx floats apart, to what the tier's gemm
 * reads: out [n_rows], rows FASTVLM_ROUNDED_ROW_BYTES(k) apart, aligned to 4 bytes; scale [n_rows].
 * round_rows_bf16 may round where x lies: out = x, rows of x as far apart as those of out.
 * gemm_int4, round_rows_int4: the same with weights of 4 bits; see gemm_int4.h.
 * yuv_to_rgbx, packed_to_rgbx: `n` pixels of a row to out [n, 4]; see picture.h.
 * resize_across: `n_rows` rows; resize_down: row `y` of the result, `n` bytes of it; see
 * picture.h.
 */
#define FASTVLM_KERNEL_LIST(X)                                                                     \
    X(void, conv_dw_f32, (const FastvlmConvDw *conv, const FastvlmConvTile *tile))                 \
    X(void, gelu_bias_f32, (float *x, const float *bias, size_t n_rows, size_t n))                 \
    X(void, finish_f32, (const FastvlmGemm *gemm, int row, int n_rows, int column, int n_columns)) \
    X(void, silu_mul_f32, (const float *gate, const float *up, float *out, size_t n))              \
    X(void, softmax_f32, (float *x, size_t n))                                                     \
    X(float, sum_exp_f32, (const float *x, float max, size_t n))                                   \
    X(float, largest_f32, (const float *x, size_t n))                                              \
    X(float, dot_f32, (const float *a, const float *b, size_t n))                                  \
    X(void, rms_norm_f32,                                                                          \
      (const float *x, const float *weight, float epsilon, float *out, size_t n))                  \
    X(void, layer_norm_f32, (const float *x, float epsilon, float *out, size_t n))                 \
    X(void, gemm_f32, (const FastvlmGemm *gemm))                                                   \
    X(void, gemm_bf16, (const FastvlmGemm *gemm))                                                  \
    X(void, gemm_int8, (const FastvlmGemm *gemm))                                                  \
    X(void, round_rows_bf16, (const float *x, size_t ldx, int n_rows, int k, void *out))           \
    X(void, round_rows_int8,                                                                       \
      (const float *x, size_t ldx, int n_rows, int k, void *out, float *scale))                    \
    X(void, gemm_int4, (const FastvlmGemm *gemm))                                                  \
    X(void, round_rows_int4,                                                                       \
      (const float *x, size_t ldx, int n_rows, int k, void *out, float *scale))                    \
    X(void, yuv_to_rgbx, (const FastvlmYuvRow *row, size_t n, uint8_t *out))                       \
    X(void, packed_to_rgbx, (const FastvlmPackedRow *row, size_t n, uint8_t *out))                 \
    X(void, resize_across, (const FastvlmResize *resize, int n_rows))                              \
    X(void, resize_down, (const FastvlmResize *resize, int y, size_t n))

typedef struct {
    FastvlmTier tier;
#define FASTVLM_KERNEL_FIELD(result, name, parameters) result(*name) parameters;
    FASTVLM_KERNEL_LIST(FASTVLM_KERNEL_FIELD)
#undef FASTVLM_KERNEL_FIELD
} FastvlmKernels;

/** The table of `tier`; a tier that this build has no kernels for gets the scalar one. */
const FastvlmKernels *fastvlm_kernels_get(FastvlmTier tier);

/** What a tier has of its own: X(name, tier). A tier takes all else from the one it builds upon. */
#define FASTVLM_KERNELS_AVX_VNNI(X) \
    X(gemm_int8, avx_vnni) X(round_rows_int8, avx_vnni) X(gemm_int4, avx_vnni)
/* clang-format off */
#define FASTVLM_KERNELS_AVX512(X) \
    X(conv_dw_f32, avx512) X(gelu_bias_f32, avx512) X(finish_f32, avx512) \
    X(silu_mul_f32, avx512) X(softmax_f32, avx512) X(sum_exp_f32, avx512) \
    X(dot_f32, avx512) X(rms_norm_f32, avx512) X(layer_norm_f32, avx512) \
    X(gemm_f32, avx512) X(gemm_bf16, avx512) X(gemm_int8, avx512) X(gemm_int4, avx512)
/* clang-format on */
#define FASTVLM_KERNELS_AVX512_VNNI(X) \
    X(gemm_int8, avx512_vnni) X(round_rows_int8, avx512_vnni) X(gemm_int4, avx512_vnni)
#define FASTVLM_KERNELS_AVX512_BF16(X) \
    X(gemm_bf16, avx512_bf16) X(conv_dw_f32, avx512_bf16) X(round_rows_bf16, avx512_bf16)
#define FASTVLM_KERNELS_NEON_DOTPROD(X) X(gemm_int8, neon_dotprod) X(gemm_int4, neon_dotprod)
#define FASTVLM_KERNELS_NEON_BF16(X) X(gemm_bf16, neon_bf16) X(round_rows_bf16, neon_bf16)

#define FASTVLM_KERNEL_TYPE(result, name, parameters) \
    typedef result fastvlm_##name##_func parameters;
FASTVLM_KERNEL_LIST(FASTVLM_KERNEL_TYPE)
#undef FASTVLM_KERNEL_TYPE

#define FASTVLM_KERNEL_PROTOTYPE(name, tier) fastvlm_##name##_func fastvlm_##name##_##tier;
#define FASTVLM_KERNEL_PROTOTYPE_SCALAR(result, name, parameters) \
    FASTVLM_KERNEL_PROTOTYPE(name, scalar)
FASTVLM_KERNEL_LIST(FASTVLM_KERNEL_PROTOTYPE_SCALAR)
#if defined(__x86_64__)
#define FASTVLM_KERNEL_PROTOTYPE_AVX2(result, name, parameters) FASTVLM_KERNEL_PROTOTYPE(name, avx2)
FASTVLM_KERNEL_LIST(FASTVLM_KERNEL_PROTOTYPE_AVX2)
FASTVLM_KERNELS_AVX_VNNI(FASTVLM_KERNEL_PROTOTYPE)
FASTVLM_KERNELS_AVX512(FASTVLM_KERNEL_PROTOTYPE)
FASTVLM_KERNELS_AVX512_VNNI(FASTVLM_KERNEL_PROTOTYPE)
FASTVLM_KERNELS_AVX512_BF16(FASTVLM_KERNEL_PROTOTYPE)
#elif defined(__aarch64__)
#define FASTVLM_KERNEL_PROTOTYPE_NEON(result, name, parameters) FASTVLM_KERNEL_PROTOTYPE(name, neon)
FASTVLM_KERNEL_LIST(FASTVLM_KERNEL_PROTOTYPE_NEON)
FASTVLM_KERNELS_NEON_DOTPROD(FASTVLM_KERNEL_PROTOTYPE)
FASTVLM_KERNELS_NEON_BF16(FASTVLM_KERNEL_PROTOTYPE)
#endif

#endif
