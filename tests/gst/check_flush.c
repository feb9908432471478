/*
 * Flushes, the end of the stream, and changes of state while the model is in the middle of a frame.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#define COMPLETE "mode=complete interval=40000000 "
#define LIVE "mode=live interval=40000000 "

static gpointer push_one(gpointer data)
{
    return GINT_TO_POINTER(push_frame(data, 0x224466, 0));
}

static void flush(Fixture *fixture)
{
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_flush_start()));
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_flush_stop(TRUE)));
}

static void push_segment(Fixture *fixture)
{
    GstSegment segment;

    gst_segment_init(&segment, GST_FORMAT_TIME);
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment)));
}

/* A flush frees a streaming thread that waits for a caption; the caption never comes. */
static void test_flush_frees_the_streaming_thread(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    fake_hold(TRUE);
    GThread *pusher = g_thread_new("pusher", push_one, fixture);
    g_assert_true(fake_wait_encodes(1));
    const gint64 start = g_get_monotonic_time();
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_flush_start()));
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(pusher)), ==, GST_FLOW_FLUSHING);
    assert_prompt(start);
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_flush_stop(TRUE)));
    fake_hold(FALSE);

    push_segment(fixture);
    push_frame(fixture, 0xffffff, GST_SECOND);
    const GstStructure *caption = wait_caption(fixture, "final");
    g_assert_cmpuint(get_uint64(caption, "pts"), ==, GST_SECOND);
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, 1);
    g_assert_cmpuint(get_stat(fixture, "skipped"), ==, 1);
    fixture_free(fixture);
}

/* An engine that is slow to hear of a flush does not answer for a frame before it. */
static void test_nothing_follows_a_flush(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    fake.deaf = 150;
    fake.encode_ms = 100;
    push_frame(fixture, 0x000000, 0);
    g_assert_true(fake_wait_encodes(1));
    flush(fixture);
    push_segment(fixture);
    push_frame(fixture, 0xffffff, 2 * GST_SECOND);
    const GstStructure *caption = wait_caption(fixture, "final");
    g_assert_cmpuint(get_uint64(caption, "pts"), ==, 2 * GST_SECOND);
    g_assert_cmpstr(get_text(caption, "text"), ==, "saw 4 4 4");
    fixture_free(fixture);
}

static GstBusSyncReply dawdle(GstBus *bus, GstMessage *message, gpointer user_data)
{
    gint *dawdles = user_data;

    if (gst_message_has_name(message, "fastvlm-caption")) {
        g_atomic_int_set(dawdles, 1);
        g_usleep(150000);
    }
    return GST_BUS_PASS;
}

/* A caption that is just being told of is out before the flush is through. */
static void test_flush_waits_for_the_message(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);
    gint dawdles = 0;

    gst_bus_set_sync_handler(fixture->bus, dawdle, &dawdles, NULL);
    push_frame(fixture, 0xffffff, 0);
    while (g_atomic_int_get(&dawdles) == 0) {
        g_usleep(1000);
    }
    flush(fixture);
    const guint n = count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption");
    g_assert_cmpuint(n, ==, 1);
    g_usleep(300000);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption"), ==, 1);
    fixture_free(fixture);
}

/* The current caption is forgotten: property, meta. */
static void test_flush_forgets(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    char *text;

    push_frame(fixture, 0xffffff, 0);
    gst_buffer_unref(gst_harness_pull(fixture->harness));
    g_object_get(fixture->element, "caption", &text, NULL);
    g_assert_cmpstr(text, ==, "saw 4 4 4");
    g_free(text);
    flush(fixture);
    g_object_get(fixture->element, "caption", &text, NULL);
    g_assert_null(text);

    /* A frame that is no sample: outside the segment. */
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.start = 10 * GST_SECOND;
    gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment));
    push_frame(fixture, 0xffffff, GST_SECOND);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    g_assert_null(get_meta(out));
    gst_buffer_unref(out);
    fixture_free(fixture);
}

