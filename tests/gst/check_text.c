/*
 * The text_src pad alone: what it pushes, when, and that it makes nobody wait.
 *
 *     calls of the element, by hand -> pad in a bare bin -> a peer that writes a log
 *
 * A log's lines are "stream", "caps", "segment START", "gap FROM+LENGTH", "text FROM+LENGTH WORDS",
 * "eos", "flush-start" and "flush-stop"; times in ms, in ns with that unit where not whole.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>
#include <string.h>

#include "gstfastvlmtextpad.h"
#include "support.h"

#define PATIENCE_US (5 * G_TIME_SPAN_SECOND)
#define QUIET_US (40 * G_TIME_SPAN_MILLISECOND)
#define MS GST_MSECOND
#define LIVE GST_CLOCK_TIME_NONE

typedef struct {
    GstElement *element; /* a bin, the pad's parent */
    GstFastvlmTextPad *pad;
    GstPad *peer;
    GstBus *bus;
    GMutex lock; /* for what follows */
    GCond cond;
    GPtrArray *log; /* char * */
    guint n_read;
    gboolean hold; /* buffers wait in the peer */
    guint n_held;
    GstFlowReturn flow;
    guint32 seqnum; /* of the last event */
    GstStreamFlags stream_flags;
    guint group_id;
} Rig;

/* ---- the peer ---- */

static void append_time(GString *line, GstClockTime time)
{
    if (time % GST_MSECOND == 0) {
        g_string_append_printf(line, "%" G_GUINT64_FORMAT, time / GST_MSECOND);
    } else {
        g_string_append_printf(line, "%" G_GUINT64_FORMAT "ns", time);
    }
}

static void write_log(Rig *rig, char *line)
{
    g_mutex_lock(&rig->lock);
    g_ptr_array_add(rig->log, line);
    g_cond_broadcast(&rig->cond);
    g_mutex_unlock(&rig->lock);
}

static char *format_span(const char *what, GstClockTime from, GstClockTime length)
{
    GString *line = g_string_new(what);

    append_time(line, from);
    g_string_append_c(line, '+');
    append_time(line, length);
    return g_string_free(line, FALSE);
}

static char *format_buffer(GstBuffer *buffer)
{
    char *span = format_span("text ", GST_BUFFER_PTS(buffer), GST_BUFFER_DURATION(buffer));
    GstMapInfo map;

    gst_buffer_map(buffer, &map, GST_MAP_READ);
    char *line = g_strdup_printf("%s %.*s", span, (int)map.size, (const char *)map.data);
    gst_buffer_unmap(buffer, &map);
    g_free(span);
    return line;
}

static GstFlowReturn peer_chain(GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
    Rig *rig = gst_pad_get_element_private(pad);

    g_mutex_lock(&rig->lock);
    rig->n_held++;
    g_cond_broadcast(&rig->cond);
    while (rig->hold && !GST_PAD_IS_FLUSHING(pad)) {
        /* Whoever flushes does not know of this one's condition. */
        g_cond_wait_until(&rig->cond, &rig->lock, g_get_monotonic_time() + 5000);
    }
    rig->n_held--;
    const GstFlowReturn flow = GST_PAD_IS_FLUSHING(pad) ? GST_FLOW_FLUSHING : rig->flow;
    g_mutex_unlock(&rig->lock);
    if (flow == GST_FLOW_OK) {
        write_log(rig, format_buffer(buffer));
    }
    gst_buffer_unref(buffer);
    return flow;
}

static char *format_event(Rig *rig, GstEvent *event)
{
    GstClockTime from, length;
    const GstSegment *segment;

    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START:
        gst_event_parse_stream_flags(event, &rig->stream_flags);
        gst_event_parse_group_id(event, &rig->group_id);
        return g_strdup("stream");
    case GST_EVENT_SEGMENT:
        gst_event_parse_segment(event, &segment);
        return g_strdup_printf("segment %" G_GUINT64_FORMAT, segment->start / GST_MSECOND);
    case GST_EVENT_GAP:
        gst_event_parse_gap(event, &from, &length);
        return format_span("gap ", from, length);
    default:
        return g_strdup(GST_EVENT_TYPE_NAME(event));
    }
}

static gboolean peer_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    Rig *rig = gst_pad_get_element_private(pad);

    rig->seqnum = gst_event_get_seqnum(event);
    write_log(rig, format_event(rig, event));
    gst_event_unref(event);
    return TRUE;
}

