/*
 * The text_src pad: its task, and what keeps that from holding anybody up.
 *
 *     calls -> track, under the lock -> task: takes a batch, pushes it without the lock, notes what
 *     came back
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmtextpad.h"

#include "gstfastvlmtexttrack.h"

GST_DEBUG_CATEGORY_STATIC(gst_fastvlm_text_pad_debug);
#define GST_CAT_DEFAULT gst_fastvlm_text_pad_debug

/* A peer that was linked before its element has started says nothing when it does. */
#define RETRY_INTERVAL (50 * G_TIME_SPAN_MILLISECOND)

/* How long deactivation gives a push to return before it flushes the peer. */
#define STOP_PATIENCE (100 * G_TIME_SPAN_MILLISECOND)

struct _GstFastvlmTextPad {
    GstPad parent;

    GMutex lock; /* for all that follows; never held while pushing */
    GCond cond;
    GstFastvlmTextTrack track;
    gboolean flushing;
    gboolean stopping;
    gboolean busy;   /* the task is pushing */
    gboolean dead;   /* downstream wants no more: EOS or an error */
    gint64 retry_us; /* when to announce again to a peer that was not active; 0: no need */
};

G_DEFINE_TYPE_WITH_CODE(GstFastvlmTextPad, gst_fastvlm_text_pad, GST_TYPE_PAD,
                        GST_DEBUG_CATEGORY_INIT(gst_fastvlm_text_pad_debug, "fastvlmtextpad", 0,
                                                "captions as a text stream"))

/* ---- the task ---- */

static GstFlowReturn push_object(GstFastvlmTextPad *self, GstMiniObject *object, gboolean dead)
{
    GstPad *pad = GST_PAD(self);

    if (GST_IS_EVENT(object) && GST_EVENT_IS_STICKY(object)) {
        gst_pad_push_event(pad, GST_EVENT_CAST(object));
    } else if (dead) {
        gst_mini_object_unref(object);
    } else if (GST_IS_BUFFER(object)) {
        return gst_pad_push(pad, GST_BUFFER_CAST(object));
    } else if (!gst_pad_push_event(pad, GST_EVENT_CAST(object)) && gst_pad_is_linked(pad)) {
        return GST_FLOW_FLUSHING;
    }
    return GST_FLOW_OK;
}

/* Without the lock. Where downstream wants no more, text and GAPs are dropped. */
static GstFlowReturn push_batch(GstFastvlmTextPad *self, GstFastvlmTextBatch *batch, gboolean dead)
{
    GstFlowReturn flow = GST_FLOW_OK;

    for (guint i = 0; i < batch->n_objects; i++) {
        const GstFlowReturn result = push_object(self, batch->objects[i], dead);

        flow = flow == GST_FLOW_OK ? result : flow;
    }
    return flow;
}

/* With the lock held. */
static void note_flow(GstFastvlmTextPad *self, const GstFastvlmTextBatch *batch, gboolean has_text,
                      GstFlowReturn flow)
{
    const gboolean heard = flow != GST_FLOW_NOT_LINKED && flow != GST_FLOW_FLUSHING;

    /* The peer has started: it has not heard of the current caption yet. */
    self->track.announce |= self->retry_us != 0 && flow == GST_FLOW_OK;
    self->retry_us = flow == GST_FLOW_FLUSHING ? g_get_monotonic_time() + RETRY_INTERVAL : 0;
    if (has_text) {
        gst_fastvlm_text_track_note(&self->track, batch, flow == GST_FLOW_OK, heard);
    }
    self->dead = self->dead || (flow != GST_FLOW_OK && heard);
}

static void post_flow_error(GstFastvlmTextPad *self, GstFlowReturn flow)
{
    GstElement *parent = gst_pad_get_parent_element(GST_PAD(self));

    if (parent != NULL) {
        GST_ELEMENT_FLOW_ERROR(parent, flow);
        gst_object_unref(parent);
    }
}

