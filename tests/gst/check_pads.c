/*
 * Pads: caps, queries, events, latency, seeks, the request pad, and what overlay=true negotiates.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#define COMPLETE "mode=complete interval=40000000 "
#define FEATURE GST_CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION
#define CAPS_WITH_FEATURE \
    "video/x-raw(" FEATURE "), format=I420, width=64, height=48, framerate=25/1"

static GstPad *get_pad(Fixture *fixture, const char *name)
{
    GstPad *pad = gst_element_get_static_pad(fixture->element, name);

    g_assert_nonnull(pad);
    return pad;
}

/* The factory's class and pads are what the documentation says. */
static void test_factory(void)
{
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));
    GstElementClass *klass = GST_ELEMENT_GET_CLASS(element);

    g_assert_cmpstr(gst_element_class_get_metadata(klass, GST_ELEMENT_METADATA_KLASS), ==,
                    "Filter/Analyzer/Video");
    g_assert_nonnull(gst_element_class_get_pad_template(klass, "sink"));
    g_assert_nonnull(gst_element_class_get_pad_template(klass, "src"));
    GstPadTemplate *text = gst_element_class_get_pad_template(klass, "text_src");
    g_assert_nonnull(text);
    g_assert_cmpint(GST_PAD_TEMPLATE_PRESENCE(text), ==, GST_PAD_REQUEST);
    gst_object_unref(element);
}

static char *query_caps(GstPad *pad, const char *filter_string)
{
    GstCaps *filter = filter_string != NULL ? gst_caps_from_string(filter_string) : NULL;
    GstCaps *caps = gst_pad_query_caps(pad, filter);
    char *string = gst_caps_to_string(caps);

    gst_caps_unref(caps);
    gst_clear_caps(&filter);
    return string;
}

/* The sink pad takes what downstream takes and no more; the src pad offers what upstream has. */
static void test_caps_pass_through(void)
{
    Fixture *fixture = fixture_new("", NULL);
    GstPad *sink = get_pad(fixture, "sink"), *src = get_pad(fixture, "src");

    gst_harness_set_sink_caps_str(fixture->harness,
                                  "video/x-raw, format={NV12, BGRx, v210}, width=320, height=240, "
                                  "framerate=25/1");
    char *caps = query_caps(sink, NULL);
    g_assert_nonnull(strstr(caps, "NV12"));
    g_assert_nonnull(strstr(caps, "320"));
    g_assert_null(strstr(caps, "v210"));
    g_assert_null(strstr(caps, "I420"));
    g_free(caps);
    caps = query_caps(sink, "video/x-raw, format={BGRx, RGB}");
    g_assert_nonnull(strstr(caps, "BGRx"));
    g_assert_null(strstr(caps, "NV12"));
    g_free(caps);
    gst_harness_set_src_caps_str(fixture->harness,
                                 "video/x-raw, format=NV12, width=320, height=240, framerate=25/1");
    caps = query_caps(src, NULL);
    g_assert_null(strstr(caps, FEATURE));
    g_free(caps);
    gst_object_unref(sink);
    gst_object_unref(src);
    fixture_free(fixture);
}

/* What cannot be read is not accepted: other formats, memory that is not the system's. */
static void test_caps_refused(void)
{
    static const char *const refused[] = {
        "video/x-raw, format=v210, width=64, height=48, framerate=25/1",
        "video/x-raw(memory:DMABuf), format=NV12, width=64, height=48, framerate=25/1",
        "video/x-raw(memory:GLMemory), format=RGBA, width=64, height=48, framerate=25/1",
        "audio/x-raw, format=S16LE, rate=8000, channels=1",
    };
    Fixture *fixture = fixture_new("", NULL);
    GstPad *sink = get_pad(fixture, "sink");

    for (gsize i = 0; i < G_N_ELEMENTS(refused); i++) {
        GstCaps *caps = gst_caps_from_string(refused[i]);
        g_assert_false(gst_pad_query_accept_caps(sink, caps));
        gst_caps_unref(caps);
    }
    gst_object_unref(sink);
    fixture_free(fixture);
}

/* Frames before caps are refused, without a crash. */
static void test_no_caps(void)
{
    Fixture *fixture = fixture_new("", NULL);
    GstSegment segment;
    GstPad *sink = get_pad(fixture, "sink");

    gst_segment_init(&segment, GST_FORMAT_TIME);
    gst_pad_send_event(sink, gst_event_new_stream_start("x"));
    gst_pad_send_event(sink, gst_event_new_segment(&segment));
    g_assert_cmpint(gst_pad_chain(sink, make_frame(CAPS, 0, 0)), ==, GST_FLOW_NOT_NEGOTIATED);
    gst_object_unref(sink);
    fixture_free(fixture);
}

