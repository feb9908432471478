/*
 * Preprocessing: held to the byte against Pillow's results (digests in tests/data/image, and its
 * pictures where they are), against the same arithmetic written plainly, and colours against the
 * formulas. Every tier of kernels that this processor runs, and any number of threads.
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

#include "image/pixels.h"
#include "test_data.h"

static const char *const fit_names[] = {"pad", "crop", "stretch"};

static FastvlmImage make_view(const guint8 *rgb, int width, int height)
{
    return (FastvlmImage){.format = FASTVLM_PIXEL_RGB,
                          .width = width,
                          .height = height,
                          .stride = (gssize)width * 3,
                          .data = rgb};
}

/* A ramp, hard edges and noise: [height, width, 3], to g_free(); also tests/data/image's draw(). */
static guint8 *make_picture(int width, int height)
{
    guint8 *rgb = g_malloc((gsize)width * (gsize)height * 3);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            guint8 *pixel = rgb + ((gsize)y * (gsize)width + (gsize)x) * 3;
            guint32 noise = (guint32)x * 73856093u ^ (guint32)y * 19349663u;
            pixel[0] = (guint8)(x * 255 / MAX(width - 1, 1));
            pixel[1] = (x / 7 + y / 5) % 2 ? 255 : 0;
            pixel[2] = (guint8)(noise * 2654435761u >> 24);
        }
    }
    return rgb;
}

/* Runs it into fresh memory full of junk, exactly as large as it must be; to g_free(). */
static guint8 *preprocess(const FastvlmImage *image, int resolution, FastvlmFit fit,
                          FastvlmPool *pool)
{
    gsize n_bytes = (gsize)resolution * (gsize)resolution * 3;
    guint8 *rgb = g_malloc(n_bytes);
    GError *error = NULL;
    memset(rgb, 0x5a, n_bytes);
    fastvlm_preprocess_run(image, resolution, fit, pool, NULL, rgb, &error);
    g_assert_no_error(error);
    return rgb;
}

/* Calls `func` with each tier of kernels that has any of its own. */
static void with_each_tier(void (*func)(FastvlmTier tier))
{
    g_autofree char *before = g_strdup(g_getenv("FASTVLM_TIER"));
    for (int tier = 0; tier < FASTVLM_N_TIERS; tier++) {
        if (!fastvlm_tier_is_supported((FastvlmTier)tier) ||
            (tier > 0 && fastvlm_kernels_get((FastvlmTier)tier)->resize_down ==
                             fastvlm_kernels_get((FastvlmTier)(tier - 1))->resize_down))
            continue;
        g_setenv("FASTVLM_TIER", fastvlm_tier_to_string((FastvlmTier)tier), TRUE);
        func((FastvlmTier)tier);
    }
    if (before)
        g_setenv("FASTVLM_TIER", before, TRUE);
    else
        g_unsetenv("FASTVLM_TIER");
}

/* --- Pillow's digests --- */

static void check_digest(const char *line)
{
    char fit_name[16], expected[65];
    int width, height, aspect_width, aspect_height, resolution, fit = 0;
    g_assert_cmpint(sscanf(line, "%d %d %d %d %15s %d %64s", &width, &height, &aspect_width,
                           &aspect_height, fit_name, &resolution, expected),
                    ==, 7);
    while (strcmp(fit_names[fit], fit_name) != 0)
        fit++;
    g_autofree guint8 *rgb = make_picture(width, height);
    FastvlmImage image = make_view(rgb, width, height);
    image.pixel_aspect_width = aspect_width;
    image.pixel_aspect_height = aspect_height;
    g_autofree guint8 *found = preprocess(&image, resolution, (FastvlmFit)fit, NULL);
    g_autofree char *digest = g_compute_checksum_for_data(
        G_CHECKSUM_SHA256, found, (gsize)resolution * (gsize)resolution * 3);
    if (strcmp(digest, expected) != 0)
        g_error("%s: other bytes than Pillow's", line);
}

