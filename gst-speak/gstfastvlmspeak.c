/**
 * SECTION:element-fastvlmspeak
 * @title: fastvlmspeak
 *
 * Speaks a text stream: the newest sentence, none twice. See the header for alerts and states.
 *
 * |[
 * echo "Hello" | gst-launch-1.0 fdsrc ! text/x-raw,format=utf8 ! fastvlmspeak ! autoaudiosink
 * gst-launch-1.0 v4l2src ! videoconvert ! fastvlmcaption name=c ! fakesink \
 *     c.text_src ! fastvlmspeak ! autoaudiosink
 * ]|
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "private.h"

#include <string.h>

GST_DEBUG_CATEGORY(gst_fastvlm_speak_debug);
#define GST_CAT_DEFAULT gst_fastvlm_speak_debug

enum { PROP_0, PROP_VOICE, PROP_RATE, PROP_PITCH, PROP_VOLUME, PROP_TIMING, PROP_MAX_LENGTH };
enum { SIGNAL_SAY, N_SIGNALS };
static guint signals[N_SIGNALS];

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE(
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS("text/x-raw, format=(string)utf8"));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE(
    "src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS("audio/x-raw, format=(string)S16LE, layout=(string)interleaved, "
                    "rate=(int)[8000, 48000], channels=(int)1"));

G_DEFINE_FINAL_TYPE(GstFastvlmSpeak, gst_fastvlm_speak, GST_TYPE_ELEMENT)
GST_ELEMENT_REGISTER_DEFINE(fastvlmspeak, "fastvlmspeak", GST_RANK_NONE, GST_TYPE_FASTVLM_SPEAK)

GType gst_fastvlm_speak_timing_get_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {
        {GST_FASTVLM_SPEAK_AUTO, "The clock behind a live source, else the text", "auto"},
        {GST_FASTVLM_SPEAK_CLOCK, "Audio passes with the clock; sentences begin when they come",
         "clock"},
        {GST_FASTVLM_SPEAK_TEXT, "Sentences begin at their own times", "text"},
        {0, NULL, NULL},
    };

    if (g_once_init_enter(&type)) {
        const GType made = g_enum_register_static("GstFastvlmSpeakTiming", values);
        gst_type_mark_as_plugin_api(made, 0);
        g_once_init_leave(&type, made);
    }
    return type;
}

static void copy_voice(GstFastvlmSpeak *self, GstFastvlmVoice *voice)
{
    GST_OBJECT_LOCK(self);
    *voice = self->voice;
    voice->name = g_strdup(self->voice.name);
    GST_OBJECT_UNLOCK(self);
}

/* A voice that went wrong while playing is told once, and again after it has worked. */
static GArray *speak(GstFastvlmSpeak *self, const char *text)
{
    GstFastvlmVoice voice;
    GError *error = NULL;

    copy_voice(self, &voice);
    GArray *samples = gst_fastvlm_voice_speak(&voice, text, &error);
    g_free(voice.name);
    g_mutex_lock(&self->lock);
    const gboolean tell = samples == NULL && !self->voice_failed;
    self->voice_failed = samples == NULL;
    g_mutex_unlock(&self->lock);
    if (tell) {
        GST_ELEMENT_WARNING(self, RESOURCE, SETTINGS, ("%s", error->message), (NULL));
    }
    g_clear_error(&error);
    return samples;
}

/* Returns whether the text will be said. */
static gboolean say(GstFastvlmSpeak *self, const char *text, gssize n_bytes, gboolean urgent)
{
    GST_OBJECT_LOCK(self);
    const guint max_length = self->max_length;
    GST_OBJECT_UNLOCK(self);
    char *clean = gst_fastvlm_speech_clean(text, n_bytes, max_length);

    g_mutex_lock(&self->lock);
    gboolean news = clean[0] != '\0' && self->speech != NULL && !self->flushing &&
                    gst_fastvlm_speech_is_news(self->speech, clean, urgent);
    g_mutex_unlock(&self->lock);
    GArray *samples = news ? speak(self, clean) : NULL;
    g_mutex_lock(&self->lock);
    if (samples != NULL && self->speech != NULL && !self->flushing &&
        gst_fastvlm_speech_is_news(self->speech, clean, urgent)) {
        GST_DEBUG_OBJECT(self, "%s%s", urgent ? "urgent: " : "", clean);
        gst_fastvlm_speech_put(self->speech, clean, samples, urgent);
    } else {
        news = FALSE;
        g_clear_pointer(&samples, g_array_unref);
    }
    g_mutex_unlock(&self->lock);
    g_free(clean);
    return news;
}

