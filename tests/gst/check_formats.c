/*
 * Pixels: every format, odd sizes, strides and offsets, crops, interlaced frames, caps that change.
 * Each case looks at what the engine was given, and that the frame itself passed untouched.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdlib.h>

#include "support.h"

static const char *const formats[] = {
    "I420", "YV12", "NV12", "NV21", "YUY2", "UYVY", "Y42B", "Y444", "RGB",       "BGR",
    "RGBx", "BGRx", "xRGB", "xBGR", "RGBA", "BGRA", "ARGB", "ABGR", "I420_10LE", "P010_10LE"};

static const char *const modes[] = {"mode=complete", "mode=live"};

/* The engine's picture has that size and, but for rounding, that colour throughout. */
static void check_picture(gint width, gint height, guint rgb)
{
    FakePicture picture = fake_get_picture();

    g_assert_nonnull(picture.rgb);
    g_assert_cmpint(picture.width, ==, width);
    g_assert_cmpint(picture.height, ==, height);
    for (gint i = 0; i < width * height * 3; i++) {
        const gint expected = (gint)(rgb >> (16 - 8 * (i % 3))) & 0xff;
        if (abs((gint)picture.rgb[i] - expected) > 6) {
            g_error("pixel %d, %d: channel %d is %d, not %d", i / 3 % width, i / 3 / width, i % 3,
                    picture.rgb[i], expected);
        }
    }
    g_free(picture.rgb);
}

static void check_untouched(GstBuffer *out, GstBuffer *reference)
{
    GstMapInfo map;

    g_assert_true(gst_buffer_map(reference, &map, GST_MAP_READ));
    g_assert_cmpuint(gst_buffer_get_size(out), ==, map.size);
    g_assert_cmpint(gst_buffer_memcmp(out, 0, map.data, map.size), ==, 0);
    gst_buffer_unmap(reference, &map);
}

static void check_case(const char *mode, const char *caps, gint width, gint height, guint rgb)
{
    Fixture *fixture = fixture_new(mode, caps);
    GstBuffer *frame = make_frame(caps, rgb, 0);
    GstBuffer *reference = gst_buffer_copy_deep(frame);

    g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==, GST_FLOW_OK);
    wait_caption(fixture, "final");
    check_picture(width, height, rgb);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    check_untouched(out, reference);
    gst_buffer_unref(out);
    gst_buffer_unref(reference);
    fixture_free(fixture);
}

static void test_formats(gconstpointer mode)
{
    for (gsize i = 0; i < G_N_ELEMENTS(formats); i++) {
        char *caps = g_strdup_printf("video/x-raw, format=%s, width=64, height=48, framerate=25/1",
                                     formats[i]);
        g_test_message("%s", formats[i]);
        check_case(mode, caps, 64, 48, 0xc05020);
        g_free(caps);
    }
    check_case(mode, "video/x-raw, format=GRAY8, width=64, height=48, framerate=25/1", 64, 48,
               0x606060);
}

/* What has 8 bits reaches the engine as it is; nobody converts it on the way. */
static void test_direct(gconstpointer mode)
{
    for (gsize i = 0; i < G_N_ELEMENTS(formats); i++) {
        char *caps = g_strdup_printf("video/x-raw, format=%s, width=64, height=48, framerate=25/1",
                                     formats[i]);
        Fixture *fixture = fixture_new(mode, caps);
        const gboolean is_rgb =
            g_str_equal(formats[i], "RGB") || g_str_has_suffix(formats[i], "10LE");

        gst_harness_push(fixture->harness, make_frame(caps, 0x808080, 0));
        wait_caption(fixture, "final");
        FakePicture picture = fake_get_picture();
        g_test_message("%s: %d", formats[i], picture.format);
        g_assert_cmpint(picture.format == FASTVLM_PIXEL_RGB, ==, is_rgb);
        g_free(picture.rgb);
        fixture_free(fixture);
        g_free(caps);
    }
}

