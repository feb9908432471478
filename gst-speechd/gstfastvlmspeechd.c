/*
 * Speaks a text stream by speech-dispatcher; see the header.
 *
 *     READY -> PAUSED: connects; buffer, event or signal -> clean -> is it news? -> talker -> SSIP
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmspeechd.h"

#include "talker.h"

GST_DEBUG_CATEGORY_STATIC(gst_fastvlm_speechd_debug);
#define GST_CAT_DEFAULT gst_fastvlm_speechd_debug

/* A server that libspeechd has to start takes a second or two. */
#define DEFAULT_TIMEOUT_MS 5000

struct _GstFastvlmSpeechd {
    GstBaseSink parent;

    /* Properties, under the object lock. */
    char *language;
    guint max_length;
    guint timeout_ms;

    GMutex lock;              /* for what follows */
    GstFastvlmTalker *talker; /* from READY -> PAUSED on */
    char *last;               /* what was said */
    gboolean warned;          /* that the server hangs, as it still does */
};

G_DEFINE_TYPE(GstFastvlmSpeechd, gst_fastvlm_speechd, GST_TYPE_BASE_SINK)
GST_ELEMENT_REGISTER_DEFINE(fastvlmspeechd, "fastvlmspeechd", GST_RANK_NONE,
                            GST_TYPE_FASTVLM_SPEECHD)

enum {
    PROP_0,
    PROP_LANGUAGE,
    PROP_MAX_LENGTH,
    PROP_TIMEOUT,
};

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE(
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS("text/x-raw, format=utf8"));

/* One line of printable words, of at most so many characters (0: any number). */
static char *clean(const char *text, gssize n_bytes, guint max_length)
{
    char *valid = g_utf8_make_valid(text, n_bytes);
    GString *line = g_string_new(NULL);
    glong n = 0;

    for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);

        if (max_length > 0 && n == (glong)max_length) {
            break;
        }
        if (g_unichar_isprint(c)) {
            g_string_append_unichar(line, c);
            n++;
        } else if (line->len > 0 && line->str[line->len - 1] != ' ') {
            g_string_append_c(line, ' ');
            n++;
        }
    }
    g_free(valid);
    g_strstrip(line->str);
    return g_string_free(line, FALSE);
}

/* With the lock held. FALSE: no more can be said. `is_news`: it will be. */
static gboolean send_words(GstFastvlmSpeechd *self, const char *words, gboolean urgent,
                           gboolean *is_news)
{
    *is_news = *words != '\0' && g_strcmp0(words, self->last) != 0 && self->talker != NULL;
    if (!*is_news) {
        return TRUE;
    }
    GST_DEBUG_OBJECT(self, "%s%s", urgent ? "urgent: " : "", words);
    g_free(self->last);
    self->last = g_strdup(words);
    return gst_fastvlm_talker_say(self->talker, words, urgent);
}

/* With the lock held: whether it is to be told now that the server hangs. */
static gboolean is_hang_news(GstFastvlmSpeechd *self)
{
    const gboolean hangs = self->talker != NULL && gst_fastvlm_talker_hangs(self->talker);
    const gboolean is_news = hangs && !self->warned;

    self->warned = hangs;
    return is_news;
}

static gboolean say(GstFastvlmSpeechd *self, const char *text, gssize n_bytes, gboolean urgent,
                    gboolean *is_news)
{
    GST_OBJECT_LOCK(self);
    const guint max_length = self->max_length;
    GST_OBJECT_UNLOCK(self);
    char *words = clean(text, n_bytes, max_length);

    g_mutex_lock(&self->lock);
    const gboolean said = send_words(self, words, urgent, is_news);
    const gboolean is_hang = is_hang_news(self);
    g_mutex_unlock(&self->lock);
    g_free(words);
    if (is_hang) {
        GST_ELEMENT_WARNING(self, RESOURCE, BUSY,
                            ("speech-dispatcher does not answer: nothing is said until it does."),
                            ("see its log, and whether its output module plays"));
    }
    return said;
}

static gboolean say_now(GstFastvlmSpeechd *self, const char *text, gboolean urgent)
{
    gboolean is_news = FALSE;

    return text != NULL && say(self, text, -1, urgent, &is_news) && is_news;
}

static GstFlowReturn render(GstBaseSink *sink, GstBuffer *buffer)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(sink);
    GstMapInfo map;
    gboolean is_news;

    if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) {
        return GST_FLOW_ERROR;
    }
    const gboolean said = say(self, (const char *)map.data, (gssize)map.size, FALSE, &is_news);
    gst_buffer_unmap(buffer, &map);
    if (said) {
        return GST_FLOW_OK;
    }
    GST_ELEMENT_ERROR(self, RESOURCE, WRITE, ("speech-dispatcher takes no more text."),
                      ("it has ended, or its output module has: see its log"));
    return GST_FLOW_ERROR;
}

static gboolean event(GstBaseSink *sink, GstEvent *event)
{
    const GstStructure *structure = gst_event_get_structure(event);
    const char *text = structure != NULL ? gst_structure_get_string(structure, "text") : NULL;
    gboolean urgent = FALSE;

    if (text != NULL && gst_event_has_name(event, "fastvlm-alert")) {
        urgent = g_strcmp0(gst_structure_get_string(structure, "type"), "clear") != 0;
        say_now(GST_FASTVLM_SPEECHD(sink), text, urgent);
    } else if (text != NULL && gst_event_has_name(event, "fastvlm-say")) {
        gst_structure_get_boolean(structure, "urgent", &urgent);
        say_now(GST_FASTVLM_SPEECHD(sink), text, urgent);
    }
    return GST_BASE_SINK_CLASS(gst_fastvlm_speechd_parent_class)->event(sink, event);
}