/* ---- overlay ---- */

static void add_overlay_meta(Fixture *fixture)
{
    gst_harness_add_propose_allocation_meta(fixture->harness,
                                            GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
}

static void check_overlay(Fixture *fixture, gboolean with_feature, gboolean with_meta,
                          gboolean changed)
{
    GstBuffer *frame = make_frame(CAPS, 0x2040c0, 0);
    GstBuffer *reference = gst_buffer_copy_deep(frame);
    GstMapInfo map;

    g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==, GST_FLOW_OK);
    GstCaps *caps = gst_pad_get_current_caps(fixture->harness->sinkpad);
    g_assert_true(gst_caps_features_contains(gst_caps_get_features(caps, 0), FEATURE) ==
                  with_feature);
    gst_caps_unref(caps);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    g_assert_true((gst_buffer_get_video_overlay_composition_meta(out) != NULL) == with_meta);
    g_assert_true(gst_buffer_map(reference, &map, GST_MAP_READ));
    g_assert_true((gst_buffer_memcmp(out, 0, map.data, map.size) != 0) == changed);
    gst_buffer_unmap(reference, &map);
    gst_buffer_unref(out);
    gst_buffer_unref(reference);
}

/* Off: neither feature nor meta nor a changed pixel, whatever downstream takes. */
static void test_overlay_off(void)
{
    Fixture *fixture = fixture_new(COMPLETE, NULL);

    gst_harness_set_sink_caps_str(fixture->harness, CAPS_WITH_FEATURE ";" CAPS);
    add_overlay_meta(fixture);
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    check_overlay(fixture, FALSE, FALSE, FALSE);
    fixture_free(fixture);
}

/* Downstream takes compositions, in either spelling: it gets them, and untouched pixels. */
static void test_overlay_downstream(void)
{
    static const char *const spellings[] = {CAPS_WITH_FEATURE,
                                            "video/x-raw(memory:SystemMemory, " FEATURE
                                            "), format=I420, width=64, height=48, framerate=25/1"};

    for (gsize i = 0; i < G_N_ELEMENTS(spellings); i++) {
        Fixture *fixture = fixture_new(COMPLETE "overlay=true", NULL);

        gst_harness_set_sink_caps_str(fixture->harness, spellings[i]);
        add_overlay_meta(fixture);
        gst_harness_set_src_caps_str(fixture->harness, CAPS);
        check_overlay(fixture, TRUE, TRUE, FALSE);
        fixture_free(fixture);
    }
}

/* Its caps say so, but its allocation does not: drawn here. */
static void test_overlay_half_hearted(void)
{
    Fixture *fixture = fixture_new(COMPLETE "overlay=true", NULL);

    gst_harness_set_sink_caps_str(fixture->harness, CAPS_WITH_FEATURE ";" CAPS);
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    check_overlay(fixture, FALSE, FALSE, TRUE);
    fixture_free(fixture);
}

/* Downstream knows nothing of it: drawn here. */
static void test_overlay_here(void)
{
    Fixture *fixture = fixture_new(COMPLETE "overlay=true", NULL);

    gst_harness_set_sink_caps_str(fixture->harness, CAPS);
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    check_overlay(fixture, FALSE, FALSE, TRUE);
    fixture_free(fixture);
}

/* Switched while playing: the caps follow, and the current caption is there at once. */
static void test_overlay_switched(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=10000000000", NULL);

    gst_harness_set_sink_caps_str(fixture->harness, CAPS_WITH_FEATURE ";" CAPS);
    add_overlay_meta(fixture);
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    for (int round = 0; round < 3; round++) {
        check_overlay(fixture, FALSE, FALSE, FALSE);
        g_object_set(fixture->element, "overlay", TRUE, NULL);
        check_overlay(fixture, TRUE, TRUE, FALSE);
        g_object_set(fixture->element, "overlay", FALSE, NULL);
    }
    fixture_free(fixture);
}

