/*
 * EXIF's orientation: finding it and undoing it. See image_formats.h.
 *
 *     "II" or "MM", 42, offset of the first directory -> entries of 12 bytes -> tag 0x0112
 *
 * After JEITA CP-3451 (Exif 2.32), section 4.6.4, and TIFF 6.0.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/image_formats.h"

#include <string.h>

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT 3
#define ENTRY_SIZE 12

static guint read_16(const guint8 *bytes, gboolean big_endian)
{
    return big_endian ? (guint)bytes[0] << 8 | bytes[1] : (guint)bytes[1] << 8 | bytes[0];
}

static guint32 read_32(const guint8 *bytes, gboolean big_endian)
{
    guint first = read_16(bytes, big_endian), second = read_16(bytes + 2, big_endian);
    return big_endian ? first << 16 | second : second << 16 | first;
}

int exif_find_orientation(const guint8 *exif, gsize n_bytes)
{
    if (n_bytes < 8 || (memcmp(exif, "II*\0", 4) != 0 && memcmp(exif, "MM\0*", 4) != 0))
        return 1;
    gboolean big_endian = exif[0] == 'M';
    gsize at = read_32(exif + 4, big_endian);
    if (at > n_bytes - 2)
        return 1;
    guint n_entries = read_16(exif + at, big_endian);
    at += 2;
    for (; n_entries > 0 && n_bytes - at >= ENTRY_SIZE; n_entries--, at += ENTRY_SIZE) {
        const guint8 *entry = exif + at;
        if (read_16(entry, big_endian) != TAG_ORIENTATION)
            continue;
        guint value = read_16(entry + 8, big_endian);
        gboolean is_valid = read_16(entry + 2, big_endian) == TYPE_SHORT &&
                            read_32(entry + 4, big_endian) == 1 && value >= 1 && value <= 8;
        return is_valid ? (int)value : 1;
    }
    return 1;
}

/* Where the upright picture's pixels lie in the stored one, in pixels. */
typedef struct {
    gssize first;     /* upright (0, 0) */
    gssize to_right;  /* from one to the next on its right */
    gssize downwards; /* from one to the next below */
} Walk;

static Walk plan_walk(gssize width, gssize height, int orientation)
{
    gssize right_end = width - 1, bottom = (height - 1) * width;
    switch (orientation) {
    case 2: /* mirrored */
        return (Walk){right_end, -1, width};
    case 3: /* upside down */
        return (Walk){bottom + right_end, -1, -width};
    case 4: /* upside down, mirrored */
        return (Walk){bottom, 1, -width};
    case 5: /* rows and columns exchanged */
        return (Walk){0, width, 1};
    case 6: /* to be turned clockwise */
        return (Walk){bottom, -width, 1};
    case 7: /* rows and columns exchanged, upside down */
        return (Walk){bottom + right_end, -width, -1};
    case 8: /* to be turned counter-clockwise */
        return (Walk){right_end, width, -1};
    default:
        return (Walk){0, 1, width};
    }
}

gboolean exif_apply_orientation(RgbPicture *picture, int orientation)
{
    if (orientation == 1)
        return TRUE;
    gboolean is_turned = orientation >= 5;
    RgbPicture upright = {.width = is_turned ? picture->height : picture->width,
                          .height = is_turned ? picture->width : picture->height};
    upright.data = g_try_malloc_n((gsize)picture->width * (gsize)picture->height, 3);
    if (upright.data == NULL)
        return FALSE;
    Walk walk = plan_walk(picture->width, picture->height, orientation);
    guint8 *to = upright.data;
    for (gssize y = 0; y < upright.height; y++) {
        const guint8 *from = picture->data + (walk.first + y * walk.downwards) * 3;
        for (gssize x = 0; x < upright.width; x++, to += 3, from += walk.to_right * 3) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
    rgb_picture_clear(picture);
    *picture = upright;
    return TRUE;
}
