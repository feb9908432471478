/*
 * The audio stream: as many samples as time has passed, by the clock or by the text.
 *
 *     clock: a task of its own, a buffer every 20 ms; text: pushed by whoever brings the text
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include "private.h"

#define GST_CAT_DEFAULT gst_fastvlm_speak_debug

/* Behind the clock by more than this, what was missed is silence and the sentence goes on now. */
#define LATE (200 * GST_MSECOND)
/* By more than this (the machine slept) the stream has a hole. */
#define HOLE (10 * GST_SECOND)
/* Longest buffer where the text leads. */
#define LONGEST_MS 100

void gst_fastvlm_speak_wake(GstFastvlmSpeak *self)
{
    if (self->wait != NULL) {
        gst_clock_id_unschedule(self->wait);
    }
    g_cond_broadcast(&self->changed);
}

void gst_fastvlm_speak_restart(GstFastvlmSpeak *self)
{
    gst_segment_init(&self->segment, GST_FORMAT_TIME);
    self->segment_due = TRUE;
    self->discont = TRUE;
    self->origin = GST_CLOCK_TIME_NONE;
    self->n_samples = 0;
    self->eos = FALSE;
    self->flow = GST_FLOW_OK;
    if (self->speech != NULL) {
        gst_fastvlm_speech_reset(self->speech);
    }
}

void gst_fastvlm_speak_send_stream(GstFastvlmSpeak *self)
{
    g_mutex_lock(&self->lock);
    const gboolean due = !self->stream_sent;
    const guint rate = self->rate;
    self->stream_sent = TRUE;
    char *id = gst_pad_create_stream_id(self->src, GST_ELEMENT(self), "speech");
    GstEvent *start = gst_event_new_stream_start(id);
    gst_event_set_group_id(start, self->has_group_id ? self->group_id : gst_util_group_id_next());
    g_mutex_unlock(&self->lock);
    g_free(id);
    if (!due) {
        gst_event_unref(start);
        return;
    }
    gst_pad_push_event(self->src, start);
    GstCaps *caps = gst_caps_new_simple("audio/x-raw", "format", G_TYPE_STRING, "S16LE", "layout",
                                        G_TYPE_STRING, "interleaved", "rate", G_TYPE_INT, (int)rate,
                                        "channels", G_TYPE_INT, 1, NULL);
    gst_pad_push_event(self->src, gst_event_new_caps(caps));
    gst_caps_unref(caps);
}

static void send_segment(GstFastvlmSpeak *self)
{
    g_mutex_lock(&self->lock);
    const gboolean due = self->segment_due;
    const GstSegment segment = self->segment;
    self->segment_due = FALSE;
    g_mutex_unlock(&self->lock);
    if (due) {
        gst_pad_push_event(self->src, gst_event_new_segment(&segment));
    }
}

static GstClockTime get_time(const GstFastvlmSpeak *self, guint64 n_samples)
{
    return self->origin + gst_util_uint64_scale(n_samples, GST_SECOND, self->rate);
}

/* With the lock held. */
static GstBuffer *make_buffer(GstFastvlmSpeak *self, guint n_samples, gboolean silent)
{
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, n_samples * sizeof(gint16), NULL);
    GstMapInfo map;

    gst_buffer_map(buffer, &map, GST_MAP_WRITE);
    gint16 *samples = (gint16 *)(void *)map.data;
    if (silent) {
        memset(samples, 0, map.size);
    }
    if (silent || !gst_fastvlm_speech_pull(self->speech, samples, n_samples)) {
        GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_GAP);
    }
    for (guint i = 0; i < n_samples; i++) {
        samples[i] = GINT16_TO_LE(samples[i]);
    }
    gst_buffer_unmap(buffer, &map);
    GST_BUFFER_PTS(buffer) = get_time(self, self->n_samples);
    self->n_samples += n_samples;
    GST_BUFFER_DURATION(buffer) = get_time(self, self->n_samples) - GST_BUFFER_PTS(buffer);
    if (self->discont) {
        GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DISCONT);
    }
    self->discont = FALSE;
    return buffer;
}

