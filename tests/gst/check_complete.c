/*
 * Mode complete: every sample is captioned, in order, before its frame leaves.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#define COMPLETE "mode=complete interval=40000000 "

/* Each frame is captioned by itself, and by its own picture, in order. */
static void test_in_order(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    for (guint i = 0; i < 8; i++) {
        push_frame(fixture, i % 2 == 0 ? 0xffffff : 0x000000, i * FRAME_DURATION);
    }
    for (guint i = 0; i < 8; i++) {
        const GstStructure *caption = wait_caption(fixture, "final");

        g_assert_cmpuint(get_uint64(caption, "pts"), ==, i * FRAME_DURATION);
        g_assert_cmpuint(get_uint64(caption, "sequence"), ==, i + 1);
        g_assert_cmpstr(get_text(caption, "text"), ==, i % 2 == 0 ? "saw 4 4 4" : "saw 0 0 0");
    }
    g_assert_cmpuint(get_stat(fixture, "skipped"), ==, 0);
    fixture_free(fixture);
}

typedef struct {
    Fixture *fixture;
    guint n_buffers;
    guint n_told; /* final messages that came before their buffer */
} Order;

static GstPadProbeReturn note_order(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    Order *order = user_data;
    GstMessage *message;

    order->n_buffers++;
    while ((message = gst_bus_pop_filtered(order->fixture->bus, GST_MESSAGE_ELEMENT)) != NULL) {
        const GstStructure *caption = gst_message_get_structure(message);

        order->n_told +=
            g_strcmp0(gst_structure_get_string(caption, "type"), "final") == 0 &&
            get_uint64(caption, "pts") == GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info));
        gst_message_unref(message);
    }
    return GST_PAD_PROBE_OK;
}

/* The final message of a frame's caption is on the bus before the frame leaves. */
static void test_told_before_the_frame_leaves(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    GstPad *src = gst_element_get_static_pad(fixture->element, "src");
    Order order = {.fixture = fixture};

    fake.token_ms = 5;
    gst_pad_add_probe(src, GST_PAD_PROBE_TYPE_BUFFER, note_order, &order, NULL);
    for (guint i = 0; i < 5; i++) {
        push_frame(fixture, 0x334455, i * FRAME_DURATION);
    }
    g_assert_cmpuint(order.n_buffers, ==, 5);
    g_assert_cmpuint(order.n_told, ==, 5);
    gst_object_unref(src);
    fixture_free(fixture);
}

/* A sampled frame carries its own caption; those after it carry it on until the next sample. */
static void test_meta_is_the_frames_own(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=120000000", CAPS);

    for (guint i = 0; i < 7; i++) {
        push_frame(fixture, 0x101010 * (i + 1), i * FRAME_DURATION);
        GstBuffer *out = gst_harness_pull(fixture->harness);
        const GstStructure *meta = get_meta(out);

        g_assert_nonnull(meta);
        g_assert_cmpuint(get_uint64(meta, "pts"), ==, i / 3 * 3 * FRAME_DURATION);
        gst_buffer_unref(out);
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 3);
    fixture_free(fixture);
}

/* interval=0 captions every frame. */
static void test_every_frame(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=0", CAPS);

    for (guint i = 0; i < 5; i++) {
        push_frame(fixture, 0x999999, i * FRAME_DURATION / 7);
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 5);
    fixture_free(fixture);
}

/* Two runs over the same frames say the same. */
static void test_reproducible(void)
{
    GString *runs[2];

    for (int run = 0; run < 2; run++) {
        Fixture *fixture = fixture_new("mode=complete interval=0", CAPS);

        runs[run] = g_string_new(NULL);
        for (guint i = 0; i < 10; i++) {
            push_frame(fixture, i * 0x0a0b0c, i * FRAME_DURATION);
            const GstStructure *caption = wait_caption(fixture, "final");
            g_string_append_printf(runs[run], "%" G_GUINT64_FORMAT " %s\n",
                                   get_uint64(caption, "sequence"), get_text(caption, "text"));
        }
        fixture_free(fixture);
    }
    g_assert_cmpstr(runs[0]->str, ==, runs[1]->str);
    g_string_free(runs[0], TRUE);
    g_string_free(runs[1], TRUE);
}

static gpointer push_one(gpointer data)
{
    return GINT_TO_POINTER(push_frame(data, 0x224466, 0));
}

