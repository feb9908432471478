/*
 * The engine's colours beside GStreamer's.
 *
 *     frame -> viewer, engine -> RGB          the same frame -> GstVideoConverter -> RGB or ARGB64
 *
 * GstVideoConverter (1.22) is no exact reference: its factors have 8 fractional bits, which is up to 2.3
 * levels of 255 off with 16-bit samples; with 8-bit samples, where products are cut off, up to 6 and 1.6
 * darker on average. The engine is within 0.6 of the formulas (tests/unit/test_preprocess.c), so each
 * bound here is GStreamer's error and 0.6, between bytes the next whole level: wrong matrices, ranges or
 * planes are tens of levels off. The samples are the same in every run.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <stdlib.h>

#include "gstfastvlmframe.h"

#define SIDE 128
#define BLOCK 16 /* pixels of one colour */
#define SEED 20261125

static const char *const colorimetries[] = {"bt601",   "bt709",   "bt2020",  "smpte240m", "1:1:0:0",
                                            "1:4:0:0", "1:3:0:0", "2:2:0:0", "1:6:0:0"};

/* A frame of random samples: of each block, or of each pixel where `block` is 1. */
static GstBuffer *make_noise(const GstVideoInfo *info, gint block)
{
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(info), NULL);
    GRand *random = g_rand_new_with_seed(SEED);
    GstVideoFrame frame;

    g_assert_true(gst_video_frame_map(&frame, info, buffer, GST_MAP_WRITE));
    for (guint i = 0; i < GST_VIDEO_FRAME_N_COMPONENTS(&frame); i++) {
        const gint n_columns = GST_VIDEO_FRAME_COMP_WIDTH(&frame, i);
        const gint n_rows = GST_VIDEO_FRAME_COMP_HEIGHT(&frame, i);
        guint8 *data = GST_VIDEO_FRAME_COMP_DATA(&frame, i);
        guint8 blocks[SIDE][SIDE];

        for (gint k = 0; k < SIDE * SIDE; k++) {
            blocks[k / SIDE][k % SIDE] = (guint8)g_rand_int(random);
        }
        for (gint k = 0; k < n_columns * n_rows; k++) {
            const gint y = k / n_columns, x = k % n_columns;
            data[y * GST_VIDEO_FRAME_COMP_STRIDE(&frame, i) +
                 x * GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, i)] =
                blocks[y * (SIDE / n_rows) / block][x * (SIDE / n_columns) / block];
        }
    }
    gst_video_frame_unmap(&frame);
    g_rand_free(random);
    return buffer;
}

/* What the engine sees; it must read the frame as it is. */
static guint8 *see(const GstVideoInfo *info, GstBuffer *buffer)
{
    GstFastvlmViewer *viewer = gst_fastvlm_viewer_new();
    GstFastvlmFrame frame;
    FastvlmImage image;
    guint8 *rgb = g_malloc(SIDE * SIDE * 3);
    GError *error = NULL;

    gst_fastvlm_frame_init_ref(&frame, info, buffer);
    g_assert_true(gst_fastvlm_viewer_open(viewer, &frame, &image));
    g_assert_cmpint(image.format == FASTVLM_PIXEL_RGB, ==,
                    info->colorimetry.matrix == GST_VIDEO_COLOR_MATRIX_RGB);
    fastvlm_image_preprocess(&image, SIDE, FASTVLM_FIT_STRETCH, rgb, &error);
    g_assert_no_error(error);
    gst_fastvlm_viewer_close(viewer);
    gst_fastvlm_frame_clear(&frame);
    gst_fastvlm_viewer_free(viewer);
    return rgb;
}

