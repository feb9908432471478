/*
 * Regions of interest: each captioned by itself, whatever stands in their rectangles.
 *
 *     frame, red on the left and blue on the right, with regions -> what the engine saw, and was told
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include "gstfastvlmregions.h"

#define WIDTH 64
#define HEIGHT 48
#define RGB_CAPS "video/x-raw, format=RGB, width=64, height=48, framerate=25/1"
#define EVERY "regions=true interval=40000000 "
#define COMPLETE EVERY "mode=complete "

typedef struct {
    const char *type;
    gint id;
    guint x, y, w, h;
} Box;

static const Box left = {"person", 7, 0, 0, 30, 40}, right = {"car", 9, 40, 10, 20, 20};

static GstBuffer *paint_frame(GstClockTime pts)
{
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, WIDTH * HEIGHT * 3, NULL);
    GstMapInfo map;

    g_assert_true(gst_buffer_map(buffer, &map, GST_MAP_WRITE));
    for (guint i = 0; i < WIDTH * HEIGHT; i++) {
        const gboolean is_left = i % WIDTH < WIDTH / 2;

        map.data[3 * i] = is_left ? 255 : 0;
        map.data[3 * i + 1] = 0;
        map.data[3 * i + 2] = is_left ? 0 : 255;
    }
    gst_buffer_unmap(buffer, &map);
    GST_BUFFER_PTS(buffer) = pts;
    GST_BUFFER_DURATION(buffer) = FRAME_DURATION;
    return buffer;
}

static void add_box(GstBuffer *buffer, const Box *box)
{
    GstVideoRegionOfInterestMeta *meta = gst_buffer_add_video_region_of_interest_meta(
        buffer, box->type, box->x, box->y, box->w, box->h);

    meta->id = box->id;
}

/* Pushes a frame with `n` boxes, the `i`th of the stream. */
static void push_boxes(Fixture *fixture, guint i, guint n, ...)
{
    GstBuffer *buffer = paint_frame(i * FRAME_DURATION);
    va_list boxes;

    va_start(boxes, n);
    for (guint k = 0; k < n; k++) {
        add_box(buffer, va_arg(boxes, const Box *));
    }
    va_end(boxes);
    g_assert_cmpint(gst_harness_push(fixture->harness, buffer), ==, GST_FLOW_OK);
}

static guint get_uint(const GstStructure *structure, const char *field)
{
    guint value = 0;

    g_assert_true(gst_structure_get_uint(structure, field, &value));
    return value;
}

static void check_box(const GstStructure *caption, const Box *box)
{
    gint id;

    g_assert_cmpstr(get_text(caption, "region-type"), ==, box->type);
    g_assert_true(gst_structure_get_int(caption, "region-id", &id));
    g_assert_cmpint(id, ==, box->id);
    g_assert_cmpuint(get_uint(caption, "region-x"), ==, box->x);
    g_assert_cmpuint(get_uint(caption, "region-y"), ==, box->y);
    g_assert_cmpuint(get_uint(caption, "region-w"), ==, box->w);
    g_assert_cmpuint(get_uint(caption, "region-h"), ==, box->h);
}

/* The next final is about this box, of the whole picture where it is NULL. */
static const GstStructure *expect(Fixture *fixture, const Box *box, const char *text)
{
    static const Box whole = {NULL, 0, 0, 0, 0, 0};
    const GstStructure *caption = wait_caption(fixture, "final");

    check_box(caption, box != NULL ? box : &whole);
    g_assert_cmpstr(get_text(caption, "text"), ==, text);
    return caption;
}

/* The largest comes first, whatever the order of the metas; it is the caption that buffers carry. */
static void test_each(gconstpointer mode)
{
    char *properties = g_strdup_printf(EVERY "mode=%s", (const char *)mode);
    Fixture *fixture = fixture_new(properties, RGB_CAPS);

    push_boxes(fixture, 0, 2, &right, &left);
    const GstStructure *caption = expect(fixture, &left, "saw 4 0 0");
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, 1);
    caption = expect(fixture, &right, "saw 0 0 4");
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, 2);
    g_assert_cmpuint(get_uint64(caption, "pts"), ==, 0);
    const FakePicture picture = fake_get_picture();
    g_assert_cmpint(picture.width, ==, 20);
    g_assert_cmpint(picture.height, ==, 20);
    g_free(picture.rgb);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 1);
    g_assert_true(wait_stat(fixture, "captions", 2));
    char *current;
    g_object_get(fixture->element, "caption", &current, NULL);
    g_assert_cmpstr(current, ==, "saw 4 0 0");
    g_free(current);
    gst_buffer_unref(gst_harness_pull(fixture->harness));
    push_boxes(fixture, 1, 0);
    GstBuffer *buffer = gst_harness_pull(fixture->harness);
    check_box(get_meta(buffer), &left);
    gst_buffer_unref(buffer);
    fixture_free(fixture);
    g_free(properties);
}