/* While the model loads, the first frame is held, and no other is asked for. */
static void test_holds_the_first_frame(void)
{
    fake.load_ms = 400;
    const gint64 start = g_get_monotonic_time();
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    GThread *pusher = g_thread_new("pusher", push_one, fixture);

    g_usleep(150000);
    g_assert_cmpuint(gst_harness_buffers_received(fixture->harness), ==, 0);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(pusher)), ==, GST_FLOW_OK);
    g_assert_cmpfloat(ms_since(start), >=, 400);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    g_assert_nonnull(get_meta(out));
    gst_buffer_unref(out);
    fixture_free(fixture);
}

/* A caption that cannot be made stops the stream: one error, and the frame does not leave. */
static void test_failure_is_an_error(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    GError *error = NULL;

    fake_set_generate_error(FASTVLM_ERROR_LIMIT);
    g_assert_cmpint(push_frame(fixture, 0x224466, 0), ==, GST_FLOW_ERROR);
    g_assert_cmpint(push_frame(fixture, 0x224466, FRAME_DURATION), ==, GST_FLOW_ERROR);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, 1);
    gst_message_parse_error(wait_message(fixture, GST_MESSAGE_ERROR, NULL), &error, NULL);
    g_assert_error(error, GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_SETTINGS);
    g_error_free(error);
    g_assert_cmpuint(gst_harness_buffers_received(fixture->harness), ==, 0);
    fixture_free(fixture);
}

/* Behind a live source it works, and says once that it is no good idea. */
static void test_behind_a_live_source(void)
{
    Fixture *fixture = fixture_new(COMPLETE, NULL);
    const GstStructure *details = NULL;

    gst_harness_set_live(fixture->harness, TRUE);
    gst_harness_set_upstream_latency(fixture->harness, 10 * GST_MSECOND);
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    for (guint i = 0; i < 4; i++) {
        g_assert_cmpint(push_frame(fixture, 0x224466, i * FRAME_DURATION), ==, GST_FLOW_OK);
    }
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 4);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 1);
    gst_message_parse_warning_details(wait_message(fixture, GST_MESSAGE_WARNING, NULL), &details);
    g_assert_cmpstr(get_text(details, "reason"), ==, "complete-live");
    fixture_free(fixture);
}

/* Behind a file it has nothing to warn of. */
static void test_behind_a_file_is_quiet(void)
{
    Fixture *fixture = fixture_new(COMPLETE, NULL);

    gst_harness_set_live(fixture->harness, FALSE);
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    push_frame(fixture, 0x224466, 0);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 0);
    fixture_free(fixture);
}

/* The mode can change while frames flow, either way. */
static void test_mode_changes(void)
{
    Fixture *fixture = fixture_new("mode=live interval=40000000", CAPS);

    fake.encode_ms = 30;
    for (guint i = 0; i < 40; i++) {
        g_object_set(fixture->element, "mode", (gint)(i / 4 % 2), NULL);
        g_assert_cmpint(push_frame(fixture, 0x224466, i * FRAME_DURATION), ==, GST_FLOW_OK);
        GstBuffer *out = gst_harness_pull(fixture->harness);
        if (i / 4 % 2 == 1) {
            g_assert_nonnull(get_meta(out));
            g_assert_cmpuint(get_uint64(get_meta(out), "pts"), ==, i * FRAME_DURATION);
        }
        gst_buffer_unref(out);
    }
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/complete/in-order", test_in_order);
    g_test_add_func("/complete/told-before-the-frame-leaves", test_told_before_the_frame_leaves);
    g_test_add_func("/complete/meta-is-the-frames-own", test_meta_is_the_frames_own);
    g_test_add_func("/complete/every-frame", test_every_frame);
    g_test_add_func("/complete/reproducible", test_reproducible);
    g_test_add_func("/complete/holds-the-first-frame", test_holds_the_first_frame);
    g_test_add_func("/complete/failure-is-an-error", test_failure_is_an_error);
    g_test_add_func("/complete/behind-a-live-source", test_behind_a_live_source);
    g_test_add_func("/complete/behind-a-file-is-quiet", test_behind_a_file_is_quiet);
    g_test_add_func("/complete/mode-changes", test_mode_changes);
    return g_test_run();
}
