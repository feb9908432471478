/*
 * Products of activations, the reference.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"

/* Row by row of b, so that the compiler can vectorise over the columns. */
#define DEFINE_PRODUCT(name, type, to_f32)                                           \
    void fastvlm_product_##name##_scalar(const FastvlmProduct *product)              \
    {                                                                                \
        for (int row = 0; row < product->n_rows; row++) {                            \
            const float *a = product->a + (size_t)row * product->lda;                \
            float *restrict c = product->c + (size_t)row * product->ldc;             \
                                                                                     \
            memset(c, 0, (size_t)product->n_columns * sizeof *c);                    \
            for (int i = 0; i < product->k; i++) {                                   \
                const type *b = (const type *)product->b + (size_t)i * product->ldb; \
                                                                                     \
                for (int column = 0; column < product->n_columns; column++)          \
                    c[column] += a[i] * to_f32(b[column]);                           \
            }                                                                        \
        }                                                                            \
    }

#define SAME(x) (x)
DEFINE_PRODUCT(f32, float, SAME)
DEFINE_PRODUCT(bf16, uint16_t, fastvlm_bf16_to_f32)