/* ---- the rig ---- */

static GstPadTemplate *make_template(void)
{
    GstCaps *caps = gst_caps_from_string("text/x-raw, format=utf8");
    GstPadTemplate *templ = gst_pad_template_new("text_src", GST_PAD_SRC, GST_PAD_REQUEST, caps);

    gst_caps_unref(caps);
    return gst_object_ref_sink(templ);
}

static Rig *rig_new_unlinked(void)
{
    GstPadTemplate *templ = make_template();
    Rig *rig = g_new0(Rig, 1);

    g_mutex_init(&rig->lock);
    g_cond_init(&rig->cond);
    rig->log = g_ptr_array_new_with_free_func(g_free);
    rig->element = gst_object_ref_sink(gst_bin_new("host"));
    rig->bus = gst_bus_new();
    gst_element_set_bus(rig->element, rig->bus);
    gst_element_add_pad(rig->element, gst_pad_new("sink", GST_PAD_SINK));
    rig->pad = gst_object_ref_sink(gst_fastvlm_text_pad_new(templ));
    gst_object_unref(templ);
    rig->peer = gst_object_ref_sink(gst_pad_new("peer", GST_PAD_SINK));
    gst_pad_set_element_private(rig->peer, rig);
    gst_pad_set_chain_function(rig->peer, peer_chain);
    gst_pad_set_event_function(rig->peer, peer_event);
    gst_pad_set_active(rig->peer, TRUE);
    gst_pad_set_active(GST_PAD(rig->pad), TRUE);
    gst_element_add_pad(rig->element, GST_PAD(rig->pad));
    return rig;
}

static void link_peer(Rig *rig)
{
    g_assert_cmpint(gst_pad_link(GST_PAD(rig->pad), rig->peer), ==, GST_PAD_LINK_OK);
}

static Rig *rig_new(void)
{
    Rig *rig = rig_new_unlinked();

    link_peer(rig);
    return rig;
}

static void hold(Rig *rig, gboolean held)
{
    g_mutex_lock(&rig->lock);
    rig->hold = held;
    g_cond_broadcast(&rig->cond);
    g_mutex_unlock(&rig->lock);
}

static void wait_held(Rig *rig)
{
    const gint64 until = g_get_monotonic_time() + PATIENCE_US;

    g_mutex_lock(&rig->lock);
    while (rig->n_held == 0) {
        g_assert_true(g_cond_wait_until(&rig->cond, &rig->lock, until));
    }
    g_mutex_unlock(&rig->lock);
}

static void rig_free(Rig *rig)
{
    hold(rig, FALSE);
    gst_pad_set_active(rig->peer, FALSE);
    gst_pad_set_active(GST_PAD(rig->pad), FALSE);
    gst_element_remove_pad(rig->element, GST_PAD(rig->pad));
    gst_element_set_bus(rig->element, NULL);
    gst_bus_set_flushing(rig->bus, TRUE); /* its messages hold the pad */
    g_assert_cmpint(GST_OBJECT_REFCOUNT_VALUE(rig->pad), ==, 1);
    gst_object_unref(rig->pad);
    gst_object_unref(rig->peer);
    gst_object_unref(rig->element);
    gst_object_unref(rig->bus);
    g_ptr_array_unref(rig->log);
    g_mutex_clear(&rig->lock);
    g_cond_clear(&rig->cond);
    g_free(rig);
}

/* The log's next line, or NULL if none comes within `timeout_us`. */
static const char *next_line(Rig *rig, gint64 timeout_us)
{
    const gint64 until = g_get_monotonic_time() + timeout_us;
    const char *line = NULL;

    g_mutex_lock(&rig->lock);
    while (rig->n_read == rig->log->len && g_cond_wait_until(&rig->cond, &rig->lock, until)) {
    }
    if (rig->n_read < rig->log->len) {
        line = g_ptr_array_index(rig->log, rig->n_read++);
    }
    g_mutex_unlock(&rig->lock);
    return line;
}

static void expect(Rig *rig, ...) G_GNUC_NULL_TERMINATED;

/* The log's next lines are these. */
static void expect(Rig *rig, ...)
{
    va_list lines;

    va_start(lines, rig);
    for (const char *line; (line = va_arg(lines, const char *)) != NULL;) {
        g_assert_cmpstr(next_line(rig, PATIENCE_US), ==, line);
    }
    va_end(lines);
}

static void expect_quiet(Rig *rig)
{
    g_assert_cmpstr(next_line(rig, QUIET_US), ==, NULL);
}

