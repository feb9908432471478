/*
 * Any bytes as an EXIF block, and a small picture turned by what it says.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "tools/image_formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const int orientation = exif_find_orientation(data, n_bytes);
    RgbPicture picture = {.width = 3, .height = 2, .data = g_malloc(18)};
    int sum = 0;

    fuzz_assert(orientation >= 1 && orientation <= 8);
    for (int i = 0; i < 18; i++)
        picture.data[i] = (guint8)i;
    fuzz_assert(exif_apply_orientation(&picture, orientation));
    fuzz_assert(picture.width * picture.height == 6);
    for (int i = 0; i < 18; i++)
        sum += picture.data[i];
    fuzz_assert(sum == 17 * 18 / 2); /* the same pixels in another order */
    rgb_picture_clear(&picture);
    return 0;
}
