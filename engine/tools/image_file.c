/*
 * Picture files: reads them whole, tells what they are, turns them upright. See image_file.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image_formats.h"

/* Largest file taken. */
#define FILE_MAX_BYTES ((gsize)1 << 30)

/* Enough to tell what a file is. */
#define MAGIC_BYTES 16

/* What a file that cannot be read begins with, for a better message. */
static const struct {
    const char *name;
    gsize offset;
    const char *bytes;
} other_formats[] = {
    {"GIF", 0, "GIF8"},
    {"WebP", 8, "WEBP"},
    {"BMP", 0, "BM"},
    {"TIFF", 0, "II*"},
    {"TIFF", 0, "MM"},
    {"HEIF or AVIF", 4, "ftyp"},
    {"JPEG XL", 0, "\377\012"},
    {"PDF", 0, "%PDF"},
    {"SVG", 0, "<svg"},
    {"XML", 0, "<?xml"},
    {"a netpbm format", 0, "P6"},
};

void rgb_picture_clear(RgbPicture *picture)
{
    g_free(picture->data);
    *picture = (RgbPicture){0};
}

FastvlmImage rgb_picture_view(const RgbPicture *picture)
{
    return (FastvlmImage){.format = FASTVLM_PIXEL_RGB,
                          .width = picture->width,
                          .height = picture->height,
                          .stride = (gssize)picture->width * 3,
                          .data = picture->data};
}

gboolean image_file_check_size(const char *path, guint width, guint height, GError **error)
{
    if (width >= 1 && height >= 1 && width <= FASTVLM_IMAGE_MAX_SIDE &&
        height <= FASTVLM_IMAGE_MAX_SIDE && (gint64)width * height <= IMAGE_FILE_MAX_PIXELS)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                "%s: %ux%u pixels, expected at most %d a side and %" G_GINT64_FORMAT
                " in all: scale it down",
                path, width, height, FASTVLM_IMAGE_MAX_SIDE, IMAGE_FILE_MAX_PIXELS);
    return FALSE;
}

gboolean image_file_allocate(const char *path, guint width, guint height, gsize bytes_per_pixel,
                             RgbPicture *picture, GError **error)
{
    picture->data = g_try_malloc_n((gsize)width * height, bytes_per_pixel);
    if (picture->data == NULL) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "%s: not enough memory for %ux%u pixels: scale it down", path, width, height);
        return FALSE;
    }
    picture->width = (int)width;
    picture->height = (int)height;
    return TRUE;
}

static gboolean fail(const char *path, FastvlmError code, const char *what, GError **error)
{
    g_set_error(error, FASTVLM_ERROR, (int)code, "%s: %s", path, what);
    return FALSE;
}

static gboolean fail_open(const char *path, int number, GError **error)
{
    gboolean is_missing = number == ENOENT || number == ENOTDIR;
    g_set_error(error, FASTVLM_ERROR, is_missing ? FASTVLM_ERROR_NOT_FOUND : FASTVLM_ERROR_READ,
                "%s: cannot be read: %s; expected a PNG or JPEG file", path, g_strerror(number));
    return FALSE;
}

static gboolean begins_with(const guint8 *file, gsize n_file, const char *bytes, gsize n_bytes)
{
    return n_file >= n_bytes && memcmp(file, bytes, n_bytes) == 0;
}

/* By a file's first bytes; NULL where it is neither PNG nor JPEG. */
static ImageReader find_reader(const guint8 *file, gsize n_file)
{
    if (begins_with(file, n_file, "\211PNG\r\n\032\n", 8))
        return image_png_read;
    return begins_with(file, n_file, "\377\330\377", 3) ? image_jpeg_read : NULL;
}

/*
 * Reads a picture to the end, of a pipe too, or enough to see that it is none; the caller closes `fd` and
 * frees `bytes`. A signal is an error.
 */
static gboolean read_all(int fd, const char *path, gsize size_hint, guint8 **bytes, gsize *n_bytes,
                         GError **error)
{
    gsize capacity = 0;
    for (;;) {
        if (*n_bytes == capacity) {
            capacity = capacity == 0 ? MIN(size_hint, FILE_MAX_BYTES) + 4096 : 2 * capacity;
            guint8 *larger = g_try_realloc(*bytes, capacity);
            if (larger == NULL)
                return fail(path, FASTVLM_ERROR_LIMIT,
                            "not enough memory to read it: scale it down", error);
            *bytes = larger;
        }
        gssize n = read(fd, *bytes + *n_bytes, capacity - *n_bytes);
        if (n < 0)
            return fail_open(path, errno, error);
        if (n == 0)
            return TRUE;
        *n_bytes += (gsize)n;
        /* What has no end, as /dev/zero, is no picture: it is refused by its beginning. */
        if (*n_bytes >= MAGIC_BYTES && find_reader(*bytes, *n_bytes) == NULL)
            return TRUE;
        if (*n_bytes > FILE_MAX_BYTES)
            return fail(
                path, FASTVLM_ERROR_LIMIT,
                "more than 1 GiB, expected a PNG or JPEG file of at most that: scale it down",
                error);
    }
}

static gboolean read_file(const char *path, guint8 **bytes, gsize *n_bytes, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_open(path, errno, error);
    struct stat status;
    gboolean ok;
    if (fstat(fd, &status) != 0)
        ok = fail_open(path, errno, error);
    else if (S_ISDIR(status.st_mode))
        ok = fail(path, FASTVLM_ERROR_READ, "a directory, expected a PNG or JPEG file", error);
    else
        ok = read_all(fd, path, (gsize)MAX(status.st_size, 0), bytes, n_bytes, error);
    close(fd);
    return ok;
}

static gboolean refuse(const ImageBytes *file, GError **error)
{
    if (file->n_bytes == 0)
        return fail(file->path, FASTVLM_ERROR_READ,
                    "the file is empty, expected a PNG or JPEG file: copy it again", error);
    const char *name = NULL;
    for (gsize i = 0; name == NULL && i < G_N_ELEMENTS(other_formats); i++)
        if (file->n_bytes > other_formats[i].offset &&
            begins_with(file->bytes + other_formats[i].offset,
                        file->n_bytes - other_formats[i].offset, other_formats[i].bytes,
                        strlen(other_formats[i].bytes)))
            name = other_formats[i].name;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                "%s: neither PNG nor JPEG%s%s%s: convert it to one of them", file->path,
                name != NULL ? " (it looks like " : "", name != NULL ? name : "",
                name != NULL ? ")" : "");
    return FALSE;
}

static gboolean decode(const ImageBytes *file, RgbPicture *picture, GError **error)
{
    int orientation;
    ImageReader read_picture = find_reader(file->bytes, file->n_bytes);
    gboolean ok = read_picture != NULL ? read_picture(file, picture, &orientation, error)
                                       : refuse(file, error);
    if (!ok || exif_apply_orientation(picture, orientation))
        return ok;
    rgb_picture_clear(picture);
    return fail(file->path, FASTVLM_ERROR_LIMIT,
                "not enough memory to turn it upright: scale it down", error);
}

gboolean image_file_read(const char *path, RgbPicture *picture, GError **error)
{
    ImageBytes file = {.path = path};
    if (*path == '\0') {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
                    "\"\": expected the name of a PNG or JPEG file");
        return FALSE;
    }
    guint8 *bytes = NULL;
    gboolean ok = read_file(path, &bytes, &file.n_bytes, error);
    file.bytes = bytes;
    ok = ok && decode(&file, picture, error);
    g_free(bytes);
    return ok;
}