static void check_digests(FastvlmTier tier)
{
    g_autofree char *path = test_data_path("image/pillow.txt");
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    int n = 0;
    for (char **line = lines; *line; line++)
        if (**line != '#') {
            check_digest(*line);
            n++;
        }
    g_assert_cmpint(n, >, 90);
    g_test_message("%s: %d pictures", fastvlm_tier_to_string(tier), n);
}

static void test_pillow(void)
{
    with_each_tier(check_digests);
}

/* --- the same arithmetic, plainly: the whole line's weights, pixel after pixel --- */

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
        return ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/* The weights of the picture's `size` pixels for each output, times 2^22: [n_out, size]. */
static int *make_weights(Line line, int size, int n_out)
{
    int *weights = g_new0(int, (gsize)n_out *(gsize)size);
    double scale = (double)line.total / line.out_total, stretch = MAX(scale, 1.0);
    for (int out = 0; out < n_out; out++) {
        double center = (line.out_start + out + 0.5) * scale, sum = 0;
        int first = MAX((int)(center - 2 * stretch + 0.5), 0);
        int end = MIN((int)(center + 2 * stretch + 0.5), line.total);
        for (int in = first; in < end; in++)
            sum += keys_kernel((in - center + 0.5) * (1 / stretch));
        for (int in = first; in < end; in++) {
            double weight = keys_kernel((in - center + 0.5) * (1 / stretch)) / sum * (1 << 22);
            int at = in - line.offset;
            if (at >= 0 && at < size) /* bars are black: they add nothing */
                weights[(gsize)out * (gsize)size + (gsize)at] =
                    (int)(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
    }
    return weights;
}

static Line make_line(gint64 size, gint64 other_size, gint64 shape, gint64 other_shape,
                      int resolution, FastvlmFit fit)
{
    Line line = {(int)size, 0, resolution, 0};
    if (fit == FASTVLM_FIT_PAD && other_size * other_shape > size * shape) {
        line.total = (int)((other_size * other_shape + shape / 2) / shape);
        line.total = MAX(line.total, (int)size);
        line.offset = (line.total - (int)size) / 2;
    }
    if (fit == FASTVLM_FIT_CROP && other_size * other_shape < size * shape) {
        line.out_total = (int)(resolution * size * shape / (other_size * other_shape));
        line.out_start = (line.out_total - resolution) / 2;
    }
    return line;
}

/* Sums over one direction of in [n_lines, size, 3], pixels `step` apart, to out. */
static void resize_lines(const guint8 *in, gsize line_step, gsize step, int n_lines, int size,
                         const int *weights, int n_out, guint8 *out, gsize out_line_step,
                         gsize out_step)
{
    for (int line = 0; line < n_lines; line++)
        for (int i = 0; i < n_out; i++)
            for (gsize c = 0; c < 3; c++) {
                gint64 sum = 1 << 21;
                for (int at = 0; at < size; at++)
                    if (weights[(gsize)i * (gsize)size + (gsize)at] != 0)
                        sum += (gint64)weights[(gsize)i * (gsize)size + (gsize)at] *
                               in[(gsize)line * line_step + (gsize)at * step + c];
                out[(gsize)line * out_line_step + (gsize)i * out_step + c] =
                    (guint8)CLAMP(sum >> 22, 0, 255);
            }
}

/* The reference's result [resolution, resolution, 3], to g_free(). */
static guint8 *resize_plainly(const FastvlmImage *image, int resolution, FastvlmFit fit)
{
    int width = image->width, height = image->height;
    int shape_x = MAX(image->pixel_aspect_width, 1), shape_y = MAX(image->pixel_aspect_height, 1);
    Line x = make_line(width, height, shape_x, shape_y, resolution, fit);
    Line y = make_line(height, width, shape_y, shape_x, resolution, fit);
    int *across = make_weights(x, width, resolution), *down = make_weights(y, height, resolution);
    gsize r = (gsize)resolution;
    guint8 *rows = g_malloc0((gsize)height * r * 3), *result = g_malloc(r * r * 3);
    resize_lines(image->data, (gsize)width * 3, 3, height, width, across, resolution, rows, r * 3,
                 3);
    resize_lines(rows, 3, r * 3, resolution, height, down, resolution, result, 3, r * 3);
    g_free(across);
    g_free(down);
    g_free(rows);
    return result;
}

static void check_image(const FastvlmImage *image, int resolution, FastvlmFit fit)
{
    g_autofree guint8 *expected = resize_plainly(image, resolution, fit);
    g_autofree guint8 *found = preprocess(image, resolution, fit, NULL);
    for (int i = 0; i < resolution * resolution * 3; i++)
        if (found[i] != expected[i])
            g_error("%dx%d (%d:%d) %s %d: byte %d is %d, not %d", image->width, image->height,
                    image->pixel_aspect_width, image->pixel_aspect_height, fit_names[fit],
                    resolution, i, found[i], expected[i]);
}

static void check_size(int width, int height, int resolution, FastvlmFit fit)
{
    g_autofree guint8 *rgb = make_picture(width, height);
    FastvlmImage image = make_view(rgb, width, height);
    check_image(&image, resolution, fit);
}

static void check_random(FastvlmTier tier)
{
    int n = g_test_thorough() ? 2000 : 60;
    for (int i = 0; i < n; i++) {
        int limit = i % 4 == 0 ? 400 : 100;
        int width = g_test_rand_int_range(1, limit), height = g_test_rand_int_range(1, limit);
        g_autofree guint8 *rgb = make_picture(width, height);
        FastvlmImage image = make_view(rgb, width, height);
        if (i % 3 == 0) {
            image.pixel_aspect_width = g_test_rand_int_range(1, 5);
            image.pixel_aspect_height = g_test_rand_int_range(1, 5);
        }
        check_image(&image, 64 * g_test_rand_int_range(1, 4),
                    (FastvlmFit)g_test_rand_int_range(0, 3));
    }
}

static void test_random(void)
{
    with_each_tier(check_random);
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

/* Pixels as far from square as is allowed. */
static void test_extreme_aspect(void)
{
    static const int sizes[][2] = {{1, 1}, {50, 20}, {3000, 1}, {1, 3000}};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree guint8 *rgb = make_picture(sizes[i][0], sizes[i][1]);
        FastvlmImage image = make_view(rgb, sizes[i][0], sizes[i][1]);
        for (int fit = 0; fit < 3; fit++) {
            image.pixel_aspect_width = G_MAXINT;
            image.pixel_aspect_height = G_MAXINT / FASTVLM_IMAGE_MAX_ASPECT + 1;
            check_image(&image, 64, (FastvlmFit)fit);
            image.pixel_aspect_width = 1;
            image.pixel_aspect_height = FASTVLM_IMAGE_MAX_ASPECT;
            check_image(&image, 64, (FastvlmFit)fit);
        }
    }
    /* More than a line can be: nothing to compare with, but it must come back. */
    guint8 *rgb = make_picture(32768, 1);
    FastvlmImage image = make_view(rgb, 32768, 1);
    image.pixel_aspect_width = FASTVLM_IMAGE_MAX_ASPECT;
    image.pixel_aspect_height = 1;
    for (int fit = 0; fit < 3; fit++)
        g_free(preprocess(&image, 64, (FastvlmFit)fit, NULL));
    g_free(rgb);
}

static void test_large_result(void)
{
    guint8 pixel[3] = {200, 100, 50};
    FastvlmImage image = make_view(pixel, 1, 1);
    for (int fit = 0; fit < 3; fit++) {
        g_autofree guint8 *found = preprocess(&image, 4096, (FastvlmFit)fit, NULL);
        for (gsize i = 0; i < (gsize)4096 * 4096; i++)
            if (memcmp(found + i * 3, pixel, 3) != 0)
                g_error("pixel %" G_GSIZE_FORMAT " is not the picture's one colour", i);
    }
}

static void test_same_size(void)
{
    g_autofree guint8 *rgb = make_picture(192, 192);
    FastvlmImage image = make_view(rgb, 192, 192);
    for (int fit = 0; fit < 3; fit++) {
        g_autofree guint8 *found = preprocess(&image, 192, (FastvlmFit)fit, NULL);
        g_assert_cmpmem(found, 192 * 192 * 3, rgb, 192 * 192 * 3);
    }
}

/* --- threads --- */

static void test_threads(void)
{
    static const int sizes[][3] = {{1920, 1080, 512}, {101, 67, 256}, {3, 1000, 128}, {1, 1, 64}};
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        int resolution = sizes[i][2];
        gsize n_bytes = (gsize)resolution * (gsize)resolution * 3;
        g_autofree guint8 *rgb = make_picture(sizes[i][0], sizes[i][1]);
        FastvlmImage image = make_view(rgb, sizes[i][0], sizes[i][1]);
        for (int fit = 0; fit < 3; fit++) {
            g_autofree guint8 *expected = preprocess(&image, resolution, (FastvlmFit)fit, NULL);
            for (int n_threads = 1; n_threads <= 5; n_threads++) {
                FastvlmPool *pool = fastvlm_pool_new(n_threads, 0, NULL);
                g_autofree guint8 *found = preprocess(&image, resolution, (FastvlmFit)fit, pool);
                g_assert_cmpmem(found, n_bytes, expected, n_bytes);
                fastvlm_pool_free(pool);
            }
        }
    }
}

static void test_cancel(void)
{
    g_autofree guint8 *rgb = make_picture(100, 80), *found = g_malloc(64 * 64 * 3);
    FastvlmImage image = make_view(rgb, 100, 80);
    FastvlmPool *pool = fastvlm_pool_new(2, 0, NULL);
    gint cancel = 1;
    for (int i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(fastvlm_preprocess_run(&image, 64, FASTVLM_FIT_PAD, i ? pool : NULL, &cancel,
                                              found, &error));
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    }
    fastvlm_pool_free(pool);
}

/* --- packed formats and strides --- */

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
static void check_layout(const Layout *layout, int width, int padding, gboolean bottom_up)
{
    const int height = 23, resolution = 64;
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
    FastvlmImage plain = make_view(rgb, width, height), image = plain;
    image.format = layout->format;
    image.stride = bottom_up ? -(gssize)stride : (gssize)stride;
    image.data = bottom_up ? bytes + (gsize)(height - 1) * stride : bytes;
    for (int fit = 0; fit < 3; fit++) {
        g_autofree guint8 *expected = preprocess(&plain, resolution, (FastvlmFit)fit, NULL);
        g_autofree guint8 *found = preprocess(&image, resolution, (FastvlmFit)fit, NULL);
        g_assert_cmpmem(found, 64 * 64 * 3, expected, 64 * 64 * 3);
    }
}

static void check_layouts(FastvlmTier tier)
{
    for (gsize i = 0; i < G_N_ELEMENTS(layouts); i++)
        for (int width = 1; width < 70; width += width < 10 ? 1 : 9) {
            check_layout(&layouts[i], width, 0, FALSE);
            check_layout(&layouts[i], width, 13, FALSE);
            check_layout(&layouts[i], width, 5, TRUE);
        }
}

static void test_layouts(void)
{
    with_each_tier(check_layouts);
}

/* --- Y, Cb and Cr --- */

typedef struct {
    const char *name;
    FastvlmPixelFormat format;
    int shift_x, shift_y; /* of chroma */
} YuvFormat;

static const YuvFormat yuv_formats[] = {
    {"GRAY8", FASTVLM_PIXEL_GRAY8, 0, 0}, {"I420", FASTVLM_PIXEL_I420, 1, 1},
    {"NV12", FASTVLM_PIXEL_NV12, 1, 1},   {"NV21", FASTVLM_PIXEL_NV21, 1, 1},
    {"Y42B", FASTVLM_PIXEL_Y42B, 1, 0},   {"Y444", FASTVLM_PIXEL_Y444, 0, 0},
    {"YUY2", FASTVLM_PIXEL_YUY2, 1, 0},   {"UYVY", FASTVLM_PIXEL_UYVY, 1, 0},
};

/* Samples in no particular layout, and a picture of them in one; memory as large as it must be. */
typedef struct {
    const YuvFormat *format;
    guint8 *samples[3]; /* Y [height, width]; Cb, Cr, [chroma_height, chroma_width] */
    int chroma_width;
    guint8 *planes[3];
    FastvlmImage image;
} YuvPicture;

static guint8 *make_plane(gsize row_size, gsize n_rows, gssize stride)
{
    gsize n_bytes = (gsize)ABS(stride) * (n_rows - 1) + row_size;
    guint8 *plane = g_malloc(n_bytes);
    memset(plane, 0xee, n_bytes);
    return plane;
}

/* Where component c's sample [y, x] goes. */
static guint8 *find_sample(const YuvPicture *picture, int c, int y, int x)
{
    const FastvlmImage *image = &picture->image;
    static const int yuy2_at[] = {0, 1, 3}, uyvy_at[] = {1, 0, 2};
    gssize luma = y * image->stride;
    if (image->format == FASTVLM_PIXEL_YUY2 || image->format == FASTVLM_PIXEL_UYVY) {
        const int *at = image->format == FASTVLM_PIXEL_YUY2 ? yuy2_at : uyvy_at;
        return (guint8 *)image->data + luma + x * (c == 0 ? 2 : 4) + at[c];
    }
    if (c == 0)
        return (guint8 *)image->data + luma + x;
    if (image->format == FASTVLM_PIXEL_NV12 || image->format == FASTVLM_PIXEL_NV21)
        return (guint8 *)image->chroma[0] + y * image->chroma_stride[0] + 2 * x +
               (image->format == FASTVLM_PIXEL_NV12 ? c - 1 : 2 - c);
    return (guint8 *)image->chroma[c - 1] + y * image->chroma_stride[c - 1] + x;
}

static void allocate_planes(YuvPicture *picture, int padding, gboolean bottom_up)
{
    FastvlmImage *image = &picture->image;
    gsize width = (gsize)image->width, height = (gsize)image->height;
    gsize n_chroma = (gsize)picture->chroma_width;
    gsize chroma_height = (height + (gsize)picture->format->shift_y) >> picture->format->shift_y;
    gboolean packed = image->format == FASTVLM_PIXEL_YUY2 || image->format == FASTVLM_PIXEL_UYVY;
    gboolean paired = image->format == FASTVLM_PIXEL_NV12 || image->format == FASTVLM_PIXEL_NV21;
    gsize sizes[3] = {packed ? 4 * n_chroma : width, paired ? 2 * n_chroma : n_chroma, n_chroma};
    gssize sign = bottom_up ? -1 : 1;
    for (int i = 0; i < 3; i++) {
        gsize n_rows = i ? chroma_height : height;
        gssize stride = sign * (gssize)(sizes[i] + (gsize)padding * (gsize)(i + 1));
        picture->planes[i] = make_plane(sizes[i], n_rows, stride);
        const guint8 *top =
            bottom_up ? picture->planes[i] + (gsize)-stride * (n_rows - 1) : picture->planes[i];
        if (i == 0) {
            image->stride = stride;
            image->data = top;
        } else if (image->format != FASTVLM_PIXEL_GRAY8 && !packed && !(paired && i == 2)) {
            image->chroma_stride[i - 1] = stride;
            image->chroma[i - 1] = top;
        }
    }
}

static YuvPicture *yuv_picture_new(const YuvFormat *format, int width, int height, int padding,
                                   gboolean bottom_up)
{
    YuvPicture *picture = g_new0(YuvPicture, 1);
    picture->format = format;
    picture->image = (FastvlmImage){.format = format->format, .width = width, .height = height};
    picture->chroma_width = (width + format->shift_x) >> format->shift_x;
    allocate_planes(picture, padding, bottom_up);
    for (int c = 0; c < 3; c++) {
        int n_columns = c ? picture->chroma_width : width;
        int n_rows = c ? (height + format->shift_y) >> format->shift_y : height;
        picture->samples[c] = g_malloc((gsize)n_columns * (gsize)n_rows);
        for (int i = 0; i < n_columns * n_rows; i++) {
            guint8 sample = (guint8)g_test_rand_int();
            if (format->format == FASTVLM_PIXEL_GRAY8 && c > 0)
                sample = 128;
            else
                *find_sample(picture, c, i / n_columns, i % n_columns) = sample;
            picture->samples[c][i] = sample;
        }
    }
    return picture;
}

static void yuv_picture_free(YuvPicture *picture)
{
    for (int i = 0; i < 3; i++) {
        g_free(picture->samples[i]);
        g_free(picture->planes[i]);
    }
    g_free(picture);
}

/* Shares of red and blue in Y, by FastvlmColorMatrix. */
static const double shares[][2] = {
    {0.299, 0.114}, {0.2126, 0.0722}, {0.2627, 0.0593}, {0.212, 0.087}, {0.30, 0.11}};

/* The exact colour of a pixel, 0 to 255 but not clamped. */
static void compute_colour(const YuvPicture *picture, int x, int y, double rgb[3])
{
    const FastvlmImage *image = &picture->image;
    gboolean limited = image->range == FASTVLM_COLOR_LIMITED;
    double red = shares[image->matrix][0], blue = shares[image->matrix][1];
    int at =
        (y >> picture->format->shift_y) * picture->chroma_width + (x >> picture->format->shift_x);
    double luma = picture->samples[0][y * image->width + x];
    double cb = picture->samples[1][at] - 128.0, cr = picture->samples[2][at] - 128.0;
    luma = limited ? (luma - 16) / 219 * 255 : luma;
    cb = limited ? cb / 224 * 255 : cb;
    cr = limited ? cr / 224 * 255 : cr;
    rgb[0] = luma + 2 * (1 - red) * cr;
    rgb[2] = luma + 2 * (1 - blue) * cb;
    rgb[1] = (luma - red * rgb[0] - blue * rgb[2]) / (1 - red - blue);
}

/* The picture as RGB, each pixel compared with the formula; [height, width, 3], to g_free(). */
static guint8 *read_colours(const YuvPicture *picture)
{
    const FastvlmImage *image = &picture->image;
    gsize width = (gsize)image->width;
    g_autofree guint8 *row = g_malloc(width * 4);
    guint8 *rgb = g_malloc(width * (gsize)image->height * 3), *to = rgb;
    FastvlmPixels pixels;
    fastvlm_pixels_init(&pixels, image, fastvlm_kernels_get(fastvlm_tier_in_use()));
    for (int y = 0; y < image->height; y++) {
        fastvlm_pixels_read(&pixels, y, 0, image->width, row);
        for (int x = 0; x < image->width; x++) {
            double exact[3];
            compute_colour(picture, x, y, exact);
            for (int c = 0; c < 3; c++) {
                *to = row[4 * x + c];
                /* Rounded, and 0.1 for the rounding of the parts. */
                if (fabs(CLAMP(exact[c], 0, 255) - *to) > 0.6)
                    g_error("%s, matrix %d, range %d: pixel %d, %d: channel %d is %d, not %.2f",
                            picture->format->name, image->matrix, image->range, x, y, c, *to,
                            exact[c]);
                to++;
            }
        }
    }
    return rgb;
}

/* A picture in Y, Cb and Cr gives the bytes of the same one in RGB. */
static void check_yuv(const YuvFormat *format, int width, int height, int padding,
                      gboolean bottom_up)
{
    YuvPicture *picture = yuv_picture_new(format, width, height, padding, bottom_up);
    for (int i = 0; i < 10; i++) {
        picture->image.matrix = (FastvlmColorMatrix)(i / 2);
        picture->image.range = (FastvlmColorRange)(i % 2);
        g_autofree guint8 *rgb = read_colours(picture);
        FastvlmImage plain = make_view(rgb, width, height);
        for (int fit = 0; fit < 3; fit++) {
            g_autofree guint8 *expected = preprocess(&plain, 64, (FastvlmFit)fit, NULL);
            g_autofree guint8 *found = preprocess(&picture->image, 64, (FastvlmFit)fit, NULL);
            g_assert_cmpmem(found, 64 * 64 * 3, expected, 64 * 64 * 3);
        }
    }
    yuv_picture_free(picture);
}

static void check_all_yuv(FastvlmTier tier)
{
    static const int sizes[][2] = {{1, 1},   {2, 1},    {1, 2},   {3, 3},  {31, 5},
                                   {32, 4},  {33, 7},   {63, 64}, {65, 2}, {97, 3},
                                   {130, 9}, {200, 67}, {300, 20}};
    for (gsize f = 0; f < G_N_ELEMENTS(yuv_formats); f++)
        for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
            check_yuv(&yuv_formats[f], sizes[i][0], sizes[i][1], 0, FALSE);
            check_yuv(&yuv_formats[f], sizes[i][0], sizes[i][1], 5 + (int)i, i % 2 == 0);
        }
}

