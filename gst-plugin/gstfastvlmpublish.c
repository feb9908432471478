/*
 * The worker's thread inside the element: where answers go, and what is said on the bus.
 *
 *     partial -> message
 *     final -> stats, current answer (meta), overlay, text pad, message, notify, signal, in this
 *              order: whatever a handler does, the frame's own outputs are complete
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmprivate.h"

#include "gstfastvlmerror.h"

#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

GstFastvlmAnswer *gst_fastvlm_caption_get_current(GstFastvlmCaption *self)
{
    GST_OBJECT_LOCK(self);
    GstFastvlmAnswer *current =
        self->current != NULL ? gst_fastvlm_answer_ref(self->current) : NULL;
    GST_OBJECT_UNLOCK(self);
    return current;
}

/* Takes `answer` (transfer full, may be NULL) for the current one. */
static gboolean set_current(GstFastvlmCaption *self, GstFastvlmAnswer *answer,
                            GstClockTime duration)
{
    GST_OBJECT_LOCK(self);
    GstFastvlmAnswer *old = self->current;
    self->current = answer;
    self->current_duration = duration;
    GST_OBJECT_UNLOCK(self);
    gst_fastvlm_answer_unref(old);
    return old != NULL;
}

void gst_fastvlm_caption_forget(GstFastvlmCaption *self)
{
    const gboolean had_one = set_current(self, NULL, GST_CLOCK_TIME_NONE);

    GST_OBJECT_LOCK(self);
    self->last_final_us = 0;
    GST_OBJECT_UNLOCK(self);
    gst_fastvlm_caption_forget_alerts(self);
    gst_fastvlm_overlay_set_text(self->overlay, NULL);
    if (had_one) {
        g_object_notify(G_OBJECT(self), "caption");
    }
}

/* Now minus the frame, in running time. That stands still, and the clock's goes on, while the element
 * does not play, and without a clock there is none: then the time since the frame came in. */
static double get_age_ms(GstFastvlmCaption *self, const GstFastvlmSample *sample)
{
    GstClockTime now = GST_CLOCK_TIME_NONE;

    GST_OBJECT_LOCK(self);
    const gboolean plays = GST_STATE(self) == GST_STATE_PLAYING;
    GST_OBJECT_UNLOCK(self);
    if (plays) {
        now = gst_element_get_current_running_time(GST_ELEMENT(self));
    }
    if (!GST_CLOCK_TIME_IS_VALID(now)) {
        return (double)(g_get_monotonic_time() - sample->arrival_us) / 1000;
    }
    return (double)GST_CLOCK_DIFF(sample->running_time, now) / GST_MSECOND;
}

static void get_settings(gpointer user_data, GstFastvlmSettings *settings)
{
    GstFastvlmCaption *self = user_data;

    /* Those of a frame that a flush cut short. */
    gst_fastvlm_caption_forget_regions(self);
    GST_OBJECT_LOCK(self);
    gst_fastvlm_settings_copy(settings, &self->settings);
    GST_OBJECT_UNLOCK(self);
}

/* How long a live caption will hold: as long as the last one did, to go by. */
static GstClockTime estimate_duration(GstFastvlmCaption *self, const GstFastvlmAnswer *answer)
{
    const gint64 now_us = g_get_monotonic_time();

    GST_OBJECT_LOCK(self);
    const gint64 last_us = self->last_final_us;
    GstClockTime duration = self->settings.interval;
    self->last_final_us = now_us;
    GST_OBJECT_UNLOCK(self);
    if (last_us != 0) {
        duration = (GstClockTime)(now_us - last_us) * GST_USECOND;
    } else {
        duration = MAX(duration, (GstClockTime)(answer->total_ms * GST_MSECOND));
    }
    return MIN(duration, GST_FASTVLM_TEXT_MAX_DURATION);
}

static void push_text(GstFastvlmCaption *self, const GstFastvlmAnswer *answer, gboolean complete,
                      GstClockTime duration)
{
    g_mutex_lock(&self->text_lock);
    if (self->text_pad != NULL) {
        gst_fastvlm_text_pad_push_caption(self->text_pad, answer->text,
                                          complete ? answer->pts : GST_CLOCK_TIME_NONE, duration);
    }
    g_mutex_unlock(&self->text_lock);
}

void gst_fastvlm_caption_prolong_text(GstFastvlmCaption *self, GstClockTime pts,
                                      GstClockTime duration)
{
    GstFastvlmAnswer *current = gst_fastvlm_caption_get_current(self);

    if (current == NULL) {
        return;
    }
    g_mutex_lock(&self->text_lock);
    if (self->text_pad != NULL) {
        gst_fastvlm_text_pad_push_caption(self->text_pad, current->text, pts, duration);
    }
    g_mutex_unlock(&self->text_lock);
    gst_fastvlm_answer_unref(current);
}