/* The grid starts anew after a flush. */
static void test_flush_anchors_anew(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=1000000000", CAPS);

    push_frame(fixture, 0xffffff, 0);
    push_frame(fixture, 0xffffff, FRAME_DURATION);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 1);
    flush(fixture);
    push_segment(fixture);
    push_frame(fixture, 0xffffff, 2 * FRAME_DURATION);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 2);
    fixture_free(fixture);
}

static gint has_flushed; /* atomic: what is pushed before its segment is no buffer of a stream */

static void flush_in_handler(GstElement *element, const GstStructure *structure, gpointer user_data)
{
    Fixture *fixture = user_data;

    if (get_uint64(structure, "sequence") == 1) {
        flush(fixture);
        push_segment(fixture);
        g_atomic_int_set(&has_flushed, 1);
    }
}

/* A signal's handler may seek, which flushes from within the worker's thread. */
static void test_flush_from_the_signal(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    g_signal_connect(fixture->element, "captioned", G_CALLBACK(flush_in_handler), fixture);
    push_frame(fixture, 0x000000, 0);
    wait_caption(fixture, "final");
    const gint64 start = g_get_monotonic_time();
    g_assert_true(wait_stat(fixture, "captions", 1));
    while (!g_atomic_int_get(&has_flushed) && ms_since(start) < 2000) {
        g_usleep(1000);
    }
    while (get_stat(fixture, "captions") < 2 && ms_since(start) < 2000) {
        push_frame(fixture, 0xffffff, 5 * GST_SECOND);
        g_usleep(10000);
    }
    g_assert_cmpuint(get_uint64(wait_caption(fixture, "final"), "pts"), ==, 5 * GST_SECOND);
    fixture_free(fixture);
}

/* Flushes at any time, with frames between: nothing hangs, all comes to rest. */
static void test_many_flushes(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    fake.encode_ms = 3;
    for (guint i = 0; i < 200; i++) {
        push_frame(fixture, 0x444444, i * FRAME_DURATION);
        if (i % 3 == 0) {
            g_usleep(i % 7 * 1000);
            flush(fixture);
            push_segment(fixture);
        }
    }
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpuint(get_stat(fixture, "captions") + get_stat(fixture, "skipped"), ==,
                     get_stat(fixture, "sampled"));
    fixture_free(fixture);
}

/* EOS in mode live waits for a caption under way, and comes after it. */
static void test_eos_waits_live(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    fake.encode_ms = 300;
    push_frame(fixture, 0xffffff, 0);
    g_assert_true(fake_wait_encodes(1));
    const gint64 start = g_get_monotonic_time();
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpfloat(ms_since(start), >, 100);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 1);
    fixture_free(fixture);
}

/* ... and for a model that still loads: a short stream has its caption too. */
static void test_eos_waits_for_the_load(void)
{
    fake.load_ms = 300;
    Fixture *fixture = fixture_new(LIVE, CAPS);

    push_frame(fixture, 0xffffff, 0);
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 1);
    fixture_free(fixture);
}

/* ... but for two seconds at most, and then the caption does not come. */
static void test_eos_waits_no_longer(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    fake_hold(TRUE);
    push_frame(fixture, 0xffffff, 0);
    g_assert_true(fake_wait_encodes(1));
    const gint64 start = g_get_monotonic_time();
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpfloat(ms_since(start), >=, 1900);
    assert_prompt(start);
    fake_hold(FALSE);
    g_assert_true(wait_stat(fixture, "skipped", 1));
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption"), ==, 0);
    fixture_free(fixture);
}

static gpointer send_eos(gpointer data)
{
    Fixture *fixture = data;

    gst_harness_push_event(fixture->harness, gst_event_new_eos());
    return NULL;
}

/* A flush ends that wait. */
static void test_flush_ends_the_wait_of_eos(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    fake_hold(TRUE);
    push_frame(fixture, 0xffffff, 0);
    g_assert_true(fake_wait_encodes(1));
    GThread *pusher = g_thread_new("eos", send_eos, fixture);
    g_usleep(50000);
    const gint64 start = g_get_monotonic_time();
    gst_harness_push_event(fixture->harness, gst_event_new_flush_start());
    g_thread_join(pusher);
    assert_prompt(start);
    gst_harness_push_event(fixture->harness, gst_event_new_flush_stop(TRUE));
    fixture_free(fixture);
}

