/*
 * The streaming thread: frames and events of the video.
 *
 *     frame -> sampled? -> live: copy to the worker's mailbox | complete: wait for its caption
 *           -> current caption as meta, drawn if asked -> src
 *
 * In mode live nothing here waits: not for the model, not for downstream of text_src.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmprivate.h"

#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

/* What a frame is treated by, read once. */
typedef struct {
    GstFastvlmMode mode;
    GstFastvlmTrigger trigger;
    GstClockTime interval;
    gboolean overlay;
    gboolean regions;
    GstFastvlmWorker *worker; /* a reference */
} Rules;

static gboolean get_rules(GstFastvlmCaption *self, Rules *rules)
{
    rules->worker = gst_fastvlm_caption_get_worker(self);
    GST_OBJECT_LOCK(self);
    rules->mode = self->settings.mode;
    rules->trigger = self->settings.trigger;
    rules->interval = self->settings.interval;
    rules->overlay = self->settings.overlay;
    rules->regions = self->settings.regions;
    GST_OBJECT_UNLOCK(self);
    return rules->worker != NULL;
}

void gst_fastvlm_caption_reset_flow(GstFastvlmCaption *self)
{
    gst_segment_init(&self->segment, GST_FORMAT_UNDEFINED);
    gst_clear_caps(&self->caps);
    gst_video_info_init(&self->info);
    self->overlays = FALSE;
    self->asked_live = FALSE;
    self->last_unchanged_us = 0;
    self->last_crowd_us = 0;
    gst_fastvlm_caption_forget_look(self);
    self->last_pts = self->last_span = GST_CLOCK_TIME_NONE;
    gst_fastvlm_sampler_reset(&self->sampler);
    g_mutex_lock(&self->text_lock);
    self->has_stream = self->has_group_id = FALSE;
    gst_segment_init(&self->text_segment, GST_FORMAT_UNDEFINED);
    self->text_pts = self->text_frame_duration = GST_CLOCK_TIME_NONE;
    self->ended = FALSE;
    g_mutex_unlock(&self->text_lock);
}

/* ---- frames ---- */