static gboolean say_now(GstFastvlmSpeak *self, const char *text, gboolean urgent)
{
    return text != NULL && say(self, text, -1, urgent);
}

/* In the order of the text's times where it leads; a text without one is said after the last. */
static GstFlowReturn chain(GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
    GstFastvlmSpeak *self = GST_FASTVLM_SPEAK(parent);
    const GstClockTime pts = GST_BUFFER_PTS(buffer);
    GstMapInfo map;

    gst_fastvlm_speak_settle_timing(self);
    g_mutex_lock(&self->lock);
    if (self->timing == GST_FASTVLM_SPEAK_AUTO) {
        self->timing = GST_FASTVLM_SPEAK_TEXT;
    }
    g_mutex_unlock(&self->lock);
    GstFlowReturn flow = gst_fastvlm_speak_advance(self, pts);
    if (flow == GST_FLOW_OK && gst_buffer_map(buffer, &map, GST_MAP_READ)) {
        say(self, (const char *)map.data, (gssize)map.size, FALSE);
        gst_buffer_unmap(buffer, &map);
    }
    if (flow == GST_FLOW_OK && !GST_CLOCK_TIME_IS_VALID(pts)) {
        flow = gst_fastvlm_speak_finish(self);
    }
    gst_buffer_unref(buffer);
    return flow;
}

/* The text's segment is the audio's where the text leads. */
static void set_segment(GstFastvlmSpeak *self, GstEvent *event)
{
    const GstSegment *segment;

    gst_event_parse_segment(event, &segment);
    gst_fastvlm_speak_settle_timing(self);
    g_mutex_lock(&self->lock);
    if (self->timing != GST_FASTVLM_SPEAK_CLOCK) {
        if (segment->format == GST_FORMAT_TIME && segment->rate > 0) {
            self->segment = *segment;
        } else {
            gst_segment_init(&self->segment, GST_FORMAT_TIME);
        }
        self->segment_due = TRUE;
        self->discont = TRUE;
        self->origin = GST_CLOCK_TIME_NONE;
        self->n_samples = 0;
    }
    g_mutex_unlock(&self->lock);
}

static void begin_stream(GstFastvlmSpeak *self, GstEvent *event)
{
    g_mutex_lock(&self->lock);
    self->has_group_id = gst_event_parse_group_id(event, &self->group_id);
    self->eos = FALSE;
    g_mutex_unlock(&self->lock);
    gst_fastvlm_speak_settle_timing(self);
    /* Only the thread that pushes audio begins its stream: here, or the clock's task. */
    g_mutex_lock(&self->lock);
    const gboolean text_leads = self->timing == GST_FASTVLM_SPEAK_TEXT;
    g_mutex_unlock(&self->lock);
    if (text_leads) {
        gst_fastvlm_speak_send_stream(self);
    }
}

/* The sentence being said is finished, and one that waits is said. */
static gboolean end_stream(GstFastvlmSpeak *self, GstEvent *event)
{
    g_mutex_lock(&self->lock);
    const gboolean clock_leads = self->timing == GST_FASTVLM_SPEAK_CLOCK;
    self->eos = clock_leads;
    gst_fastvlm_speak_wake(self);
    g_mutex_unlock(&self->lock);
    if (clock_leads) {
        gst_event_unref(event);
        return TRUE;
    }
    gst_fastvlm_speak_finish(self);
    gst_fastvlm_speak_send_stream(self);
    return gst_pad_push_event(self->src, event);
}

static void flush_start(GstFastvlmSpeak *self)
{
    g_mutex_lock(&self->lock);
    self->flushing = TRUE;
    gst_fastvlm_speak_wake(self);
    g_mutex_unlock(&self->lock);
}