static void set_segment(Rig *rig, double rate, GstClockTime start, GstClockTime stop,
                        GstClockTime base)
{
    GstSegment segment;

    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.rate = rate;
    segment.start = start;
    segment.stop = stop;
    segment.time = start;
    segment.base = base;
    segment.position = rate < 0 ? stop : start;
    gst_fastvlm_text_pad_set_segment(rig->pad, &segment, 7);
}

static void frame(Rig *rig, guint pts_ms)
{
    gst_fastvlm_text_pad_set_position(rig->pad, pts_ms * MS, 40 * MS);
}

static void caption(Rig *rig, const char *text, GstClockTime pts, GstClockTime duration)
{
    gst_fastvlm_text_pad_push_caption(rig->pad, text, pts, duration);
}

/* A stream from 0 on, its start read from the log. */
static void begin(Rig *rig)
{
    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    expect(rig, "stream", "caps", "segment 0", NULL);
}

/* ---- tests ---- */

static void test_start(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    expect(rig, "stream", "caps", NULL);
    g_assert_cmpint(rig->stream_flags, ==, GST_STREAM_FLAG_SPARSE);
    g_assert_cmpuint(rig->group_id, ==, 42);
    set_segment(rig, 1.0, 2000 * MS, GST_CLOCK_TIME_NONE, 0);
    expect(rig, "segment 2000", NULL);
    g_assert_cmpuint(rig->seqnum, ==, 7);
    GstCaps *caps = gst_pad_get_current_caps(rig->peer);
    GstCaps *expected = gst_caps_from_string("text/x-raw, format=utf8");
    g_assert_true(gst_caps_is_equal(caps, expected));
    gst_caps_unref(caps);
    gst_caps_unref(expected);
    expect_quiet(rig);
    /* The first GAP with the first frame; then one a frame, from the end of the last. */
    frame(rig, 2000);
    expect(rig, "gap 2000+40", NULL);
    frame(rig, 2080);
    expect(rig, "gap 2040+80", NULL);
    frame(rig, 2060);
    expect_quiet(rig);
    rig_free(rig);
}

/* Unknown durations: the position still passes the frame's start. */
static void test_frames_without_duration(void)
{
    Rig *rig = rig_new();

    begin(rig);
    gst_fastvlm_text_pad_set_position(rig->pad, 0, GST_CLOCK_TIME_NONE);
    expect(rig, "gap 0+1", NULL);
    gst_fastvlm_text_pad_set_position(rig->pad, 50 * MS, 0);
    expect(rig, "gap 1+50", NULL);
    gst_fastvlm_text_pad_set_position(rig->pad, GST_CLOCK_TIME_NONE, 40 * MS);
    expect_quiet(rig);
    rig_free(rig);
}

static void test_complete(void)
{
    Rig *rig = rig_new();

    begin(rig);
    caption(rig, "one", 0, 100 * MS);
    expect(rig, "text 0+100 one", "gap 100+0", NULL);
    frame(rig, 0);
    frame(rig, 40);
    expect_quiet(rig);
    frame(rig, 80);
    expect(rig, "gap 100+20", NULL);
    /* PTS of its frame, though a GAP has passed it. */
    caption(rig, "two", 110 * MS, 90 * MS);
    expect(rig, "text 110+90 two", "gap 200+0", NULL);
    /* Not before the end of the one before. */
    caption(rig, "three", 190 * MS, 100 * MS);
    expect(rig, "text 200+100 three", "gap 300+0", NULL);
    rig_free(rig);
}

static void test_live(void)
{
    Rig *rig = rig_new();

    begin(rig);
    caption(rig, "zero", LIVE, 50 * MS);
    expect_quiet(rig);
    frame(rig, 0);
    expect(rig, "gap 0+40", "text 40+50 zero", "gap 90+0", NULL);
    /* The newest of those that come too early, when the video has reached the end. */
    caption(rig, "one", LIVE, 50 * MS);
    frame(rig, 40);
    caption(rig, "two", LIVE, 60 * MS);
    expect_quiet(rig);
    frame(rig, 80);
    expect(rig, "gap 90+30", "text 120+60 two", "gap 180+0", NULL);
    rig_free(rig);
}