static GstFlowReturn push(GstFastvlmSpeak *self, GstBuffer *buffer)
{
    gst_fastvlm_speak_send_stream(self);
    send_segment(self);
    const GstFlowReturn flow = gst_pad_push(self->src, buffer);
    g_mutex_lock(&self->lock);
    self->flow = self->flushing ? GST_FLOW_FLUSHING : flow;
    g_mutex_unlock(&self->lock);
    return flow;
}

/* Where the text leads: audio up to `to`, or (NONE) until all is said. */
static GstFlowReturn push_until(GstFastvlmSpeak *self, GstClockTime to)
{
    GstFlowReturn flow = GST_FLOW_OK;

    while (flow == GST_FLOW_OK) {
        guint n = self->rate * LONGEST_MS / 1000;

        g_mutex_lock(&self->lock);
        if (self->flushing) {
            flow = GST_FLOW_FLUSHING;
        } else if (!GST_CLOCK_TIME_IS_VALID(to)) {
            n = gst_fastvlm_speech_is_busy(self->speech) ? n : 0;
        } else {
            const GstClockTime left = to > self->origin ? to - self->origin : 0;
            const guint64 end = gst_util_uint64_scale(left, self->rate, GST_SECOND);
            n = end > self->n_samples ? (guint)MIN(n, end - self->n_samples) : 0;
        }
        GstBuffer *buffer = flow == GST_FLOW_OK && n > 0 ? make_buffer(self, n, FALSE) : NULL;
        g_mutex_unlock(&self->lock);
        if (buffer == NULL) {
            break;
        }
        flow = push(self, buffer);
    }
    return flow;
}

GstFlowReturn gst_fastvlm_speak_advance(GstFastvlmSpeak *self, GstClockTime to)
{
    g_mutex_lock(&self->lock);
    const gboolean leads = self->timing == GST_FASTVLM_SPEAK_TEXT;
    const GstFlowReturn flow = self->flow;
    if (leads && !GST_CLOCK_TIME_IS_VALID(self->origin)) {
        self->origin = MAX(self->segment.start, self->segment.position);
    }
    g_mutex_unlock(&self->lock);
    return leads && GST_CLOCK_TIME_IS_VALID(to) ? push_until(self, to) : flow;
}

GstFlowReturn gst_fastvlm_speak_finish(GstFastvlmSpeak *self)
{
    const GstFlowReturn flow = gst_fastvlm_speak_advance(self, GST_CLOCK_TIME_NONE);

    g_mutex_lock(&self->lock);
    const gboolean leads = self->timing == GST_FASTVLM_SPEAK_TEXT;
    g_mutex_unlock(&self->lock);
    return leads ? push_until(self, GST_CLOCK_TIME_NONE) : flow;
}

/* Running time by the clock; NONE without one. */
static GstClockTime get_now(GstFastvlmSpeak *self)
{
    return gst_element_get_current_running_time(GST_ELEMENT(self));
}

/* The clock's wait for the next buffer's time; FALSE where something changed. With the lock held. */
static gboolean wait_for_turn(GstFastvlmSpeak *self)
{
    const GstClockTime now = get_now(self);

    if (!GST_CLOCK_TIME_IS_VALID(now)) {
        g_cond_wait_until(&self->changed, &self->lock,
                          g_get_monotonic_time() + GST_FASTVLM_SPEAK_CHUNK_MS * 1000);
        return FALSE;
    }
    const GstClockTime next =
        GST_CLOCK_TIME_IS_VALID(self->origin) ? get_time(self, self->n_samples) : now;
    if (!GST_CLOCK_TIME_IS_VALID(self->origin) || now > next + HOLE || next > now + LATE) {
        self->discont = TRUE;
        self->origin = now;
        self->n_samples = 0;
        return TRUE;
    }
    if (next <= now) {
        return TRUE;
    }
    GstClock *clock = gst_element_get_clock(GST_ELEMENT(self));
    if (clock == NULL) {
        return FALSE;
    }
    self->wait =
        gst_clock_new_single_shot_id(clock, next + gst_element_get_base_time(GST_ELEMENT(self)));
    GstClockID id = self->wait;
    g_mutex_unlock(&self->lock);
    const GstClockReturn result = gst_clock_id_wait(id, NULL);
    g_mutex_lock(&self->lock);
    self->wait = NULL;
    gst_clock_id_unref(id);
    gst_object_unref(clock);
    return result != GST_CLOCK_UNSCHEDULED;
}

