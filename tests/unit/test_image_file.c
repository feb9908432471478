/*
 * Picture files: every kind of PNG and JPEG that is taken, written here; and those that are not.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/image_file.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>

#include "test_data.h"

typedef struct {
    char *directory;
    char *path; /* of the file at work */
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->directory = g_dir_make_tmp("fastvlm-image-XXXXXX", NULL);
    /* The name says nothing: the first bytes do. */
    fixture->path = g_build_filename(fixture->directory, "picture.txt", NULL);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    g_remove(fixture->path);
    g_assert_cmpint(g_rmdir(fixture->directory), ==, 0);
    g_free(fixture->directory);
    g_free(fixture->path);
}

/* --- writing --- */

/* A PNG to write: rows as libpng takes them. */
typedef struct {
    int color_type;
    int bit_depth;
    int interlace;
    int width, height;
    const guint8 *bytes;
    gsize stride;
    const png_color *palette; /* NULL: none */
    int n_palette;
    const guint8 *alphas; /* of palette entries; NULL: none */
    int n_alphas;
    const png_color_16 *transparent; /* the colour that is; NULL: none */
    const guint8 *exif;              /* NULL: none */
    guint n_exif;
} PngSpec;

static void write_png(const char *path, const PngSpec *spec)
{
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    g_assert_nonnull(file);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)spec->width, (png_uint_32)spec->height, spec->bit_depth,
                 spec->color_type, spec->interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (spec->palette != NULL)
        png_set_PLTE(png, info, spec->palette, spec->n_palette);
    if (spec->alphas != NULL || spec->transparent != NULL)
        png_set_tRNS(png, info, spec->alphas, spec->n_alphas, spec->transparent);
    if (spec->exif != NULL)
        png_set_eXIf_1(png, info, spec->n_exif, (png_bytep)spec->exif);
    png_write_info(png, info);
    png_bytepp rows = g_new(png_bytep, spec->height);
    for (int y = 0; y < spec->height; y++)
        rows[y] = (png_bytep)spec->bytes + (gsize)y * spec->stride;
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    g_free(rows);
    fclose(file);
}

/* A JPEG to write: rows of bytes in `space`. */
typedef struct {
    J_COLOR_SPACE space;  /* of the bytes */
    J_COLOR_SPACE stored; /* in the file */
    int n_channels;
    int width, height;
    const guint8 *bytes;
    gboolean is_progressive;
    gboolean no_adobe;
    const guint8 *app1; /* NULL: none */
    guint n_app1;
} JpegSpec;

static void write_jpeg(const char *path, const JpegSpec *spec)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr manager;
    FILE *file = fopen(path, "wb");
    g_assert_nonnull(file);
    jpeg.err = jpeg_std_error(&manager);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = (JDIMENSION)spec->width;
    jpeg.image_height = (JDIMENSION)spec->height;
    jpeg.input_components = spec->n_channels;
    jpeg.in_color_space = spec->space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_colorspace(&jpeg, spec->stored);
    jpeg_set_quality(&jpeg, 100, TRUE);
    for (int i = 0; i < jpeg.num_components; i++)
        jpeg.comp_info[i].h_samp_factor = jpeg.comp_info[i].v_samp_factor = 1;
    if (spec->is_progressive)
        jpeg_simple_progression(&jpeg);
    if (spec->no_adobe)
        jpeg.write_Adobe_marker = FALSE;
    jpeg_start_compress(&jpeg, TRUE);
    if (spec->app1 != NULL)
        jpeg_write_marker(&jpeg, JPEG_APP0 + 1, spec->app1, spec->n_app1);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = (JSAMPROW)spec->bytes +
                       (gsize)jpeg.next_scanline * (gsize)spec->width * (gsize)spec->n_channels;
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(file);
}

/* --- reading --- */