static GstClockTime get_running_time(const GstFastvlmCaption *self, const GstBuffer *buffer)
{
    if (self->segment.format != GST_FORMAT_TIME || !GST_BUFFER_PTS_IS_VALID(buffer)) {
        return GST_CLOCK_TIME_NONE;
    }
    return gst_segment_to_running_time(&self->segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
}

static void note_pts(GstFastvlmCaption *self, GstClockTime pts)
{
    if (!GST_CLOCK_TIME_IS_VALID(pts)) {
        return;
    }
    if (GST_CLOCK_TIME_IS_VALID(self->last_pts) && pts > self->last_pts) {
        self->last_span = pts - self->last_pts;
    }
    self->last_pts = pts;
}

static GstClockTime get_frame_duration(const GstFastvlmCaption *self, const GstBuffer *buffer)
{
    if (GST_BUFFER_DURATION_IS_VALID(buffer) && GST_BUFFER_DURATION(buffer) > 0) {
        return GST_BUFFER_DURATION(buffer);
    }
    if (GST_VIDEO_INFO_FPS_N(&self->info) > 0) {
        return gst_util_uint64_scale_int(GST_SECOND, GST_VIDEO_INFO_FPS_D(&self->info),
                                         GST_VIDEO_INFO_FPS_N(&self->info));
    }
    return self->last_span;
}

/* What a frame is asked, and by whom. */
typedef struct {
    GstClockTime running_time;
    gboolean on_grid;
    GstFastvlmGrid *looks; /* owned until it is in a sample, as the next is; NULL: none */
    GPtrArray *requests;   /* NULL: none */
    GArray *regions;       /* NULL: the picture as a whole */
} Look;

/* Time to the next sample, in the frame's own time. */
static GstClockTime get_span(const GstFastvlmCaption *self, const GstBuffer *buffer,
                             const Look *look)
{
    const GstClockTime span = gst_fastvlm_sampler_get_span(&self->sampler, look->running_time);

    if (!GST_CLOCK_TIME_IS_VALID(span)) {
        return get_frame_duration(self, buffer);
    }
    return (GstClockTime)((double)span * ABS(self->segment.rate));
}

static GstFastvlmSample *make_sample(GstFastvlmCaption *self, const GstBuffer *buffer,
                                     const Look *look)
{
    GstFastvlmSample *sample = g_new0(GstFastvlmSample, 1);

    sample->pts = GST_BUFFER_PTS(buffer);
    sample->running_time = look->running_time;
    sample->stream_time =
        gst_segment_to_stream_time(&self->segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    sample->duration = get_span(self, buffer, look);
    sample->on_grid = look->on_grid;
    sample->look = look->looks;
    sample->requests = look->requests;
    sample->regions = look->regions;
    return sample;
}

static void drop_sample(GstFastvlmCaption *self, GstFastvlmSample *sample, GstBuffer *buffer)
{
    GST_WARNING_OBJECT(self, "frame %" GST_PTR_FORMAT " cannot be read: not captioned", buffer);
    gst_fastvlm_stats_add_skipped(self->stats, 1);
    gst_fastvlm_caption_forget_look(self);
    gst_fastvlm_grid_unref(sample->look);
    g_clear_pointer(&sample->requests, g_ptr_array_unref);
    g_clear_pointer(&sample->regions, g_array_unref);
    g_free(sample);
}

static void offer_live(GstFastvlmCaption *self, GstFastvlmWorker *worker, GstBuffer *buffer,
                       const Look *look)
{
    GstFastvlmSample *sample = make_sample(self, buffer, look);

    if (!gst_fastvlm_copier_copy(self->copier, &self->info, buffer, &sample->frame)) {
        drop_sample(self, sample, buffer);
        return;
    }
    gst_fastvlm_worker_offer(worker, sample);
}

/* The streaming thread waits, so the frame itself will do; but not an interlaced one, which lacks
 * the row that the copier adds. */
static GstFlowReturn caption_complete(GstFastvlmCaption *self, GstFastvlmWorker *worker,
                                      GstBuffer *buffer, const Look *look)
{
    GstFastvlmSample *sample = make_sample(self, buffer, look);

    sample->complete = TRUE;
    if (!GST_VIDEO_INFO_IS_INTERLACED(&self->info)) {
        gst_fastvlm_frame_init_ref(&sample->frame, &self->info, buffer);
    } else if (!gst_fastvlm_copier_copy(self->copier, &self->info, buffer, &sample->frame)) {
        drop_sample(self, sample, buffer);
        GST_ELEMENT_ERROR(self, STREAM, FORMAT, ("A frame cannot be read as its caps say."),
                          (NULL));
        return GST_FLOW_ERROR;
    }
    return gst_fastvlm_worker_caption(worker, sample);
}

/* Whether this frame is to be captioned; moves the grid on, but not past a frame without regions where
 * they are wanted: a detector that looks at every third frame must not be missed. */
static gboolean is_sample(GstFastvlmCaption *self, const Rules *rules, const Look *look)
{
    gst_fastvlm_sampler_set_interval(&self->sampler, rules->interval);
    if (rules->trigger == GST_FASTVLM_TRIGGER_MANUAL) {
        gst_fastvlm_sampler_reset(&self->sampler);
        return FALSE;
    }
    if (rules->mode == GST_FASTVLM_MODE_LIVE && rules->interval == 0 &&
        !gst_fastvlm_worker_is_idle(rules->worker)) {
        return FALSE;
    }
    return (!rules->regions || look->regions != NULL) &&
           gst_fastvlm_sampler_take(&self->sampler, look->running_time);
}

/* Once a stream: whether upstream is live, which mode complete does not suit. */
static void check_live(GstFastvlmCaption *self)
{
    GstQuery *query;
    gboolean live = FALSE;

    if (self->asked_live) {
        return;
    }
    self->asked_live = TRUE;
    query = gst_query_new_latency();
    if (gst_pad_peer_query(self->sink_pad, query)) {
        gst_query_parse_latency(query, &live, NULL, NULL);
    }
    gst_query_unref(query);
    if (live) {
        gst_fastvlm_caption_warn_live(self);
    }
}

static void skip_unchanged(GstFastvlmCaption *self, const Rules *rules, const GstBuffer *buffer,
                           const Look *look)
{
    const GstClockTime pts = GST_BUFFER_PTS(buffer);

    gst_fastvlm_caption_tell_unchanged(
        self, pts, look->running_time,
        gst_segment_to_stream_time(&self->segment, GST_FORMAT_TIME, pts));
    if (rules->mode == GST_FASTVLM_MODE_COMPLETE) {
        gst_fastvlm_caption_prolong_text(self, pts, get_span(self, buffer, look));
    }
}

/* What there is to ask about `buffer`, and who asks; the caller's, but for `looks`. */
static Look find_questions(GstFastvlmCaption *self, const Rules *rules, GstBuffer *buffer)
{
    Look look = {.running_time = get_running_time(self, buffer)};
    guint n_more = 0;

    if (rules->regions) {
        look.regions = gst_fastvlm_regions_list(&self->info, buffer, &n_more);
    }
    look.on_grid = is_sample(self, rules, &look);
    /* A frame without a time cannot be told from others: the next one that has one is asked. */
    if (GST_CLOCK_TIME_IS_VALID(look.running_time)) {
        look.requests = gst_fastvlm_caption_take_requests(self);
    }
    if (n_more > 0 && (look.on_grid || look.requests != NULL)) {
        gst_fastvlm_caption_warn_crowd(self, n_more);
    }
    return look;
}

static GstFlowReturn look_at(GstFastvlmCaption *self, const Rules *rules, GstBuffer *buffer)
{
    Look look = find_questions(self, rules, buffer);

    gst_fastvlm_stats_add_frame(self->stats, look.on_grid || look.requests != NULL);
    if (look.on_grid &&
        gst_fastvlm_caption_look(self, buffer, look.running_time, look.regions, &look.looks)) {
        skip_unchanged(self, rules, buffer, &look);
        look.on_grid = FALSE;
    }
    const gboolean sampled = look.on_grid || look.requests != NULL;
    if (!sampled) {
        g_clear_pointer(&look.regions, g_array_unref);
    }
    if (rules->mode == GST_FASTVLM_MODE_COMPLETE) {
        check_live(self);
        return sampled ? caption_complete(self, rules->worker, buffer, &look) : GST_FLOW_OK;
    }
    if (sampled) {
        offer_live(self, rules->worker, buffer, &look);
    }
    return GST_FLOW_OK;
}

/* Takes `buffer`, returns one with what is known put on it. */
static GstBuffer *dress(GstFastvlmCaption *self, GstBuffer *buffer)
{
    GstFastvlmAnswer *current = gst_fastvlm_caption_get_current(self);

    if (current != NULL) {
        buffer = gst_buffer_make_writable(buffer);
        gst_fastvlm_meta_set(buffer, current);
        gst_fastvlm_answer_unref(current);
    }
    return self->overlays ? gst_fastvlm_overlay_apply(self->overlay, buffer) : buffer;
}

static void move_text(GstFastvlmCaption *self, GstClockTime pts, GstClockTime duration)
{
    if (!GST_CLOCK_TIME_IS_VALID(pts)) {
        return;
    }
    g_mutex_lock(&self->text_lock);
    self->text_pts = pts;
    self->text_frame_duration = duration;
    if (self->text_pad != NULL && self->segment.format == GST_FORMAT_TIME) {
        gst_fastvlm_text_pad_set_position(self->text_pad, pts, duration);
    }
    g_mutex_unlock(&self->text_lock);
}

static GstFlowReturn prepare_caps(GstFastvlmCaption *self, const Rules *rules)
{
    if (self->caps == NULL) {
        return GST_FLOW_NOT_NEGOTIATED;
    }
    if (gst_pad_needs_reconfigure(self->src_pad) || self->overlays != rules->overlay) {
        return gst_fastvlm_caption_negotiate(self);
    }
    return GST_FLOW_OK;
}

GstFlowReturn gst_fastvlm_caption_chain(GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(parent);
    const GstClockTime entry = gst_util_get_timestamp();
    GstFlowReturn flow = GST_FLOW_FLUSHING;
    Rules rules;

    if (get_rules(self, &rules)) {
        flow = prepare_caps(self, &rules);
    }
    if (flow == GST_FLOW_OK) {
        flow = look_at(self, &rules, buffer);
    }
    gst_fastvlm_worker_unref(rules.worker);
    if (flow != GST_FLOW_OK) {
        gst_buffer_unref(buffer);
        return flow;
    }
    note_pts(self, GST_BUFFER_PTS(buffer));
    move_text(self, GST_BUFFER_PTS(buffer), get_frame_duration(self, buffer));
    buffer = dress(self, buffer);
    gst_fastvlm_stats_add_through(self->stats, gst_util_get_timestamp() - entry);
    return gst_pad_push(self->src_pad, buffer);
}

/* ---- events ---- */

static GstFastvlmTextPad *ref_text_pad(GstFastvlmCaption *self)
{
    g_mutex_lock(&self->text_lock);
    GstFastvlmTextPad *text_pad = self->text_pad != NULL ? gst_object_ref(self->text_pad) : NULL;
    g_mutex_unlock(&self->text_lock);
    return text_pad;
}

static void start_stream(GstFastvlmCaption *self, GstEvent *event)
{
    g_mutex_lock(&self->text_lock);
    self->has_stream = TRUE;
    self->has_group_id = gst_event_parse_group_id(event, &self->group_id);
    self->stream_seqnum = gst_event_get_seqnum(event);
    self->ended = FALSE;
    if (self->text_pad != NULL) {
        gst_fastvlm_text_pad_set_stream(self->text_pad, self->has_group_id, self->group_id,
                                        self->stream_seqnum);
    }
    g_mutex_unlock(&self->text_lock);
}

static void set_segment(GstFastvlmCaption *self, GstEvent *event)
{
    gst_event_copy_segment(event, &self->segment);
    if (self->segment.format != GST_FORMAT_TIME) {
        GST_WARNING_OBJECT(self, "segment is not in time: frames pass without captions");
        return;
    }
    g_mutex_lock(&self->text_lock);
    self->text_segment = self->segment;
    self->text_pts = GST_CLOCK_TIME_NONE;
    self->segment_seqnum = gst_event_get_seqnum(event);
    self->ended = FALSE;
    if (self->text_pad != NULL) {
        gst_fastvlm_text_pad_set_segment(self->text_pad, &self->text_segment, self->segment_seqnum);
    }
    g_mutex_unlock(&self->text_lock);
}

static void end_stream(GstFastvlmCaption *self, GstEvent *event)
{
    GstFastvlmWorker *worker = gst_fastvlm_caption_get_worker(self);

    if (worker != NULL) {
        gst_fastvlm_worker_drain(worker, GST_FASTVLM_EOS_WAIT_US);
        gst_fastvlm_worker_unref(worker);
    }
    g_mutex_lock(&self->text_lock);
    self->ended = TRUE;
    self->eos_seqnum = gst_event_get_seqnum(event);
    if (self->text_pad != NULL) {
        gst_fastvlm_text_pad_eos(self->text_pad, self->eos_seqnum);
    }
    g_mutex_unlock(&self->text_lock);
}

/* Takes `event`. Not serialized: the streaming thread may wait in chain. */
static gboolean start_flush(GstFastvlmCaption *self, GstPad *pad, GstEvent *event)
{
    GstFastvlmTextPad *text_pad = ref_text_pad(self);
    GstFastvlmWorker *worker = gst_fastvlm_caption_get_worker(self);

    if (worker != NULL) {
        gst_fastvlm_worker_cancel(worker);
        gst_fastvlm_worker_unref(worker);
    }
    if (text_pad != NULL) {
        gst_fastvlm_text_pad_flush_start(text_pad, gst_event_ref(event));
        gst_object_unref(text_pad);
    }
    return gst_pad_event_default(pad, GST_OBJECT(self), event);
}

/* With the worker cancelled: no trace of an earlier frame is left. */
static void forget_stream(GstFastvlmCaption *self, gboolean reset_time)
{
    gst_fastvlm_caption_forget(self);
    gst_fastvlm_caption_forget_look(self);
    gst_fastvlm_sampler_reset(&self->sampler);
    self->last_pts = self->last_span = GST_CLOCK_TIME_NONE;
    if (reset_time) {
        gst_segment_init(&self->segment, GST_FORMAT_UNDEFINED);
    }
    g_mutex_lock(&self->text_lock);
    self->ended = FALSE;
    if (reset_time) {
        gst_segment_init(&self->text_segment, GST_FORMAT_UNDEFINED);
    }
    g_mutex_unlock(&self->text_lock);
}

/* Takes `event`. Between cancel and resume nothing is published, so nothing follows the flush. */
static gboolean stop_flush(GstFastvlmCaption *self, GstPad *pad, GstEvent *event)
{
    GstFastvlmTextPad *text_pad = ref_text_pad(self);
    GstFastvlmWorker *worker = gst_fastvlm_caption_get_worker(self);
    gboolean reset_time;

    gst_event_parse_flush_stop(event, &reset_time);
    if (worker != NULL) {
        gst_fastvlm_worker_cancel(worker);
        gst_fastvlm_worker_settle(worker);
    }
    forget_stream(self, reset_time);
    if (text_pad != NULL) {
        gst_fastvlm_text_pad_flush_stop(text_pad, gst_event_ref(event));
        gst_object_unref(text_pad);
    }
    const gboolean result = gst_pad_event_default(pad, GST_OBJECT(self), event);
    if (worker != NULL) {
        gst_fastvlm_worker_resume(worker);
        gst_fastvlm_worker_unref(worker);
    }
    return result;
}

/* Before frames come, and while none waits. */
static void prepare_copies(GstFastvlmCaption *self)
{
    GST_OBJECT_LOCK(self);
    const gboolean copies = self->settings.mode == GST_FASTVLM_MODE_LIVE;
    GST_OBJECT_UNLOCK(self);
    if (copies) {
        gst_fastvlm_copier_prepare(self->copier, &self->info);
    }
}

/* Takes `event`. The src pad's caps are of our choosing. */
static gboolean set_caps(GstFastvlmCaption *self, GstEvent *event)
{
    GstVideoInfo info;
    GstCaps *caps;

    gst_event_parse_caps(event, &caps);
    gboolean ok = gst_video_info_from_caps(&info, caps);
    if (ok) {
        gst_caps_replace(&self->caps, caps);
        self->info = info;
        prepare_copies(self);
        ok = gst_fastvlm_caption_negotiate(self) == GST_FLOW_OK;
    }
    gst_event_unref(event);
    return ok;
}

static void pass_gap(GstFastvlmCaption *self, GstEvent *event)
{
    GstClockTime pts, duration;

    gst_event_parse_gap(event, &pts, &duration);
    move_text(self, pts, duration);
}

gboolean gst_fastvlm_caption_sink_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(parent);

    GST_LOG_OBJECT(pad, "%" GST_PTR_FORMAT, event);
    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_CAPS:
        return set_caps(self, event);
    case GST_EVENT_FLUSH_START:
        return start_flush(self, pad, event);
    case GST_EVENT_FLUSH_STOP:
        return stop_flush(self, pad, event);
    case GST_EVENT_STREAM_START:
        start_stream(self, event);
        break;
    case GST_EVENT_SEGMENT:
        set_segment(self, event);
        break;
    case GST_EVENT_EOS:
        end_stream(self, event);
        break;
    case GST_EVENT_GAP:
        pass_gap(self, event);
        break;
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM_OOB:
    case GST_EVENT_CUSTOM_BOTH:
    case GST_EVENT_CUSTOM_BOTH_OOB:
        if (gst_fastvlm_caption_take_event(self, event)) {
            return TRUE;
        }
        break;
    default:
        break;
    }
    return gst_pad_event_default(pad, parent, event);
}