/* Rectangles come from outside: what is not within the picture is cut off, or is none. */
static void test_hostile(void)
{
    static const Box boxes[] = {
        {"empty", 1, 10, 10, 0, 10},
        {"flat", 2, 10, 10, 10, 0},
        {"outside", 3, WIDTH, 0, 10, 10},
        {"below", 4, 0, HEIGHT, 10, 10},
        {"far", 5, G_MAXUINT, G_MAXUINT, G_MAXUINT, G_MAXUINT},
        {"all", 6, 0, 0, G_MAXUINT, G_MAXUINT},
        {"edge", 8, WIDTH - 1, HEIGHT - 1, G_MAXUINT, 3},
    };
    static const Box all = {"all", 6, 0, 0, WIDTH, HEIGHT};
    static const Box edge = {"edge", 8, WIDTH - 1, HEIGHT - 1, 1, 1};
    Fixture *fixture = fixture_new(COMPLETE, RGB_CAPS);
    GstBuffer *buffer = paint_frame(0);

    for (gsize i = 0; i < G_N_ELEMENTS(boxes); i++) {
        add_box(buffer, &boxes[i]);
    }
    GstVideoRegionOfInterestMeta *nameless =
        gst_buffer_add_video_region_of_interest_meta_id(buffer, 0, 2, 2, 2, 2);
    nameless->id = -1;
    gst_harness_push(fixture->harness, buffer);
    expect(fixture, &all, "saw 2 0 2");
    expect(fixture, &(Box){"", -1, 2, 2, 2, 2}, "saw 4 0 0");
    expect(fixture, &edge, "saw 0 0 4");
    g_assert_cmpuint(fake_get_record().n_encodes, ==, 3);
    fixture_free(fixture);
}

/* Of many the largest, and a warning. */
static void test_crowd(void)
{
    Fixture *fixture = fixture_new(COMPLETE, RGB_CAPS);

    for (guint i = 0; i < 2; i++) {
        GstBuffer *buffer = paint_frame(i * FRAME_DURATION);

        for (guint k = 0; k < 1000; k++) {
            add_box(buffer, &(Box){"dot", (gint)k, k % 20, k % 10, 1, 1});
        }
        add_box(buffer, &left);
        gst_harness_push(fixture->harness, buffer);
        expect(fixture, &left, "saw 4 0 0");
        for (gint k = 0; k < GST_FASTVLM_MAX_REGIONS - 1; k++) {
            expect(fixture, &(Box){"dot", k, (guint)k % 20, (guint)k % 10, 1, 1}, "saw 4 0 0");
        }
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 2 * GST_FASTVLM_MAX_REGIONS);
    g_assert_cmpuint(count_warnings(fixture, "1001 regions"), ==, 1);
    fixture_free(fixture);
}

/* Chroma that two columns share: the crop begins with them, the region is where it is. */
static void test_odd(void)
{
    static const Box odd = {"face", 1, 33, 11, 10, 9};
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    GstBuffer *buffer = make_frame(CAPS, 0x00ff00, 0);

    add_box(buffer, &odd);
    gst_harness_push(fixture->harness, buffer);
    expect(fixture, &odd, "saw 0 4 0");
    const FakePicture picture = fake_get_picture();
    g_assert_cmpint(picture.format, ==, FASTVLM_PIXEL_I420);
    g_assert_cmpint(picture.width, ==, 11);
    g_assert_cmpint(picture.height, ==, 10);
    g_free(picture.rgb);
    fixture_free(fixture);
}