static gboolean flush_stop(GstFastvlmSpeak *self, GstEvent *event)
{
    /* The task has seen `flushing`, or a push that was flushed: it pauses, and is waited for. */
    gst_pad_pause_task(self->src);
    const gboolean pushed = gst_pad_push_event(self->src, event);
    g_mutex_lock(&self->lock);
    self->flushing = FALSE;
    gst_fastvlm_speak_restart(self);
    g_mutex_unlock(&self->lock);
    gst_fastvlm_speak_settle_timing(self);
    return pushed;
}

/* TRUE for the events that are words for us. */
static gboolean say_event(GstFastvlmSpeak *self, GstEvent *event)
{
    const GstStructure *structure = gst_event_get_structure(event);
    gboolean urgent = FALSE;

    if (structure == NULL) {
        return FALSE;
    }
    if (gst_structure_has_name(structure, "fastvlm-alert")) {
        urgent = g_strcmp0(gst_structure_get_string(structure, "type"), "clear") != 0;
    } else if (gst_structure_has_name(structure, "fastvlm-say")) {
        gst_structure_get_boolean(structure, "urgent", &urgent);
    } else {
        return FALSE;
    }
    say_now(self, gst_structure_get_string(structure, "text"), urgent);
    return TRUE;
}

static gboolean sink_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    GstFastvlmSpeak *self = GST_FASTVLM_SPEAK(parent);
    GstClockTime start, duration;

    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_STREAM_START:
        begin_stream(self, event);
        break;
    case GST_EVENT_SEGMENT:
        set_segment(self, event);
        break;
    case GST_EVENT_GAP:
        gst_event_parse_gap(event, &start, &duration);
        start += GST_CLOCK_TIME_IS_VALID(duration) ? duration : 0;
        gst_fastvlm_speak_advance(self, start);
        break;
    case GST_EVENT_EOS:
        return end_stream(self, event);
    case GST_EVENT_FLUSH_START:
        flush_start(self);
        return gst_pad_push_event(self->src, event);
    case GST_EVENT_FLUSH_STOP:
        return flush_stop(self, event);
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM_OOB:
    case GST_EVENT_CUSTOM_BOTH:
    case GST_EVENT_CUSTOM_BOTH_OOB:
        if (!say_event(self, event)) {
            return gst_pad_event_default(pad, parent, event);
        }
        break;
    default:
        /* Caps, tags, ... of the text say nothing of the audio. */
        if (!GST_EVENT_IS_STICKY(event)) {
            return gst_pad_event_default(pad, parent, event);
        }
        break;
    }
    gst_event_unref(event);
    return TRUE;
}

/* The audio's lateness is no reason to caption less. */
static gboolean src_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    if (GST_EVENT_TYPE(event) == GST_EVENT_QOS) {
        gst_event_unref(event);
        return TRUE;
    }
    return gst_pad_event_default(pad, parent, event);
}

static gboolean src_query(GstPad *pad, GstObject *parent, GstQuery *query)
{
    GstFastvlmSpeak *self = GST_FASTVLM_SPEAK(parent);

    if (GST_QUERY_TYPE(query) == GST_QUERY_LATENCY) {
        gst_fastvlm_speak_settle_timing(self);
        g_mutex_lock(&self->lock);
        const gboolean clock_leads = self->timing == GST_FASTVLM_SPEAK_CLOCK;
        g_mutex_unlock(&self->lock);
        /* The audio is made now, however late its words are. */
        if (clock_leads) {
            gst_query_set_latency(query, TRUE, GST_FASTVLM_SPEAK_LATENCY, GST_CLOCK_TIME_NONE);
            return TRUE;
        }
    }
    return gst_pad_query_default(pad, parent, query);
}

static gboolean send_event(GstElement *element, GstEvent *event)
{
    if (say_event(GST_FASTVLM_SPEAK(element), event)) {
        gst_event_unref(event);
        return TRUE;
    }
    return GST_ELEMENT_CLASS(gst_fastvlm_speak_parent_class)->send_event(element, event);
}

