/*
 * Mode live: the video never waits, the newest sample wins.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <sched.h>
#include <stdlib.h>

#include "support.h"

#define INTERVAL "interval=40000000" /* every frame of 25 a second is a sample */

/* Waits until the model is there and the element knows it. */
static void await_model(Fixture *fixture)
{
    GstMessage *message;
    GstProgressType type;

    do {
        message = wait_message(fixture, GST_MESSAGE_PROGRESS, NULL);
        g_assert_nonnull(message);
        gst_message_parse_progress(message, &type, NULL, NULL);
    } while (type != GST_PROGRESS_TYPE_COMPLETE);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* A frame passes in well under a frame's time while the model takes far longer for one. */
static void test_never_blocks(void)
{
    Fixture *fixture = fixture_new("interval=100000000", CAPS);
    enum { N = 60 };
    double took_ms[N];

    fake.encode_ms = STALL_MS;
    await_model(fixture);
    for (int i = 0; i < N; i++) {
        GstBuffer *frame = make_frame(CAPS, 0x808080, (GstClockTime)i * GST_SECOND / 60);
        const gint64 start = g_get_monotonic_time();
        g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==, GST_FLOW_OK);
        took_ms[i] = ms_since(start);
        assert_prompt(start);
        g_usleep(1000000 / 60);
    }
    qsort(took_ms, N, sizeof took_ms[0], compare_doubles);
    g_test_message("push: median %.3f ms, longest %.3f ms", took_ms[N / 2], took_ms[N - 1]);
    g_assert_cmpfloat(took_ms[N / 2], <, 1000.0 / 60);
    g_assert_true(fake_wait_encodes(1));
    g_assert_cmpuint(gst_harness_buffers_received(fixture->harness), ==, N);
    fixture_free(fixture);
}

/* Of the samples that come while the model is busy, the last is captioned and the others are not. */
static void test_newest_wins(void)
{
    Fixture *fixture = fixture_new(INTERVAL, CAPS);

    await_model(fixture);
    fake_hold(TRUE);
    push_frame(fixture, 0x100000, 0);
    g_assert_true(fake_wait_encodes(1));
    for (guint i = 1; i <= 5; i++) {
        push_frame(fixture, 0x100000 + i * 0x2000, i * FRAME_DURATION);
    }
    fake_hold(FALSE);
    const GstStructure *first = wait_caption(fixture, "final");
    g_assert_cmpuint(get_uint64(first, "pts"), ==, 0);
    const GstStructure *second = wait_caption(fixture, "final");
    g_assert_cmpuint(get_uint64(second, "pts"), ==, 5 * FRAME_DURATION);
    g_assert_cmpuint(get_uint64(second, "sequence"), ==, get_uint64(first, "sequence") + 1);
    g_assert_true(wait_stat(fixture, "captions", 2));
    g_assert_cmpuint(get_stat(fixture, "frames"), ==, 6);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 6);
    g_assert_cmpuint(get_stat(fixture, "skipped"), ==, 4);
    fixture_free(fixture);
}

static GstPadProbeReturn note_writable(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    gboolean *alone = user_data;

    *alone = *alone && gst_buffer_is_writable(GST_PAD_PROBE_INFO_BUFFER(info));
    return GST_PAD_PROBE_OK;
}

/* Nobody holds a reference to upstream's buffer once it has left, sampled or not. */
static void test_holds_no_buffer(void)
{
    Fixture *fixture = fixture_new(INTERVAL, CAPS);
    GstPad *src = gst_element_get_static_pad(fixture->element, "src");
    gboolean alone = TRUE;

    gst_pad_add_probe(src, GST_PAD_PROBE_TYPE_BUFFER, note_writable, &alone, NULL);
    await_model(fixture);
    fake_hold(TRUE);
    for (guint i = 0; i < 10; i++) {
        GstBuffer *frame = make_frame(CAPS, 0x123456, i * FRAME_DURATION);
        GstMemory *memory = gst_buffer_get_memory(frame, 0);

        gst_harness_push(fixture->harness, frame);
        GstBuffer *out = gst_harness_pull(fixture->harness);
        /* The very memory that went in, and nobody else's. */
        g_assert_true(gst_buffer_peek_memory(out, 0) == memory);
        gst_buffer_unref(out);
        g_assert_cmpint(GST_MINI_OBJECT_REFCOUNT_VALUE(memory), ==, 1);
        gst_memory_unref(memory);
    }
    g_assert_true(alone);
    gst_object_unref(src);
    fixture_free(fixture);
}