/* A crop meta says what is visible: regions end there. */
static void test_cropped(void)
{
    Fixture *fixture = fixture_new(COMPLETE, RGB_CAPS);
    GstBuffer *buffer = paint_frame(0);
    GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta(buffer);

    crop->x = 33;
    crop->y = 3;
    crop->width = 20;
    crop->height = 20;
    add_box(buffer, &(Box){"person", 7, 0, 0, 40, 40});
    add_box(buffer, &(Box){"gone", 8, 0, 0, 10, 10});
    gst_harness_push(fixture->harness, buffer);
    expect(fixture, &(Box){"person", 7, 33, 3, 7, 20}, "saw 0 0 4");
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 1);
    fixture_free(fixture);
}

/* A frame without regions is passed over, and the next one that has some is the sample. */
static void test_none(void)
{
    Fixture *fixture = fixture_new("regions=true mode=complete", RGB_CAPS);

    push_boxes(fixture, 0, 0);
    push_boxes(fixture, 1, 1, &(Box){"outside", 1, WIDTH, 0, 1, 1});
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 0);
    push_boxes(fixture, 2, 1, &right);
    expect(fixture, &right, "saw 0 0 4");
    push_boxes(fixture, 3, 1, &right); /* not on the grid */
    push_boxes(fixture, 27, 0);
    push_boxes(fixture, 28, 1, &left);
    const GstStructure *caption = expect(fixture, &left, "saw 4 0 0");
    g_assert_cmpuint(get_uint64(caption, "pts"), ==, 28 * FRAME_DURATION);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 2);
    /* Without the property regions are nothing. */
    g_object_set(fixture->element, "regions", FALSE, NULL);
    push_boxes(fixture, 60, 1, &left);
    expect(fixture, NULL, "saw 2 0 2");
    fixture_free(fixture);
}

/* Who asks gets an answer under the number promised: of the largest region, or of the picture. */
static void test_asked(void)
{
    Fixture *fixture = fixture_new("regions=true mode=complete trigger=manual", RGB_CAPS);
    guint64 sequence = 0;

    g_signal_emit_by_name(fixture->element, "caption-now", "Who?", &sequence);
    push_boxes(fixture, 0, 0);
    const GstStructure *caption = expect(fixture, NULL, "saw 2 0 2");
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, sequence);
    g_signal_emit_by_name(fixture->element, "caption-now", NULL, &sequence);
    g_signal_emit_by_name(fixture->element, "caption-now", "Who?", &sequence);
    push_boxes(fixture, 1, 2, &left, &right);
    caption = expect(fixture, &left, "saw 4 0 0");
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, sequence - 1);
    caption = expect(fixture, &left, "saw 4 0 0");
    g_assert_cmpstr(get_text(caption, "prompt"), ==, "Who?");
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, sequence);
    caption = expect(fixture, &right, "saw 0 0 4");
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, sequence + 1);
    expect(fixture, &right, "saw 0 0 4");
    g_assert_cmpuint(fake_get_record().n_encodes, ==, 3);
    fixture_free(fixture);
}

/* Each prompt about each region, which is encoded once. */
static void test_prompts(void)
{
    Fixture *fixture = fixture_new(COMPLETE, RGB_CAPS);

    g_object_set(fixture->element, "prompts", "What?\nWhere?", NULL);
    push_boxes(fixture, 0, 2, &left, &right);
    for (guint i = 0; i < 4; i++) {
        const GstStructure *caption =
            expect(fixture, i < 2 ? &left : &right, i < 2 ? "saw 4 0 0" : "saw 0 0 4");

        g_assert_cmpuint(get_uint64(caption, "sequence"), ==, i + 1);
        g_assert_cmpuint(get_uint(caption, "prompt-index"), ==, i % 2);
    }
    g_assert_cmpuint(fake_get_record().n_encodes, ==, 2);
    fixture_free(fixture);
}

/* The same picture with the same kinds of regions is unchanged, wherever a detector puts them. */
static void test_change(void)
{
    static const Box moved = {"person", 8, 1, 1, 30, 40};
    Fixture *fixture = fixture_new(COMPLETE "change-threshold=0.02", RGB_CAPS);

    push_boxes(fixture, 0, 2, &left, &right);
    push_boxes(fixture, 1, 2, &right, &moved);
    g_assert_cmpuint(get_stat(fixture, "unchanged"), ==, 1);
    push_boxes(fixture, 2, 1, &moved);
    push_boxes(fixture, 3, 2, &moved, &left);
    g_assert_cmpuint(get_stat(fixture, "unchanged"), ==, 1);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 5);
    fixture_free(fixture);
}