static gboolean start(GstFastvlmSpeak *self)
{
    GstFastvlmVoice voice;
    GError *error = NULL;

    copy_voice(self, &voice);
    const guint rate = gst_fastvlm_voice_get_rate(&error);
    const gboolean fine = rate > 0 && gst_fastvlm_voice_check(&voice, &error);
    g_free(voice.name);
    if (!fine) {
        GST_ELEMENT_ERROR(self, RESOURCE, SETTINGS, ("%s", error->message), (NULL));
        g_clear_error(&error);
        return FALSE;
    }
    g_mutex_lock(&self->lock);
    self->rate = rate;
    self->speech = gst_fastvlm_speech_new(rate);
    self->timing = GST_FASTVLM_SPEAK_AUTO;
    self->flushing = self->stream_sent = self->has_group_id = self->voice_failed = FALSE;
    gst_fastvlm_speak_restart(self);
    g_mutex_unlock(&self->lock);
    return TRUE;
}

static void set_playing(GstFastvlmSpeak *self, gboolean playing)
{
    g_mutex_lock(&self->lock);
    self->playing = playing;
    gst_fastvlm_speak_wake(self);
    g_mutex_unlock(&self->lock);
}

static void stop(GstFastvlmSpeak *self)
{
    gst_pad_stop_task(self->src);
    g_mutex_lock(&self->lock);
    g_clear_pointer(&self->speech, gst_fastvlm_speech_free);
    g_mutex_unlock(&self->lock);
}

