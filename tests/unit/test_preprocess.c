/*
 * Preprocessing: held against a plain bicubic in double precision, and against Pillow's pictures.
 *
 *     the reference here: whole square, virtual -> weights by the formula -> sums -> bytes
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_PNG
#include <png.h>
#endif

#include "test_data.h"

static FastvlmImage make_view(guint8 *rgb, int width, int height)
{
    return (FastvlmImage){FASTVLM_PIXEL_RGB, width, height, (gssize)width * 3, rgb};
}

/* A ramp, hard edges and noise: [height, width, 3], to g_free(). */
static guint8 *make_picture(int width, int height)
{
    guint8 *rgb = g_malloc((gsize)width * (gsize)height * 3);
    guint32 noise = 12345;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            guint8 *pixel = rgb + ((gsize)y * (gsize)width + (gsize)x) * 3;
            noise = noise * 1664525 + 1013904223;
            pixel[0] = (guint8)(x * 255 / MAX(width - 1, 1));
            pixel[1] = (x / 7 + y / 5) % 2 ? 255 : 0;
            pixel[2] = (guint8)(noise >> 24);
        }
    }
    return rgb;
}

/* --- the reference: weights of one direction --- */

typedef struct {
    int total;     /* input pixels, bars included */
    int offset;    /* of the picture among them */
    int out_total; /* output pixels of the whole line */
    int out_start; /* the first one wanted */
} Line;

