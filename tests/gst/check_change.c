/*
 * Samples that look like the last one captioned: noise and a clock are no change, a light is, and so is
 * somebody who comes in.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gstfastvlmchange.h"

#define SIZE(format, width, height) \
    "video/x-raw, format=" format   \
    ", width=" G_STRINGIFY(width) ", height=" G_STRINGIFY(height) ", framerate=25/1"
#define HD SIZE("I420", 1920, 1080)
#define THRESHOLD 0.02

/* ---- pictures ---- */

static guint32 noise_state;

/* About a normal distribution of this standard deviation: the sum of four uniform numbers. */
static double draw_noise(double sigma)
{
    double sum = 0;

    for (int i = 0; i < 4; i++) {
        noise_state = noise_state * 1664525u + 1013904223u;
        sum += (double)(noise_state >> 8) / (1 << 24) - 0.5;
    }
    return sum * sigma * sqrt(3.0);
}

/* Adds to each byte of each plane: `light` everywhere, and noise of its own. Bytes alone. */
static void disturb(GstBuffer *buffer, double light, double sigma)
{
    GstMapInfo map;

    g_assert_true(gst_buffer_map(buffer, &map, GST_MAP_READWRITE));
    for (gsize i = 0; i < map.size; i++) {
        const double value = map.data[i] + light + (sigma > 0 ? draw_noise(sigma) : 0);
        map.data[i] = (guint8)(CLAMP(value, 0, 255) + 0.5);
    }
    gst_buffer_unmap(buffer, &map);
}

/* A box of one brightness in the first plane; whatever the format, a byte a pixel there. */
static void draw_box(GstBuffer *buffer, const GstVideoInfo *info, gint x, gint y, gint width,
                     gint height, guint8 value)
{
    GstVideoFrame frame;

    g_assert_true(gst_video_frame_map(&frame, info, buffer, GST_MAP_READWRITE));
    for (gint row = y; row < y + height; row++) {
        memset((guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) +
                   row * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0) + x,
               value, (gsize)width);
    }
    gst_video_frame_unmap(&frame);
}

static GstVideoInfo get_info(const char *caps_string)
{
    GstCaps *caps = gst_caps_from_string(caps_string);
    GstVideoInfo info;

    g_assert_true(gst_video_info_from_caps(&info, caps));
    gst_caps_unref(caps);
    return info;
}

static double compare(const char *caps, GstBuffer *a, GstBuffer *b, const char *mask)
{
    const GstVideoInfo info = get_info(caps);
    GstFastvlmGrid *before = gst_fastvlm_grid_new(&info, a),
                   *after = gst_fastvlm_grid_new(&info, b);
    GArray *rectangles;

    g_assert_true(gst_fastvlm_mask_parse(mask, &rectangles));
    const double share = gst_fastvlm_grid_compare(before, after, rectangles);
    g_array_unref(rectangles);
    gst_fastvlm_grid_unref(before);
    gst_fastvlm_grid_unref(after);
    return share;
}

/* ---- what is a change ---- */

static void test_noise(gconstpointer caps)
{
    /* Strong noise, as of a small sensor at night, twice over. */
    for (guint seed = 1; seed <= 5; seed++) {
        GstBuffer *a = make_frame(caps, 0x406080, 0), *b = make_frame(caps, 0x406080, 0);

        noise_state = seed;
        disturb(a, 0, 12);
        disturb(b, 0, 12);
        const double share = compare(caps, a, b, NULL);
        g_test_message("noise of 12 levels: %.4f", share);
        g_assert_cmpfloat(share, <, THRESHOLD);
        gst_buffer_unref(a);
        gst_buffer_unref(b);
    }
}

static void test_light(gconstpointer caps)
{
    GstBuffer *dark = make_frame(caps, 0x101018, 0), *lit = make_frame(caps, 0x303030, 0);

    noise_state = 1;
    disturb(dark, 0, 4);
    disturb(lit, 0, 4);
    g_assert_cmpfloat(compare(caps, dark, lit, NULL), >, 0.9);
    gst_buffer_unref(dark);
    gst_buffer_unref(lit);
}

