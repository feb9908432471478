/*
 * The text_src pad in a bare bin; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text_rig.h"

#include <string.h>

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

Rig *rig_new_unlinked(void)
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

void rig_link(Rig *rig)
{
    g_assert_cmpint(gst_pad_link(GST_PAD(rig->pad), rig->peer), ==, GST_PAD_LINK_OK);
}

Rig *rig_new(void)
{
    Rig *rig = rig_new_unlinked();

    rig_link(rig);
    return rig;
}

void rig_hold(Rig *rig, gboolean held)
{
    g_mutex_lock(&rig->lock);
    rig->hold = held;
    g_cond_broadcast(&rig->cond);
    g_mutex_unlock(&rig->lock);
}

void rig_wait_held(Rig *rig)
{
    const gint64 until = g_get_monotonic_time() + PATIENCE_US;

    g_mutex_lock(&rig->lock);
    while (rig->n_held == 0) {
        g_assert_true(g_cond_wait_until(&rig->cond, &rig->lock, until));
    }
    g_mutex_unlock(&rig->lock);
}

void rig_free(Rig *rig)
{
    rig_hold(rig, FALSE);
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

const char *rig_next_line(Rig *rig, gint64 timeout_us)
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

void rig_expect(Rig *rig, ...)
{
    va_list lines;

    va_start(lines, rig);
    for (const char *line; (line = va_arg(lines, const char *)) != NULL;) {
        g_assert_cmpstr(rig_next_line(rig, PATIENCE_US), ==, line);
    }
    va_end(lines);
}

void rig_expect_quiet(Rig *rig)
{
    g_assert_cmpstr(rig_next_line(rig, QUIET_US), ==, NULL);
}

void rig_set_segment(Rig *rig, double rate, GstClockTime start, GstClockTime stop,
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

void rig_frame(Rig *rig, guint pts_ms)
{
    gst_fastvlm_text_pad_set_position(rig->pad, pts_ms * MS, 40 * MS);
}

void rig_caption(Rig *rig, const char *text, GstClockTime pts, GstClockTime duration)
{
    gst_fastvlm_text_pad_push_caption(rig->pad, text, pts, duration);
}

void rig_begin(Rig *rig)
{
    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    rig_set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    rig_expect(rig, "stream", "caps", "segment 0", NULL);
}

void rig_await(Rig *rig, const char *line)
{
    const char *found;

    do {
        found = rig_next_line(rig, PATIENCE_US);
        g_assert_nonnull(found);
    } while (strcmp(found, line) != 0);
}
