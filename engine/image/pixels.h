/*
 * The caller's pixels, in any packed format and stride, to packed RGB.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_PIXELS_H
#define FASTVLM_IMAGE_PIXELS_H

#include <fastvlm/image.h>

/** A rectangle in a picture, in pixels. */
typedef struct {
    int x;
    int y;
    int width;
    int height;
} FastvlmRect;

/**
 * Checks every field of `image`.
 *
 * Errors: ARGUMENT, naming the field.
 */
gboolean fastvlm_pixels_check(const FastvlmImage *image, GError **error);

/**
 * Copies `rect`, which must lie inside the checked `image`, to `rgb` [rect.height, rgb_stride] as
 * RGB.
 */
void fastvlm_pixels_copy(const FastvlmImage *image, FastvlmRect rect, guint8 *rgb,
                         gsize rgb_stride);

#endif
