/*
 * The speaking element with a harness: how long sentences last, when they are heard, and what
 * flushes, ends and states do to them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <gst/check/gstharness.h>
#include <math.h>

#include "gstfastvlmspeak.h"

#define SENTENCE "A large red circle at the top, on a blue background."
#define RATE 22050
#define LOUD 300 /* root of the mean square over 20 ms; speech has some thousand, silence none */

static GstHarness *begin(const char *properties)
{
    char *line = g_strconcat("fastvlmspeak ", properties, NULL);
    GstHarness *h = gst_harness_new_parse(line);

    gst_harness_set_src_caps_str(h, "text/x-raw, format=utf8");
    g_free(line);
    return h;
}

static GstBuffer *make_text(const char *text, GstClockTime pts)
{
    GstBuffer *buffer = gst_buffer_new_memdup(text, strlen(text));

    GST_BUFFER_PTS(buffer) = pts;
    return buffer;
}

static void push_text(GstHarness *h, const char *text, GstClockTime pts)
{
    g_assert_cmpint(gst_harness_push(h, make_text(text, pts)), ==, GST_FLOW_OK);
}

/* Takes what has come, checks that it is one stream without holes, and puts it together. */
static GArray *take(GstHarness *h, GstClockTime *start)
{
    GArray *samples = g_array_new(FALSE, FALSE, sizeof(gint16));
    GstClockTime next = GST_CLOCK_TIME_NONE;
    GstBuffer *buffer;

    while ((buffer = gst_harness_try_pull(h)) != NULL) {
        GstMapInfo map;
        g_assert_true(gst_buffer_map(buffer, &map, GST_MAP_READ));
        if (GST_CLOCK_TIME_IS_VALID(next)) {
            g_assert_cmpuint(GST_BUFFER_PTS(buffer), ==, next);
        } else if (start != NULL) {
            *start = GST_BUFFER_PTS(buffer);
        }
        next = GST_BUFFER_PTS(buffer) + GST_BUFFER_DURATION(buffer);
        if (GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_GAP)) {
            for (gsize i = 0; i < map.size; i++) {
                g_assert_cmpint(map.data[i], ==, 0);
            }
        }
        g_array_append_vals(samples, map.data, (guint)(map.size / sizeof(gint16)));
        gst_buffer_unmap(buffer, &map);
        gst_buffer_unref(buffer);
    }
    return samples;
}

static double get_level(const GArray *samples, double from_s, double to_s)
{
    const guint from = (guint)(from_s * RATE), to = MIN((guint)(to_s * RATE), samples->len);
    double sum = 0;

    for (guint i = from; i < to; i++) {
        const double x = g_array_index(samples, gint16, i);
        sum += x * x;
    }
    return to > from ? sqrt(sum / (to - from)) : 0;
}

/* When something is heard for the first and for the last time, s; FALSE where nothing is. */
static gboolean find_voice(const GArray *samples, double from_s, double *first, double *last)
{
    gboolean found = FALSE;

    *first = *last = 0;
    for (double t = from_s; t < (double)samples->len / RATE; t += 0.02) {
        if (get_level(samples, t, t + 0.02) > LOUD) {
            *first = found ? *first : t;
            *last = t + 0.02;
            found = TRUE;
        }
    }
    return found;
}

/* Seconds from the first to the last sound of a sentence by itself. */
static double measure(const char *properties, const char *text)
{
    char *all = g_strconcat("timing=text ", properties, NULL);
    GstHarness *h = begin(all);
    double first = 0, last = 0;

    push_text(h, text, GST_CLOCK_TIME_NONE);
    GArray *samples = take(h, NULL);
    find_voice(samples, 0, &first, &last);
    g_array_unref(samples);
    gst_harness_teardown(h);
    g_free(all);
    return last - first;
}

static void test_length(void)
{
    const double normal = measure("", SENTENCE), fast = measure("rate=350", SENTENCE);

    /* 11 words at 175 a minute: 3.8 s, give or take a third for short words. */
    g_assert_cmpfloat(normal, >, 2.0);
    g_assert_cmpfloat(normal, <, 5.0);
    g_assert_cmpfloat(fast, <, 0.75 * normal);
    g_assert_cmpfloat(measure("", "Red."), <, 0.3 * normal);
    g_assert_cmpfloat(measure("volume=0", SENTENCE), ==, 0);
    g_assert_cmpfloat(measure("max-length=11", SENTENCE), <, 0.5 * normal);
    g_assert_cmpfloat(measure("", " \n\t"), ==, 0);
}