static void test_live_duration(void)
{
    Rig *rig = rig_new();

    begin(rig);
    frame(rig, 0);
    expect(rig, "gap 0+40", NULL);
    caption(rig, "long", LIVE, 60 * GST_SECOND);
    expect(rig, "text 40+10000 long", "gap 10040+0", NULL);
    frame(rig, 10040);
    expect(rig, "gap 10040+40", NULL);
    caption(rig, "unknown", LIVE, GST_CLOCK_TIME_NONE);
    expect(rig, "text 10080+100 unknown", "gap 10180+0", NULL);
    frame(rig, 10160);
    expect(rig, "gap 10180+20", NULL);
    caption(rig, "none", LIVE, 0);
    expect(rig, "text 10200+100 none", "gap 10300+0", NULL);
    rig_free(rig);
}

/* The next text or GAP; it must not begin before `covered`, the end of the one before. */
static GstClockTime next_end(Rig *rig, GstClockTime covered, guint *n_texts)
{
    const char *line = next_line(rig, PATIENCE_US);
    guint64 from, length;

    g_assert_nonnull(line);
    g_assert_cmpint(sscanf(line, "%*s %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT, &from, &length),
                    ==, 2);
    g_assert_cmpuint(from * MS, >=, covered);
    *n_texts += g_str_has_prefix(line, "text ");
    return (from + length) * MS;
}

/* Captions and frames by chance. Whatever comes: text and GAPs never overlap or go back, and past
 * every frame's start there is news, which textoverlay and muxers wait for. */
static void check_never_overlaps(gboolean complete, GstClockTime repeat)
{
    Rig *rig = rig_new();
    GstClockTime pts = 0, covered = 0;
    guint n_texts = 0;

    begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, repeat);
    for (guint i = 0; i < 300; i++) {
        const GstClockTime duration = (GstClockTime)g_test_rand_int_range(5, 90) * MS;

        if (g_test_rand_int_range(0, 3) == 0) {
            caption(rig, "x", complete ? pts : LIVE,
                    (GstClockTime)g_test_rand_int_range(0, 400) * MS);
        }
        gst_fastvlm_text_pad_set_position(rig->pad, pts, duration);
        while (covered <= pts) {
            covered = next_end(rig, covered, &n_texts);
        }
        pts += duration;
    }
    g_assert_cmpuint(n_texts, >, 20);
    rig_free(rig);
}

static void test_never_overlaps(void)
{
    check_never_overlaps(FALSE, 0);
    check_never_overlaps(FALSE, 70 * MS);
    check_never_overlaps(TRUE, 0);
    check_never_overlaps(TRUE, 70 * MS);
}

/* While downstream holds a buffer, every call returns; live keeps the newest, complete all. */
static void test_never_blocks(void)
{
    Rig *rig = rig_new();

    begin(rig);
    frame(rig, 0);
    expect(rig, "gap 0+40", NULL);
    hold(rig, TRUE);
    caption(rig, "held", LIVE, 50 * MS);
    wait_held(rig);
    const gint64 start = g_get_monotonic_time();
    for (guint i = 1; i < 100; i++) {
        char *text = g_strdup_printf("%u", i);
        frame(rig, 40 * i);
        caption(rig, text, LIVE, 50 * MS);
        g_free(text);
    }
    g_assert_cmpfloat(ms_since(start), <, 500);
    hold(rig, FALSE);
    expect(rig, "text 40+50 held", "gap 90+0", "gap 90+3910", "text 4000+50 99", "gap 4050+0",
           NULL);
    expect_quiet(rig);
    rig_free(rig);
}

static void test_complete_keeps_all(void)
{
    Rig *rig = rig_new();

    begin(rig);
    hold(rig, TRUE);
    caption(rig, "a", 0, 40 * MS);
    wait_held(rig);
    caption(rig, "b", 40 * MS, 40 * MS);
    frame(rig, 40);
    caption(rig, "c", 80 * MS, 40 * MS);
    frame(rig, 80);
    gst_fastvlm_text_pad_eos(rig->pad, 9);
    hold(rig, FALSE);
    expect(rig, "text 0+40 a", "gap 40+0", "text 40+40 b", "gap 80+0", "text 80+40 c", "gap 120+0",
           "eos", NULL);
    g_assert_cmpuint(rig->seqnum, ==, 9);
    rig_free(rig);
}