/* Caps need not say how many frames a second there are. */
static void test_no_framerate(gconstpointer mode)
{
    static const char *const some[] = {"I420", "RGB", "P010_10LE"};

    for (gsize i = 0; i < G_N_ELEMENTS(some); i++) {
        char *caps = g_strdup_printf("video/x-raw, format=%s, width=64, height=48", some[i]);
        check_case(mode, caps, 64, 48, 0x208040);
        g_free(caps);
    }
}

/* The shape of pixels is told, in layouts that are converted too and with a size in the meta. */
static void test_pixel_aspect(gconstpointer mode)
{
    static const char *const some[] = {"I420", "RGB", "P010_10LE"};
    static const gint aspects[][2] = {{16, 15}, {1, 1}, {8, 9}};

    for (gsize i = 0; i < G_N_ELEMENTS(some) * G_N_ELEMENTS(aspects); i++) {
        const gint *aspect = aspects[i / G_N_ELEMENTS(some)];
        char *caps = g_strdup_printf("video/x-raw, format=%s, width=64, height=48, framerate=25/1, "
                                     "pixel-aspect-ratio=%d/%d",
                                     some[i % G_N_ELEMENTS(some)], aspect[0], aspect[1]);
        Fixture *fixture = fixture_new(mode, caps);

        gst_harness_push(fixture->harness, make_frame(caps, 0x204060, 0));
        wait_caption(fixture, "final");
        FakePicture picture = fake_get_picture();
        g_assert_cmpint(picture.aspect_width * aspect[1], ==, picture.aspect_height * aspect[0]);
        g_assert_cmpint(picture.aspect_width, >, 0);
        g_free(picture.rgb);
        check_picture(64, 48, 0x204060);
        fixture_free(fixture);
        g_free(caps);
    }
}

/* Odd widths and heights, one pixel among them. */
static void test_odd_sizes(gconstpointer mode)
{
    static const gint sizes[][2] = {{65, 49}, {1, 1}, {3, 2}, {2, 3}, {641, 3}, {7, 321}};
    static const char *const some[] = {"I420", "NV12", "YUY2", "Y42B", "RGB", "P010_10LE"};

    for (gsize i = 0; i < G_N_ELEMENTS(some); i++) {
        for (gsize k = 0; k < G_N_ELEMENTS(sizes); k++) {
            char *caps =
                g_strdup_printf("video/x-raw, format=%s, width=%d, height=%d, framerate=25/1",
                                some[i], sizes[k][0], sizes[k][1]);
            check_case(mode, caps, sizes[k][0], sizes[k][1], 0x3080d0);
            g_free(caps);
        }
    }
}

/* Colours follow the caps' matrix and range. */
static void test_colorimetry(gconstpointer mode)
{
    static const char *const colorimetries[] = {"bt601",  "bt709",   "smpte240m",
                                                "bt2020", "1:4:0:0", "1:3:0:0"};

    for (gsize i = 0; i < G_N_ELEMENTS(colorimetries); i++) {
        char *caps = g_strdup_printf(
            "video/x-raw, format=I420, width=64, height=48, framerate=25/1, colorimetry=%s",
            colorimetries[i]);
        g_test_message("%s", colorimetries[i]);
        check_case(mode, caps, 64, 48, 0x20c040);
        g_free(caps);
    }
    check_case(mode,
               "video/x-raw, format=RGB, width=64, height=48, framerate=25/1, colorimetry=2:1:0:0",
               64, 48, 0x20c040);
}

/* Interlaced chroma comes in pairs of rows: 50 and 47 lines are not whole pairs. */
static void test_interlaced(gconstpointer mode)
{
    static const char *const interlaces[] = {"interleaved", "mixed"};
    static const char *const some[] = {"I420", "YV12",      "NV12",     "NV21",
                                       "YUY2", "I420_10LE", "P010_10LE"};
    static const gint heights[] = {48, 47, 50};

    for (gsize i = 0; i < G_N_ELEMENTS(interlaces) * G_N_ELEMENTS(some); i++) {
        for (gsize k = 0; k < G_N_ELEMENTS(heights); k++) {
            char *caps = g_strdup_printf(
                "video/x-raw, format=%s, width=64, height=%d, framerate=25/1, interlace-mode=%s",
                some[i / 2], heights[k], interlaces[i % 2]);
            check_case(mode, caps, 64, heights[k], 0x208040);
            g_free(caps);
        }
    }
}