/* A flush takes the drawn text away too. */
static void test_overlay_flush(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=10000000000 overlay=true", CAPS);
    GstSegment segment;

    check_overlay(fixture, FALSE, FALSE, TRUE);
    gst_harness_push_event(fixture->harness, gst_event_new_flush_start());
    gst_harness_push_event(fixture->harness, gst_event_new_flush_stop(TRUE));
    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.start = GST_SECOND; /* the frame is outside: no sample */
    gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment));
    check_overlay(fixture, FALSE, FALSE, FALSE);
    fixture_free(fixture);
}

/* ---- queries and events ---- */

static GstPadProbeReturn answer_latency(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    GstQuery *query = GST_PAD_PROBE_INFO_QUERY(info);

    if (GST_QUERY_TYPE(query) != GST_QUERY_LATENCY) {
        return GST_PAD_PROBE_OK;
    }
    gst_query_set_latency(query, TRUE, 33 * GST_MSECOND, 50 * GST_MSECOND);
    return GST_PAD_PROBE_HANDLED;
}

static void check_latency(GstPad *pad, GstClockTime expected_min, GstClockTime expected_max)
{
    GstQuery *query = gst_query_new_latency();
    gboolean live;
    GstClockTime min, max;

    g_assert_true(gst_pad_query(pad, query));
    gst_query_parse_latency(query, &live, &min, &max);
    g_assert_true(live);
    g_assert_cmpuint(min, ==, expected_min);
    g_assert_cmpuint(max, ==, expected_max);
    gst_query_unref(query);
}

/* Nothing is added to upstream's latency on src. text_src answers for itself: as late as the video,
 * and it holds nobody up. */
static void test_latency(void)
{
    Fixture *fixture = fixture_new("", NULL);
    GstPad *src = get_pad(fixture, "src");
    GstPad *text = gst_element_request_pad_simple(fixture->element, "text_src");

    gst_pad_add_probe(fixture->harness->srcpad,
                      GST_PAD_PROBE_TYPE_QUERY_UPSTREAM | GST_PAD_PROBE_TYPE_PUSH, answer_latency,
                      NULL, NULL);
    check_latency(src, 33 * GST_MSECOND, 50 * GST_MSECOND);
    check_latency(text, 33 * GST_MSECOND, GST_CLOCK_TIME_NONE);
    gst_element_release_request_pad(fixture->element, text);
    gst_object_unref(text);
    gst_object_unref(src);
    fixture_free(fixture);
}

typedef struct {
    guint n_seeks, n_qos, n_others;
} Upstream;

static GstPadProbeReturn count_upstream(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    Upstream *upstream = user_data;

    switch (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info))) {
    case GST_EVENT_SEEK:
        upstream->n_seeks++;
        /* As a source that handles it. */
        gst_event_unref(GST_PAD_PROBE_INFO_EVENT(info));
        return GST_PAD_PROBE_HANDLED;
    case GST_EVENT_QOS:
        upstream->n_qos++;
        break;
    default:
        upstream->n_others++;
    }
    return GST_PAD_PROBE_OK;
}

static GstEvent *make_seek(guint32 seqnum)
{
    GstEvent *event = gst_event_new_seek(1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH,
                                         GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0);

    gst_event_set_seqnum(event, seqnum);
    return event;
}

/* A seek that comes from both pads goes up once; another one goes up again; QoS of text does not. */
static void test_upstream_events(void)
{
    Fixture *fixture = fixture_new("", CAPS);
    GstPad *src = get_pad(fixture, "src");
    GstPad *text = gst_element_request_pad_simple(fixture->element, "text_src");
    const guint32 first = gst_util_seqnum_next(), second = gst_util_seqnum_next();
    Upstream upstream = {0};

    gst_pad_add_probe(fixture->harness->srcpad, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, count_upstream,
                      &upstream, NULL);
    g_assert_true(gst_pad_send_event(src, make_seek(first)));
    g_assert_true(gst_pad_send_event(text, make_seek(first)));
    g_assert_cmpuint(upstream.n_seeks, ==, 1);
    g_assert_true(gst_pad_send_event(text, make_seek(second)));
    g_assert_true(gst_pad_send_event(src, make_seek(second)));
    g_assert_cmpuint(upstream.n_seeks, ==, 2);

    gst_pad_send_event(text, gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 0.5, 10, GST_SECOND));
    g_assert_cmpuint(upstream.n_qos, ==, 0);
    gst_pad_send_event(src, gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 0.5, 10, GST_SECOND));
    g_assert_cmpuint(upstream.n_qos, ==, 1);
    gst_element_release_request_pad(fixture->element, text);
    gst_object_unref(text);
    gst_object_unref(src);
    fixture_free(fixture);
}