/* EOS: a live caption that waits goes out before it, where its turn would have come. */
static void test_eos(void)
{
    Rig *rig = rig_new();

    begin(rig);
    frame(rig, 0);
    caption(rig, "one", LIVE, 1000 * MS);
    expect(rig, "gap 0+40", "text 40+1000 one", "gap 1040+0", NULL);
    caption(rig, "two", LIVE, 500 * MS);
    expect_quiet(rig);
    gst_fastvlm_text_pad_eos(rig->pad, 9);
    expect(rig, "text 1040+500 two", "gap 1540+0", "eos", NULL);
    frame(rig, 2000);
    caption(rig, "late", LIVE, 500 * MS);
    expect_quiet(rig);
    /* Another stream. */
    begin(rig);
    frame(rig, 0);
    expect(rig, "gap 0+40", "text 40+500 late", "gap 540+0", NULL);
    rig_free(rig);
}

/* Nothing was shown before the end: no position, no text, but an end. */
static void test_eos_at_once(void)
{
    Rig *rig = rig_new();

    begin(rig);
    caption(rig, "one", LIVE, 1000 * MS);
    gst_fastvlm_text_pad_eos(rig->pad, 9);
    expect(rig, "eos", NULL);
    rig_free(rig);
}

/* Text of before a flush is not seen after it; the segment is sent again where it still holds. */
static void check_flush(gboolean reset_time, gboolean held)
{
    Rig *rig = rig_new();

    begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 1000 * MS);
    frame(rig, 0);
    expect(rig, "gap 0+40", NULL);
    hold(rig, held);
    caption(rig, "old", LIVE, 1000 * MS);
    if (held) {
        wait_held(rig);
        caption(rig, "newer", LIVE, 1000 * MS);
        caption(rig, "complete", 500 * MS, 1000 * MS);
        gst_fastvlm_text_pad_eos(rig->pad, 5);
    } else {
        expect(rig, "text 40+1000 old", "gap 1040+0", NULL);
    }
    gst_fastvlm_text_pad_flush_start(rig->pad, gst_event_new_flush_start());
    expect(rig, "flush-start", NULL);
    caption(rig, "in between", LIVE, 1000 * MS);
    frame(rig, 3000);
    gst_fastvlm_text_pad_flush_stop(rig->pad, gst_event_new_flush_stop(reset_time));
    hold(rig, FALSE);
    expect(rig, "flush-stop", NULL);
    if (reset_time) {
        frame(rig, 5000);
        expect_quiet(rig);
        set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    }
    expect(rig, "segment 0", NULL);
    expect_quiet(rig);
    frame(rig, 200);
    expect(rig, "gap 200+40", NULL);
    frame(rig, 4000);
    expect(rig, "gap 240+3800", NULL);
    caption(rig, "new", LIVE, 1000 * MS);
    expect(rig, "text 4040+1000 new", "gap 5040+0", NULL);
    rig_free(rig);
}

static void test_flush(void)
{
    check_flush(TRUE, FALSE);
    check_flush(FALSE, FALSE);
    check_flush(TRUE, TRUE);
    check_flush(FALSE, TRUE);
}

/* A flush that comes before the task has pushed anything takes neither stream nor caps away. */
static void test_flush_at_once(void)
{
    for (guint i = 0; i < 50; i++) {
        Rig *rig = rig_new_unlinked();

        link_peer(rig);
        gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
        set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
        gst_fastvlm_text_pad_flush_start(rig->pad, gst_event_new_flush_start());
        gst_fastvlm_text_pad_flush_stop(rig->pad, gst_event_new_flush_stop(TRUE));
        set_segment(rig, 1.0, 1000 * MS, GST_CLOCK_TIME_NONE, 0);
        frame(rig, 1000);
        for (const char *line = ""; g_strcmp0(line, "gap 1000+40") != 0;) {
            line = next_line(rig, PATIENCE_US);
            g_assert_nonnull(line);
        }
        GstCaps *caps = gst_pad_get_current_caps(rig->peer);
        g_assert_nonnull(caps);
        gst_caps_unref(caps);
        rig_free(rig);
    }
}

/* What was linked late hears the beginning and the current caption, even without a new frame. */
static void test_linked_late(void)
{
    Rig *rig = rig_new_unlinked();

    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    frame(rig, 0);
    caption(rig, "unheard", LIVE, 9000 * MS);
    g_usleep(QUIET_US);
    /* Nobody heard that one: the next need not wait for its end. */
    caption(rig, "current", LIVE, 50 * MS);
    g_usleep(QUIET_US);
    link_peer(rig);
    expect(rig, "stream", "caps", "segment 0", "gap 40+0", "text 40+50 current", "gap 90+0", NULL);
    expect_quiet(rig);
    /* It is heard once. */
    gst_pad_send_event(GST_PAD(rig->pad), gst_event_new_reconfigure());
    expect(rig, "gap 90+0", NULL);
    expect_quiet(rig);
    rig_free(rig);
}