/* Words shown to the camera: neither SSML nor phonemes, nor anything that takes forever. */
static void test_hostile(void)
{
    const char *markup = "<speak><break time=\"9s\"/><voice name=\"de\">Red.</voice></speak>";
    GstHarness *h = begin("timing=text");
    double first = 0, last = 0;

    push_text(h, markup, GST_CLOCK_TIME_NONE);
    GArray *samples = take(h, NULL);
    g_assert_true(find_voice(samples, 0, &first, &last));
    /* Read out: it begins at once and has no long hole. */
    g_assert_cmpfloat(first, <, 0.5);
    double quiet = 0;
    for (double t = first; t < last; t += 0.02) {
        quiet = get_level(samples, t, t + 0.02) > LOUD ? 0 : quiet + 0.02;
        g_assert_cmpfloat(quiet, <, 2);
    }
    g_array_unref(samples);

    char *long_text = g_strnfill(100000, 'a');
    push_text(h, long_text, GST_CLOCK_TIME_NONE);
    push_text(h, "[[h@'loU]] \xff\xfe \x1b[2J `rm` $(reboot) %s%n", GST_CLOCK_TIME_NONE);
    g_free(long_text);
    gst_harness_teardown(h);
}

static void push_gap(GstHarness *h, GstClockTime start, GstClockTime duration)
{
    g_assert_true(gst_harness_push_event(h, gst_event_new_gap(start, duration)));
}

/* Where the text leads, a sentence is heard at its own time and not before. */
static void test_text_timing(void)
{
    GstHarness *h = begin("timing=text");
    double first, last;
    GstClockTime start = 1;

    push_gap(h, 0, GST_SECOND);
    push_text(h, SENTENCE, 2 * GST_SECOND);
    push_gap(h, 2 * GST_SECOND, 8 * GST_SECOND);
    GArray *samples = take(h, &start);
    g_assert_cmpuint(start, ==, 0);
    g_assert_cmpuint(samples->len, ==, 10 * RATE);
    g_assert_true(find_voice(samples, 0, &first, &last));
    g_assert_cmpfloat(first, >=, 1.99);
    g_assert_cmpfloat(first, <, 2.3);
    g_assert_cmpfloat(last, <, 7);
    g_array_unref(samples);
    gst_harness_teardown(h);
}

/* Three at once: the first is said, the third after it, the second never; none a second time. */
static void test_newest(void)
{
    const double one = measure("", "One circle."), three = measure("", "Three black stars.");
    GstHarness *h = begin("timing=text");
    double first, last;

    push_text(h, "One circle.", 0);
    push_gap(h, 0, GST_SECOND / 10);
    push_text(h, "Two large yellow squares at the bottom left.", GST_SECOND / 5);
    push_text(h, "Three black stars.", GST_SECOND / 4);
    push_text(h, "Three black stars.", GST_SECOND / 3);
    g_assert_true(gst_harness_push_event(h, gst_event_new_eos()));
    GArray *samples = take(h, NULL);
    g_assert_true(find_voice(samples, 0, &first, &last));
    /* EOS lets it finish: both sentences, and the silence that espeak-ng and we put between. */
    g_assert_cmpfloat(last - first, >, one + three);
    g_assert_cmpfloat(last - first, <, one + three + 1);
    g_array_unref(samples);
    gst_harness_teardown(h);
}