static RgbPicture read_picture(const char *path)
{
    RgbPicture picture = {0};
    GError *error = NULL;
    image_file_read(path, &picture, &error);
    g_assert_no_error(error);
    g_assert_nonnull(picture.data);
    return picture;
}

/* Every channel of the pixel within `tolerance` of 0xRRGGBB. */
static void assert_pixel(const RgbPicture *picture, int x, int y, guint32 color, int tolerance)
{
    const guint8 *pixel = picture->data + ((gsize)y * (gsize)picture->width + (gsize)x) * 3;
    for (int c = 0; c < 3; c++) {
        int expected = color >> (16 - 8 * c) & 0xff;
        if (abs(pixel[c] - expected) > tolerance)
            g_error("pixel (%d, %d) is %02x%02x%02x, expected %06x", x, y, pixel[0], pixel[1],
                    pixel[2], color);
    }
}

static void assert_refused(const char *path, int code, const char *says)
{
    RgbPicture picture = {0};
    g_autoptr(GError) error = NULL;
    g_assert_false(image_file_read(path, &picture, &error));
    g_test_message("%s", error->message);
    g_assert_error(error, FASTVLM_ERROR, code);
    if (!strstr(error->message, says))
        g_error("\"%s\" does not say \"%s\"", error->message, says);
    g_assert_nonnull(strstr(error->message, path));
    g_assert_null(strchr(error->message, '\n'));
    g_assert_null(picture.data);
    g_assert_cmpint(picture.width, ==, 0);
}

/* --- PNG --- */

static void test_png_rgb(Fixture *fixture, gconstpointer data)
{
    static const guint8 rgb[] = {255, 0,  0,  1, 2, 3,   0,   255, 0,
                                 10,  20, 30, 0, 0, 255, 250, 251, 252};
    for (int interlace = 0; interlace < 2; interlace++) {
        PngSpec spec = {PNG_COLOR_TYPE_RGB, 8, interlace, 3, 2, rgb, .stride = 9};
        write_png(fixture->path, &spec);
        RgbPicture picture = read_picture(fixture->path);
        g_assert_cmpint(picture.width, ==, 3);
        g_assert_cmpint(picture.height, ==, 2);
        g_assert_cmpmem(picture.data, sizeof rgb, rgb, sizeof rgb);
        FastvlmImage view = rgb_picture_view(&picture);
        g_assert_cmpint(view.format, ==, FASTVLM_PIXEL_RGB);
        g_assert_cmpint(view.stride, ==, 9);
        g_assert_true(view.data == picture.data);
        rgb_picture_clear(&picture);
        g_assert_null(picture.data);
    }
}

static void test_png_alpha(Fixture *fixture, gconstpointer data)
{
    static const guint8 rgba[] = {255, 128, 1,  255, 255, 128, 64,  128,
                                  200, 100, 50, 0,   9,   99,  199, 51};
    for (int interlace = 0; interlace < 2; interlace++) {
        PngSpec spec = {PNG_COLOR_TYPE_RGB_ALPHA, 8, interlace, 2, 2, rgba, .stride = 8};
        write_png(fixture->path, &spec);
        RgbPicture picture = read_picture(fixture->path);
        assert_pixel(&picture, 0, 0, 0xff8001, 0);
        assert_pixel(&picture, 1, 0, 0x804020, 0);
        assert_pixel(&picture, 0, 1, 0x000000, 0);
        assert_pixel(&picture, 1, 1, 0x021428, 0);
        rgb_picture_clear(&picture);
    }
}

