/*
 * What image_file.c joins: a reader for each format, and EXIF's orientation.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_IMAGE_FORMATS_H
#define FASTVLM_TOOLS_IMAGE_FORMATS_H

#include "tools/image_file.h"

/** A whole file in memory. */
typedef struct {
    const char *path; /* for messages */
    const guint8 *bytes;
    gsize n_bytes;
} ImageBytes;

/**
 * Reads a PNG or JPEG file as it is stored, not yet turned upright.
 *
 * @param picture      out, empty before and on error
 * @param orientation  out, EXIF's, 1 .. 8; 1 where there is none
 */
gboolean image_png_read(const ImageBytes *file, RgbPicture *picture, int *orientation,
                        GError **error);
gboolean image_jpeg_read(const ImageBytes *file, RgbPicture *picture, int *orientation,
                         GError **error);

typedef gboolean (*ImageReader)(const ImageBytes *file, RgbPicture *picture, int *orientation,
                                GError **error);

/** FALSE where a picture of this size is not taken. */
gboolean image_file_check_size(const char *path, guint width, guint height, GError **error);

/** Makes room for a picture of a size that was checked; `picture` is empty. */
gboolean image_file_allocate(const char *path, guint width, guint height, gsize bytes_per_pixel,
                             RgbPicture *picture, GError **error);

/** a * b / 255, rounded, for a and b from 0 to 255. */
static inline guint8 multiply_bytes(guint a, guint b)
{
    guint product = a * b + 128;
    return (guint8)((product + (product >> 8)) >> 8);
}

/** The orientation in an EXIF block, from its byte order mark on; 1 where it has no valid one. */
int exif_find_orientation(const guint8 *exif, gsize n_bytes);

/**
 * Turns `picture` so that it stands upright.
 *
 * @param orientation  EXIF's, 1 .. 8
 * @return FALSE where memory is short; `picture` is as it was
 */
gboolean exif_apply_orientation(RgbPicture *picture, int orientation);

#endif