/* Linked before the peer's element has started, as applications do; no frame moves meanwhile. */
static void test_peer_starts_late(void)
{
    Rig *rig = rig_new_unlinked();

    gst_pad_set_active(rig->peer, FALSE);
    link_peer(rig);
    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    frame(rig, 0);
    g_usleep(QUIET_US);
    gst_pad_set_active(rig->peer, TRUE);
    expect(rig, "stream", "caps", "segment 0", "gap 40+0", NULL);
    gst_pad_set_active(rig->peer, FALSE);
    caption(rig, "current", LIVE, 50 * MS);
    g_usleep(QUIET_US);
    gst_pad_set_active(rig->peer, TRUE);
    for (const char *line = ""; g_strcmp0(line, "text 40+50 current") != 0;) {
        line = next_line(rig, PATIENCE_US);
        g_assert_nonnull(line);
    }
    expect(rig, "gap 90+0", NULL);
    expect_quiet(rig);
    g_usleep(2 * QUIET_US);
    expect_quiet(rig);
    rig_free(rig);
}

static void test_relinked(void)
{
    Rig *rig = rig_new();

    begin(rig);
    frame(rig, 0);
    caption(rig, "one", LIVE, 50 * MS);
    expect(rig, "gap 0+40", "text 40+50 one", "gap 90+0", NULL);
    gst_pad_unlink(GST_PAD(rig->pad), rig->peer);
    frame(rig, 80);
    caption(rig, "two", LIVE, 50 * MS);
    frame(rig, 120);
    g_usleep(QUIET_US);
    link_peer(rig);
    frame(rig, 160);
    for (const char *line = ""; !g_str_has_prefix(line, "text ");) {
        line = next_line(rig, PATIENCE_US);
        g_assert_nonnull(line);
        g_assert_null(strstr(line, "one"));
    }
    rig_free(rig);
}

static guint count_errors(Rig *rig)
{
    guint n = 0;

    for (GstMessage *message; (message = gst_bus_pop(rig->bus)) != NULL;) {
        n += GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR;
        gst_message_unref(message);
    }
    return n;
}

static void check_flow(GstFlowReturn flow, guint n_errors)
{
    Rig *rig = rig_new();

    begin(rig);
    rig->flow = flow;
    caption(rig, "one", 0, 40 * MS);
    expect(rig, "gap 40+0", NULL);
    frame(rig, 40);
    caption(rig, "two", 80 * MS, 40 * MS);
    frame(rig, 80);
    expect_quiet(rig);
    g_assert_cmpuint(count_errors(rig), ==, n_errors);
    /* A flush begins anew. */
    rig->flow = GST_FLOW_OK;
    gst_fastvlm_text_pad_flush_start(rig->pad, gst_event_new_flush_start());
    gst_fastvlm_text_pad_flush_stop(rig->pad, gst_event_new_flush_stop(FALSE));
    frame(rig, 200);
    expect(rig, "flush-start", "flush-stop", "segment 0", "gap 200+40", NULL);
    rig_free(rig);
}

/* Downstream wants no more: that is told once where it is an error, and no text follows. */
static void test_flow(void)
{
    check_flow(GST_FLOW_EOS, 0);
    check_flow(GST_FLOW_ERROR, 1);
    check_flow(GST_FLOW_NOT_NEGOTIATED, 1);
}

static void test_repeat_live(void)
{
    Rig *rig = rig_new();

    begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 60 * MS);
    frame(rig, 0);
    expect(rig, "gap 0+40", NULL);
    caption(rig, "one", LIVE, 5000 * MS);
    expect(rig, "text 40+60 one", "gap 100+0", NULL);
    frame(rig, 40);
    expect_quiet(rig);
    frame(rig, 80);
    expect(rig, "text 100+60 one", "gap 160+0", NULL);
    /* At once, which means at the end of the slice. */
    caption(rig, "two", LIVE, 5000 * MS);
    frame(rig, 120);
    expect(rig, "text 160+60 two", "gap 220+0", NULL);
    /* The video jumps: so do the slices. */
    frame(rig, 1000);
    expect(rig, "text 1040+60 two", "gap 1100+0", NULL);
    /* Empty: nothing is there to repeat. */
    caption(rig, " \n ", LIVE, 5000 * MS);
    frame(rig, 1080);
    expect(rig, "gap 1100+20", NULL);
    frame(rig, 1120);
    expect(rig, "gap 1120+40", NULL);
    rig_free(rig);
}