static void test_png_deep(Fixture *fixture, gconstpointer data)
{
    /* 0x1280 of 65535 is 18.43 of 255, 0x12c0 is 18.68: rounded, not cut off. */
    static const guint8 rgb[] = {0xff, 0xff, 0x12, 0x80, 0x12, 0xc0};
    static const guint8 gray_alpha[] = {0xff, 0xff, 0x80, 0x00};
    PngSpec spec = {PNG_COLOR_TYPE_RGB, 16, 0, 1, 1, rgb, .stride = 6};
    write_png(fixture->path, &spec);
    RgbPicture picture = read_picture(fixture->path);
    assert_pixel(&picture, 0, 0, 0xff1213, 0);
    rgb_picture_clear(&picture);
    spec = (PngSpec){PNG_COLOR_TYPE_GRAY_ALPHA, 16, 0, 1, 1, gray_alpha, .stride = 4};
    write_png(fixture->path, &spec);
    picture = read_picture(fixture->path);
    assert_pixel(&picture, 0, 0, 0x808080, 1);
    rgb_picture_clear(&picture);
}

static void test_png_gray(Fixture *fixture, gconstpointer data)
{
    static const guint8 gray[] = {0, 77, 255}, bits[] = {0xa0}, pairs[] = {0x1b};
    static const png_color_16 transparent = {.gray = 77};
    PngSpec spec = {PNG_COLOR_TYPE_GRAY, 8, 0, 3, 1, gray, .stride = 3};
    write_png(fixture->path, &spec);
    RgbPicture picture = read_picture(fixture->path);
    assert_pixel(&picture, 1, 0, 0x4d4d4d, 0);
    rgb_picture_clear(&picture);
    spec.transparent = &transparent;
    write_png(fixture->path, &spec);
    picture = read_picture(fixture->path);
    assert_pixel(&picture, 1, 0, 0x000000, 0);
    assert_pixel(&picture, 2, 0, 0xffffff, 0);
    rgb_picture_clear(&picture);
    spec = (PngSpec){PNG_COLOR_TYPE_GRAY, 1, 0, 3, 1, bits, .stride = 1};
    write_png(fixture->path, &spec);
    picture = read_picture(fixture->path);
    assert_pixel(&picture, 0, 0, 0xffffff, 0);
    assert_pixel(&picture, 1, 0, 0x000000, 0);
    assert_pixel(&picture, 2, 0, 0xffffff, 0);
    rgb_picture_clear(&picture);
    spec = (PngSpec){PNG_COLOR_TYPE_GRAY, 2, 0, 4, 1, pairs, .stride = 1};
    write_png(fixture->path, &spec);
    picture = read_picture(fixture->path);
    assert_pixel(&picture, 1, 0, 0x555555, 0);
    assert_pixel(&picture, 3, 0, 0xffffff, 0);
    rgb_picture_clear(&picture);
}

static void test_png_palette(Fixture *fixture, gconstpointer data)
{
    static const png_color palette[] = {{255, 0, 0}, {0, 200, 0}, {0, 0, 100}};
    static const guint8 indices[] = {0x01, 0x20}, alphas[] = {255, 128};
    PngSpec spec = {PNG_COLOR_TYPE_PALETTE, 4, 0, 3, 1, indices, 2, palette, .n_palette = 3};
    write_png(fixture->path, &spec);
    RgbPicture picture = read_picture(fixture->path);
    assert_pixel(&picture, 0, 0, 0xff0000, 0);
    assert_pixel(&picture, 1, 0, 0x00c800, 0);
    assert_pixel(&picture, 2, 0, 0x000064, 0);
    rgb_picture_clear(&picture);
    spec.alphas = alphas;
    spec.n_alphas = 2;
    write_png(fixture->path, &spec);
    picture = read_picture(fixture->path);
    assert_pixel(&picture, 0, 0, 0xff0000, 0);
    assert_pixel(&picture, 1, 0, 0x006400, 0);
    assert_pixel(&picture, 2, 0, 0x000064, 0);
    rgb_picture_clear(&picture);
}

/* --- orientation --- */

enum { BLOCK = 16 };

/* Six blocks of one colour each; upright they read A B C / D E F. */
static const guint32 block_colors[6] = {0xe02020, 0x20e020, 0x2020e0, 0xe0e020, 0x20e0e0, 0xe0e0e0};

