/*
 * The weights of one direction: Keys' cubic with a = -0.5, antialiased, in fixed point.
 *
 *     weight(in, out) = keys((in + 0.5 - center) / stretch) / sum     center = (out + 0.5) * scale
 *                       over the 4 * stretch pixels around it          stretch = max(scale, 1)
 *
 * R. Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE Trans. ASSP 29 (6),
 * 1981. Pixels beyond the line's ends count for nothing and the sum is of those that are left; 22
 * fractional bits; a byte, rounded and clamped, after each direction: all as in Pillow, so that its
 * bytes come out.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_WEIGHTS_H
#define FASTVLM_IMAGE_WEIGHTS_H

#include "image/fit.h"
#include "kernels/picture.h"

/** One direction, ready to be computed. Black beside the picture has no weights: it adds nothing. */
typedef struct {
    FastvlmTaps taps; /* input 0 is the picture's pixel `start` */
    int target;       /* where output 0 goes in the result; all else of the result is black */
    int start;        /* even */
    int n_in;         /* pixels that are read, from `start` on */
    int n_present;    /* of those, how many the picture has; weights of the others are 0 */
    gpointer memory;  /* of the taps */
} FastvlmWeights;

/** Returns FALSE where there is no memory; fastvlm_weights_clear() is then allowed, not needed. */
gboolean fastvlm_weights_init(FastvlmWeights *weights, const FastvlmAxis *axis, int resolution);

void fastvlm_weights_clear(FastvlmWeights *weights);

#endif