static void test_repeat_complete(void)
{
    Rig *rig = rig_new();

    begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 60 * MS);
    caption(rig, "one", 0, 100 * MS);
    expect(rig, "text 0+60 one", "gap 60+0", NULL);
    frame(rig, 0);
    frame(rig, 40);
    expect(rig, "text 60+40 one", "gap 100+0", NULL);
    frame(rig, 80);
    expect(rig, "gap 100+20", NULL);
    caption(rig, "two", 120 * MS, 100 * MS);
    expect(rig, "text 120+60 two", "gap 180+0", NULL);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 0);
    frame(rig, 160);
    expect(rig, "gap 180+20", NULL);
    rig_free(rig);
}

/* Twice as fast: a second on the wall is two of the video. */
static void test_fast(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    set_segment(rig, 2.0, 0, GST_CLOCK_TIME_NONE, 0);
    frame(rig, 0);
    caption(rig, "one", LIVE, 1000 * MS);
    expect(rig, "stream", "caps", "segment 0", "gap 0+40", "text 40+2000 one", "gap 2040+0", NULL);
    caption(rig, "two", 3000 * MS, 500 * MS);
    expect(rig, "text 3000+500 two", "gap 3500+0", NULL);
    rig_free(rig);
}

/* Backwards, text is played from its end to its start, before which the frame was. */
static void test_backwards(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    set_segment(rig, -1.0, 0, 4000 * MS, 0);
    frame(rig, 3960);
    expect(rig, "stream", "caps", "segment 0", "gap 3960+40", NULL);
    caption(rig, "one", LIVE, 1000 * MS);
    expect(rig, "text 2960+1000 one", "gap 2960+0", NULL);
    frame(rig, 3920);
    expect_quiet(rig);
    frame(rig, 2920);
    expect(rig, "gap 2920+40", NULL);
    /* Not beyond the segment's start. */
    frame(rig, 40);
    expect(rig, "gap 40+2880", NULL);
    caption(rig, "two", LIVE, 1000 * MS);
    expect(rig, "text 0+40 two", "gap 0+0", NULL);
    rig_free(rig);
}

/* Text and GAPs stay in the segment; frames outside it call for none. */
static void test_segment_end(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    set_segment(rig, 1.0, 1000 * MS, 2000 * MS, 0);
    expect(rig, "stream", "caps", "segment 1000", NULL);
    frame(rig, 960);
    expect_quiet(rig);
    frame(rig, 990);
    expect(rig, "gap 1000+30", NULL);
    caption(rig, "one", LIVE, 9000 * MS);
    expect(rig, "text 1030+970 one", "gap 2000+0", NULL);
    frame(rig, 1980);
    frame(rig, 2000);
    caption(rig, "two", LIVE, 9000 * MS);
    caption(rig, "three", 2000 * MS, 9000 * MS);
    expect_quiet(rig);
    rig_free(rig);
}

/* A new segment of the same timeline: a live caption still waits for the end of the one before. */
static void test_new_segment(void)
{
    Rig *rig = rig_new();

    begin(rig);
    frame(rig, 0);
    caption(rig, "one", LIVE, 1000 * MS);
    expect(rig, "gap 0+40", "text 40+1000 one", "gap 1040+0", NULL);
    /* From 500 ms of running time on, this one counts from 10 s. */
    set_segment(rig, 1.0, 10000 * MS, GST_CLOCK_TIME_NONE, 500 * MS);
    expect(rig, "segment 10000", NULL);
    frame(rig, 10000);
    caption(rig, "two", LIVE, 1000 * MS);
    expect_quiet(rig);
    frame(rig, 10500);
    expect(rig, "text 10540+1000 two", "gap 11540+0", NULL);
    rig_free(rig);
}

/* A caption with a PTS keeps it where the old segment's text would have lasted longer. */
static void test_new_segment_complete(void)
{
    Rig *rig = rig_new();

    begin(rig);
    caption(rig, "one", 0, 1000 * MS);
    expect(rig, "text 0+1000 one", "gap 1000+0", NULL);
    set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 500 * MS);
    caption(rig, "two", 0, 1000 * MS);
    expect(rig, "segment 0", "text 0+1000 two", "gap 1000+0", NULL);
    rig_free(rig);
}