/* What a camera held so stores, row by row. */
static const struct {
    const char *blocks;
    int columns;
} stored[] = {{"ABCDEF", 3}, {"CBAFED", 3}, {"FEDCBA", 3}, {"DEFABC", 3},
              {"ADBECF", 2}, {"CFBEAD", 2}, {"FCEBDA", 2}, {"DAEBFC", 2}};

static void paint_blocks(const char *blocks, int columns, guint8 *rgb)
{
    int width = columns * BLOCK;
    for (int i = 0; i < 6 * BLOCK * BLOCK; i++) {
        int x = i % width / BLOCK, y = i / width / BLOCK;
        guint32 color = block_colors[blocks[y * columns + x] - 'A'];
        rgb[i * 3] = (guint8)(color >> 16);
        rgb[i * 3 + 1] = (guint8)(color >> 8);
        rgb[i * 3 + 2] = (guint8)color;
    }
}

static void assert_upright(const char *path, int tolerance)
{
    RgbPicture picture = read_picture(path);
    g_assert_cmpint(picture.width, ==, 3 * BLOCK);
    g_assert_cmpint(picture.height, ==, 2 * BLOCK);
    for (int y = 0; y < 2 * BLOCK; y++)
        for (int x = 0; x < 3 * BLOCK; x++)
            assert_pixel(&picture, x, y, block_colors[y / BLOCK * 3 + x / BLOCK], tolerance);
    rgb_picture_clear(&picture);
}

/* "Exif", a directory of two entries, the second of which is the orientation. */
static guint make_exif(gboolean big_endian, guint16 orientation, guint8 *exif)
{
    static const guint8 big[] = {'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0,
                                 2,   1,   0,   0,   4, 0, 0,   0,   1, 0,  0, 0, 9, 1, 18,
                                 0,   3,   0,   0,   0, 1, 0,   0,   0, 0,  0, 0, 0, 0};
    static const guint8 little[] = {'E', 'x', 'i', 'f', 0, 0, 'I', 'I', 42, 0, 8, 0, 0, 0,  2,
                                    0,   0,   1,   4,   0, 1, 0,   0,   0,  9, 0, 0, 0, 18, 1,
                                    3,   0,   1,   0,   0, 0, 0,   0,   0,  0, 0, 0, 0, 0};
    G_STATIC_ASSERT(sizeof big == sizeof little);
    memcpy(exif, big_endian ? big : little, sizeof big);
    exif[36] = (guint8)(big_endian ? orientation >> 8 : orientation);
    exif[37] = (guint8)(big_endian ? orientation : orientation >> 8);
    return sizeof big;
}

static void test_orientation_jpeg(Fixture *fixture, gconstpointer data)
{
    guint8 rgb[6 * BLOCK * BLOCK * 3], exif[64];
    for (int i = 0; i < 16; i++) {
        int orientation = i / 2 + 1, columns = stored[i / 2].columns;
        paint_blocks(stored[i / 2].blocks, columns, rgb);
        JpegSpec spec = {JCS_RGB, JCS_YCbCr, 3, columns * BLOCK, 6 / columns * BLOCK, .bytes = rgb};
        spec.app1 = exif;
        spec.n_app1 = make_exif(i % 2, (guint16)orientation, exif);
        write_jpeg(fixture->path, &spec);
        assert_upright(fixture->path, 3);
    }
}

static void test_orientation_png(Fixture *fixture, gconstpointer data)
{
    guint8 rgb[6 * BLOCK * BLOCK * 3], exif[64];
    for (int orientation = 1; orientation <= 8; orientation++) {
        int columns = stored[orientation - 1].columns;
        paint_blocks(stored[orientation - 1].blocks, columns, rgb);
        PngSpec spec = {PNG_COLOR_TYPE_RGB,
                        8,
                        0,
                        columns * BLOCK,
                        6 / columns * BLOCK,
                        rgb,
                        .stride = (gsize)columns * BLOCK * 3};
        spec.n_exif = make_exif(TRUE, (guint16)orientation, exif) - 6;
        spec.exif = exif + 6;
        write_png(fixture->path, &spec);
        assert_upright(fixture->path, 0);
    }
}

