/*
 * Packed pixels to RGB. See pixels.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/pixels.h"

#include <string.h>

/* Where a format's bytes lie; indexed by FastvlmPixelFormat. */
static const struct {
    guint8 n_bytes; /* of one pixel */
    guint8 red, green, blue;
} layouts[] = {
    [FASTVLM_PIXEL_RGB] = {3, 0, 1, 2},   [FASTVLM_PIXEL_BGR] = {3, 2, 1, 0},
    [FASTVLM_PIXEL_RGBX] = {4, 0, 1, 2},  [FASTVLM_PIXEL_BGRX] = {4, 2, 1, 0},
    [FASTVLM_PIXEL_XRGB] = {4, 1, 2, 3},  [FASTVLM_PIXEL_XBGR] = {4, 3, 2, 1},
    [FASTVLM_PIXEL_GRAY8] = {1, 0, 0, 0},
};

static gboolean check_range(const char *field, int value, int most, GError **error)
{
    if (value >= 1 && value <= most)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                "the picture's %s is %d, expected 1 to %d", field, value, most);
    return FALSE;
}

gboolean fastvlm_pixels_check(const FastvlmImage *image, GError **error)
{
    if ((guint)image->format >= G_N_ELEMENTS(layouts)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "the picture's format is %d, which is none of FastvlmPixelFormat",
                    (int)image->format);
        return FALSE;
    }
    if (!check_range("width", image->width, FASTVLM_IMAGE_MAX_SIDE, error) ||
        !check_range("height", image->height, FASTVLM_IMAGE_MAX_SIDE, error))
        return FALSE;
    gssize row_size = (gssize)image->width * layouts[image->format].n_bytes;
    if (image->stride > -row_size && image->stride < row_size && image->height > 1) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "the picture's stride is %" G_GSSIZE_FORMAT
                    " bytes, expected at least the %" G_GSSIZE_FORMAT " of a row",
                    image->stride, row_size);
        return FALSE;
    }
    if (image->data == NULL) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, "the picture's data is NULL");
        return FALSE;
    }
    return TRUE;
}

void fastvlm_pixels_copy(const FastvlmImage *image, FastvlmRect rect, guint8 *rgb, gsize rgb_stride)
{
    gsize n_bytes = layouts[image->format].n_bytes;
    guint8 red = layouts[image->format].red, green = layouts[image->format].green;
    guint8 blue = layouts[image->format].blue;
    for (int y = 0; y < rect.height; y++) {
        const guint8 *from = image->data + (rect.y + y) * image->stride + (gsize)rect.x * n_bytes;
        guint8 *to = rgb + (gsize)y * rgb_stride;
        if (image->format == FASTVLM_PIXEL_RGB) {
            memcpy(to, from, (gsize)rect.width * 3);
            continue;
        }
        for (int x = 0; x < rect.width; x++, from += n_bytes, to += 3) {
            to[0] = from[red];
            to[1] = from[green];
            to[2] = from[blue];
        }
    }
}