/* How long the task was kept from its work, in samples, once that is too long to catch up with. */
static guint count_missed(GstFastvlmSpeak *self)
{
    const GstClockTime now = get_now(self), next = get_time(self, self->n_samples);

    if (!GST_CLOCK_TIME_IS_VALID(now) || now <= next + LATE) {
        return 0;
    }
    return (guint)gst_util_uint64_scale(now - next, self->rate, GST_SECOND);
}

/* The next buffer of the task, or NULL; `ended` where all is said and the text is at its end. */
static GstBuffer *next_buffer(GstFastvlmSpeak *self, gboolean *ended)
{
    GstBuffer *buffer = NULL;

    g_mutex_lock(&self->lock);
    while (!self->playing && !self->flushing) {
        g_cond_wait(&self->changed, &self->lock);
    }
    *ended = self->eos && !gst_fastvlm_speech_is_busy(self->speech);
    if (!self->flushing && !*ended && wait_for_turn(self) && self->playing && !self->flushing) {
        const guint missed = count_missed(self);
        buffer = make_buffer(
            self, missed > 0 ? missed : self->rate * GST_FASTVLM_SPEAK_CHUNK_MS / 1000, missed > 0);
    }
    g_mutex_unlock(&self->lock);
    return buffer;
}

static void run_task(gpointer data)
{
    GstFastvlmSpeak *self = data;
    gboolean ended = FALSE;
    GstBuffer *buffer = next_buffer(self, &ended);
    GstFlowReturn flow = GST_FLOW_OK;

    if (buffer != NULL) {
        flow = push(self, buffer);
    } else if (ended) {
        gst_fastvlm_speak_send_stream(self);
        send_segment(self);
        gst_pad_push_event(self->src, gst_event_new_eos());
        flow = GST_FLOW_EOS;
    }
    g_mutex_lock(&self->lock);
    const gboolean stop = self->flushing || flow != GST_FLOW_OK;
    g_mutex_unlock(&self->lock);
    if (!stop) {
        return;
    }
    gst_pad_pause_task(self->src);
    if (flow == GST_FLOW_NOT_LINKED || flow < GST_FLOW_EOS) {
        GST_ELEMENT_FLOW_ERROR(self, flow);
        gst_pad_push_event(self->src, gst_event_new_eos());
    }
}

/* TRUE with `live` set where upstream knows. */
static gboolean ask_upstream(GstFastvlmSpeak *self, gboolean *live)
{
    GstQuery *query = gst_query_new_latency();
    const gboolean known = gst_pad_peer_query(self->sink, query);

    if (known) {
        gst_query_parse_latency(query, live, NULL, NULL);
    }
    gst_query_unref(query);
    return known;
}

void gst_fastvlm_speak_settle_timing(GstFastvlmSpeak *self)
{
    gboolean live = FALSE;

    GST_OBJECT_LOCK(self);
    GstFastvlmSpeakTiming timing = self->wanted_timing;
    GST_OBJECT_UNLOCK(self);
    g_mutex_lock(&self->lock);
    if (self->timing != GST_FASTVLM_SPEAK_AUTO) {
        timing = self->timing;
    }
    g_mutex_unlock(&self->lock);
    if (timing == GST_FASTVLM_SPEAK_AUTO && ask_upstream(self, &live)) {
        timing = live ? GST_FASTVLM_SPEAK_CLOCK : GST_FASTVLM_SPEAK_TEXT;
    }
    g_mutex_lock(&self->lock);
    self->timing = timing;
    const gboolean start = timing == GST_FASTVLM_SPEAK_CLOCK && self->playing && !self->flushing;
    g_mutex_unlock(&self->lock);
    if (start) {
        gst_pad_start_task(self->src, run_task, self, NULL);
    }
}