/* An I420 frame with strides, gaps between planes, and bytes before the first, all of it junk. */
static GstBuffer *make_padded(guint luma, guint chroma)
{
    enum { WIDTH = 64, HEIGHT = 48, STRIDE = 100, CHROMA_STRIDE = 77, BEFORE = 37, GAP = 1000 };
    gsize offsets[GST_VIDEO_MAX_PLANES] = {BEFORE, BEFORE + STRIDE * HEIGHT + GAP,
                                           BEFORE + STRIDE * HEIGHT + 2 * GAP +
                                               CHROMA_STRIDE * HEIGHT / 2};
    gint strides[GST_VIDEO_MAX_PLANES] = {STRIDE, CHROMA_STRIDE, CHROMA_STRIDE};
    const gsize size = offsets[2] + CHROMA_STRIDE * HEIGHT / 2;
    guint8 *data = g_malloc(size);

    memset(data, 0xff, size);
    for (int plane = 0; plane < 3; plane++) {
        const int shift = plane > 0;
        for (int y = 0; y < HEIGHT >> shift; y++) {
            memset(data + offsets[plane] + y * strides[plane], (int)(plane ? chroma : luma),
                   WIDTH >> shift);
        }
    }
    GstBuffer *buffer = gst_buffer_new_wrapped(data, size);
    gst_buffer_add_video_meta_full(buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_I420, WIDTH,
                                   HEIGHT, 3, offsets, strides);
    GST_BUFFER_PTS(buffer) = 0;
    return buffer;
}

static void test_strides(gconstpointer mode)
{
    Fixture *fixture = fixture_new(mode, CAPS);
    GstBuffer *frame = make_padded(126, 128);
    GstBuffer *reference = gst_buffer_copy_deep(frame);

    gst_harness_push(fixture->harness, frame);
    wait_caption(fixture, "final");
    check_picture(64, 48, 0x808080);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    check_untouched(out, reference);
    gst_buffer_unref(out);
    gst_buffer_unref(reference);
    fixture_free(fixture);
}

/* Whitens the first plane of a frame but for a rectangle. */
static void whiten_outside(GstBuffer *buffer, const char *caps_string,
                           const GstVideoRectangle *rest)
{
    GstCaps *caps = gst_caps_from_string(caps_string);
    GstVideoInfo info;
    GstVideoFrame frame;

    g_assert_true(gst_video_info_from_caps(&info, caps));
    g_assert_true(gst_video_frame_map(&frame, &info, buffer, GST_MAP_READWRITE));
    const gint n_bytes = GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, 0);
    for (gint y = 0; y < GST_VIDEO_FRAME_HEIGHT(&frame); y++) {
        guint8 *row = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) +
                      y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);
        for (gint x = 0; x < GST_VIDEO_FRAME_WIDTH(&frame); x++) {
            if (x < rest->x || x >= rest->x + rest->w || y < rest->y || y >= rest->y + rest->h) {
                memset(row + x * n_bytes, 0xeb, (gsize)n_bytes);
            }
        }
    }
    gst_video_frame_unmap(&frame);
    gst_caps_unref(caps);
}