static double keys_kernel(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* The weights of the picture's `size` pixels for each output: [n_out, size], to g_free(). */
static double *make_weights(Line line, int size, int n_out)
{
    double *weights = g_new0(double, (gsize)n_out *(gsize)size);
    double scale = (double)line.out_total / line.total, stretch = MAX(1 / scale, 1.0);
    for (int out = 0; out < n_out; out++) {
        double center = (line.out_start + out + 0.5) / scale, sum = 0;
        int first = (int)floor(center - 2 * stretch), last = (int)ceil(center + 2 * stretch);
        for (int in = first; in <= last; in++)
            sum += keys_kernel((in + 0.5 - center) / stretch);
        for (int in = first; in <= last; in++) {
            int at = CLAMP(in, 0, line.total - 1) - line.offset;
            if (at >= 0 && at < size) /* bars are black: they add nothing */
                weights[(gsize)out * (gsize)size + (gsize)at] +=
                    keys_kernel((in + 0.5 - center) / stretch) / sum;
        }
    }
    return weights;
}

static Line make_line(int size, int other_size, int resolution, FastvlmFit fit)
{
    Line line = {size, 0, resolution, 0};
    if (fit == FASTVLM_FIT_PAD && other_size > size) {
        line.total = other_size;
        line.offset = (other_size - size) / 2;
    }
    if (fit == FASTVLM_FIT_CROP && other_size < size) {
        line.out_total = (int)((double)resolution * size / other_size);
        line.out_start = (line.out_total - resolution) / 2;
    }
    return line;
}

static guint8 round_to_byte(double value)
{
    return (guint8)CLAMP(floor(value + 0.5), 0.0, 255.0);
}

/* The reference's result [resolution, resolution, 3], to g_free(). */
static guint8 *resize_plainly(const guint8 *rgb, int width, int height, int resolution,
                              FastvlmFit fit)
{
    gsize w = (gsize)width, h = (gsize)height, r = (gsize)resolution;
    double *across = make_weights(make_line(width, height, resolution, fit), width, resolution);
    double *down = make_weights(make_line(height, width, resolution, fit), height, resolution);
    double *rows = g_new0(double, h *r * 3);
    double *sums = g_new0(double, r *r * 3);
    for (gsize y = 0; y < h; y++)
        for (gsize out = 0; out < r; out++)
            for (gsize x = 0; x < w; x++)
                for (gsize c = 0; across[out * w + x] != 0 && c < 3; c++)
                    rows[(y * r + out) * 3 + c] += across[out * w + x] * rgb[(y * w + x) * 3 + c];
    for (gsize out = 0; out < r; out++)
        for (gsize y = 0; y < h; y++)
            for (gsize i = 0; down[out * h + y] != 0 && i < r * 3; i++)
                sums[out * r * 3 + i] += down[out * h + y] * rows[y * r * 3 + i];
    guint8 *result = g_malloc(r * r * 3);
    for (gsize i = 0; i < r * r * 3; i++)
        result[i] = round_to_byte(sums[i]);
    g_free(across);
    g_free(down);
    g_free(rows);
    g_free(sums);
    return result;
}

/* --- comparisons --- */

typedef struct {
    double mean;      /* absolute difference, of 255 */
    double over_four; /* share of pixels with a channel off by more than 4 */
    int largest;
} Difference;

static Difference compare(const guint8 *a, const guint8 *b, gsize n_pixels)
{
    Difference difference = {0};
    gsize n_over_four = 0;
    for (gsize i = 0; i < n_pixels; i++) {
        int worst = 0;
        for (gsize c = 0; c < 3; c++) {
            int off = abs(a[i * 3 + c] - b[i * 3 + c]);
            difference.mean += off;
            worst = MAX(worst, off);
        }
        n_over_four += worst > 4;
        difference.largest = MAX(difference.largest, worst);
    }
    difference.mean /= (double)n_pixels * 3;
    difference.over_four = (double)n_over_four / (double)n_pixels;
    return difference;
}

static const char *const fit_names[] = {"pad", "crop", "stretch"};

/* Preprocesses and compares with the reference; rounding may differ by one. */
static void check_size(int width, int height, int resolution, FastvlmFit fit)
{
    g_autofree guint8 *rgb = make_picture(width, height);
    FastvlmImage image = make_view(rgb, width, height);
    gsize n_pixels = (gsize)resolution * (gsize)resolution;
    g_autofree guint8 *found = g_malloc(n_pixels * 3);
    g_autofree guint8 *expected = resize_plainly(rgb, width, height, resolution, fit);
    GError *error = NULL;
    memset(found, 0x5a, n_pixels * 3); /* whatever stays unwritten shows */
    fastvlm_image_preprocess(&image, resolution, fit, found, &error);
    g_assert_no_error(error);
    Difference difference = compare(found, expected, n_pixels);
    g_test_message("%dx%d %s %d: mean %.4f, largest %d", width, height, fit_names[fit], resolution,
                   difference.mean, difference.largest);
    g_assert_cmpfloat(difference.mean, <, 0.1);
    g_assert_cmpint(difference.largest, <=, 1);
}

static void test_sizes(void)
{
    static const int sizes[][3] = {{1, 1, 64},     {2, 1, 64},     {1, 2, 64},     {3, 3, 64},
                                   {1, 300, 64},   {300, 1, 64},   {64, 64, 64},   {65, 64, 64},
                                   {64, 65, 64},   {63, 64, 64},   {66, 64, 64},   {128, 128, 64},
                                   {129, 128, 64}, {320, 180, 64}, {180, 320, 64}, {90, 160, 256},
                                   {160, 90, 256}, {97, 89, 192},  {500, 499, 64}, {499, 500, 128},
                                   {1000, 30, 64}, {30, 1000, 64}, {641, 363, 128}};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++)
        for (int fit = 0; fit < 3; fit++)
            check_size(sizes[i][0], sizes[i][1], sizes[i][2], (FastvlmFit)fit);
}

static void test_random(void)
{
    int n = g_test_thorough() ? 2000 : 60;
    for (int i = 0; i < n; i++) {
        int limit = i % 4 == 0 ? 600 : 100;
        check_size(g_test_rand_int_range(1, limit), g_test_rand_int_range(1, limit),
                   64 * g_test_rand_int_range(1, 4), (FastvlmFit)g_test_rand_int_range(0, 3));
    }
}

/* The longest lines: no memory for a square of 32768 x 32768 is ever asked for. */
static void test_extreme(void)
{
    for (int fit = 0; fit < 3; fit++) {
        check_size(32768, 1, 64, (FastvlmFit)fit);
        check_size(1, 32768, 64, (FastvlmFit)fit);
        check_size(32768, 2, 128, (FastvlmFit)fit);
    }
}