/* With the lock held. Another stream is another try. */
static gboolean take_batch(GstFastvlmTextPad *self, GstFastvlmTextBatch *batch)
{
    if (self->flushing || !gst_fastvlm_text_track_take(&self->track, GST_PAD(self), batch)) {
        return FALSE;
    }
    if (GST_IS_EVENT(batch->objects[0]) &&
        GST_EVENT_TYPE(batch->objects[0]) == GST_EVENT_STREAM_START) {
        self->dead = FALSE;
    }
    return TRUE;
}

/* With the lock held. */
static void wait_for_news(GstFastvlmTextPad *self)
{
    if (self->retry_us == 0) {
        g_cond_wait(&self->cond, &self->lock);
    } else if (!g_cond_wait_until(&self->cond, &self->lock, self->retry_us)) {
        self->retry_us = 0;
        self->track.announce = TRUE;
    }
}

static void run_task(gpointer user_data)
{
    GstFastvlmTextPad *self = user_data;
    GstFastvlmTextBatch batch = {.n_objects = 0};

    g_mutex_lock(&self->lock);
    while (!self->stopping && !take_batch(self, &batch)) {
        wait_for_news(self);
    }
    if (self->stopping) {
        g_mutex_unlock(&self->lock);
        gst_pad_pause_task(GST_PAD(self));
        return;
    }
    const gboolean dead = self->dead;
    const gboolean has_text = GST_IS_BUFFER(batch.objects[0]);
    self->busy = TRUE;
    self->track.announce = self->track.announce && !has_text;
    g_mutex_unlock(&self->lock);

    const GstFlowReturn flow = push_batch(self, &batch, dead);
    if (flow < GST_FLOW_EOS) {
        post_flow_error(self, flow);
    }

    g_mutex_lock(&self->lock);
    note_flow(self, &batch, has_text, flow);
    self->busy = FALSE;
    g_cond_broadcast(&self->cond);
    g_mutex_unlock(&self->lock);
}

/* With the lock held: everything but what was set for good. */
static void forget_all(GstFastvlmTextPad *self)
{
    gst_fastvlm_text_track_reset(&self->track);
    self->flushing = self->dead = FALSE;
    self->retry_us = 0;
}

/* TRUE if the task has left downstream within a little while. */
static gboolean await_idle(GstFastvlmTextPad *self)
{
    const gint64 until = g_get_monotonic_time() + STOP_PATIENCE;

    while (self->busy && g_cond_wait_until(&self->cond, &self->lock, until)) {
    }
    return !self->busy;
}

/* A pad may be released while its peer holds text back, in a paused pipeline for good. */
static void stop_task(GstFastvlmTextPad *self)
{
    GstPad *peer = NULL;

    g_mutex_lock(&self->lock);
    self->stopping = TRUE;
    g_cond_broadcast(&self->cond);
    if (!await_idle(self)) {
        peer = gst_pad_get_peer(GST_PAD(self));
    }
    g_mutex_unlock(&self->lock);
    if (peer != NULL) {
        gst_pad_send_event(peer, gst_event_new_flush_start());
    }
    gst_pad_stop_task(GST_PAD(self));
    if (peer != NULL) {
        gst_pad_send_event(peer, gst_event_new_flush_stop(FALSE));
        gst_object_unref(peer);
    }
    g_mutex_lock(&self->lock);
    forget_all(self);
    self->stopping = FALSE;
    g_mutex_unlock(&self->lock);
}

static gboolean activate_mode(GstPad *pad, GstObject *parent, GstPadMode mode, gboolean active)
{
    if (mode != GST_PAD_MODE_PUSH) {
        return FALSE;
    }
    if (active) {
        return gst_pad_start_task(pad, run_task, pad, NULL);
    }
    stop_task(GST_FASTVLM_TEXT_PAD(pad));
    return TRUE;
}

/* ---- what the element calls ---- */

static void lock(GstFastvlmTextPad *self)
{
    g_mutex_lock(&self->lock);
}

static void unlock_and_wake(GstFastvlmTextPad *self)
{
    g_cond_broadcast(&self->cond);
    g_mutex_unlock(&self->lock);
}

void gst_fastvlm_text_pad_set_stream(GstFastvlmTextPad *self, gboolean has_group_id, guint group_id,
                                     guint32 seqnum)
{
    lock(self);
    gst_fastvlm_text_track_set_stream(&self->track, has_group_id, group_id, seqnum);
    unlock_and_wake(self);
}

