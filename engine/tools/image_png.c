/*
 * PNG through libpng. See image_formats.h.
 *
 *     bytes -> 8 bits a channel, RGB or RGBA -> RGB, alpha over black
 *
 * libpng reports errors by longjmp(); whatever is alive then hangs on a Reader, which frees it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/image_formats.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes that one chunk beside the pixels (a colour profile, a comment) may unpack to. */
#define CHUNK_MAX_BYTES ((png_alloc_size_t)8 << 20)

typedef struct {
    const ImageBytes *file;
    gsize at; /* bytes read */
    png_structp png;
    png_infop info;
    RgbPicture picture;
    png_bytepp rows; /* [height] */
    int orientation;
    GError *error;
} Reader;

/* Keeps the first error, then leaves libpng. */
static void G_GNUC_NORETURN fail(png_structp png, FastvlmError code, const char *what)
{
    Reader *reader = png_get_error_ptr(png);
    if (reader->error == NULL)
        reader->error = g_error_new(FASTVLM_ERROR, (int)code, "%s: %s", reader->file->path, what);
    png_longjmp(png, 1);
}

static void G_GNUC_NORETURN take_error(png_structp png, png_const_charp message)
{
    Reader *reader = png_get_error_ptr(png);
    if (reader->error == NULL)
        reader->error = g_error_new(FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                                    "%s: damaged PNG: %s: copy it again, or save it anew",
                                    reader->file->path, message);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp message)
{
}

static void read_bytes(png_structp png, png_bytep to, size_t n_bytes)
{
    Reader *reader = png_get_io_ptr(png);
    if (n_bytes > reader->file->n_bytes - reader->at)
        fail(png, FASTVLM_ERROR_READ, "the PNG is cut short: copy it again");
    memcpy(to, reader->file->bytes + reader->at, n_bytes);
    reader->at += n_bytes;
}

static void find_orientation(Reader *reader)
{
    png_bytep exif = NULL;
    png_uint_32 n_bytes = 0;
    reader->orientation = 1;
    if (png_get_eXIf_1(reader->png, reader->info, &n_bytes, &exif) != 0 && exif != NULL)
        reader->orientation = exif_find_orientation(exif, n_bytes);
}

/* Everything to 8 bits of RGB or RGBA. Gamma and profiles are left alone, as Pillow does. */
static void set_transforms(png_structp png, png_infop info)
{
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

/* Reads into reader->picture, with 3 or 4 bytes a pixel; returns that number. */
static gsize read_pixels(Reader *reader)
{
    png_structp png = reader->png;
    png_read_info(png, reader->info);
    png_uint_32 width = png_get_image_width(png, reader->info);
    png_uint_32 height = png_get_image_height(png, reader->info);
    if (!image_file_check_size(reader->file->path, width, height, &reader->error))
        png_longjmp(png, 1);
    find_orientation(reader);
    set_transforms(png, reader->info);
    gsize n_channels = png_get_channels(png, reader->info);
    if ((n_channels != 3 && n_channels != 4) ||
        png_get_rowbytes(png, reader->info) != width * n_channels)
        fail(png, FASTVLM_ERROR_UNSUPPORTED, "a kind of PNG that is not handled: convert it");
    if (!image_file_allocate(reader->file->path, width, height, n_channels, &reader->picture,
                             &reader->error))
        png_longjmp(png, 1);
    reader->rows = g_new(png_bytep, height);
    for (gsize y = 0; y < height; y++)
        reader->rows[y] = reader->picture.data + y * width * n_channels;
    png_read_image(png, reader->rows);
    png_read_end(png, NULL);
    return n_channels;
}

/* RGBA to RGB in place. */
static void blend_over_black(RgbPicture *picture)
{
    gsize n_pixels = (gsize)picture->width * (gsize)picture->height;
    const guint8 *from = picture->data;
    guint8 *to = picture->data;
    for (gsize i = 0; i < n_pixels; i++, from += 4, to += 3) {
        guint8 alpha = from[3];
        for (int c = 0; c < 3; c++)
            to[c] = multiply_bytes(from[c], alpha);
    }
    guint8 *smaller = g_try_realloc_n(picture->data, n_pixels, 3);
    if (smaller != NULL)
        picture->data = smaller;
}

/* FALSE with reader->error set where libpng left by longjmp(). */
static gboolean run(Reader *reader)
{
    if (setjmp(png_jmpbuf(reader->png)))
        return FALSE;
    /* Our own check has the better message. */
    png_set_user_limits(reader->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_malloc_max(reader->png, CHUNK_MAX_BYTES);
    png_set_read_fn(reader->png, reader, read_bytes);
    if (read_pixels(reader) == 4)
        blend_over_black(&reader->picture);
    return TRUE;
}

gboolean image_png_read(const ImageBytes *file, RgbPicture *picture, int *orientation,
                        GError **error)
{
    Reader reader = {.file = file};
    reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, take_error, ignore_warning);
    reader.info = reader.png != NULL ? png_create_info_struct(reader.png) : NULL;
    gboolean ok = FALSE;
    if (reader.info != NULL)
        ok = run(&reader);
    else
        reader.error = g_error_new(FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                                   "%s: not enough memory: scale it down", file->path);
    png_destroy_read_struct(&reader.png, &reader.info, NULL);
    g_free(reader.rows);
    if (!ok) {
        rgb_picture_clear(&reader.picture);
        g_propagate_error(error, reader.error);
        return FALSE;
    }
    *picture = reader.picture;
    *orientation = reader.orientation;
    return TRUE;
}

/* --- writing --- */

static void fail_to_write(const char *path, const char *why, GError **error)
{
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "%s: cannot write: %s", path, why);
}

gboolean image_file_write_png(const char *path, const guint8 *rgb, int width, int height,
                              GError **error)
{
    FILE *file = fopen(path, "wbe");
    if (file == NULL) {
        fail_to_write(path, g_strerror(errno), error);
        return FALSE;
    }
    struct stat status;
    gboolean is_regular = fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode);
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    errno = 0;
    gboolean ok = png_image_write_to_stdio(&png, file, 0, rgb, width * 3, NULL) != 0;
    gboolean is_closed = fclose(file) == 0;
    if (ok && is_closed)
        return TRUE;
    fail_to_write(path, errno != 0 ? g_strerror(errno) : png.message, error);
    if (is_regular)
        unlink(path);
    return FALSE;
}