/* In live the same words again are no news, to eyes and ears downstream. */
static gboolean is_repeated(GstFastvlmCaption *self, const GstFastvlmAnswer *answer)
{
    GST_OBJECT_LOCK(self);
    const gboolean repeated = !self->settings.repeat && self->current != NULL &&
                              g_str_equal(self->current->text, answer->text);
    GST_OBJECT_UNLOCK(self);
    return repeated;
}

static void draw_text(GstFastvlmCaption *self, const GstFastvlmAnswer *answer)
{
    GST_OBJECT_LOCK(self);
    const gboolean overlays = self->settings.overlay;
    GST_OBJECT_UNLOCK(self);
    if (overlays) {
        gst_fastvlm_overlay_set_text(self->overlay, answer->text);
    }
}

static void make_current(GstFastvlmCaption *self, GstFastvlmAnswer *answer,
                         const GstFastvlmSample *sample)
{
    const GstClockTime estimate = estimate_duration(self, answer);
    const GstClockTime duration = sample->complete ? sample->duration : estimate;
    const gboolean is_news = sample->complete || !is_repeated(self, answer);

    set_current(self, gst_fastvlm_answer_ref(answer), duration);
    draw_text(self, answer);
    if (is_news) {
        push_text(self, answer, sample->complete, duration);
    }
}

/* An answer that ended badly: told of at most every 30 s, whatever the reason. */
static void warn_bad_end(GstFastvlmCaption *self, const GstFastvlmAnswer *answer,
                         FastvlmFinishReason reason)
{
    const gint64 now_us = g_get_monotonic_time();

    if ((reason != FASTVLM_FINISH_REPETITION && reason != FASTVLM_FINISH_NOT_FINITE) ||
        (self->last_bad_end_us != 0 &&
         now_us - self->last_bad_end_us < GST_FASTVLM_WARNING_INTERVAL_US)) {
        return;
    }
    self->last_bad_end_us = now_us;
    GST_ELEMENT_WARNING_WITH_DETAILS(
        self, LIBRARY, FAILED,
        ("A caption was cut short: %s.",
         reason == FASTVLM_FINISH_REPETITION
             ? "the model repeated itself; another prompt or some temperature may help"
             : "the model computed numbers that are not finite; its weights may be damaged"),
        ("caption %" G_GUINT64_FORMAT "; told again in 30 s at the earliest", answer->sequence),
        ("reason", G_TYPE_STRING, reason == FASTVLM_FINISH_REPETITION ? "repetition" : "not-finite",
         "sequence", G_TYPE_UINT64, answer->sequence, NULL));
}

static void publish(gpointer user_data, GstFastvlmAnswer *answer, const GstFastvlmSample *sample,
                    const FastvlmResult *result)
{
    GstFastvlmCaption *self = user_data;

    answer->age_ms = get_age_ms(self, sample);
    GST_DEBUG_OBJECT(self, "%s %" G_GUINT64_FORMAT " of %" GST_TIME_FORMAT ": %s", answer->type,
                     answer->sequence, GST_TIME_ARGS(answer->pts), answer->text);
    if (result != NULL) {
        gst_fastvlm_stats_add_caption(self->stats, result, answer);
    }
    if (result != NULL && answer->prompt_index == 0 && answer->region_index == 0) {
        make_current(self, answer, sample);
    }
    GstStructure *structure = gst_fastvlm_answer_to_structure(answer, GST_FASTVLM_MESSAGE_NAME);
    gst_element_post_message(
        GST_ELEMENT(self),
        gst_message_new_element(GST_OBJECT(self), gst_structure_copy(structure)));
    if (result != NULL) {
        warn_bad_end(self, answer, result->finish_reason);
    }
    if (result != NULL && !answer->is_one_off) {
        gst_fastvlm_caption_judge_alert(self, answer);
    }
    if (result != NULL) {
        g_object_notify(G_OBJECT(self), "caption");
        g_signal_emit_by_name(self, "captioned", structure);
    }
    gst_structure_free(structure);
    gst_fastvlm_answer_unref(answer);
}

static void judge_regions(gpointer user_data)
{
    gst_fastvlm_caption_judge_regions(GST_FASTVLM_CAPTION(user_data));
}

static void tell_progress(gpointer user_data, GstProgressType type, const char *text)
{
    GstFastvlmCaption *self = user_data;

    gst_element_post_message(GST_ELEMENT(self),
                             gst_message_new_progress(GST_OBJECT(self), type, "loading", text));
}

static void note_model(gpointer user_data, const FastvlmModel *model)
{
    GstFastvlmCaption *self = user_data;
    const FastvlmModelInfo *info = fastvlm_model_get_info(model);

    gst_fastvlm_stats_set_model(self->stats, info->path, fastvlm_model_get_precision_note(model));
    if (info->head_note != NULL) {
        GST_ELEMENT_WARNING_WITH_DETAILS(self, RESOURCE, SETTINGS,
                                         ("%s: %s", info->path, info->head_note), (NULL),
                                         ("reason", G_TYPE_STRING, "head", NULL));
    }
}

