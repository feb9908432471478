/*
 * The element fastvlmcaption: class, properties, pads, states.
 *
 *     gst-launch-1.0 videotestsrc ! fastvlmcaption overlay=true ! videoconvert ! autovideosink
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmcaption.h"

#include "gstfastvlmerror.h"
#include "gstfastvlmprivate.h"

GST_DEBUG_CATEGORY(gst_fastvlm_caption_debug);
#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

#define FORMATS                                                                                   \
    "{ I420, YV12, NV12, NV21, YUY2, UYVY, Y42B, Y444, GRAY8, RGB, BGR, RGBx, BGRx, xRGB, xBGR, " \
    "RGBA, BGRA, ARGB, ABGR, I420_10LE, P010_10LE }"

/* No frame rate: caps need not have one. */
#define SIZES                                                        \
    ", format = (string) " FORMATS ", width = " GST_VIDEO_SIZE_RANGE \
    ", height = " GST_VIDEO_SIZE_RANGE
#define VIDEO_CAPS "video/x-raw" SIZES

/* With overlays attached; both spellings of the feature are about: see gstfastvlmnegotiate.c. */
#define OVERLAY GST_CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION
#define ATTACHED_CAPS "video/x-raw(" OVERLAY ")" SIZES
#define SYSTEM_ATTACHED_CAPS \
    "video/x-raw(" GST_CAPS_FEATURE_MEMORY_SYSTEM_MEMORY ", " OVERLAY ")" SIZES

enum {
    PROP_CAPTION = GST_FASTVLM_N_SETTINGS,
    PROP_STATS,
};

enum { SIGNAL_CAPTIONED, SIGNAL_CAPTION_NOW, N_SIGNALS };
static guint signals[N_SIGNALS];

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(VIDEO_CAPS));

static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS,
                            GST_STATIC_CAPS(VIDEO_CAPS ";" SYSTEM_ATTACHED_CAPS ";" ATTACHED_CAPS));

static GstStaticPadTemplate text_template = GST_STATIC_PAD_TEMPLATE(
    "text_src", GST_PAD_SRC, GST_PAD_REQUEST, GST_STATIC_CAPS("text/x-raw, format=(string)utf8"));

G_DEFINE_TYPE_WITH_CODE(GstFastvlmCaption, gst_fastvlm_caption, GST_TYPE_ELEMENT,
                        GST_DEBUG_CATEGORY_INIT(gst_fastvlm_caption_debug, "fastvlmcaption", 0,
                                                "captions of live video"))
GST_ELEMENT_REGISTER_DEFINE(fastvlmcaption, "fastvlmcaption", GST_RANK_NONE,
                            GST_TYPE_FASTVLM_CAPTION)

/* ---- properties ---- */

static gboolean is_running(GstFastvlmCaption *self)
{
    return GST_STATE(self) >= GST_STATE_PAUSED;
}

/* Values that make no sense: refused while running, found at READY -> PAUSED before. */
static gboolean refuse(GstFastvlmCaption *self, guint id, const GValue *value)
{
    GError *error = NULL;

    if (!is_running(self) || gst_fastvlm_settings_check(id, value, &error)) {
        return FALSE;
    }
    GST_ELEMENT_WARNING(self, LIBRARY, SETTINGS, ("%s; the old one stays.", error->message),
                        (NULL));
    g_clear_error(&error);
    return TRUE;
}