static GstFlowReturn refuse(GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
    gst_buffer_unref(buffer);
    return GST_FLOW_EOS;
}

/* What downstream says to a frame, upstream hears. */
static void test_flow_returns(void)
{
    Fixture *fixture = fixture_new("", CAPS);

    gst_pad_set_chain_function(fixture->harness->sinkpad, refuse);
    g_assert_cmpint(push_frame(fixture, 0, 0), ==, GST_FLOW_EOS);
    fixture_free(fixture);
}

/* Events that the element has no part in go by, in order with the frames. */
static void test_events_pass(void)
{
    Fixture *fixture = fixture_new("", CAPS);
    GstEvent *event;
    gboolean seen = FALSE;

    push_frame(fixture, 0, 0);
    gst_harness_push_event(
        fixture->harness,
        gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty("something")));
    while ((event = gst_harness_try_pull_event(fixture->harness)) != NULL) {
        seen |= GST_EVENT_TYPE(event) == GST_EVENT_CUSTOM_DOWNSTREAM;
        gst_event_unref(event);
    }
    g_assert_true(seen);
    fixture_free(fixture);
}

static GstPad *get_link(GstPad *pad)
{
    GstIterator *links = gst_pad_iterate_internal_links(pad);
    GValue value = G_VALUE_INIT;

    g_assert_cmpint(gst_iterator_next(links, &value), ==, GST_ITERATOR_OK);
    GstPad *other = g_value_dup_object(&value);
    g_value_reset(&value);
    g_assert_cmpint(gst_iterator_next(links, &value), ==, GST_ITERATOR_DONE);
    g_value_unset(&value);
    gst_iterator_free(links);
    return other;
}

/* sink and src belong together; text_src asks sink. */
static void test_internal_links(void)
{
    Fixture *fixture = fixture_new("", NULL);
    GstPad *sink = get_pad(fixture, "sink"), *src = get_pad(fixture, "src");
    GstPad *text = gst_element_request_pad_simple(fixture->element, "text_src");
    GstPad *of_sink = get_link(sink), *of_src = get_link(src), *of_text = get_link(text);

    g_assert_true(of_sink == src);
    g_assert_true(of_src == sink);
    g_assert_true(of_text == sink);
    gst_object_unref(of_sink);
    gst_object_unref(of_src);
    gst_object_unref(of_text);
    gst_element_release_request_pad(fixture->element, text);
    gst_object_unref(text);
    gst_object_unref(sink);
    gst_object_unref(src);
    fixture_free(fixture);
}

/* ---- text_src ---- */

typedef struct {
    GMutex lock;
    GCond changed;
    GString *events; /* a letter each: S stream-start, C caps, G segment, g gap, b buffer, E eos */
    char *text;
    GstClockTime pts, duration;
} TextSink;

static void note(TextSink *sink, char letter)
{
    g_mutex_lock(&sink->lock);
    g_string_append_c(sink->events, letter);
    g_cond_broadcast(&sink->changed);
    g_mutex_unlock(&sink->lock);
}

static gboolean text_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    TextSink *sink = gst_pad_get_element_private(pad);

    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START:
        note(sink, 'S');
        break;
    case GST_EVENT_CAPS:
        note(sink, 'C');
        break;
    case GST_EVENT_SEGMENT:
        note(sink, 'G');
        break;
    case GST_EVENT_EOS:
        note(sink, 'E');
        break;
    case GST_EVENT_GAP:
        note(sink, 'g');
        break;
    default:
        break;
    }
    gst_event_unref(event);
    return TRUE;
}

static GstFlowReturn text_chain(GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
    TextSink *sink = gst_pad_get_element_private(pad);
    GstMapInfo map;

    g_assert_true(gst_buffer_map(buffer, &map, GST_MAP_READ));
    g_mutex_lock(&sink->lock);
    g_free(sink->text);
    sink->text = g_strndup((const char *)map.data, map.size);
    sink->pts = GST_BUFFER_PTS(buffer);
    sink->duration = GST_BUFFER_DURATION(buffer);
    g_mutex_unlock(&sink->lock);
    gst_buffer_unmap(buffer, &map);
    gst_buffer_unref(buffer);
    note(sink, 'b');
    return GST_FLOW_OK;
}

