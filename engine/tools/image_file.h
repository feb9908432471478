/*
 * Picture files for the fastvlm command: PNG and JPEG to packed RGB, told apart by their first
 * bytes, never by their names.
 *
 *     file -> libpng | libjpeg-turbo -> RGB, alpha over black -> EXIF orientation -> RgbPicture
 *
 * Takes grey, palette, 16 bit, interlaced and transparent PNG; grey, RGB, YCbCr, CMYK and YCCK JPEG
 * (inverted where Adobe's marker says so), progressive or not. Colour profiles are not applied, as
 * the reference does not apply them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_IMAGE_FILE_H
#define FASTVLM_TOOLS_IMAGE_FILE_H

#include <fastvlm/image.h>

G_BEGIN_DECLS

/** Most pixels of a picture file: 768 MiB as RGB. Fuzzing takes less. */
#ifndef IMAGE_FILE_MAX_PIXELS
#define IMAGE_FILE_MAX_PIXELS ((gint64)1 << 28)
#endif

/** A picture, top row first, rows packed; all zero is none. */
typedef struct {
    int width;    /* pixels */
    int height;   /* pixels */
    guint8 *data; /* [height, width, 3]; rgb_picture_clear() frees it */
} RgbPicture;

/** Frees the pixels and zeroes `picture`. */
void rgb_picture_clear(RgbPicture *picture);

/** A view on `picture` for the engine, valid as long as its pixels. */
FastvlmImage rgb_picture_view(const RgbPicture *picture);

/**
 * Reads the file `path` upright into `picture`, which must be empty; clear it afterwards.
 *
 * Errors, each naming `path`: NOT_FOUND; READ (no permission, a directory, cut short); FORMAT
 * (damaged); UNSUPPORTED (neither PNG nor JPEG, or a kind of them that is not handled); LIMIT (more
 * than FASTVLM_IMAGE_MAX_SIDE or IMAGE_FILE_MAX_PIXELS, or no memory). `picture` stays empty then.
 */
gboolean image_file_read(const char *path, RgbPicture *picture, GError **error);

/**
 * Writes packed RGB [height, width, 3] to the PNG file `path`, replacing what is there. A file that
 * could not be finished is removed.
 *
 * Errors: READ (cannot be opened or written), LIMIT (no memory).
 */
gboolean image_file_write_png(const char *path, const guint8 *rgb, int width, int height,
                              GError **error);

G_END_DECLS

#endif