/* A lamp in a corner of a room, a person in the middle of it: a twentieth and a fortieth of it. */
static void test_something_comes(void)
{
    const GstVideoInfo info = get_info(HD);
    GstBuffer *empty = make_frame(HD, 0x606060, 0), *lamp = make_frame(HD, 0x606060, 0),
              *person = make_frame(HD, 0x606060, 0);

    noise_state = 3;
    disturb(empty, 0, 8);
    draw_box(lamp, &info, 1400, 40, 480, 240, 140);
    disturb(lamp, 0, 8);
    draw_box(person, &info, 900, 400, 160, 420, 60);
    disturb(person, 0, 8);
    g_assert_cmpfloat(compare(HD, empty, lamp, NULL), >, 0.04);
    g_assert_cmpfloat(compare(HD, empty, person, NULL), >, THRESHOLD);
    g_assert_cmpfloat(compare(HD, lamp, person, NULL), >, 0.06);
    gst_buffer_unref(empty);
    gst_buffer_unref(lamp);
    gst_buffer_unref(person);
}

/* Colour alone: two colours of the same brightness. */
static void test_color(void)
{
    GstBuffer *a = make_frame(HD, 0x906060, 0), *b = make_frame(HD, 0x607d60, 0);

    g_assert_cmpfloat(compare(HD, a, b, NULL), ==, 1);
    gst_buffer_unref(a);
    gst_buffer_unref(b);
}

/* V alone, of P010: its samples alternate with U's, and GStreamer's table has them a byte too early. */
static void test_wide_color(void)
{
    static const char caps[] = SIZE("P010_10LE", 640, 480);
    const gsize n_luma = 640 * 480 * 2;
    GstBuffer *a = make_frame(caps, 0x606060, 0), *b = make_frame(caps, 0x606060, 0);
    GstMapInfo map;

    g_assert_true(gst_buffer_map(b, &map, GST_MAP_READWRITE));
    for (gsize i = n_luma + 2; i + 1 < map.size; i += 4) {
        map.data[i + 1] ^= 0x40; /* the low byte, what lies in front of it and U are the same */
    }
    gst_buffer_unmap(b, &map);
    g_assert_cmpfloat(compare(caps, a, b, NULL), ==, 1);
    gst_buffer_unref(a);
    gst_buffer_unref(b);
}

/* A clock of the usual size is no change even where nothing masks it. */
static void test_clock(void)
{
    const GstVideoInfo info = get_info(HD);
    GstBuffer *before = make_frame(HD, 0x606060, 0), *after = make_frame(HD, 0x606060, 0);

    draw_box(before, &info, 30, 1030, 280, 36, 255);
    draw_box(after, &info, 30, 1030, 280, 36, 0);
    g_assert_cmpfloat(compare(HD, before, after, NULL), <, THRESHOLD);
    g_assert_cmpfloat(compare(HD, before, after, "30,1030,280,36"), ==, 0);
    gst_buffer_unref(before);
    gst_buffer_unref(after);
}

/* A clock that is large counts unless it is masked; the rest of the picture still does. */
static void test_mask(void)
{
    const GstVideoInfo info = get_info(HD);
    GstBuffer *before = make_frame(HD, 0x606060, 0), *after = make_frame(HD, 0x606060, 0);

    draw_box(before, &info, 1500, 20, 400, 160, 255);
    draw_box(after, &info, 1500, 20, 400, 160, 0);
    g_assert_cmpfloat(compare(HD, before, after, NULL), >, THRESHOLD);
    g_assert_cmpfloat(compare(HD, before, after, "1500,20,400,160"), ==, 0);
    g_assert_cmpfloat(compare(HD, before, after, " 75%, 0, 25%, 20% ; 0,0,1,1"), ==, 0);
    g_assert_cmpfloat(compare(HD, before, after, "0,0,1400,1080"), >, THRESHOLD);
    draw_box(after, &info, 0, 500, 400, 400, 0);
    g_assert_cmpfloat(compare(HD, before, after, "1500,20,400,160"), >, THRESHOLD);
    /* Nothing is left to compare: better a caption too many than none. */
    g_assert_cmpfloat(compare(HD, before, before, "0,0,100%,100%"), ==, 1);
    g_assert_cmpfloat(compare(HD, before, before, "0,0,0,0"), ==, 0);
    gst_buffer_unref(before);
    gst_buffer_unref(after);
}