static gboolean wait_events(TextSink *sink, char letter)
{
    const gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
    gboolean in_time = TRUE;

    g_mutex_lock(&sink->lock);
    while (strchr(sink->events->str, letter) == NULL && in_time) {
        in_time = g_cond_wait_until(&sink->changed, &sink->lock, deadline);
    }
    g_mutex_unlock(&sink->lock);
    return in_time;
}

static GstPad *link_text(Fixture *fixture, TextSink *sink, GstPad **src)
{
    GstPad *pad = gst_pad_new("sink", GST_PAD_SINK);

    *sink = (TextSink){.events = g_string_new(NULL)};
    g_mutex_init(&sink->lock);
    g_cond_init(&sink->changed);
    gst_pad_set_element_private(pad, sink);
    gst_pad_set_event_function(pad, text_event);
    gst_pad_set_chain_function(pad, text_chain);
    gst_pad_set_active(pad, TRUE);
    *src = gst_element_request_pad_simple(fixture->element, "text_src");
    g_assert_nonnull(*src);
    g_assert_cmpint(gst_pad_link(*src, pad), ==, GST_PAD_LINK_OK);
    return pad;
}

static void unlink_text(Fixture *fixture, TextSink *sink, GstPad *pad, GstPad *src)
{
    gst_element_release_request_pad(fixture->element, src);
    gst_object_unref(src);
    gst_pad_set_active(pad, FALSE);
    gst_object_unref(pad);
    g_string_free(sink->events, TRUE);
    g_free(sink->text);
    g_cond_clear(&sink->changed);
    g_mutex_clear(&sink->lock);
}

/* Captions come out of text_src with their frame's time, after the stream's beginning. */
static void test_text_complete(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=80000000", NULL);
    TextSink sink;
    GstPad *src, *pad = link_text(fixture, &sink, &src);

    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    push_frame(fixture, 0xffffff, FRAME_DURATION);
    g_assert_true(wait_events(&sink, 'b'));
    g_mutex_lock(&sink.lock);
    g_assert_true(g_str_has_prefix(sink.events->str, "SCG"));
    g_assert_cmpstr(sink.text, ==, "saw 4 4 4");
    g_assert_cmpuint(sink.pts, ==, FRAME_DURATION);
    g_assert_cmpuint(sink.duration, ==, 2 * FRAME_DURATION);
    g_mutex_unlock(&sink.lock);
    gst_harness_push_event(fixture->harness, gst_event_new_eos());
    g_assert_true(wait_events(&sink, 'E'));
    unlink_text(fixture, &sink, pad, src);
    fixture_free(fixture);
}

/* With double the rate, the duration is in the frame's own time. */
static void test_text_rate(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=80000000", NULL);
    TextSink sink;
    GstPad *src, *pad = link_text(fixture, &sink, &src);
    GstSegment segment;

    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.rate = 2.0;
    gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment));
    push_frame(fixture, 0xffffff, 0);
    g_assert_true(wait_events(&sink, 'b'));
    g_mutex_lock(&sink.lock);
    g_assert_cmpuint(sink.duration, ==, 160 * GST_MSECOND);
    g_mutex_unlock(&sink.lock);
    unlink_text(fixture, &sink, pad, src);
    fixture_free(fixture);
}

/* The first frame brings a GAP, long before the first caption: sinks preroll. */
static void test_text_preroll(void)
{
    Fixture *fixture = fixture_new("", NULL);
    TextSink sink;
    GstPad *src, *pad = link_text(fixture, &sink, &src);

    fake_hold(TRUE);
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    push_frame(fixture, 0xffffff, 0);
    g_assert_true(wait_events(&sink, 'g'));
    fake_hold(FALSE);
    unlink_text(fixture, &sink, pad, src);
    fixture_free(fixture);
}

/* One that comes late begins with the stream and the current caption; there is one at most. */
static void test_text_comes_and_goes(void)
{
    Fixture *fixture = fixture_new("mode=live interval=40000000", CAPS);

    for (guint i = 0; i < 4; i++) {
        TextSink sink;

        push_frame(fixture, 0xffffff, 2 * i * FRAME_DURATION);
        wait_caption(fixture, "final");
        g_assert_true(wait_stat(fixture, "captions", 2 * i + 1));
        fake_hold(TRUE);
        GstPad *src, *pad = link_text(fixture, &sink, &src);
        g_assert_null(gst_element_request_pad(
            fixture->element, gst_element_get_pad_template(fixture->element, "text_src"), NULL,
            NULL));
        g_object_set(fixture->element, "interval", (guint64)GST_SECOND, NULL);
        push_frame(fixture, 0xffffff, (2 * i + 1) * FRAME_DURATION);
        g_assert_true(wait_events(&sink, 'b'));
        g_mutex_lock(&sink.lock);
        g_assert_true(g_str_has_prefix(sink.events->str, "SCG"));
        g_assert_cmpstr(sink.text, ==, "saw 4 4 4");
        g_mutex_unlock(&sink.lock);
        fake_hold(FALSE);
        unlink_text(fixture, &sink, pad, src);
        wait_caption(fixture, "final");
        g_object_set(fixture->element, "interval", (guint64)(40 * GST_MSECOND), NULL);
    }
    fixture_free(fixture);
}