static GstStateChangeReturn change_state(GstElement *element, GstStateChange transition)
{
    GstFastvlmSpeak *self = GST_FASTVLM_SPEAK(element);

    if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !start(self)) {
        return GST_STATE_CHANGE_FAILURE;
    }
    if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
        flush_start(self);
    } else if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED) {
        set_playing(self, FALSE);
    }
    GstStateChangeReturn result =
        GST_ELEMENT_CLASS(gst_fastvlm_speak_parent_class)->change_state(element, transition);
    if (transition == GST_STATE_CHANGE_PAUSED_TO_PLAYING) {
        set_playing(self, TRUE);
        gst_fastvlm_speak_settle_timing(self);
    } else if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
        stop(self);
    } else if (transition == GST_STATE_CHANGE_READY_TO_PAUSED &&
               result == GST_STATE_CHANGE_FAILURE) {
        flush_start(self);
        stop(self);
    }
    GST_OBJECT_LOCK(self);
    const gboolean live = self->wanted_timing == GST_FASTVLM_SPEAK_CLOCK;
    GST_OBJECT_UNLOCK(self);
    if (live && result == GST_STATE_CHANGE_SUCCESS &&
        (transition == GST_STATE_CHANGE_READY_TO_PAUSED ||
         transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED)) {
        result = GST_STATE_CHANGE_NO_PREROLL;
    }
    return result;
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    GstFastvlmSpeak *self = GST_FASTVLM_SPEAK(object);

    GST_OBJECT_LOCK(self);
    switch (id) {
    case PROP_VOICE:
        g_free(self->voice.name);
        self->voice.name = g_value_dup_string(value);
        if (self->voice.name == NULL) {
            self->voice.name = g_strdup("en");
        }
        break;
    case PROP_RATE:
        self->voice.rate = g_value_get_int(value);
        break;
    case PROP_PITCH:
        self->voice.pitch = g_value_get_int(value);
        break;
    case PROP_VOLUME:
        self->voice.volume = g_value_get_int(value);
        break;
    case PROP_TIMING:
        self->wanted_timing = g_value_get_enum(value);
        break;
    case PROP_MAX_LENGTH:
        self->max_length = g_value_get_uint(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    GST_OBJECT_UNLOCK(self);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    GstFastvlmSpeak *self = GST_FASTVLM_SPEAK(object);

    GST_OBJECT_LOCK(self);
    switch (id) {
    case PROP_VOICE:
        g_value_set_string(value, self->voice.name);
        break;
    case PROP_RATE:
        g_value_set_int(value, self->voice.rate);
        break;
    case PROP_PITCH:
        g_value_set_int(value, self->voice.pitch);
        break;
    case PROP_VOLUME:
        g_value_set_int(value, self->voice.volume);
        break;
    case PROP_TIMING:
        g_value_set_enum(value, self->wanted_timing);
        break;
    case PROP_MAX_LENGTH:
        g_value_set_uint(value, self->max_length);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    GST_OBJECT_UNLOCK(self);
}

static void finalize(GObject *object)
{
    GstFastvlmSpeak *self = GST_FASTVLM_SPEAK(object);

    g_free(self->voice.name);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    G_OBJECT_CLASS(gst_fastvlm_speak_parent_class)->finalize(object);
}

static void install_properties(GObjectClass *klass)
{
    const GParamFlags any_time =
        G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;

    g_object_class_install_property(
        klass, PROP_VOICE,
        g_param_spec_string("voice", "Voice",
                            "espeak-ng's name of a voice or a language, see espeak-ng --voices",
                            "en", any_time));
    g_object_class_install_property(
        klass, PROP_RATE,
        g_param_spec_int("rate", "Rate", "Words a minute", 80, 450, 175, any_time));
    g_object_class_install_property(
        klass, PROP_PITCH,
        g_param_spec_int("pitch", "Pitch", "Of the voice", 0, 100, 50, any_time));
    g_object_class_install_property(
        klass, PROP_VOLUME,
        g_param_spec_int("volume", "Volume", "Of the voice, percent", 0, 200, 100, any_time));
    g_object_class_install_property(
        klass, PROP_TIMING,
        g_param_spec_enum("timing", "Timing", "What the audio keeps time with",
                          GST_TYPE_FASTVLM_SPEAK_TIMING, GST_FASTVLM_SPEAK_AUTO,
                          G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY));
    g_object_class_install_property(
        klass, PROP_MAX_LENGTH,
        g_param_spec_uint("max-length", "Max length",
                          "Longest text that is said, characters; the rest is left out (0: all)", 0,
                          G_MAXINT, 300, any_time));
}

static void gst_fastvlm_speak_class_init(GstFastvlmSpeakClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    GstElementClass *element_class = GST_ELEMENT_CLASS(klass);

    GST_DEBUG_CATEGORY_INIT(gst_fastvlm_speak_debug, "fastvlmspeak", 0, "speech of text streams");
    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    element_class->change_state = change_state;
    element_class->send_event = send_event;
    install_properties(object_class);
    /**
     * GstFastvlmSpeak::say:
     * @text: what to say
     * @urgent: interrupts what is not
     *
     * Returns: whether it will be said: not where it was said last or waits already
     */
    signals[SIGNAL_SAY] = g_signal_new_class_handler(
        "say", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION, G_CALLBACK(say_now),
        NULL, NULL, NULL, G_TYPE_BOOLEAN, 2, G_TYPE_STRING, G_TYPE_BOOLEAN);
    gst_element_class_add_static_pad_template(element_class, &sink_template);
    gst_element_class_add_static_pad_template(element_class, &src_template);
    gst_element_class_set_static_metadata(element_class, "FastVLM speech", "Converter/Text/Audio",
                                          "Speaks a text stream by espeak-ng (GPL-3.0-or-later)",
                                          "The fastvlm authors");
}

static void gst_fastvlm_speak_init(GstFastvlmSpeak *self)
{
    self->voice =
        (GstFastvlmVoice){.name = g_strdup("en"), .rate = 175, .pitch = 50, .volume = 100};
    self->max_length = 300;
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->sink = gst_pad_new_from_static_template(&sink_template, "sink");
    gst_pad_set_chain_function(self->sink, chain);
    gst_pad_set_event_function(self->sink, sink_event);
    gst_element_add_pad(GST_ELEMENT(self), self->sink);
    self->src = gst_pad_new_from_static_template(&src_template, "src");
    gst_pad_set_event_function(self->src, src_event);
    gst_pad_set_query_function(self->src, src_query);
    gst_pad_use_fixed_caps(self->src);
    gst_element_add_pad(GST_ELEMENT(self), self->src);
}
