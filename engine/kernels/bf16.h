/*
 * bf16: the upper half of an f32.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_BF16_H
#define FASTVLM_KERNELS_BF16_H

#include <stdint.h>
#include <string.h>

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

/** Two of them in a word, `low` in the low bits: a packed matrix's words, of rising k. */
static inline uint32_t fastvlm_bf16_pair(float low, float high)
{
    return fastvlm_bf16_word_from_f32(low) >> 16 | (fastvlm_bf16_word_from_f32(high) & 0xffff0000);
}

#endif
