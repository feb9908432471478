/*
 * The largest of floats, for each tier to compile: with its instructions compilers make vectors of it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_LARGEST_H
#define FASTVLM_KERNELS_LARGEST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** By bits: with those below the sign inverted where it is set, they order as whole numbers do. */
static inline float find_largest(const float *x, size_t n)
{
    int32_t largest = INT32_MIN, is_bad = 0;
    float result;

    for (size_t i = 0; i < n; i++) {
        int32_t bits;

        memcpy(&bits, x + i, sizeof bits);
        is_bad |= (bits & 0x7fffffff) >= 0x7f800000;
        bits ^= (bits >> 31) & 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    largest ^= (largest >> 31) & 0x7fffffff;
    memcpy(&result, &largest, sizeof result);
    return is_bad ? NAN : result;
}

#endif