/* Times that nobody means: no arithmetic breaks, and text goes on with the next sane ones. */
static void test_nonsense_times(void)
{
    static const GstClockTime TIMES[] = {G_MAXINT64, (GstClockTime)G_MAXINT64 + 1, G_MAXUINT64 - 1,
                                         (GstClockTime)1 << 62};
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    for (guint i = 0; i < 4 * G_N_ELEMENTS(TIMES); i++) {
        const GstClockTime time = TIMES[i % G_N_ELEMENTS(TIMES)];
        const gboolean backwards = i / G_N_ELEMENTS(TIMES) % 2 == 1;

        gst_fastvlm_text_pad_set_repeat(rig->pad, i % 3 == 0 ? time : 0);
        set_segment(rig, backwards ? -1e9 : 1e9, 0, i < 8 ? 5000 * MS : G_MAXINT64, 0);
        frame(rig, 1000);
        caption(rig, "far", time, 40 * MS);
        caption(rig, "long", 1000 * MS, time);
        caption(rig, "long", LIVE, time);
        gst_fastvlm_text_pad_set_position(rig->pad, 1000 * MS, time);
        gst_fastvlm_text_pad_set_position(rig->pad, time, time);
        g_usleep(2000);
    }
    gst_fastvlm_text_pad_set_repeat(rig->pad, 0);
    set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    caption(rig, "sane", 0, 40 * MS);
    for (const char *line = ""; g_strcmp0(line, "text 0+40 sane") != 0;) {
        line = next_line(rig, PATIENCE_US);
        g_assert_nonnull(line);
    }
    rig_free(rig);
}

/* What muxers copy raw. */
static void test_harmless(void)
{
    Rig *rig = rig_new();

    begin(rig);
    caption(rig, "a\n\nb --> <i>c</i>\x01\xff", 0, 40 * MS);
    expect(rig,
           "text 0+40 a b \xe2\x86\x92 \xe2\x80\xb9i\xe2\x80\xba"
           "c\xe2\x80\xb9/i\xe2\x80\xba\xef\xbf\xbd",
           "gap 40+0", NULL);
    caption(rig, "\x01", 40 * MS, 40 * MS);
    frame(rig, 40);
    expect(rig, "gap 40+40", NULL);
    rig_free(rig);
}

/* Released while the peer holds a buffer for good, as a muxer in a paused pipeline does. */
static void test_released_while_held(void)
{
    Rig *rig = rig_new();

    begin(rig);
    hold(rig, TRUE);
    caption(rig, "held", 0, 40 * MS);
    wait_held(rig);
    const gint64 start = g_get_monotonic_time();
    gst_pad_set_active(GST_PAD(rig->pad), FALSE);
    g_assert_cmpfloat(ms_since(start), <, 1000);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/text/start", test_start);
    g_test_add_func("/text/frames-without-duration", test_frames_without_duration);
    g_test_add_func("/text/complete", test_complete);
    g_test_add_func("/text/live", test_live);
    g_test_add_func("/text/live-duration", test_live_duration);
    g_test_add_func("/text/never-overlaps", test_never_overlaps);
    g_test_add_func("/text/never-blocks", test_never_blocks);
    g_test_add_func("/text/complete-keeps-all", test_complete_keeps_all);
    g_test_add_func("/text/eos", test_eos);
    g_test_add_func("/text/eos-at-once", test_eos_at_once);
    g_test_add_func("/text/flush", test_flush);
    g_test_add_func("/text/flush-at-once", test_flush_at_once);
    g_test_add_func("/text/linked-late", test_linked_late);
    g_test_add_func("/text/peer-starts-late", test_peer_starts_late);
    g_test_add_func("/text/relinked", test_relinked);
    g_test_add_func("/text/flow", test_flow);
    g_test_add_func("/text/repeat-live", test_repeat_live);
    g_test_add_func("/text/repeat-complete", test_repeat_complete);
    g_test_add_func("/text/fast", test_fast);
    g_test_add_func("/text/backwards", test_backwards);
    g_test_add_func("/text/segment-end", test_segment_end);
    g_test_add_func("/text/new-segment", test_new_segment);
    g_test_add_func("/text/new-segment-complete", test_new_segment_complete);
    g_test_add_func("/text/nonsense-times", test_nonsense_times);
    g_test_add_func("/text/harmless", test_harmless);
    g_test_add_func("/text/released-while-held", test_released_while_held);
    return g_test_run();
}