/* EXIF that says nothing sensible, or is cut at any byte, leaves the picture as it is. */
static void test_orientation_broken(Fixture *fixture, gconstpointer data)
{
    static const guint16 values[] = {0, 9, 255, 0x0600};
    guint8 rgb[6 * BLOCK * BLOCK * 3], exif[64];
    paint_blocks("ABCDEF", 3, rgb);
    JpegSpec spec = {JCS_RGB, JCS_YCbCr, 3, 3 * BLOCK, 2 * BLOCK, .bytes = rgb};
    spec.app1 = exif;
    for (gsize i = 0; i < G_N_ELEMENTS(values); i++) {
        spec.n_app1 = make_exif(TRUE, values[i], exif);
        write_jpeg(fixture->path, &spec);
        assert_upright(fixture->path, 3);
    }
    guint n_bytes = make_exif(TRUE, 6, exif);
    for (spec.n_app1 = 0; spec.n_app1 < n_bytes - 4; spec.n_app1++) {
        write_jpeg(fixture->path, &spec);
        assert_upright(fixture->path, 3);
    }
    spec.n_app1 = n_bytes;
    for (guint i = 10; i < 20; i++) {
        make_exif(TRUE, 1, exif);
        exif[i] = 0xff; /* offsets and counts far beyond the end */
        write_jpeg(fixture->path, &spec);
        assert_upright(fixture->path, 3);
    }
}

/* --- JPEG --- */

static guint8 *make_flat(int n_pixels, const guint8 *pixel, int n_channels)
{
    guint8 *bytes = g_malloc((gsize)(n_pixels * n_channels));
    for (int i = 0; i < n_pixels * n_channels; i++)
        bytes[i] = pixel[i % n_channels];
    return bytes;
}

static void check_flat(const char *path, JpegSpec spec, const guint8 *pixel, guint32 color)
{
    g_autofree guint8 *bytes = make_flat(24 * 17, pixel, spec.n_channels);
    spec.width = 24;
    spec.height = 17;
    spec.bytes = bytes;
    write_jpeg(path, &spec);
    RgbPicture picture = read_picture(path);
    g_assert_cmpint(picture.width, ==, 24);
    g_assert_cmpint(picture.height, ==, 17);
    assert_pixel(&picture, 0, 0, color, 2);
    assert_pixel(&picture, 23, 16, color, 2);
    rgb_picture_clear(&picture);
}

static void test_jpeg_kinds(Fixture *fixture, gconstpointer data)
{
    static const guint8 rgb[] = {200, 100, 50}, gray[] = {77};
    for (int progressive = 0; progressive < 2; progressive++) {
        check_flat(fixture->path, (JpegSpec){JCS_RGB, JCS_YCbCr, 3, .is_progressive = progressive},
                   rgb, 0xc86432);
        check_flat(fixture->path,
                   (JpegSpec){JCS_GRAYSCALE, JCS_GRAYSCALE, 1, .is_progressive = progressive}, gray,
                   0x4d4d4d);
    }
    check_flat(fixture->path, (JpegSpec){JCS_RGB, JCS_RGB, .n_channels = 3}, rgb, 0xc86432);
}

/* 255 is no ink where Adobe's marker is, all ink where it is not. */
static void test_jpeg_cmyk(Fixture *fixture, gconstpointer data)
{
    static const guint8 inverted[] = {200, 100, 50, 128}, inks[] = {55, 155, 205, 127};
    check_flat(fixture->path, (JpegSpec){JCS_CMYK, JCS_CMYK, .n_channels = 4}, inverted, 0x643219);
    check_flat(fixture->path, (JpegSpec){JCS_CMYK, JCS_YCCK, .n_channels = 4}, inverted, 0x643219);
    check_flat(fixture->path, (JpegSpec){JCS_CMYK, JCS_CMYK, 4, .no_adobe = TRUE}, inks, 0x643219);
}