/* Of a frame larger than its caps say, with a crop meta, the model sees what a screen would. */
static void test_crop(gconstpointer mode)
{
    static const char *const some[] = {"I420", "RGB", "NV12", "NV21", "YV12", "Y42B", "BGRx"};
    /* The second begins amid chroma that pixels share. */
    static const GstVideoRectangle rectangles[] = {{16, 8, 64, 48}, {17, 9, 64, 48}};

    for (gsize i = 0; i < G_N_ELEMENTS(some) * G_N_ELEMENTS(rectangles); i++) {
        const char *format = some[i / G_N_ELEMENTS(rectangles)];
        const GstVideoRectangle visible = rectangles[i % G_N_ELEMENTS(rectangles)];
        char *big =
            g_strdup_printf("video/x-raw, format=%s, width=128, height=64, framerate=25/1", format);
        char *caps =
            g_strdup_printf("video/x-raw, format=%s, width=64, height=48, framerate=25/1", format);
        Fixture *fixture = fixture_new(mode, caps);
        GstBuffer *frame = make_frame(big, 0x404040, 0);
        GstVideoCropMeta *crop;

        whiten_outside(frame, big, &visible);
        crop = gst_buffer_add_video_crop_meta(frame);
        crop->x = (guint)visible.x;
        crop->y = (guint)visible.y;
        crop->width = (guint)visible.w;
        crop->height = (guint)visible.h;
        gst_buffer_add_video_meta(frame, GST_VIDEO_FRAME_FLAG_NONE,
                                  gst_video_format_from_string(format), 128, 64);
        gst_harness_push(fixture->harness, frame);
        wait_caption(fixture, "final");
        check_picture(64, 48, 0x404040);
        fixture_free(fixture);
        g_free(big);
        g_free(caps);
    }
}

/* A buffer too small for its caps is passed by; mode complete says so. */
static void test_short_buffer(gconstpointer mode)
{
    Fixture *fixture = fixture_new(mode, CAPS);
    GstBuffer *frame = gst_buffer_new_allocate(NULL, 100, NULL);
    const gboolean complete = g_str_equal(mode, "mode=complete");

    GST_BUFFER_PTS(frame) = 0;
    /* GStreamer says so itself, as a critical or a warning; what counts is that we go on. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==,
                    complete ? GST_FLOW_ERROR : GST_FLOW_OK);
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, complete ? 1 : 0);
    fixture_free(fixture);
}

/* Size and format change in the middle of the stream, while the model works on the old ones. */
static void test_renegotiation(gconstpointer mode)
{
    static const char *const changes[] = {
        "video/x-raw, format=I420, width=64, height=48, framerate=25/1",
        "video/x-raw, format=I420, width=320, height=240, framerate=25/1",
        "video/x-raw, format=BGRx, width=320, height=240, framerate=25/1",
        "video/x-raw, format=NV12, width=33, height=17, framerate=0/1",
        "video/x-raw, format=GRAY8, width=31, height=65, framerate=30/1",
        "video/x-raw, format=P010_10LE, width=64, height=48, framerate=30/1"};
    Fixture *fixture = fixture_new(mode, changes[0]);
    guint64 n = 0;

    g_object_set(fixture->element, "interval", (guint64)1, NULL);
    fake.encode_ms = 3;
    for (guint i = 0; i < 60; i++) {
        const char *caps = changes[i % G_N_ELEMENTS(changes)];
        gst_harness_set_src_caps_str(fixture->harness, caps);
        GstBuffer *frame = make_frame(caps, 0x808080, ++n * FRAME_DURATION);
        g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==, GST_FLOW_OK);
        GstCaps *out = gst_pad_get_current_caps(fixture->harness->sinkpad);
        GstCaps *in = gst_caps_from_string(caps);
        g_assert_true(gst_caps_is_subset(out, in));
        gst_caps_unref(out);
        gst_caps_unref(in);
    }
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, 0);
    check_picture(64, 48, 0x808080);
    fixture_free(fixture);
}

static void add(const char *name, GTestDataFunc func)
{
    for (gsize i = 0; i < G_N_ELEMENTS(modes); i++) {
        char *path = g_strdup_printf("/%s/%s", modes[i] + strlen("mode="), name);
        g_test_add_data_func(path, modes[i], func);
        g_free(path);
    }
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    add("formats", test_formats);
    add("direct", test_direct);
    add("no-framerate", test_no_framerate);
    add("pixel-aspect", test_pixel_aspect);
    add("odd-sizes", test_odd_sizes);
    add("colorimetry", test_colorimetry);
    add("interlaced", test_interlaced);
    add("strides", test_strides);
    add("crop", test_crop);
    add("short-buffer", test_short_buffer);
    add("renegotiation", test_renegotiation);
    return g_test_run();
}