/* GStreamer's RGB, 0 to 255, [SIDE, SIDE, 3]. */
static double *convert(const GstVideoInfo *info, GstBuffer *buffer, GstVideoFormat to)
{
    GstVideoInfo out_info;
    GstVideoFrame in, out;
    double *rgb = g_new(double, SIDE *SIDE * 3);

    gst_video_info_set_format(&out_info, to, SIDE, SIDE);
    out_info.fps_n = info->fps_n;
    out_info.fps_d = info->fps_d;
    GstBuffer *converted = gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(&out_info), NULL);
    GstVideoConverter *converter = gst_video_converter_new(
        info, &out_info,
        gst_structure_new("options", GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
                          GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE, NULL));
    g_assert_true(gst_video_frame_map(&in, info, buffer, GST_MAP_READ));
    g_assert_true(gst_video_frame_map(&out, &out_info, converted, GST_MAP_READWRITE));
    gst_video_converter_frame(converter, &in, &out);
    for (gint i = 0; i < SIDE * SIDE * 3; i++) {
        const guint8 *row = (const guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&out, 0) +
                            i / 3 / SIDE * GST_VIDEO_FRAME_PLANE_STRIDE(&out, 0);
        const gint x = i / 3 % SIDE, c = i % 3;
        rgb[i] = to == GST_VIDEO_FORMAT_RGB ? row[3 * x + c]
                                            : ((const guint16 *)row)[4 * x + 1 + c] / 257.0;
    }
    gst_video_frame_unmap(&out);
    gst_video_frame_unmap(&in);
    gst_video_converter_free(converter);
    gst_buffer_unref(converted);
    return rgb;
}

/* Whether linear chroma, which GStreamer uses for most formats, is that of this pixel's block. */
static gboolean is_inner(gint i, gint block)
{
    const gint x = i / 3 % SIDE % block, y = i / 3 / SIDE % block;

    return block == 1 || (x >= 2 && x < block - 2 && y >= 2 && y < block - 2);
}

static void compare(const char *format, const char *colorimetry, gint block, GstVideoFormat to,
                    double most, double most_mean)
{
    char *caps_string = g_strdup_printf("video/x-raw, format=%s, width=%d, height=%d, "
                                        "framerate=25/1, colorimetry=%s",
                                        format, SIDE, SIDE, colorimetry);
    GstCaps *caps = gst_caps_from_string(caps_string);
    GstVideoInfo info;
    double worst = 0, sum = 0;
    gint n = 0;

    g_assert_true(gst_video_info_from_caps(&info, caps));
    GstBuffer *buffer = make_noise(&info, block);
    guint8 *ours = see(&info, buffer);
    double *theirs = convert(&info, buffer, to);
    for (gint i = 0; i < SIDE * SIDE * 3; i++) {
        if (is_inner(i, block)) {
            worst = MAX(worst, fabs(ours[i] - theirs[i]));
            sum += fabs(ours[i] - theirs[i]);
            n++;
        }
    }
    g_test_message("%s %s: at most %.2f, mean %.2f", format, colorimetry, worst, sum / n);
    g_assert_cmpfloat(worst, <=, most);
    g_assert_cmpfloat(sum / n, <=, most_mean);
    gst_buffer_unref(buffer);
    gst_caps_unref(caps);
    g_free(caps_string);
    g_free(ours);
    g_free(theirs);
}

/* Every sample, with GStreamer's better arithmetic. */
static void test_exact(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(colorimetries); i++) {
        compare("Y444", colorimetries[i], 1, GST_VIDEO_FORMAT_ARGB64, 3, 0.8);
    }
}

/* Every sample, as GStreamer converts I420 by default: with the nearest chroma. */
static void test_nearest(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(colorimetries); i++) {
        compare("I420", colorimetries[i], 1, GST_VIDEO_FORMAT_RGB, 7, 2);
        compare("YV12", colorimetries[i], 1, GST_VIDEO_FORMAT_RGB, 7, 2);
    }
}

/* Every format, away from edges in chroma. */
static void test_formats(void)
{
    static const char *const formats[] = {"I420", "YV12", "NV12", "NV21",
                                          "YUY2", "UYVY", "Y42B", "Y444"};

    for (gsize i = 0; i < G_N_ELEMENTS(colorimetries); i++) {
        for (gsize k = 0; k < G_N_ELEMENTS(formats); k++) {
            compare(formats[k], colorimetries[i], BLOCK, GST_VIDEO_FORMAT_RGB, 7, 3);
        }
        compare("GRAY8", colorimetries[i], BLOCK, GST_VIDEO_FORMAT_RGB, 7, 3);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    gst_init(&argc, &argv);
    g_test_add_func("/colors/exact", test_exact);
    g_test_add_func("/colors/nearest", test_nearest);
    g_test_add_func("/colors/formats", test_formats);
    return g_test_run();
}