/* What is watched for is there if any region shows it: raised once, with that region, cleared once. */
static void test_alerts(void)
{
    Fixture *fixture =
        fixture_new(COMPLETE "choices=yes,no alert-on=yes alert-cooldown=0", RGB_CAPS);
    static const Box larger = {"car", 9, 34, 0, 30, 48};

    fake.sees_choice = TRUE;
    push_boxes(fixture, 0, 1, &right);
    push_boxes(fixture, 1, 2, &larger, &left);
    push_boxes(fixture, 2, 2, &left, &right);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert"), ==, 1);
    GstMessage *message = wait_message(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert");
    g_assert_nonnull(message);
    check_box(gst_message_get_structure(message), &left);
    g_assert_cmpstr(get_text(gst_message_get_structure(message), "type"), ==, "alert");
    push_boxes(fixture, 3, 2, &right, &larger);
    message = wait_message(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert");
    g_assert_nonnull(message);
    g_assert_cmpstr(get_text(gst_message_get_structure(message), "type"), ==, "clear");
    push_boxes(fixture, 4, 1, &right);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert"), ==, 0);
    fixture_free(fixture);
}

/* One text buffer a sample, of the largest region. */
static void test_text(void)
{
    Fixture *fixture = fixture_new(COMPLETE, RGB_CAPS);
    GstPad *pad = gst_element_request_pad_simple(fixture->element, "text_src");
    GstHarness *text = gst_harness_new_with_element(fixture->element, NULL, "text_src");

    for (guint i = 0; i < 3; i++) {
        push_boxes(fixture, i, 2, &right, &left);
        GstBuffer *buffer = gst_harness_pull(text);
        GstMapInfo map;

        g_assert_nonnull(buffer);
        g_assert_cmpuint(GST_BUFFER_PTS(buffer), ==, i * FRAME_DURATION);
        g_assert_true(gst_buffer_map(buffer, &map, GST_MAP_READ));
        g_assert_cmpmem(map.data, map.size, "saw 4 0 0", 9);
        gst_buffer_unmap(buffer, &map);
        gst_buffer_unref(buffer);
    }
    gst_element_set_state(fixture->harness->element, GST_STATE_NULL);
    g_assert_cmpuint(gst_harness_buffers_received(text), ==, 3);
    gst_object_unref(pad);
    gst_harness_teardown(text);
    fixture_free(fixture);
}

/* A flush amid the regions of a frame ends them all, and a later frame's alert is its own. */
static void test_flush(void)
{
    Fixture *fixture = fixture_new(EVERY "choices=yes,no alert-on=yes alert-cooldown=0", RGB_CAPS);
    GstSegment segment;

    fake.sees_choice = TRUE;
    push_boxes(fixture, 0, 2, &left, &right);
    expect(fixture, &left, "yes");
    fake_hold(TRUE);
    push_boxes(fixture, 1, 2, &left, &right);
    gst_harness_push_event(fixture->harness, gst_event_new_flush_start());
    gst_harness_push_event(fixture->harness, gst_event_new_flush_stop(FALSE));
    gst_segment_init(&segment, GST_FORMAT_TIME);
    gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment));
    fake_hold(FALSE);
    const guint n_before = count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert");
    push_boxes(fixture, 50, 1, &right);
    for (;;) {
        const GstStructure *caption = wait_caption(fixture, "final");

        if (get_uint64(caption, "pts") == 50 * FRAME_DURATION) {
            check_box(caption, &right);
            break;
        }
    }
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert"), ==, n_before);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_data_func("/regions/each/live", "live", test_each);
    g_test_add_data_func("/regions/each/complete", "complete", test_each);
    g_test_add_func("/regions/hostile", test_hostile);
    g_test_add_func("/regions/crowd", test_crowd);
    g_test_add_func("/regions/odd", test_odd);
    g_test_add_func("/regions/cropped", test_cropped);
    g_test_add_func("/regions/none", test_none);
    g_test_add_func("/regions/asked", test_asked);
    g_test_add_func("/regions/prompts", test_prompts);
    g_test_add_func("/regions/change", test_change);
    g_test_add_func("/regions/alerts", test_alerts);
    g_test_add_func("/regions/text", test_text);
    g_test_add_func("/regions/flush", test_flush);
    return g_test_run();
}