/* A camera's prompt that is too long must not flood the bus: the same words once in a while. */
static gboolean is_news(GstFastvlmCaption *self, const GError *error)
{
    const gint64 now_us = g_get_monotonic_time();

    if (g_strcmp0(self->last_failure, error->message) == 0 &&
        now_us - self->last_failed_us < GST_FASTVLM_WARNING_INTERVAL_US) {
        return FALSE;
    }
    g_free(self->last_failure);
    self->last_failure = g_strdup(error->message);
    self->last_failed_us = now_us;
    return TRUE;
}

static void tell_failure(gpointer user_data, const GError *error, gboolean loading, gboolean fatal)
{
    GstFastvlmCaption *self = user_data;

    if (fatal) {
        gst_fastvlm_error_post(GST_ELEMENT(self), GST_MESSAGE_ERROR, error, loading, NULL);
    } else if (is_news(self, error)) {
        gst_fastvlm_error_post(GST_ELEMENT(self), GST_MESSAGE_WARNING, error, loading, NULL);
    }
}

static void tell_behind(gpointer user_data, guint n_skipped, double total_ms)
{
    GstFastvlmCaption *self = user_data;
    const gint64 now_us = g_get_monotonic_time();

    if (self->last_behind_us != 0 &&
        now_us - self->last_behind_us < GST_FASTVLM_WARNING_INTERVAL_US) {
        return;
    }
    self->last_behind_us = now_us;
    GST_OBJECT_LOCK(self);
    const guint64 interval = self->settings.interval;
    GST_OBJECT_UNLOCK(self);
    GST_ELEMENT_WARNING_WITH_DETAILS(
        self, CORE, CLOCK,
        ("Captions fall behind: one took %.1f s, samples come every %.1f s. Raise interval, or "
         "lower resolution or max-tokens.",
         total_ms / 1000, (double)interval / GST_SECOND),
        ("%u samples were replaced by newer ones; told again in 30 s at the earliest", n_skipped),
        ("reason", G_TYPE_STRING, "behind", "skipped", G_TYPE_UINT, n_skipped, "total-ms",
         G_TYPE_DOUBLE, total_ms, "interval", G_TYPE_UINT64, interval, NULL));
}

static void tell_over_budget(gpointer user_data, double age_ms, guint resolution)
{
    GstFastvlmCaption *self = user_data;
    const gint64 now_us = g_get_monotonic_time();

    if (self->last_over_us != 0 && now_us - self->last_over_us < GST_FASTVLM_WARNING_INTERVAL_US) {
        return;
    }
    self->last_over_us = now_us;
    GST_OBJECT_LOCK(self);
    const guint budget_ms = self->settings.latency_budget;
    GST_OBJECT_UNLOCK(self);
    GST_ELEMENT_WARNING_WITH_DETAILS(
        self, CORE, CLOCK,
        ("A caption took %.0f ms even at %u pixels, latency-budget is %u ms. Lower max-tokens, ask "
         "less, or try precision=int8 or int4.",
         age_ms, resolution, budget_ms),
        ("told again in 30 s at the earliest"),
        ("reason", G_TYPE_STRING, "latency-budget", "total-ms", G_TYPE_DOUBLE, age_ms, "resolution",
         G_TYPE_UINT, resolution, NULL));
}

void gst_fastvlm_caption_warn_crowd(GstFastvlmCaption *self, guint n_more)
{
    const gint64 now_us = g_get_monotonic_time();

    if (self->last_crowd_us != 0 &&
        now_us - self->last_crowd_us < GST_FASTVLM_WARNING_INTERVAL_US) {
        return;
    }
    self->last_crowd_us = now_us;
    GST_ELEMENT_WARNING_WITH_DETAILS(
        self, STREAM, FAILED,
        ("A frame has %u regions of interest, the %d largest are captioned. Have the detector pass "
         "fewer on.",
         GST_FASTVLM_MAX_REGIONS + n_more, GST_FASTVLM_MAX_REGIONS),
        ("told again in 30 s at the earliest"),
        ("reason", G_TYPE_STRING, "regions", "n-regions", G_TYPE_UINT,
         GST_FASTVLM_MAX_REGIONS + n_more, NULL));
}

void gst_fastvlm_caption_warn_live(GstFastvlmCaption *self)
{
    GST_ELEMENT_WARNING_WITH_DETAILS(
        self, CORE, CLOCK,
        ("mode=complete behind a live source: video waits for captions and will be late. Set "
         "mode=live."),
        ("the latency query says that upstream is live"),
        ("reason", G_TYPE_STRING, "complete-live", NULL));
}

const GstFastvlmWorkerFuncs gst_fastvlm_caption_worker_funcs = {
    .get_settings = get_settings,
    .publish = publish,
    .regions_done = judge_regions,
    .progress = tell_progress,
    .loaded = note_model,
    .failed = tell_failure,
    .behind = tell_behind,
    .over_budget = tell_over_budget,
};