/* What a changed setting brings about at once; the rest is read where it is needed. */
static void react(GstFastvlmCaption *self, guint id, const GValue *value)
{
    switch (id) {
    case GST_FASTVLM_PROP_FONT_DESC:
        gst_fastvlm_overlay_set_font_desc(self->overlay, g_value_get_string(value));
        break;
    case GST_FASTVLM_PROP_OVERLAY: {
        GstFastvlmAnswer *current = gst_fastvlm_caption_get_current(self);

        gst_fastvlm_overlay_set_text(
            self->overlay, current != NULL && g_value_get_boolean(value) ? current->text : NULL);
        gst_fastvlm_answer_unref(current);
        break;
    }
    case GST_FASTVLM_PROP_TEXT_REPEAT:
        g_mutex_lock(&self->text_lock);
        if (self->text_pad != NULL) {
            gst_fastvlm_text_pad_set_repeat(self->text_pad, g_value_get_uint64(value));
        }
        g_mutex_unlock(&self->text_lock);
        break;
    default:
        break;
    }
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(object);

    if (refuse(self, id, value)) {
        return;
    }
    GST_OBJECT_LOCK(self);
    const gboolean known = gst_fastvlm_settings_set(&self->settings, id, value);
    self->settings_serial++;
    GST_OBJECT_UNLOCK(self);
    if (!known) {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
        return;
    }
    react(self, id, value);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(object);

    if (id == PROP_STATS) {
        g_value_take_boxed(value, gst_fastvlm_stats_to_structure(self->stats));
        return;
    }
    GST_OBJECT_LOCK(self);
    gboolean known = TRUE;
    if (id == PROP_CAPTION) {
        g_value_set_string(value, self->current != NULL ? self->current->text : NULL);
    } else {
        known = gst_fastvlm_settings_get(&self->settings, id, value);
    }
    GST_OBJECT_UNLOCK(self);
    if (!known) {
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

/* ---- the text pad ---- */

/* With text_lock held: what a pad that comes late has missed. */
static void catch_up(GstFastvlmCaption *self, const GstFastvlmAnswer *current, gboolean complete,
                     GstClockTime duration)
{
    if (self->has_stream) {
        gst_fastvlm_text_pad_set_stream(self->text_pad, self->has_group_id, self->group_id,
                                        self->stream_seqnum);
    }
    if (self->text_segment.format == GST_FORMAT_TIME) {
        gst_fastvlm_text_pad_set_segment(self->text_pad, &self->text_segment, self->segment_seqnum);
    }
    if (current != NULL) {
        gst_fastvlm_text_pad_push_caption(self->text_pad, current->text,
                                          complete ? current->pts : GST_CLOCK_TIME_NONE, duration);
    }
    gst_fastvlm_text_pad_set_position(self->text_pad, self->text_pts, self->text_frame_duration);
    if (self->ended) {
        gst_fastvlm_text_pad_eos(self->text_pad, self->eos_seqnum);
    }
}

/* Makes `text_pad` the one, unless there is one. */
static gboolean adopt(GstFastvlmCaption *self, GstFastvlmTextPad *text_pad)
{
    GstFastvlmAnswer *current = gst_fastvlm_caption_get_current(self);

    GST_OBJECT_LOCK(self);
    const GstClockTime repeat = self->settings.text_repeat;
    const GstClockTime duration = self->current_duration;
    const gboolean complete = self->settings.mode == GST_FASTVLM_MODE_COMPLETE;
    GST_OBJECT_UNLOCK(self);

    g_mutex_lock(&self->text_lock);
    const gboolean free_place = self->text_pad == NULL;
    if (free_place) {
        self->text_pad = text_pad;
        gst_fastvlm_text_pad_set_repeat(text_pad, repeat);
        catch_up(self, current, complete, duration);
    }
    g_mutex_unlock(&self->text_lock);
    gst_fastvlm_answer_unref(current);
    return free_place;
}

static GstPad *request_new_pad(GstElement *element, GstPadTemplate *templ, const gchar *name,
                               const GstCaps *caps)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(element);
    GstFastvlmTextPad *text_pad = gst_object_ref_sink(gst_fastvlm_text_pad_new(templ));
    GstPad *pad = GST_PAD(text_pad);

    gst_pad_set_query_function(pad, gst_fastvlm_caption_text_query);
    gst_pad_set_event_function(pad, gst_fastvlm_caption_text_event);
    gst_pad_set_iterate_internal_links_function(pad, gst_fastvlm_caption_iterate_links);
    if (!adopt(self, text_pad)) {
        GST_WARNING_OBJECT(self, "there is a text_src pad already");
        gst_object_unref(text_pad);
        return NULL;
    }
    if (is_running(self) || GST_STATE_TARGET(self) >= GST_STATE_PAUSED) {
        gst_pad_set_active(pad, TRUE);
    }
    gst_element_add_pad(element, pad);
    gst_object_unref(text_pad); /* the element holds it */
    return pad;
}

static void release_pad(GstElement *element, GstPad *pad)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(element);

    g_mutex_lock(&self->text_lock);
    if (GST_PAD(self->text_pad) == pad) {
        self->text_pad = NULL;
    }
    g_mutex_unlock(&self->text_lock);
    gst_pad_set_active(pad, FALSE);
    gst_element_remove_pad(element, pad);
}

/* ---- states ---- */

GstFastvlmWorker *gst_fastvlm_caption_get_worker(GstFastvlmCaption *self)
{
    GST_OBJECT_LOCK(self);
    GstFastvlmWorker *worker = self->worker != NULL ? gst_fastvlm_worker_ref(self->worker) : NULL;
    GST_OBJECT_UNLOCK(self);
    return worker;
}

