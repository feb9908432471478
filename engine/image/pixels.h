/*
 * The caller's pixels, in any format and stride, to rows of RGBX.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_PIXELS_H
#define FASTVLM_IMAGE_PIXELS_H

#include "kernels/kernels.h"
#include <fastvlm/image.h>

/**
 * Checks every field of `image`.
 *
 * Errors: ARGUMENT, naming the field.
 */
gboolean fastvlm_pixels_check(const FastvlmImage *image, GError **error);

/** A checked picture and how to read it. */
typedef struct {
    const FastvlmImage *image;
    const FastvlmKernels *kernels;
    FastvlmYuvMatrix matrix; /* of formats that are not RGB */
} FastvlmPixels;

/** `image` must have been checked; it and `kernels` are kept. */
void fastvlm_pixels_init(FastvlmPixels *pixels, const FastvlmImage *image,
                         const FastvlmKernels *kernels);

/**
 * Reads pixels x .. x + n - 1 of row `y`, which must lie inside the picture, to rgbx [n, 4].
 *
 * @param x  even, so that it begins a pair of pixels that share chroma
 */
void fastvlm_pixels_read(const FastvlmPixels *pixels, int y, int x, int n, guint8 *rgbx);

#endif
