/*
 * JPEG through libjpeg-turbo. See image_formats.h.
 *
 *     bytes -> grey, YCbCr or RGB -> RGB
 *           -> CMYK or YCCK -> CMYK (inverted where Adobe's marker is) -> RGB
 *
 * libjpeg reports errors by a callback that must not return: longjmp(). Damage that it would patch
 * over with grey is an error here, because nobody would see the grey.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/image_formats.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* Scans of one file: usual ones have about ten; each costs as much as the first. */
#define MAX_SCANS 200

typedef struct {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    const ImageBytes *file;
    RgbPicture picture;
    guint8 *row; /* one row of CMYK */
    int orientation;
    GError *error;
} Reader;

/* What an error is led by and ends with, whether libjpeg or we found it. */
static const struct {
    const char *intro;
    const char *remedy;
} frames[] = {
    [FASTVLM_ERROR_READ] = {"", "copy it again"},
    [FASTVLM_ERROR_FORMAT] = {"damaged JPEG: ", "copy it again, or save it anew"},
    [FASTVLM_ERROR_UNSUPPORTED] = {"a kind of JPEG that is not handled: ", "convert it"},
    [FASTVLM_ERROR_LIMIT] = {"", "scale it down, or save it anew"},
};

static void G_GNUC_NORETURN leave(Reader *reader, FastvlmError code, const char *what)
{
    if (reader->error == NULL)
        reader->error = g_error_new(FASTVLM_ERROR, (int)code, "%s: %s%s: %s", reader->file->path,
                                    frames[code].intro, what, frames[code].remedy);
    longjmp(reader->escape, 1);
}

static void G_GNUC_NORETURN take_error(j_common_ptr jpeg)
{
    Reader *reader = jpeg->client_data;
    char what[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, what);
    switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
    case JERR_IMAGE_TOO_BIG:
        leave(reader, FASTVLM_ERROR_LIMIT, what);
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_COMPONENT_COUNT:
        leave(reader, FASTVLM_ERROR_UNSUPPORTED, what);
    case JERR_INPUT_EOF:
        leave(reader, FASTVLM_ERROR_READ, "the JPEG is cut short");
    default:
        leave(reader, FASTVLM_ERROR_FORMAT, what);
    }
}

/* Warnings are harmless or are damage; the rest is tracing. */
static void take_message(j_common_ptr jpeg, int level)
{
    Reader *reader = jpeg->client_data;
    char what[JMSG_LENGTH_MAX];
    if (level >= 0)
        return;
    switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
        leave(reader, FASTVLM_ERROR_READ, "the JPEG is cut short");
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
        jpeg->err->format_message(jpeg, what);
        leave(reader, FASTVLM_ERROR_FORMAT, what);
    default:
        break;
    }
}

static void ignore_output(j_common_ptr jpeg)
{
}

static void check_scans(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number > MAX_SCANS)
        leave(jpeg->client_data, FASTVLM_ERROR_LIMIT,
              "the JPEG has more than the 200 scans that are taken");
}

static int find_orientation(const struct jpeg_decompress_struct *jpeg)
{
    static const guint8 exif[6] = {'E', 'x', 'i', 'f', 0, 0};
    for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker != NULL; marker = marker->next)
        if (marker->data_length > sizeof exif && memcmp(marker->data, exif, sizeof exif) == 0)
            return exif_find_orientation(marker->data + sizeof exif,
                                         marker->data_length - sizeof exif);
    return 1;
}

/* CMYK to RGB as Pillow does it; Adobe's programs store the inks inverted. */
static void convert_cmyk(const guint8 *cmyk, gboolean is_inverted, int n_pixels, guint8 *rgb)
{
    guint8 flip = is_inverted ? 0 : 255;
    for (int i = 0; i < n_pixels; i++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++)
            rgb[c] = multiply_bytes(cmyk[c] ^ flip, cmyk[3] ^ flip);
}

static void read_rows(Reader *reader, gboolean is_cmyk)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    gsize stride = (gsize)reader->picture.width * 3;
    while (jpeg->output_scanline < jpeg->output_height) {
        guint8 *to = reader->picture.data + jpeg->output_scanline * stride;
        JSAMPROW row = is_cmyk ? reader->row : to;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (is_cmyk)
            convert_cmyk(reader->row, jpeg->saw_Adobe_marker, reader->picture.width, to);
    }
}

/* All that libjpeg does; leaves by longjmp() on error. */
static void decompress(Reader *reader)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &reader->progress;
    jpeg_mem_src(jpeg, reader->file->bytes, (unsigned long)reader->file->n_bytes);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(jpeg, TRUE);
    reader->orientation = find_orientation(jpeg);
    gboolean is_cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    if (!image_file_check_size(reader->file->path, jpeg->image_width, jpeg->image_height,
                               &reader->error) ||
        !image_file_allocate(reader->file->path, jpeg->image_width, jpeg->image_height, 3,
                             &reader->picture, &reader->error))
        longjmp(reader->escape, 1);
    reader->row = g_malloc((gsize)jpeg->image_width * 4);
    jpeg_start_decompress(jpeg);
    read_rows(reader, is_cmyk);
    jpeg_finish_decompress(jpeg);
}

static gboolean run(Reader *reader)
{
    if (setjmp(reader->escape))
        return FALSE;
    decompress(reader);
    return TRUE;
}

gboolean image_jpeg_read(const ImageBytes *file, RgbPicture *picture, int *orientation,
                         GError **error)
{
    Reader reader = {.file = file};
    reader.jpeg.err = jpeg_std_error(&reader.manager);
    reader.jpeg.client_data = &reader;
    reader.manager.error_exit = take_error;
    reader.manager.emit_message = take_message;
    reader.manager.output_message = ignore_output;
    reader.progress.progress_monitor = check_scans;
    gboolean ok = run(&reader);
    jpeg_destroy_decompress(&reader.jpeg);
    g_free(reader.row);
    if (!ok) {
        rgb_picture_clear(&reader.picture);
        g_propagate_error(error, reader.error);
        return FALSE;
    }
    *picture = reader.picture;
    *orientation = reader.orientation;
    return TRUE;
}