static gboolean start(GstBaseSink *sink)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(sink);
    char *problem = NULL;

    GST_OBJECT_LOCK(self);
    char *language = g_strdup(self->language);
    const gint64 timeout_us = self->timeout_ms * G_TIME_SPAN_MILLISECOND;
    GST_OBJECT_UNLOCK(self);
    GstFastvlmTalker *talker = gst_fastvlm_talker_new(language, timeout_us, &problem);
    g_free(language);
    if (talker == NULL) {
        GST_ELEMENT_ERROR(
            self, RESOURCE, OPEN_WRITE,
            ("There is no speech-dispatcher that answers: start it, or use fastvlmspeak."),
            ("%s", problem));
        g_free(problem);
        return FALSE;
    }
    g_mutex_lock(&self->lock);
    self->talker = talker;
    self->warned = FALSE;
    g_mutex_unlock(&self->lock);
    return TRUE;
}

static gboolean stop(GstBaseSink *sink)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(sink);

    g_mutex_lock(&self->lock);
    GstFastvlmTalker *talker = g_steal_pointer(&self->talker);
    g_clear_pointer(&self->last, g_free);
    g_mutex_unlock(&self->lock);
    gst_fastvlm_talker_free(talker);
    return TRUE;
}

static void set_property(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(object);

    GST_OBJECT_LOCK(self);
    switch (id) {
    case PROP_LANGUAGE:
        g_free(self->language);
        self->language = g_value_dup_string(value);
        break;
    case PROP_MAX_LENGTH:
        self->max_length = g_value_get_uint(value);
        break;
    case PROP_TIMEOUT:
        self->timeout_ms = g_value_get_uint(value);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    GST_OBJECT_UNLOCK(self);
}

static void get_property(GObject *object, guint id, GValue *value, GParamSpec *spec)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(object);

    GST_OBJECT_LOCK(self);
    switch (id) {
    case PROP_LANGUAGE:
        g_value_set_string(value, self->language);
        break;
    case PROP_MAX_LENGTH:
        g_value_set_uint(value, self->max_length);
        break;
    case PROP_TIMEOUT:
        g_value_set_uint(value, self->timeout_ms);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
    }
    GST_OBJECT_UNLOCK(self);
}

static void finalize(GObject *object)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(object);

    g_free(self->language);
    g_mutex_clear(&self->lock);
    G_OBJECT_CLASS(gst_fastvlm_speechd_parent_class)->finalize(object);
}

static void gst_fastvlm_speechd_class_init(GstFastvlmSpeechdClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    GstElementClass *element_class = GST_ELEMENT_CLASS(klass);
    GstBaseSinkClass *sink_class = GST_BASE_SINK_CLASS(klass);

    GST_DEBUG_CATEGORY_INIT(gst_fastvlm_speechd_debug, "fastvlmspeechd", 0,
                            "speech by speech-dispatcher");
    object_class->set_property = set_property;
    object_class->get_property = get_property;
    object_class->finalize = finalize;
    sink_class->start = start;
    sink_class->stop = stop;
    sink_class->event = event;
    sink_class->render = render;
    g_object_class_install_property(
        object_class, PROP_LANGUAGE,
        g_param_spec_string("language", "Language", "As \"en\"; the user's own where it is not set",
                            NULL,
                            G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY));
    g_object_class_install_property(
        object_class, PROP_MAX_LENGTH,
        g_param_spec_uint("max-length", "Max length",
                          "Longest text that is said, characters; the rest is left out (0: all)", 0,
                          G_MAXINT, 300,
                          G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING));
    g_object_class_install_property(
        object_class, PROP_TIMEOUT,
        g_param_spec_uint(
            "timeout", "Timeout",
            "Longest wait for speech-dispatcher's answers, ms: a connection without one "
            "is an error, a sentence a warning, and video never waits",
            1, G_MAXINT, DEFAULT_TIMEOUT_MS,
            G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY));
    /**
     * GstFastvlmSpeechd::say:
     * @self: the element
     * @text: what to say
     * @urgent: interrupts what is not
     *
     * Returns: whether it will be said: not where it was said last
     */
    g_signal_new_class_handler("say", G_TYPE_FROM_CLASS(klass), G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
                               G_CALLBACK(say_now), NULL, NULL, NULL, G_TYPE_BOOLEAN, 2,
                               G_TYPE_STRING, G_TYPE_BOOLEAN);
    gst_element_class_add_static_pad_template(element_class, &sink_template);
    gst_element_class_set_static_metadata(
        element_class, "FastVLM speech by speech-dispatcher", "Sink/Text/Audio",
        "Speaks a text stream by speech-dispatcher", "The fastvlm authors");
}

static void gst_fastvlm_speechd_init(GstFastvlmSpeechd *self)
{
    self->max_length = 300;
    self->timeout_ms = DEFAULT_TIMEOUT_MS;
    g_mutex_init(&self->lock);
}