static void test_yuv(void)
{
    with_each_tier(check_all_yuv);
}

/* --- arguments --- */

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
    image.format = (FastvlmPixelFormat)(FASTVLM_PIXEL_UYVY + 1);
    check_refused(image, 64, 0, "format");
    image.format = (FastvlmPixelFormat)-1;
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
    image = good;
    image.matrix = (FastvlmColorMatrix)5;
    check_refused(image, 64, 0, "matrix");
    image = good;
    image.range = (FastvlmColorRange)2;
    check_refused(image, 64, 0, "range");
}

static void test_yuv_arguments(void)
{
    guint8 bytes[64] = {0};
    FastvlmImage good = {.format = FASTVLM_PIXEL_I420,
                         .width = 5,
                         .height = 3,
                         .stride = 5,
                         .data = bytes,
                         .chroma = {bytes, bytes},
                         .chroma_stride = {3, 3}};
    FastvlmImage image = good;
    g_free(preprocess(&good, 64, FASTVLM_FIT_PAD, NULL));
    image.chroma[1] = NULL;
    check_refused(image, 64, 0, "second chroma plane");
    image = good;
    image.chroma_stride[0] = 2;
    check_refused(image, 64, 0, "first chroma plane");
    image = good;
    image.format = FASTVLM_PIXEL_NV12;
    check_refused(image, 64, 0, "first chroma plane");
    image.chroma_stride[0] = 6;
    image.chroma[1] = NULL;
    g_free(preprocess(&image, 64, FASTVLM_FIT_PAD, NULL));
    image.format = FASTVLM_PIXEL_YUY2;
    image.stride = 11;
    check_refused(image, 64, 0, "stride");
}

