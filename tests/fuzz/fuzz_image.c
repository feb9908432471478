/*
 * Any bytes as a picture file of the fastvlm command. Checksums of PNG chunks are put right, or a change
 * anywhere would end at the first of them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include <zlib.h>

#include "tools/image_file.h"

static guint32 read_32(const guint8 *bytes)
{
    return (guint32)bytes[0] << 24 | (guint32)bytes[1] << 16 | (guint32)bytes[2] << 8 | bytes[3];
}

/* length, type, `length` bytes, checksum of type and bytes */
static void fix_png(guint8 *bytes, gsize n_bytes)
{
    for (gsize at = 8; n_bytes >= 12 && at <= n_bytes - 12;) {
        const guint32 length = read_32(bytes + at);
        guint32 sum;

        if (length > n_bytes - 12 - at)
            return;
        sum = (guint32)crc32(crc32(0, NULL, 0), bytes + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            bytes[at + 8 + length + (gsize)i] = (guint8)(sum >> (24 - 8 * i));
        at += 12 + (gsize)length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char *path = g_build_filename(fuzz_directory(), "picture", NULL);
    guint8 *bytes = g_memdup2(data, n_bytes);
    RgbPicture picture = {0};
    GError *error = NULL;
    gboolean ok;

    if (n_bytes > 8 && bytes[0] == 0x89)
        fix_png(bytes, n_bytes);
    fuzz_write("picture", bytes, n_bytes);
    ok = image_file_read(path, &picture, &error);
    fuzz_check_result(ok, error);
    fuzz_assert(ok == (picture.data != NULL));
    if (ok) {
        const gsize n = (gsize)picture.width * (gsize)picture.height * 3;
        guint8 *copy = g_memdup2(picture.data, n); /* every byte is there to be read */

        fuzz_assert(copy != NULL);
        g_free(copy);
    }
    rgb_picture_clear(&picture);
    g_free(bytes);
    g_free(path);
    return 0;
}