static void test_seek_forgets(void)
{
    GstHarness *h = begin("timing=text");
    GstSegment segment;
    double first, last;

    push_text(h, SENTENCE, 0);
    push_gap(h, 0, GST_SECOND / 2);
    g_array_unref(take(h, NULL));
    g_assert_true(gst_harness_push_event(h, gst_event_new_flush_start()));
    g_assert_true(gst_harness_push_event(h, gst_event_new_flush_stop(TRUE)));
    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.start = segment.time = segment.position = 60 * GST_SECOND;
    g_assert_true(gst_harness_push_event(h, gst_event_new_segment(&segment)));
    push_gap(h, 60 * GST_SECOND, GST_SECOND);
    GstClockTime start = 0;
    GArray *samples = take(h, &start);
    g_assert_cmpuint(start, ==, 60 * GST_SECOND);
    g_assert_cmpuint(samples->len, ==, RATE);
    g_assert_false(find_voice(samples, 0, &first, &last));
    g_array_unref(samples);
    /* And what was said before the seek may be said again after it. */
    push_text(h, SENTENCE, 61 * GST_SECOND);
    push_gap(h, 61 * GST_SECOND, 4 * GST_SECOND);
    samples = take(h, NULL);
    g_assert_true(find_voice(samples, 0, &first, &last));
    g_array_unref(samples);
    gst_harness_teardown(h);
}

/* Lets the clock pass in steps of a buffer, each of which comes. */
static void pass(GstHarness *h, GstClockTime duration)
{
    const guint n = (guint)(duration / (20 * GST_MSECOND));
    const guint before = gst_harness_buffers_received(h);

    for (guint i = 0; i < n; i++) {
        g_assert_true(gst_harness_crank_single_clock_wait(h));
    }
    for (int tries = 0; tries < 500 && gst_harness_buffers_received(h) < before + n; tries++) {
        g_usleep(10000);
    }
    g_assert_cmpuint(gst_harness_buffers_received(h), >=, before + n);
}

static GstHarness *begin_clock(const char *properties)
{
    GstHarness *h = gst_harness_new("fastvlmspeak");

    gst_harness_use_testclock(h);
    gst_util_set_object_arg(G_OBJECT(h->element), "timing", properties);
    gst_harness_set_src_caps_str(h, "text/x-raw, format=utf8");
    return h;
}

/* The harness's upstream is live, so the clock leads by itself: silence, words, silence. */
static void test_clock(void)
{
    GstHarness *h = begin_clock("auto");
    double first, last;

    pass(h, GST_SECOND);
    push_text(h, SENTENCE, 0);
    pass(h, 6 * GST_SECOND);
    g_assert_cmpuint(gst_harness_query_latency(h), ==, 40 * GST_MSECOND);
    GArray *samples = take(h, NULL);
    g_assert_true(find_voice(samples, 0, &first, &last));
    g_assert_cmpfloat(first, >=, 1.0);
    g_assert_cmpfloat(first, <, 1.3);
    g_assert_cmpfloat(last, <, 6);
    g_array_unref(samples);
    gst_harness_teardown(h);
}

static void raise_alert(GstHarness *h, const char *type, const char *text)
{
    GstStructure *structure = gst_structure_new("fastvlm-alert", "type", G_TYPE_STRING, type,
                                                "text", G_TYPE_STRING, text, NULL);

    g_assert_true(gst_harness_push_event(
        h, gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM_OOB, structure)));
}

static void test_alert_interrupts(void)
{
    const double alert = measure("", "Fire!");
    GstHarness *h = begin_clock("clock");
    double first, last;

    push_text(h, SENTENCE, 0);
    pass(h, GST_SECOND);
    raise_alert(h, "alert", "Fire!");
    pass(h, 2 * GST_SECOND);
    GArray *samples = take(h, NULL);
    /* Within 0.25 s the alert is heard, and then nothing is left of the sentence. */
    g_assert_true(find_voice(samples, 1.1, &first, &last));
    g_assert_cmpfloat(first, <, 1.35);
    g_assert_cmpfloat(last - first, >, alert - 0.1);
    g_assert_cmpfloat(last - first, <, alert + 0.1);
    g_array_unref(samples);
    gst_harness_teardown(h);
}

static void test_say(void)
{
    GstHarness *h = begin_clock("clock");
    gboolean said = FALSE;
    double first, last;

    g_signal_emit_by_name(h->element, "say", "The camera is lost.", FALSE, &said);
    g_assert_true(said);
    g_signal_emit_by_name(h->element, "say", "The camera is lost.", FALSE, &said);
    g_assert_false(said);
    g_signal_emit_by_name(h->element, "say", NULL, TRUE, &said);
    g_assert_false(said);
    pass(h, 2 * GST_SECOND);
    GArray *samples = take(h, NULL);
    g_assert_true(find_voice(samples, 0, &first, &last));
    g_array_unref(samples);
    gst_harness_teardown(h);
}