void gst_fastvlm_text_pad_set_segment(GstFastvlmTextPad *self, const GstSegment *segment,
                                      guint32 seqnum)
{
    lock(self);
    gst_fastvlm_text_track_set_segment(&self->track, segment, seqnum);
    unlock_and_wake(self);
}

void gst_fastvlm_text_pad_set_position(GstFastvlmTextPad *self, GstClockTime pts,
                                       GstClockTime duration)
{
    lock(self);
    gst_fastvlm_text_track_set_position(&self->track, pts, duration);
    unlock_and_wake(self);
}

void gst_fastvlm_text_pad_push_caption(GstFastvlmTextPad *self, const char *text, GstClockTime pts,
                                       GstClockTime duration)
{
    lock(self);
    if (!self->flushing) {
        gst_fastvlm_text_track_push_caption(&self->track, text, pts, duration);
    }
    unlock_and_wake(self);
}

void gst_fastvlm_text_pad_eos(GstFastvlmTextPad *self, guint32 seqnum)
{
    lock(self);
    gst_fastvlm_text_track_eos(&self->track, seqnum);
    unlock_and_wake(self);
}

void gst_fastvlm_text_pad_flush_start(GstFastvlmTextPad *self, GstEvent *event)
{
    lock(self);
    self->flushing = TRUE;
    gst_fastvlm_text_track_flush_start(&self->track);
    unlock_and_wake(self);
    gst_pad_push_event(GST_PAD(self), event);
}

void gst_fastvlm_text_pad_flush_stop(GstFastvlmTextPad *self, GstEvent *event)
{
    gboolean reset_time;

    gst_event_parse_flush_stop(event, &reset_time);
    lock(self);
    while (self->busy) {
        g_cond_wait(&self->cond, &self->lock);
    }
    g_mutex_unlock(&self->lock);
    gst_pad_push_event(GST_PAD(self), event);
    lock(self);
    gst_fastvlm_text_track_flush_stop(&self->track, reset_time);
    self->flushing = self->dead = FALSE;
    self->retry_us = 0;
    unlock_and_wake(self);
}

void gst_fastvlm_text_pad_set_repeat(GstFastvlmTextPad *self, GstClockTime repeat)
{
    lock(self);
    self->track.repeat = repeat;
    unlock_and_wake(self);
}

/* ---- the pad ---- */

/* Linking, here or behind a ghost pad, sends this upstream. */
static GstPadProbeReturn note_link(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    GstFastvlmTextPad *self = GST_FASTVLM_TEXT_PAD(pad);

    if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_RECONFIGURE) {
        lock(self);
        self->track.announce = TRUE;
        self->dead = FALSE;
        unlock_and_wake(self);
    }
    return GST_PAD_PROBE_OK;
}

static void note_parent(GstFastvlmTextPad *self, GParamSpec *pspec, gpointer user_data)
{
    lock(self);
    unlock_and_wake(self);
}

static void finalize(GObject *object)
{
    GstFastvlmTextPad *self = GST_FASTVLM_TEXT_PAD(object);

    forget_all(self);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->cond);
    G_OBJECT_CLASS(gst_fastvlm_text_pad_parent_class)->finalize(object);
}

static void gst_fastvlm_text_pad_class_init(GstFastvlmTextPadClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = finalize;
}

static void gst_fastvlm_text_pad_init(GstFastvlmTextPad *self)
{
    g_mutex_init(&self->lock);
    g_cond_init(&self->cond);
    forget_all(self);
    gst_pad_set_activatemode_function(GST_PAD(self), GST_DEBUG_FUNCPTR(activate_mode));
    gst_pad_add_probe(GST_PAD(self), GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, note_link, NULL, NULL);
    g_signal_connect(self, "notify::parent", G_CALLBACK(note_parent), NULL);
}

GstFastvlmTextPad *gst_fastvlm_text_pad_new(GstPadTemplate *templ)
{
    return g_object_new(GST_TYPE_FASTVLM_TEXT_PAD, "name", "text_src", "direction", GST_PAD_SRC,
                        "template", templ, NULL);
}