/* Takes `worker`; returns the one before. */
static GstFastvlmWorker *set_worker(GstFastvlmCaption *self, GstFastvlmWorker *worker)
{
    GST_OBJECT_LOCK(self);
    GstFastvlmWorker *old = self->worker;
    self->worker = worker;
    GST_OBJECT_UNLOCK(self);
    return old;
}

/* Frees a streaming thread that waits for a caption. */
static void cancel(GstFastvlmCaption *self)
{
    GstFastvlmWorker *worker = gst_fastvlm_caption_get_worker(self);

    gst_fastvlm_worker_cancel(worker);
    gst_fastvlm_worker_unref(worker);
}

static void copy_settings(GstFastvlmCaption *self, GstFastvlmSettings *settings)
{
    GST_OBJECT_LOCK(self);
    gst_fastvlm_settings_copy(settings, &self->settings);
    GST_OBJECT_UNLOCK(self);
}

/* Looks at the checkpoint's headers: milliseconds, where loading may take long. */
static gboolean check_model(const char *model_path, const FastvlmModelParams *params,
                            GError **error)
{
    FastvlmModelInfo *info = fastvlm_model_inspect_for(model_path, params, error);

    if (info == NULL) {
        return FALSE;
    }
    const gboolean has_tokenizer = info->tokenizer_size > 0;
    if (!has_tokenizer) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
                    "%s: no tokenizer files (vocab.json, merges.txt): captions need them, copy "
                    "them there from the checkpoint",
                    info->path);
    }
    fastvlm_model_info_free(info);
    return has_tokenizer;
}

static gboolean check_settings(const GstFastvlmSettings *settings, GError **error)
{
    const FastvlmModelParams params = gst_fastvlm_settings_get_params(settings);

    return gst_fastvlm_settings_check_all(settings, error) &&
           fastvlm_model_check_params(&params, error) &&
           check_model(settings->model_path, &params, error);
}

static gboolean start(GstFastvlmCaption *self)
{
    GstFastvlmSettings settings;
    GError *error = NULL;

    copy_settings(self, &settings);
    if (!check_settings(&settings, &error)) {
        gst_fastvlm_error_post(GST_ELEMENT(self), GST_MESSAGE_ERROR, error, TRUE, NULL);
        g_clear_error(&error);
        gst_fastvlm_settings_clear(&settings);
        return FALSE;
    }
    gst_fastvlm_stats_reset(self->stats);
    gst_fastvlm_caption_reset_flow(self);
    self->last_behind_us = self->last_failed_us = self->last_bad_end_us = self->last_over_us = 0;
    g_clear_pointer(&self->last_failure, g_free);
    self->seek_seqnum = GST_SEQNUM_INVALID;
    set_worker(self, gst_fastvlm_worker_new(&gst_fastvlm_caption_worker_funcs, self, self->stats,
                                            &settings));
    gst_fastvlm_settings_clear(&settings);
    return TRUE;
}

/* With the pads inactive. */
static void stop(GstFastvlmCaption *self)
{
    GstFastvlmWorker *worker = set_worker(self, NULL);
    GPtrArray *unanswered = gst_fastvlm_caption_take_requests(self);

    gst_fastvlm_worker_stop(worker);
    gst_fastvlm_worker_unref(worker);
    g_clear_pointer(&unanswered, g_ptr_array_unref);
    gst_fastvlm_caption_forget(self);
    gst_fastvlm_caption_reset_flow(self);
    gst_fastvlm_copier_free(self->copier);
    self->copier = gst_fastvlm_copier_new();
}

static GstStateChangeReturn change_state(GstElement *element, GstStateChange transition)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(element);

    if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !start(self)) {
        return GST_STATE_CHANGE_FAILURE;
    }
    if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
        /* Deactivating the pads waits for the streaming thread. */
        cancel(self);
    }
    const GstStateChangeReturn result =
        GST_ELEMENT_CLASS(gst_fastvlm_caption_parent_class)->change_state(element, transition);
    if (transition == GST_STATE_CHANGE_PAUSED_TO_READY ||
        (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE)) {
        stop(self);
    }
    return result;
}

/* ---- the class ---- */