/* With interval=0 a frame is taken when the model is free, and is the newest there is then. */
static void test_as_often_as_it_can(void)
{
    Fixture *fixture = fixture_new("interval=0", CAPS);

    await_model(fixture);
    fake_hold(TRUE);
    push_frame(fixture, 0x204060, 0);
    g_assert_true(fake_wait_encodes(1));
    for (guint i = 1; i <= 5; i++) {
        push_frame(fixture, 0x204060, i * FRAME_DURATION);
    }
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 1);
    fake_hold(FALSE);
    wait_caption(fixture, "final");
    g_assert_true(wait_stat(fixture, "captions", 1));
    /* The final message comes just before the worker is free again. */
    guint i = 6;
    do {
        g_usleep(5000);
        push_frame(fixture, 0x204060, i++ * FRAME_DURATION);
    } while (get_stat(fixture, "sampled") == 1 && i < 100);
    g_assert_cmpuint(get_uint64(wait_caption(fixture, "final"), "pts"), ==,
                     (i - 1) * FRAME_DURATION);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 0);
    fixture_free(fixture);
}

/* Falling behind is told of once, with details, and not again within 30 s. */
static void test_behind_is_told_once(void)
{
    Fixture *fixture = fixture_new(INTERVAL, CAPS);
    const GstStructure *details = NULL;

    await_model(fixture);
    for (guint round = 0; round < 3; round++) {
        fake_hold(TRUE);
        const guint n = fake_get_record().n_encodes;
        for (guint i = 0; i < 4; i++) {
            push_frame(fixture, 0x777777, (4 * round + i) * FRAME_DURATION);
            g_assert_true(fake_wait_encodes(n + 1));
        }
        fake_hold(FALSE);
        g_assert_true(wait_stat(fixture, "captions", 2 * (round + 1)));
    }
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 1);
    gst_message_parse_warning_details(wait_message(fixture, GST_MESSAGE_WARNING, NULL), &details);
    g_assert_nonnull(details);
    g_assert_cmpstr(get_text(details, "reason"), ==, "behind");
    g_assert_true(gst_structure_has_field_typed(details, "skipped", G_TYPE_UINT));
    g_assert_true(gst_structure_has_field_typed(details, "total-ms", G_TYPE_DOUBLE));
    g_assert_cmpuint(get_uint64(details, "interval"), ==, 40 * GST_MSECOND);
    fixture_free(fixture);
}

/* A model that keeps up is no reason to warn. */
static void test_keeping_up_is_quiet(void)
{
    Fixture *fixture = fixture_new(INTERVAL, CAPS);

    await_model(fixture);
    for (guint i = 0; i < 10; i++) {
        push_frame(fixture, 0x777777, i * FRAME_DURATION);
        g_assert_true(wait_stat(fixture, "captions", i + 1));
        g_usleep(5000);
    }
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 0);
    g_assert_cmpuint(get_stat(fixture, "skipped"), ==, 0);
    fixture_free(fixture);
}

/* Threads that compute are nice, the worker's own and the model's. */
static void test_workers_are_nice(void)
{
    Fixture *fixture = fixture_new("nice=7 threads=3", CAPS);

    push_frame(fixture, 0x777777, 0);
    wait_caption(fixture, "final");
    g_assert_cmpint(fake_get_record().worker_nice, ==, 7);
    g_assert_cmpint(fake_get_record().thread_nice, >=, 7);
    g_assert_cmpint(fake_get_record().n_threads, ==, 3);
    if (sched_getscheduler(0) == SCHED_OTHER) {
        g_assert_cmpint(fake_get_record().thread_policy, ==, SCHED_BATCH);
    }
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/live/never-blocks", test_never_blocks);
    g_test_add_func("/live/newest-wins", test_newest_wins);
    g_test_add_func("/live/holds-no-buffer", test_holds_no_buffer);
    g_test_add_func("/live/as-often-as-it-can", test_as_often_as_it_can);
    g_test_add_func("/live/behind-is-told-once", test_behind_is_told_once);
    g_test_add_func("/live/keeping-up-is-quiet", test_keeping_up_is_quiet);
    g_test_add_func("/live/workers-are-nice", test_workers_are_nice);
    return g_test_run();
}