static void test_mask_refuses(void)
{
    static const char *const bad[] = {"1,2,3",     "1,2,3,4,5", "a,b,c,d", "1,2,3,-4",  "1,2,3,4%%",
                                      "nan,0,0,0", "1,2,3,4x",  "1,,3,4",  "inf,0,0,0", ",,,"};

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(gst_fastvlm_mask_parse(bad[i], NULL));
    }
    g_assert_true(gst_fastvlm_mask_parse("", NULL));
    g_assert_true(gst_fastvlm_mask_parse(NULL, NULL));
    g_assert_true(gst_fastvlm_mask_parse(";1,2,3,4;;5%,0.5%,1e2,4;", NULL));
}

/* The smallest sizes are read within their bounds. */
static void test_tiny(void)
{
    static const char *const sizes[] = {SIZE("I420", 1, 1), SIZE("YUY2", 3, 2), SIZE("NV12", 5, 3),
                                        SIZE("RGB", 2, 7), SIZE("I420_10LE", 3, 3)};

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        GstBuffer *a = make_frame(sizes[i], 0x000000, 0), *b = make_frame(sizes[i], 0xffffff, 0);

        g_assert_cmpfloat(compare(sizes[i], a, a, NULL), ==, 0);
        g_assert_cmpfloat(compare(sizes[i], a, b, NULL), >, 0);
        gst_buffer_unref(a);
        gst_buffer_unref(b);
    }
}

/* What a look at 1080p costs, as a message; and that thirty looks see the same. */
static void test_cost(gconstpointer caps)
{
    const GstVideoInfo info = get_info(caps);
    GstBuffer *buffer = make_frame(caps, 0x406080, 0);
    GstFastvlmGrid *first = gst_fastvlm_grid_new(&info, buffer);
    GArray *mask;
    double least_ms = G_MAXDOUBLE;

    g_assert_true(gst_fastvlm_mask_parse(NULL, &mask));
    for (guint i = 0; i < 30; i++) {
        const gint64 start = g_get_monotonic_time();
        GstFastvlmGrid *again = gst_fastvlm_grid_new(&info, buffer);
        least_ms = MIN(least_ms, ms_since(start));
        g_assert_cmpfloat(gst_fastvlm_grid_compare(first, again, mask), ==, 0);
        gst_fastvlm_grid_unref(again);
    }
    g_test_message("%s: %.3f ms", gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&info)),
                   least_ms);
    g_array_unref(mask);
    gst_fastvlm_grid_unref(first);
    gst_buffer_unref(buffer);
}

/* ---- the element ---- */

#define COMPLETE "mode=complete interval=40000000 change-threshold=0.02 "

static guint n_pushed;

static void push(Fixture *fixture, guint rgb)
{
    push_frame(fixture, rgb, n_pushed++ * FRAME_DURATION);
}

/* Unchanged samples are told of, not captioned, and carry the caption that holds. */
static void test_unchanged(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    n_pushed = 0;
    for (guint i = 0; i < 5; i++) {
        push(fixture, 0x404040);
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 1);
    g_assert_cmpuint(get_stat(fixture, "unchanged"), ==, 4);
    g_assert_cmpuint(get_stat(fixture, "skipped"), ==, 0);
    g_assert_cmpuint(get_uint64(wait_caption(fixture, "final"), "pts"), ==, 0);
    const GstStructure *unchanged = wait_caption(fixture, "unchanged");
    g_assert_cmpuint(get_uint64(unchanged, "pts"), ==, FRAME_DURATION);
    g_assert_cmpuint(get_uint64(unchanged, "running-time"), ==, FRAME_DURATION);
    g_assert_cmpuint(get_uint64(unchanged, "sequence"), ==, 1);
    g_assert_cmpstr(get_text(unchanged, "text"), ==, "saw 1 1 1");
    push(fixture, 0xc0c0c0);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 2);
    push(fixture, 0x404040);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 3);
    fixture_free(fixture);
}

/* A little each time is a change in the end: what counts is the last one captioned. */
static void test_slow_change(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    n_pushed = 0;
    for (guint i = 0; i < 20; i++) {
        push(fixture, 0x404040 + i * 0x010101);
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), >=, 2);
    g_assert_cmpuint(get_stat(fixture, "captions"), <=, 4);
    fixture_free(fixture);
}