static void test_large_result(void)
{
    guint8 pixel[3] = {200, 100, 50};
    FastvlmImage image = make_view(pixel, 1, 1);
    g_autofree guint8 *found = g_malloc((gsize)4096 * 4096 * 3);
    for (int fit = 0; fit < 3; fit++) {
        GError *error = NULL;
        g_assert_true(fastvlm_image_preprocess(&image, 4096, (FastvlmFit)fit, found, &error));
        for (gsize i = 0; i < (gsize)4096 * 4096; i++)
            if (memcmp(found + i * 3, pixel, 3) != 0)
                g_error("pixel %" G_GSIZE_FORMAT " is not the picture's one colour", i);
    }
}

static void test_same_size(void)
{
    g_autofree guint8 *rgb = make_picture(192, 192);
    guint8 *found = g_malloc(192 * 192 * 3);
    FastvlmImage image = make_view(rgb, 192, 192);
    for (int fit = 0; fit < 3; fit++) {
        g_assert_true(fastvlm_image_preprocess(&image, 192, (FastvlmFit)fit, found, NULL));
        g_assert_cmpmem(found, 192 * 192 * 3, rgb, 192 * 192 * 3);
    }
    g_free(found);
}

/* --- formats and strides --- */

typedef struct {
    FastvlmPixelFormat format;
    int n_bytes;
    int order[3]; /* of red, green, blue */
} Layout;

static const Layout layouts[] = {
    {FASTVLM_PIXEL_RGB, 3, {0, 1, 2}},   {FASTVLM_PIXEL_BGR, 3, {2, 1, 0}},
    {FASTVLM_PIXEL_RGBX, 4, {0, 1, 2}},  {FASTVLM_PIXEL_BGRX, 4, {2, 1, 0}},
    {FASTVLM_PIXEL_XRGB, 4, {1, 2, 3}},  {FASTVLM_PIXEL_XBGR, 4, {3, 2, 1}},
    {FASTVLM_PIXEL_GRAY8, 1, {0, 0, 0}},
};

/* The same picture in every format and stride, top row first or last, gives the same bytes. */
static void check_layout(const Layout *layout, int padding, gboolean bottom_up)
{
    const int width = 37, height = 23, resolution = 64;
    gsize stride = (gsize)(width * layout->n_bytes + padding);
    g_autofree guint8 *rgb = make_picture(width, height);
    /* Exactly as large as it must be: a sanitizer sees any byte read beyond. */
    gsize n_bytes = stride * (gsize)(height - 1) + (gsize)(width * layout->n_bytes);
    g_autofree guint8 *bytes = g_malloc(n_bytes);
    memset(bytes, 0xee, n_bytes);
    for (int i = 0; i < width * height; i++) {
        guint8 *pixel = rgb + (gsize)i * 3;
        if (layout->n_bytes == 1)
            pixel[1] = pixel[2] = pixel[0];
        gsize row = (gsize)(bottom_up ? height - 1 - i / width : i / width);
        guint8 *to = bytes + row * stride + (gsize)(i % width * layout->n_bytes);
        for (int c = 0; c < 3; c++)
            to[layout->order[c]] = pixel[c];
    }
    FastvlmImage plain = make_view(rgb, width, height);
    FastvlmImage image = {layout->format, width, height,
                          bottom_up ? -(gssize)stride : (gssize)stride,
                          bottom_up ? bytes + (gsize)(height - 1) * stride : bytes};
    for (int fit = 0; fit < 3; fit++) {
        guint8 expected[64 * 64 * 3], found[64 * 64 * 3];
        g_assert_true(
            fastvlm_image_preprocess(&plain, resolution, (FastvlmFit)fit, expected, NULL));
        g_assert_true(fastvlm_image_preprocess(&image, resolution, (FastvlmFit)fit, found, NULL));
        g_assert_cmpmem(found, sizeof found, expected, sizeof expected);
    }
}

static void test_layouts(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(layouts); i++) {
        check_layout(&layouts[i], 0, FALSE);
        check_layout(&layouts[i], 13, FALSE);
        check_layout(&layouts[i], 5, TRUE);
    }
}