/* In mode complete the last caption is out before EOS is. */
static void test_eos_complete(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    fake.encode_ms = 50;
    for (guint i = 0; i < 3; i++) {
        push_frame(fixture, 0xffffff, i * FRAME_DURATION);
    }
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption"), >=, 3);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 3);
    fixture_free(fixture);
}

static void check_stop(const char *properties)
{
    Fixture *fixture = fixture_new(properties, CAPS);

    /* The engine's own promise: it hears of a cancellation within 100 ms. */
    fake.deaf = 100;
    fake_hold(TRUE);
    GThread *pusher = g_thread_new("pusher", push_one, fixture);
    g_assert_true(fake_wait_encodes(1));
    const gint64 start = g_get_monotonic_time();
    g_assert_cmpint(gst_element_set_state(fixture->harness->element, GST_STATE_NULL), ==,
                    GST_STATE_CHANGE_SUCCESS);
    g_test_message("stopped within %.1f ms", ms_since(start));
    assert_prompt(start);
    g_thread_join(pusher);
    g_assert_cmpuint(fake_get_record().n_cancelled, ==, 1);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption"), ==, 0);
    fixture_free(fixture);
}

/* A state change returns soon while the model is in the middle of a frame. */
static void test_stop_live(void)
{
    check_stop(LIVE);
}

static void test_stop_complete(void)
{
    check_stop(COMPLETE);
}

/* ... and even where the engine takes far longer than it promises: it winds up by itself, the
 * element can start again meanwhile or go, and hears nothing more of it. */
static void test_stop_deaf_engine(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    fake.deaf = STALL_MS;
    fake_hold(TRUE);
    push_frame(fixture, 0x224466, 0);
    g_assert_true(fake_wait_encodes(1));
    gint64 start = g_get_monotonic_time();
    gst_element_set_state(fixture->harness->element, GST_STATE_READY);
    assert_prompt(start);
    g_assert_cmpuint(fake_get_record().n_sessions, ==, 1);
    gst_element_set_state(fixture->harness->element, GST_STATE_PLAYING);
    gst_harness_push_event(fixture->harness, gst_event_new_stream_start("again"));
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    push_frame(fixture, 0xffffff, GST_SECOND);
    g_assert_true(fake_wait_encodes(2));
    /* The model that the old one still holds is the one that the new one got. */
    g_assert_cmpuint(fake_get_record().n_loads, ==, 1);
    start = g_get_monotonic_time();
    gst_element_set_state(fixture->harness->element, GST_STATE_NULL);
    assert_prompt(start);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption"), ==, 0);
    fake_set_deaf(0);
    /* Waits until all of it is gone. */
    fixture_free(fixture);
}

static void stop_in_handler(GstElement *element, const GstStructure *structure, gpointer user_data)
{
    gst_element_set_state(element, GST_STATE_NULL);
    g_atomic_int_inc((gint *)user_data);
}

/* A handler that stops the element, which it should not, ends nothing in a deadlock. */
static void test_stop_from_the_signal(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);
    gint n_stopped = 0;

    g_signal_connect(fixture->element, "captioned", G_CALLBACK(stop_in_handler), &n_stopped);
    push_frame(fixture, 0x224466, 0);
    wait_caption(fixture, "final");
    for (int i = 0; i < 500 && g_atomic_int_get(&n_stopped) == 0; i++) {
        g_usleep(10000);
    }
    g_assert_cmpint(g_atomic_int_get(&n_stopped), ==, 1);
    fixture_free(fixture);
}

/* ... and in the middle of an answer. */
static void test_stop_while_answering(void)
{
    Fixture *fixture = fixture_new(LIVE, CAPS);

    fake.token_ms = STALL_MS / 50;
    fake.n_tokens = 50;
    push_frame(fixture, 0xffffff, 0);
    g_assert_nonnull(wait_caption(fixture, "partial"));
    const gint64 start = g_get_monotonic_time();
    gst_element_set_state(fixture->harness->element, GST_STATE_READY);
    assert_prompt(start);
    fixture_free(fixture);
}