/* max-age captions anyway; so does whatever else is asked: a property that changed, a request. */
static void test_captions_anyway(void)
{
    Fixture *fixture = fixture_new(COMPLETE "max-age=200000000", CAPS);
    guint64 sequence;

    n_pushed = 0;
    for (guint i = 0; i < 10; i++) {
        push(fixture, 0x404040);
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 2); /* frames 0 and 5 */
    g_object_set(fixture->element, "max-age", (guint64)0, "prompt", "What now?", NULL);
    for (guint i = 0; i < 20; i++) {
        push(fixture, 0x404040);
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 3);
    g_signal_emit_by_name(fixture->element, "caption-now", NULL, &sequence);
    push(fixture, 0x404040);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 4);
    g_object_set(fixture->element, "change-threshold", 0.0, NULL);
    push(fixture, 0x404040);
    push(fixture, 0x404040);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 6);
    fixture_free(fixture);
}

/* A sample that got no caption is nothing to be alike: it failed, or a flush took it. */
static void test_lost(void)
{
    Fixture *fixture = fixture_new("interval=40000000 change-threshold=0.02", CAPS);

    n_pushed = 0;
    fake_set_generate_error(FASTVLM_ERROR_LIMIT);
    push(fixture, 0x404040);
    g_assert_true(wait_stat(fixture, "skipped", 1));
    fake_set_generate_error(-1);
    push(fixture, 0x404040);
    g_assert_true(wait_stat(fixture, "captions", 1));
    g_assert_cmpuint(get_stat(fixture, "unchanged"), ==, 0);
    /* While its caption is being made, the next one like it need not be looked at. */
    fake_hold(TRUE);
    const guint n = fake_get_record().n_encodes;
    push(fixture, 0xf0f0f0);
    g_assert_true(fake_wait_encodes(n + 1));
    push(fixture, 0xf0f0f0);
    g_assert_cmpuint(get_stat(fixture, "unchanged"), ==, 1);
    fake_hold(FALSE);
    g_assert_true(wait_stat(fixture, "captions", 2));
    fixture_free(fixture);
}

static void test_refuses(void)
{
    Fixture *fixture = fixture_new("change-mask=1,2,3,4", CAPS);
    char *mask;

    g_object_set(fixture->element, "change-mask", "everywhere", NULL);
    g_assert_cmpuint(count_warnings(fixture, "change-mask=everywhere"), ==, 1);
    g_object_get(fixture->element, "change-mask", &mask, NULL);
    g_assert_cmpstr(mask, ==, "1,2,3,4");
    g_free(mask);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_data_func("/change/noise/hd", HD, test_noise);
    g_test_add_data_func("/change/noise/vga", SIZE("I420", 640, 480), test_noise);
    g_test_add_data_func("/change/noise/small", SIZE("NV12", 320, 240), test_noise);
    g_test_add_data_func("/change/noise/rgb", SIZE("BGRx", 640, 480), test_noise);
    g_test_add_data_func("/change/light/i420", HD, test_light);
    g_test_add_data_func("/change/light/rgb", SIZE("RGB", 640, 480), test_light);
    g_test_add_data_func("/change/light/gray", SIZE("GRAY8", 320, 240), test_light);
    g_test_add_func("/change/something-comes", test_something_comes);
    g_test_add_func("/change/color", test_color);
    g_test_add_func("/change/color/wide", test_wide_color);
    g_test_add_func("/change/clock", test_clock);
    g_test_add_func("/change/mask", test_mask);
    g_test_add_func("/change/mask-refuses", test_mask_refuses);
    g_test_add_func("/change/tiny", test_tiny);
    g_test_add_data_func("/change/cost/i420", HD, test_cost);
    g_test_add_data_func("/change/cost/yuy2", SIZE("YUY2", 1920, 1080), test_cost);
    g_test_add_data_func("/change/cost/bgrx", SIZE("BGRx", 1920, 1080), test_cost);
    g_test_add_data_func("/change/cost/p010", SIZE("P010_10LE", 1920, 1080), test_cost);
    g_test_add_func("/change/unchanged", test_unchanged);
    g_test_add_func("/change/slow-change", test_slow_change);
    g_test_add_func("/change/captions-anyway", test_captions_anyway);
    g_test_add_func("/change/lost", test_lost);
    g_test_add_func("/change/refuses", test_refuses);
    return g_test_run();
}