static void check_refused(FastvlmImage image, int resolution, int fit, const char *says)
{
    guint8 found[64 * 64 * 3] = {7};
    g_autoptr(GError) error = NULL;
    g_assert_false(fastvlm_image_preprocess(&image, resolution, (FastvlmFit)fit, found, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT);
    g_assert_nonnull(strstr(error->message, says));
    g_assert_cmpint(found[0], ==, 7);
}

static void test_arguments(void)
{
    guint8 rgb[4 * 4 * 3] = {0};
    FastvlmImage good = make_view(rgb, 4, 4), image = good;
    check_refused(good, 0, 0, "resolution");
    check_refused(good, -64, 0, "resolution");
    check_refused(good, 65, 0, "resolution");
    check_refused(good, 4160, 0, "resolution");
    check_refused(good, 64, 3, "fit");
    check_refused(good, 64, -1, "fit");
    image.format = (FastvlmPixelFormat)7;
    check_refused(image, 64, 0, "format");
    image = good;
    image.width = 0;
    check_refused(image, 64, 0, "width");
    image.width = FASTVLM_IMAGE_MAX_SIDE + 1;
    check_refused(image, 64, 0, "width");
    image = good;
    image.height = -1;
    check_refused(image, 64, 0, "height");
    image = good;
    image.stride = 11;
    check_refused(image, 64, 0, "stride");
    image.stride = -11;
    check_refused(image, 64, 0, "stride");
    image = good;
    image.data = NULL;
    check_refused(image, 64, 0, "data");
}

/* --- Pillow's results --- */

#ifdef HAVE_PNG
static guint8 *read_png(const char *path, int *width, int *height)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    g_assert_true(png_image_begin_read_from_file(&png, path));
    png.format = PNG_FORMAT_RGB;
    guint8 *rgb = g_malloc(PNG_IMAGE_SIZE(png));
    g_assert_true(png_image_finish_read(&png, NULL, rgb, 0, NULL));
    *width = (int)png.width;
    *height = (int)png.height;
    return rgb;
}

static void check_golden(const char *directory, const char *name, FastvlmFit fit, int resolution)
{
    g_autofree char *source = g_strdup_printf("%s/%s.png", directory, name);
    g_autofree char *target =
        g_strdup_printf("%s/%s.%s%d.png", directory, name, fit_names[fit], resolution);
    int width, height, out_width, out_height;
    g_autofree guint8 *rgb = read_png(source, &width, &height);
    g_autofree guint8 *expected = read_png(target, &out_width, &out_height);
    g_assert_cmpint(out_width, ==, resolution);
    g_assert_cmpint(out_height, ==, resolution);
    gsize n_pixels = (gsize)resolution * (gsize)resolution;
    g_autofree guint8 *found = g_malloc(n_pixels * 3);
    FastvlmImage image = make_view(rgb, width, height);
    g_assert_true(fastvlm_image_preprocess(&image, resolution, fit, found, NULL));
    Difference difference = compare(found, expected, n_pixels);
    g_test_message("%s.%s%d: mean %.3f, off by more than 4: %.3f %%, largest %d", name,
                   fit_names[fit], resolution, difference.mean, difference.over_four * 100,
                   difference.largest);
    g_assert_cmpfloat(difference.mean, <, 0.25);
    g_assert_cmpfloat(difference.over_four, <, 0.003);
    g_assert_cmpint(difference.largest, <=, 32);
}

static void test_golden(void)
{
    g_autofree char *directory = test_shared_path("golden/preprocess");
    for (int fit = 0; directory != NULL && fit < 3; fit++) {
        check_golden(directory, "200x300", (FastvlmFit)fit, 512);
        check_golden(directory, "640x360", (FastvlmFit)fit, 256);
    }
}
#else
static void test_golden(void)
{
    g_test_skip("built without libpng");
}
#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/preprocess/sizes", test_sizes);
    g_test_add_func("/preprocess/random", test_random);
    g_test_add_func("/preprocess/extreme", test_extreme);
    g_test_add_func("/preprocess/large-result", test_large_result);
    g_test_add_func("/preprocess/same-size", test_same_size);
    g_test_add_func("/preprocess/layouts", test_layouts);
    g_test_add_func("/preprocess/arguments", test_arguments);
    g_test_add_func("/preprocess/golden", test_golden);
    return g_test_run();
}