/* --- files that are refused --- */

static void test_missing(Fixture *fixture, gconstpointer data)
{
    assert_refused(fixture->path, FASTVLM_ERROR_NOT_FOUND,
                   "cannot be read: No such file or directory; expected a PNG or JPEG file");
    assert_refused(fixture->directory, FASTVLM_ERROR_READ,
                   "a directory, expected a PNG or JPEG file");
    assert_refused("", FASTVLM_ERROR_NOT_FOUND, "\"\": expected the name of a PNG or JPEG file");
    if (g_file_test("/dev/zero", G_FILE_TEST_EXISTS))
        assert_refused("/dev/zero", FASTVLM_ERROR_UNSUPPORTED, "neither PNG nor JPEG");
    test_put_file(fixture->path, "", 0);
    assert_refused(fixture->path, FASTVLM_ERROR_READ,
                   "the file is empty, expected a PNG or JPEG file: copy it again");
    if (geteuid() != 0) {
        g_assert_cmpint(g_chmod(fixture->path, 0), ==, 0);
        assert_refused(fixture->path, FASTVLM_ERROR_READ, "cannot be read: Permission denied");
    }
}

static void test_not_a_picture(Fixture *fixture, gconstpointer data)
{
    test_put_file(fixture->path, "hello", 5);
    assert_refused(fixture->path, FASTVLM_ERROR_UNSUPPORTED,
                   "neither PNG nor JPEG: convert it to one of them");
    test_put_file(fixture->path, "GIF89a....", 10);
    assert_refused(fixture->path, FASTVLM_ERROR_UNSUPPORTED, "(it looks like GIF)");
    test_put_file(fixture->path, "RIFF\1\2\3\4WEBPVP8 ", 16);
    assert_refused(fixture->path, FASTVLM_ERROR_UNSUPPORTED, "WebP");
    test_put_file(fixture->path, "\211PNG\r\n\032", 7);
    assert_refused(fixture->path, FASTVLM_ERROR_UNSUPPORTED, "neither");
    test_put_file(fixture->path, "\211PNG\r\n\032\nrubbish rubbish rubbish", 31);
    assert_refused(fixture->path, FASTVLM_ERROR_FORMAT,
                   "damaged PNG: ish[20]: invalid chunk type: copy it again, or save it anew");
    test_put_file(fixture->path, "\377\330\377", 3);
    assert_refused(fixture->path, FASTVLM_ERROR_READ, "the JPEG is cut short: copy it again");
    test_put_file(fixture->path, "\377\330\377\331", 4);
    assert_refused(
        fixture->path, FASTVLM_ERROR_FORMAT,
        "damaged JPEG: JPEG datastream contains no image: copy it again, or save it anew");
}

/* Cut anywhere, a picture is an error that says so, never half a picture. */
static void check_cuts(const char *path)
{
    g_autofree char *contents = NULL;
    gsize n_bytes;
    g_assert_true(g_file_get_contents(path, &contents, &n_bytes, NULL));
    for (gsize cut = 8; cut < n_bytes; cut += cut + 16 < n_bytes ? n_bytes / 50 + 1 : 1) {
        test_put_file(path, contents, cut);
        assert_refused(path, FASTVLM_ERROR_READ, "is cut short: copy it again");
    }
}

