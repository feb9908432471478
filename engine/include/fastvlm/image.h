/*
 * Pictures: a view on the caller's pixels, and what the encoder will see of them.
 *
 *     FastvlmImage (any size, layout and stride) -> RGB -> pad | crop | stretch
 *                                                       -> resolution x resolution
 *
 * The reference letterboxes with black on a square and resizes with Pillow's bicubic (Keys, a = -0.5,
 * antialiased, bytes out: apple/ml-fastvlm, llava/mm_utils.py). Here it is the same arithmetic, so
 * pictures in RGB give the same bytes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_H
#define FASTVLM_IMAGE_H

#include <fastvlm/error.h>

G_BEGIN_DECLS

/**
 * How pixels lie in memory. RGB: the bytes of one pixel in their order, X is ignored. The others have
 * one Y a pixel and chroma for one, two (side by side) or four pixels: where the number of pixels is
 * odd, the last one, or the last row, has its own.
 */
typedef enum {
    FASTVLM_PIXEL_RGB,
    FASTVLM_PIXEL_BGR,
    FASTVLM_PIXEL_RGBX,
    FASTVLM_PIXEL_BGRX,
    FASTVLM_PIXEL_XRGB,
    FASTVLM_PIXEL_XBGR,
    FASTVLM_PIXEL_GRAY8, /* Y alone */
    FASTVLM_PIXEL_I420,  /* Y | Cb | Cr, for four pixels each; YV12 is this with planes swapped */
    FASTVLM_PIXEL_NV12,  /* Y | Cb Cr alternating, for four pixels */
    FASTVLM_PIXEL_NV21,  /* Y | Cr Cb alternating, for four pixels */
    FASTVLM_PIXEL_Y42B,  /* Y | Cb | Cr, for two pixels each */
    FASTVLM_PIXEL_Y444,  /* Y | Cb | Cr */
    FASTVLM_PIXEL_YUY2,  /* Y Cb Y Cr, two pixels */
    FASTVLM_PIXEL_UYVY,  /* Cb Y Cr Y, two pixels */
} FastvlmPixelFormat;

/** What Y, Cb and Cr are made of. */
typedef enum {
    FASTVLM_COLOR_BT601,
    FASTVLM_COLOR_BT709,
    FASTVLM_COLOR_BT2020,
    FASTVLM_COLOR_SMPTE240M,
    FASTVLM_COLOR_FCC,
} FastvlmColorMatrix;

typedef enum {
    FASTVLM_COLOR_FULL,    /* 0 to 255 */
    FASTVLM_COLOR_LIMITED, /* Y 16 to 235, Cb and Cr 16 to 240 */
} FastvlmColorRange;

/** How a picture that is not square becomes one. */
typedef enum {
    FASTVLM_FIT_PAD,     /* black bars, all of the picture: as the reference does */
    FASTVLM_FIT_CROP,    /* the middle square: 44 % of a 16:9 picture is lost */
    FASTVLM_FIT_STRETCH, /* all of the picture, aspect ratio lost */
    FASTVLM_FIT_AUTO,    /* sessions alone: as the model's own preprocessing, PAD or CROP */
} FastvlmFit;

/** Largest width or height of a picture taken, in pixels. */
#define FASTVLM_IMAGE_MAX_SIDE 32768

/** Most that a pixel may be wider than high, or higher than wide. */
#define FASTVLM_IMAGE_MAX_ASPECT 256

/**
 * A picture in the caller's memory, top row first. Owns nothing: memory need only stay valid until
 * the function that takes the picture returns. What a format does not need stays 0.
 *
 * Colour is converted to within one level of the exact values; pixels that share chroma get the same
 * (nearest neighbour), wherever the format says that it was sampled.
 */
typedef struct {
    FastvlmPixelFormat format;
    int width;          /* pixels, 1 .. FASTVLM_IMAGE_MAX_SIDE */
    int height;         /* pixels, 1 .. FASTVLM_IMAGE_MAX_SIDE */
    gssize stride;      /* bytes from one row to the next; negative for bottom-up pictures */
    const guint8 *data; /* first byte of the top row: [height, stride] */

    const guint8 *chroma[2];   /* planes with chroma alone, in the order named above: top rows */
    gssize chroma_stride[2];   /* as stride */
    FastvlmColorMatrix matrix; /* of formats with chroma */
    FastvlmColorRange range;   /* of those and GRAY8; RGB is always full */
    int pixel_aspect_width;    /* shape of a pixel, as 4:3 for pixels wider than high; the fit */
    int pixel_aspect_height;   /* goes by the shape that the picture then has; 0:0: square */
} FastvlmImage;

/**
 * Writes what the encoder would see of `image` to `rgb` [resolution, resolution, 3], bytes.
 *
 * @param resolution  side of the result in pixels, a positive multiple of 64, at most 4096
 * @param fit         what happens to a picture that is not square
 * @param rgb         resolution * resolution * 3 bytes of the caller's
 *
 * A picture in RGB that has that size already stays unchanged. Thread-safe.
 * Errors: ARGUMENT (a field out of range, named), LIMIT (no memory).
 */
FASTVLM_API gboolean fastvlm_image_preprocess(const FastvlmImage *image, int resolution,
                                              FastvlmFit fit, guint8 *rgb, GError **error);

G_END_DECLS

#endif