static void finalize(GObject *object)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(object);

    gst_fastvlm_overlay_free(self->overlay);
    gst_fastvlm_copier_free(self->copier);
    gst_fastvlm_stats_unref(self->stats);
    gst_fastvlm_settings_clear(&self->settings);
    gst_fastvlm_answer_unref(self->current);
    g_ptr_array_unref(self->requests);
    gst_fastvlm_caption_forget_look(self);
    gst_fastvlm_caption_forget_regions(self);
    g_free(self->alert_on);
    gst_clear_caps(&self->caps);
    g_free(self->last_failure);
    g_mutex_clear(&self->text_lock);
    G_OBJECT_CLASS(gst_fastvlm_caption_parent_class)->finalize(object);
}

static void install_properties(GObjectClass *klass)
{
    gst_fastvlm_settings_install(klass);
    g_object_class_install_property(
        klass, PROP_CAPTION,
        g_param_spec_string("caption", "Caption", "The current caption; none before the first",
                            NULL, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
    g_object_class_install_property(
        klass, PROP_STATS,
        g_param_spec_boxed("stats", "Statistics", "Counters and timings, see the documentation",
                           GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}

static void gst_fastvlm_caption_class_init(GstFastvlmCaptionClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    GstElementClass *element_class = GST_ELEMENT_CLASS(klass);

    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    install_properties(object_class);

    /* From the worker's thread: a handler must not change the element's state. */
    signals[SIGNAL_CAPTIONED] =
        g_signal_new("captioned", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                     G_TYPE_NONE, 1, GST_TYPE_STRUCTURE | G_SIGNAL_TYPE_STATIC_SCOPE);
    signals[SIGNAL_CAPTION_NOW] = g_signal_new_class_handler(
        "caption-now", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
        G_CALLBACK(gst_fastvlm_caption_request), NULL, NULL, NULL, G_TYPE_UINT64, 1, G_TYPE_STRING);

    element_class->change_state = GST_DEBUG_FUNCPTR(change_state);
    element_class->request_new_pad = GST_DEBUG_FUNCPTR(request_new_pad);
    element_class->release_pad = GST_DEBUG_FUNCPTR(release_pad);
    gst_element_class_add_static_pad_template(element_class, &sink_template);
    gst_element_class_add_static_pad_template(element_class, &src_template);
    gst_element_class_add_static_pad_template(element_class, &text_template);
    gst_element_class_set_static_metadata(
        element_class, "FastVLM caption", "Filter/Analyzer/Video",
        "Captions video with a FastVLM model while it passes, without holding it up",
        "The fastvlm authors");
    gst_fastvlm_meta_register();
}

static void gst_fastvlm_caption_init(GstFastvlmCaption *self)
{
    self->sink_pad = gst_pad_new_from_static_template(&sink_template, "sink");
    gst_pad_set_chain_function(self->sink_pad, GST_DEBUG_FUNCPTR(gst_fastvlm_caption_chain));
    gst_pad_set_event_function(self->sink_pad, GST_DEBUG_FUNCPTR(gst_fastvlm_caption_sink_event));
    gst_pad_set_query_function(self->sink_pad, GST_DEBUG_FUNCPTR(gst_fastvlm_caption_sink_query));
    gst_pad_set_iterate_internal_links_function(self->sink_pad, gst_fastvlm_caption_iterate_links);
    gst_element_add_pad(GST_ELEMENT(self), self->sink_pad);

    self->src_pad = gst_pad_new_from_static_template(&src_template, "src");
    gst_pad_set_event_function(self->src_pad, GST_DEBUG_FUNCPTR(gst_fastvlm_caption_src_event));
    gst_pad_set_query_function(self->src_pad, GST_DEBUG_FUNCPTR(gst_fastvlm_caption_src_query));
    gst_pad_set_iterate_internal_links_function(self->src_pad, gst_fastvlm_caption_iterate_links);
    gst_element_add_pad(GST_ELEMENT(self), self->src_pad);

    g_mutex_init(&self->text_lock);
    self->stats = gst_fastvlm_stats_new();
    gst_fastvlm_settings_init(&self->settings);
    gst_fastvlm_sampler_init(&self->sampler, self->settings.interval);
    self->copier = gst_fastvlm_copier_new();
    self->overlay = gst_fastvlm_overlay_new();
    self->current_duration = GST_CLOCK_TIME_NONE;
    gst_fastvlm_caption_forget_alerts(self);
    self->requests = g_ptr_array_new_with_free_func((GDestroyNotify)gst_fastvlm_request_free);
    gst_fastvlm_caption_reset_flow(self);
}