/* ... and while it loads, even where loading is deaf for long. */
static void test_stop_while_loading(void)
{
    fake.load_ms = STALL_MS;
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    GThread *pusher = g_thread_new("pusher", push_one, fixture);

    g_usleep(50000);
    const gint64 start = g_get_monotonic_time();
    gst_element_set_state(fixture->harness->element, GST_STATE_NULL);
    assert_prompt(start);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(pusher)), ==, GST_FLOW_FLUSHING);
    fixture_free(fixture);
}

/* After READY everything begins anew: sequence, stats, caption. */
static void test_starts_anew(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    char *text;

    for (guint round = 0; round < 3; round++) {
        for (guint i = 0; i < 3; i++) {
            g_assert_cmpint(push_frame(fixture, 0x808080, i * FRAME_DURATION), ==, GST_FLOW_OK);
            g_assert_cmpuint(get_uint64(wait_caption(fixture, "final"), "sequence"), ==, i + 1);
        }
        g_assert_cmpuint(get_stat(fixture, "captions"), ==, 3);
        gst_element_set_state(fixture->harness->element, GST_STATE_READY);
        g_object_get(fixture->element, "caption", &text, NULL);
        g_assert_null(text);
        g_assert_cmpuint(fake_get_record().n_models, ==, 0);
        gst_element_set_state(fixture->harness->element, GST_STATE_PLAYING);
        g_assert_cmpuint(get_stat(fixture, "captions"), ==, 0);
        gst_harness_push_event(fixture->harness, gst_event_new_stream_start("again"));
        gst_harness_set_src_caps_str(fixture->harness, CAPS);
    }
    fixture_free(fixture);
}

/* The states of an element without a stream, many times over. */
static void test_states(void)
{
    static const GstState states[] = {GST_STATE_READY,  GST_STATE_PAUSED, GST_STATE_PLAYING,
                                      GST_STATE_PAUSED, GST_STATE_READY,  GST_STATE_NULL};
    GstElement *element = gst_element_factory_make("fastvlmcaption", NULL);

    gst_object_ref_sink(element);
    for (int round = 0; round < 30; round++) {
        for (gsize i = 0; i < G_N_ELEMENTS(states); i++) {
            g_assert_cmpint(gst_element_set_state(element, states[i]), ==,
                            GST_STATE_CHANGE_SUCCESS);
        }
    }
    gst_object_unref(element);
    fake_reset();
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/flush/frees-the-streaming-thread", test_flush_frees_the_streaming_thread);
    g_test_add_func("/flush/nothing-follows", test_nothing_follows_a_flush);
    g_test_add_func("/flush/waits-for-the-message", test_flush_waits_for_the_message);
    g_test_add_func("/flush/forgets", test_flush_forgets);
    g_test_add_func("/flush/anchors-anew", test_flush_anchors_anew);
    g_test_add_func("/flush/from-the-signal", test_flush_from_the_signal);
    g_test_add_func("/flush/many", test_many_flushes);
    g_test_add_func("/eos/waits-live", test_eos_waits_live);
    g_test_add_func("/eos/waits-for-the-load", test_eos_waits_for_the_load);
    g_test_add_func("/eos/waits-no-longer", test_eos_waits_no_longer);
    g_test_add_func("/eos/flush-ends-the-wait", test_flush_ends_the_wait_of_eos);
    g_test_add_func("/eos/complete", test_eos_complete);
    g_test_add_func("/stop/live", test_stop_live);
    g_test_add_func("/stop/complete", test_stop_complete);
    g_test_add_func("/stop/deaf-engine", test_stop_deaf_engine);
    g_test_add_func("/stop/from-the-signal", test_stop_from_the_signal);
    g_test_add_func("/stop/while-answering", test_stop_while_answering);
    g_test_add_func("/stop/while-loading", test_stop_while_loading);
    g_test_add_func("/states/starts-anew", test_starts_anew);
    g_test_add_func("/states/without-a-stream", test_states);
    return g_test_run();
}