static void test_aspect_arguments(void)
{
    static const int bad[][2] = {{0, 1},        {1, 0},        {-1, 1},
                                 {1, -1},       {257, 1},      {1, 257},
                                 {G_MAXINT, 1}, {1, G_MAXINT}, {G_MININT, G_MININT}};
    guint8 rgb[4 * 4 * 3] = {0};
    FastvlmImage image = make_view(rgb, 4, 4);
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        image.pixel_aspect_width = bad[i][0];
        image.pixel_aspect_height = bad[i][1];
        check_refused(image, 64, 0, "aspect");
    }
}

/* --- Pillow's pictures --- */

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
    FastvlmImage image = make_view(rgb, width, height);
    g_autofree guint8 *found = preprocess(&image, resolution, fit, NULL);
    gsize n_bytes = (gsize)resolution * (gsize)resolution * 3;
    g_assert_cmpmem(found, n_bytes, expected, n_bytes);
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
    g_test_add_func("/preprocess/pillow", test_pillow);
    g_test_add_func("/preprocess/random", test_random);
    g_test_add_func("/preprocess/extreme", test_extreme);
    g_test_add_func("/preprocess/extreme-aspect", test_extreme_aspect);
    g_test_add_func("/preprocess/large-result", test_large_result);
    g_test_add_func("/preprocess/same-size", test_same_size);
    g_test_add_func("/preprocess/threads", test_threads);
    g_test_add_func("/preprocess/cancel", test_cancel);
    g_test_add_func("/preprocess/layouts", test_layouts);
    g_test_add_func("/preprocess/yuv", test_yuv);
    g_test_add_func("/preprocess/arguments", test_arguments);
    g_test_add_func("/preprocess/yuv-arguments", test_yuv_arguments);
    g_test_add_func("/preprocess/aspect-arguments", test_aspect_arguments);
    g_test_add_func("/preprocess/golden", test_golden);
    return g_test_run();
}
