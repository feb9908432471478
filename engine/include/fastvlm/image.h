/*
 * Pictures: a view on the caller's pixels, and what the encoder will see of them.
 *
 *     FastvlmImage (any size and stride) -> RGB -> pad | crop | stretch -> resolution x resolution
 *
 * The reference letterboxes with black on a square and resizes with Pillow's bicubic (Keys a = -0.5,
 * antialiased, bytes out: apple/ml-fastvlm, llava/mm_utils.py). Here the same kernel comes from
 * stb_image_resize (Catmull-Rom is Keys a = -0.5).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_H
#define FASTVLM_IMAGE_H

#include <fastvlm/error.h>

G_BEGIN_DECLS

/** Byte order in memory of one pixel; X is ignored. */
typedef enum {
    FASTVLM_PIXEL_RGB,
    FASTVLM_PIXEL_BGR,
    FASTVLM_PIXEL_RGBX,
    FASTVLM_PIXEL_BGRX,
    FASTVLM_PIXEL_XRGB,
    FASTVLM_PIXEL_XBGR,
    FASTVLM_PIXEL_GRAY8,
} FastvlmPixelFormat;

/** How a picture that is not square becomes one. */
typedef enum {
    FASTVLM_FIT_PAD,     /* black bars, all of the picture: as the reference does */
    FASTVLM_FIT_CROP,    /* the middle square: 44 % of a 16:9 picture is lost */
    FASTVLM_FIT_STRETCH, /* all of the picture, aspect ratio lost */
} FastvlmFit;

/** Largest width or height of a picture taken, in pixels. */
#define FASTVLM_IMAGE_MAX_SIDE 32768

/**
 * A picture in the caller's memory, top row first. Owns nothing: `data` need only stay valid until
 * the function that takes the picture returns.
 */
typedef struct {
    FastvlmPixelFormat format;
    int width;          /* pixels, 1 .. FASTVLM_IMAGE_MAX_SIDE */
    int height;         /* pixels, 1 .. FASTVLM_IMAGE_MAX_SIDE */
    gssize stride;      /* bytes from one row to the next; negative for bottom-up pictures */
    const guint8 *data; /* first byte of the top row: [height, stride] */
} FastvlmImage;

/**
 * Writes what the encoder would see of `image` to `rgb` [resolution, resolution, 3], bytes.
 *
 * @param resolution  side of the result in pixels, a positive multiple of 64, at most 4096
 * @param fit         what happens to a picture that is not square
 * @param rgb         resolution * resolution * 3 bytes of the caller's
 *
 * A picture that has that size already is copied unchanged. Thread-safe.
 * Errors: ARGUMENT (a field out of range, named), LIMIT (no memory).
 */
FASTVLM_API gboolean fastvlm_image_preprocess(const FastvlmImage *image, int resolution,
                                              FastvlmFit fit, guint8 *rgb, GError **error);

G_END_DECLS

#endif
