/*
 * Products of activations with activations, c = a * b: what attention is made of.
 *
 * b is not packed; it is f32, or bf16 that was rounded when it was stored. a stays f32, sums are f32.
 * Each element of c is one chain of sums over rising k, whatever is computed beside it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_PRODUCT_H
#define FASTVLM_KERNELS_PRODUCT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const float *a; /* [n_rows, k] */
    size_t lda;     /* floats from one row of a to the next */
    const void *b;  /* [k, n_columns], f32 or bf16 */
    size_t ldb;     /* elements from one row of b to the next */
    float *c;       /* [n_rows, n_columns], not overlapping a or b */
    size_t ldc;     /* floats from one row of c to the next */
    int n_rows;
    int n_columns;
    int k; /* 0: c is zeros */
} FastvlmProduct;

static inline float fastvlm_bf16_to_f32(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/**
 * In the upper half of a word, of which loops make vectors; what the lower half holds means nothing. To
 * nearest, ties to even; NaN stays NaN.
 */
static inline uint32_t fastvlm_bf16_word_from_f32(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return x != x ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
}

static inline uint16_t fastvlm_bf16_from_f32(float x)
{
    return (uint16_t)(fastvlm_bf16_word_from_f32(x) >> 16);
}

#endif