/* A text branch that takes nothing does not hold the video up. */
static void test_text_blocked(void)
{
    Fixture *fixture = fixture_new("interval=40000000", NULL);
    TextSink sink;
    GstPad *src, *pad = link_text(fixture, &sink, &src);
    const gulong id = gst_pad_add_probe(src, GST_PAD_PROBE_TYPE_BLOCK_DOWNSTREAM, NULL, NULL, NULL);

    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    const gint64 start = g_get_monotonic_time();
    for (guint i = 0; i < 25; i++) {
        g_assert_cmpint(push_frame(fixture, 0xffffff, i * FRAME_DURATION), ==, GST_FLOW_OK);
    }
    assert_prompt(start);
    wait_caption(fixture, "final");
    g_assert_cmpint(push_frame(fixture, 0xffffff, 25 * FRAME_DURATION), ==, GST_FLOW_OK);
    wait_caption(fixture, "final");
    gst_pad_remove_probe(src, id);
    unlink_text(fixture, &sink, pad, src);
    fixture_free(fixture);
}

/* After a flush no earlier text comes. */
static void test_text_flush(void)
{
    Fixture *fixture = fixture_new(COMPLETE, NULL);
    TextSink sink;
    GstPad *src, *pad = link_text(fixture, &sink, &src);
    GstSegment segment;

    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    push_frame(fixture, 0x000000, 0);
    g_assert_true(wait_events(&sink, 'b'));
    gst_harness_push_event(fixture->harness, gst_event_new_flush_start());
    gst_harness_push_event(fixture->harness, gst_event_new_flush_stop(TRUE));
    g_mutex_lock(&sink.lock);
    g_string_truncate(sink.events, 0);
    g_mutex_unlock(&sink.lock);
    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.start = segment.time = 3 * GST_SECOND;
    gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment));
    push_frame(fixture, 0xffffff, 3 * GST_SECOND);
    g_assert_true(wait_events(&sink, 'b'));
    g_mutex_lock(&sink.lock);
    g_assert_cmpstr(sink.text, ==, "saw 4 4 4");
    g_assert_cmpuint(sink.pts, ==, 3 * GST_SECOND);
    g_assert_true(g_str_has_prefix(sink.events->str, "G"));
    g_mutex_unlock(&sink.lock);
    unlink_text(fixture, &sink, pad, src);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/pads/factory", test_factory);
    g_test_add_func("/caps/pass-through", test_caps_pass_through);
    g_test_add_func("/caps/refused", test_caps_refused);
    g_test_add_func("/caps/none", test_no_caps);
    g_test_add_func("/overlay/off", test_overlay_off);
    g_test_add_func("/overlay/downstream", test_overlay_downstream);
    g_test_add_func("/overlay/half-hearted", test_overlay_half_hearted);
    g_test_add_func("/overlay/here", test_overlay_here);
    g_test_add_func("/overlay/switched", test_overlay_switched);
    g_test_add_func("/overlay/flush", test_overlay_flush);
    g_test_add_func("/links/latency", test_latency);
    g_test_add_func("/links/upstream-events", test_upstream_events);
    g_test_add_func("/links/flow-returns", test_flow_returns);
    g_test_add_func("/links/events-pass", test_events_pass);
    g_test_add_func("/links/internal", test_internal_links);
    g_test_add_func("/text/complete", test_text_complete);
    g_test_add_func("/text/rate", test_text_rate);
    g_test_add_func("/text/preroll", test_text_preroll);
    g_test_add_func("/text/comes-and-goes", test_text_comes_and_goes);
    g_test_add_func("/text/blocked", test_text_blocked);
    g_test_add_func("/text/flush", test_text_flush);
    return g_test_run();
}