static void test_cut_short(Fixture *fixture, gconstpointer data)
{
    guint8 rgb[6 * BLOCK * BLOCK * 3];
    for (gsize i = 0; i < sizeof rgb; i++)
        rgb[i] = (guint8)g_test_rand_int_range(0, 256);
    PngSpec png = {PNG_COLOR_TYPE_RGB, 8, 0, 3 * BLOCK, 2 * BLOCK, rgb, .stride = 3 * BLOCK * 3};
    write_png(fixture->path, &png);
    check_cuts(fixture->path);
    for (int progressive = 0; progressive < 2; progressive++) {
        JpegSpec jpeg = {
            JCS_RGB, JCS_YCbCr, 3, 3 * BLOCK, 2 * BLOCK, rgb, .is_progressive = progressive};
        write_jpeg(fixture->path, &jpeg);
        check_cuts(fixture->path);
    }
}

/* Writes the width and height into a file's header, without a care for checksums. */
static void patch_size(const char *path, gsize at, int n_bytes, guint32 first, guint32 second)
{
    g_autofree char *contents = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &contents, &length, NULL));
    for (int i = 0; i < n_bytes; i++) {
        contents[at + (gsize)i] = (char)(first >> 8 * (n_bytes - 1 - i));
        contents[at + (gsize)(n_bytes + i)] = (char)(second >> 8 * (n_bytes - 1 - i));
    }
    if (n_bytes == 4) { /* PNG: IHDR's checksum */
        guint32 crc = 0xffffffff;
        for (gsize i = 12; i < 29; i++) {
            crc ^= (guint8)contents[i];
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        crc = GUINT32_TO_BE(~crc);
        memcpy(contents + 29, &crc, 4);
    }
    test_put_file(path, contents, length);
}

/* The offset of the height in a JPEG: behind the start-of-frame marker. */
static gsize find_frame(const char *path)
{
    g_autofree char *contents = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &contents, &length, NULL));
    for (gsize i = 0; i + 1 < length; i++)
        if ((guint8)contents[i] == 0xff && (guint8)contents[i + 1] == 0xc0)
            return i + 5;
    g_assert_not_reached();
}

static void test_too_large(Fixture *fixture, gconstpointer data)
{
    static const guint8 rgb[16 * 16 * 3] = {0};
    PngSpec png = {PNG_COLOR_TYPE_RGB, 8, 0, 16, 16, rgb, .stride = 48};
    write_png(fixture->path, &png);
    patch_size(fixture->path, 16, 4, 32768, 32768);
    assert_refused(fixture->path, FASTVLM_ERROR_LIMIT, "32768x32768");
    patch_size(fixture->path, 16, 4, 40000, 1);
    assert_refused(
        fixture->path, FASTVLM_ERROR_LIMIT,
        "40000x1 pixels, expected at most 32768 a side and 268435456 in all: scale it down");
    patch_size(fixture->path, 16, 4, 0x7fffffff, 0x7fffffff);
    assert_refused(fixture->path, FASTVLM_ERROR_LIMIT, "2147483647x2147483647");
    patch_size(fixture->path, 16, 4, 0, 16);
    assert_refused(fixture->path, FASTVLM_ERROR_FORMAT,
                   "damaged PNG: Invalid IHDR data: copy it again");
    JpegSpec jpeg = {JCS_RGB, JCS_YCbCr, 3, 16, 16, .bytes = rgb};
    write_jpeg(fixture->path, &jpeg);
    patch_size(fixture->path, find_frame(fixture->path), 2, 65500, 65500);
    assert_refused(fixture->path, FASTVLM_ERROR_LIMIT, "65500x65500");
    patch_size(fixture->path, find_frame(fixture->path), 2, 30000, 30000);
    assert_refused(fixture->path, FASTVLM_ERROR_LIMIT, "30000x30000");
}