/* EOS waits until all is said. */
static void test_clock_eos(void)
{
    GstHarness *h = begin_clock("clock");

    push_text(h, "Red.", 0);
    pass(h, GST_SECOND / 10);
    g_assert_true(gst_harness_push_event(h, gst_event_new_eos()));
    gboolean ended = FALSE;
    GstTestClock *clock = gst_harness_get_testclock(h);
    for (int i = 0; i < 100 && !ended; i++) {
        GstEvent *event;
        if (gst_test_clock_peek_id_count(clock) > 0) {
            gst_harness_crank_single_clock_wait(h);
        }
        g_usleep(5000);
        while ((event = gst_harness_try_pull_event(h)) != NULL) {
            ended |= GST_EVENT_TYPE(event) == GST_EVENT_EOS;
            gst_event_unref(event);
        }
    }
    gst_object_unref(clock);
    g_assert_true(ended);
    GArray *samples = take(h, NULL);
    double first, last;
    g_assert_true(find_voice(samples, 0, &first, &last));
    g_assert_cmpfloat(last - first, >, 0.9 * measure("", "Red."));
    g_array_unref(samples);
    gst_harness_teardown(h);
}

static void test_bad_voice(void)
{
    GstElement *element = gst_element_factory_make("fastvlmspeak", NULL);
    GstBus *bus = gst_bus_new();
    GError *error = NULL;

    gst_element_set_bus(element, bus);
    g_object_set(element, "voice", "no-such-voice", NULL);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    GstMessage *message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
    g_assert_nonnull(message);
    gst_message_parse_error(message, &error, NULL);
    g_assert_error(error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
    g_assert_nonnull(strstr(error->message, "\"no-such-voice\""));
    g_error_free(error);
    gst_message_unref(message);
    gst_element_set_state(element, GST_STATE_NULL);
    g_object_set(element, "voice", "de", NULL);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), !=, GST_STATE_CHANGE_FAILURE);
    gst_element_set_state(element, GST_STATE_NULL);
    gst_element_set_bus(element, NULL);
    gst_object_unref(bus);
    gst_object_unref(element);
}

/* Up and down, with words in every state and the task in any place. */
static void test_states(void)
{
    for (int i = 0; i < 60; i++) {
        GstHarness *h = gst_harness_new("fastvlmspeak");

        gst_util_set_object_arg(G_OBJECT(h->element), "timing", i % 2 ? "clock" : "text");
        gst_harness_set_src_caps_str(h, "text/x-raw, format=utf8");
        push_text(h, SENTENCE, 0);
        g_usleep((gulong)(i % 5) * 5000);
        gst_element_set_state(h->element, GST_STATE_PAUSED);
        if (i % 3 == 0) {
            gst_element_set_state(h->element, GST_STATE_PLAYING);
        } else if (i % 3 == 1) {
            gst_harness_push_event(h, gst_event_new_flush_start());
            gst_harness_push_event(h, gst_event_new_flush_stop(TRUE));
        }
        gst_harness_teardown(h);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    gst_init(&argc, &argv);
    /* For check_leaks.sh to see that leaks are seen. */
    if (g_getenv("FASTVLM_TEST_LEAK") != NULL) {
        GstCaps *lost = gst_caps_new_empty_simple("test/leak");
        (void)lost;
    }
    g_assert_true(GST_ELEMENT_REGISTER(fastvlmspeak, NULL));
    g_test_add_func("/speak/length", test_length);
    g_test_add_func("/speak/hostile", test_hostile);
    g_test_add_func("/speak/text-timing", test_text_timing);
    g_test_add_func("/speak/newest", test_newest);
    g_test_add_func("/speak/seek-forgets", test_seek_forgets);
    g_test_add_func("/speak/clock", test_clock);
    g_test_add_func("/speak/alert-interrupts", test_alert_interrupts);
    g_test_add_func("/speak/say", test_say);
    g_test_add_func("/speak/clock-eos", test_clock_eos);
    g_test_add_func("/speak/bad-voice", test_bad_voice);
    g_test_add_func("/speak/states", test_states);
    const int result = g_test_run();
    gst_deinit();
    return result;
}