/* Random damage: a picture or an error, and memory in order either way (run under a sanitizer). */
static void check_damage(const char *path, int n_rounds)
{
    g_autofree char *contents = NULL;
    gsize n_bytes;
    int n_refused = 0;
    g_assert_true(g_file_get_contents(path, &contents, &n_bytes, NULL));
    for (int round = 0; round < n_rounds; round++) {
        g_autofree char *copy = g_memdup2(contents, n_bytes);
        for (int i = g_test_rand_int_range(1, 6); i > 0; i--)
            copy[g_test_rand_int_range(3, (gint32)n_bytes)] = (char)g_test_rand_int_range(0, 256);
        test_put_file(path, copy, n_bytes);
        RgbPicture picture = {0};
        g_autoptr(GError) error = NULL;
        gboolean ok = image_file_read(path, &picture, &error);
        g_assert_true(ok == (error == NULL) && ok == (picture.data != NULL));
        n_refused += !ok;
        rgb_picture_clear(&picture);
    }
    g_assert_cmpint(n_refused, >, 0);
}

static void test_damaged(Fixture *fixture, gconstpointer data)
{
    guint8 rgb[6 * BLOCK * BLOCK * 4], exif[64];
    paint_blocks("ABCDEF", 3, rgb);
    memset(rgb + sizeof rgb / 4 * 3, 99, sizeof rgb / 4);
    int n_rounds = g_test_thorough() ? 20000 : 200;
    for (int interlace = 0; interlace < 2; interlace++) {
        PngSpec png = {
            PNG_COLOR_TYPE_RGB_ALPHA, 8, interlace, 2 * BLOCK, 3 * BLOCK, rgb, .stride = 128};
        write_png(fixture->path, &png);
        check_damage(fixture->path, n_rounds);
        JpegSpec jpeg = {
            JCS_CMYK, JCS_YCCK, 4, 2 * BLOCK, 3 * BLOCK, rgb, .is_progressive = interlace};
        jpeg.app1 = exif;
        jpeg.n_app1 = make_exif(TRUE, 6, exif);
        write_jpeg(fixture->path, &jpeg);
        check_damage(fixture->path, n_rounds);
    }
}

static void test_write(Fixture *fixture, gconstpointer data)
{
    guint8 rgb[6 * BLOCK * BLOCK * 3];
    g_autoptr(GError) error = NULL;
    paint_blocks("ABCDEF", 3, rgb);
    g_assert_true(image_file_write_png(fixture->path, rgb, 3 * BLOCK, 2 * BLOCK, &error));
    g_assert_no_error(error);
    assert_upright(fixture->path, 0);
    g_autofree char *nowhere = g_build_filename(fixture->directory, "no", "such.png", NULL);
    g_assert_false(image_file_write_png(nowhere, rgb, 3 * BLOCK, 2 * BLOCK, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ);
    g_assert_nonnull(strstr(error->message, nowhere));
    g_clear_error(&error);
    if (g_file_test("/dev/full", G_FILE_TEST_EXISTS)) {
        g_assert_false(image_file_write_png("/dev/full", rgb, 3 * BLOCK, 2 * BLOCK, &error));
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ);
        g_assert_true(g_file_test("/dev/full", G_FILE_TEST_EXISTS));
    }
}

#define ADD(name, function) g_test_add(name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/image-file/png-rgb", test_png_rgb);
    ADD("/image-file/png-alpha", test_png_alpha);
    ADD("/image-file/png-deep", test_png_deep);
    ADD("/image-file/png-gray", test_png_gray);
    ADD("/image-file/png-palette", test_png_palette);
    ADD("/image-file/orientation-jpeg", test_orientation_jpeg);
    ADD("/image-file/orientation-png", test_orientation_png);
    ADD("/image-file/orientation-broken", test_orientation_broken);
    ADD("/image-file/jpeg-kinds", test_jpeg_kinds);
    ADD("/image-file/jpeg-cmyk", test_jpeg_cmyk);
    ADD("/image-file/missing", test_missing);
    ADD("/image-file/not-a-picture", test_not_a_picture);
    ADD("/image-file/cut-short", test_cut_short);
    ADD("/image-file/too-large", test_too_large);
    ADD("/image-file/damaged", test_damaged);
    ADD("/image-file/write", test_write);
    return g_test_run();
}
