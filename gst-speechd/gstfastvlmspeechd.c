/*
 * Speaks a text stream by speech-dispatcher; see the header.
 *
 *     READY -> PAUSED: connects; buffer or event -> clean -> is it news? -> SSIP
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmspeechd.h"

#include <libspeechd.h>
#include <stdlib.h>

GST_DEBUG_CATEGORY_STATIC(gst_fastvlm_speechd_debug);
#define GST_CAT_DEFAULT gst_fastvlm_speechd_debug

struct _GstFastvlmSpeechd {
    GstBaseSink parent;

    /* Properties, under the object lock. */
    char *language;
    guint max_length;

    GMutex lock; /* for what follows, and for the connection's turns */
    SPDConnection *connection;
    char *last; /* what was said */
};

G_DEFINE_TYPE(GstFastvlmSpeechd, gst_fastvlm_speechd, GST_TYPE_BASE_SINK)
GST_ELEMENT_REGISTER_DEFINE(fastvlmspeechd, "fastvlmspeechd", GST_RANK_NONE,
                            GST_TYPE_FASTVLM_SPEECHD)

enum {
    PROP_0,
    PROP_LANGUAGE,
    PROP_MAX_LENGTH,
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

static gboolean send_words(GstFastvlmSpeechd *self, const char *words, gboolean urgent)
{
    if (*words == '\0' || g_strcmp0(words, self->last) == 0 || self->connection == NULL) {
        return TRUE;
    }
    GST_DEBUG_OBJECT(self, "%s%s", urgent ? "urgent: " : "", words);
    g_free(self->last);
    self->last = g_strdup(words);
    return spd_say(self->connection, urgent ? SPD_IMPORTANT : SPD_PROGRESS, words) >= 0;
}

static gboolean say(GstFastvlmSpeechd *self, const char *text, gssize n_bytes, gboolean urgent)
{
    GST_OBJECT_LOCK(self);
    const guint max_length = self->max_length;
    GST_OBJECT_UNLOCK(self);
    char *words = clean(text, n_bytes, max_length);

    g_mutex_lock(&self->lock);
    const gboolean said = send_words(self, words, urgent);
    g_mutex_unlock(&self->lock);
    g_free(words);
    return said;
}

static GstFlowReturn render(GstBaseSink *sink, GstBuffer *buffer)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(sink);
    GstMapInfo map;

    if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) {
        return GST_FLOW_ERROR;
    }
    const gboolean said = say(self, (const char *)map.data, (gssize)map.size, FALSE);
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
        say(GST_FASTVLM_SPEECHD(sink), text, -1, urgent);
    } else if (text != NULL && gst_event_has_name(event, "fastvlm-say")) {
        gst_structure_get_boolean(structure, "urgent", &urgent);
        say(GST_FASTVLM_SPEECHD(sink), text, -1, urgent);
    }
    return GST_BASE_SINK_CLASS(gst_fastvlm_speechd_parent_class)->event(sink, event);
}

static gboolean start(GstBaseSink *sink)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(sink);
    char *problem = NULL;

    self->connection =
        spd_open2("fastvlm", "captions", NULL, SPD_MODE_SINGLE, NULL, TRUE, &problem);
    if (self->connection == NULL) {
        GST_ELEMENT_ERROR(
            self, RESOURCE, OPEN_WRITE,
            ("There is no speech-dispatcher to speak: start it, or use fastvlmspeak."),
            ("%s", problem != NULL ? problem : "no reason was given"));
        free(problem);
        return FALSE;
    }
    GST_OBJECT_LOCK(self);
    char *language = g_strdup(self->language);
    GST_OBJECT_UNLOCK(self);
    if (language != NULL) {
        spd_set_language(self->connection, language);
    }
    g_free(language);
    return TRUE;
}

static gboolean stop(GstBaseSink *sink)
{
    GstFastvlmSpeechd *self = GST_FASTVLM_SPEECHD(sink);

    g_mutex_lock(&self->lock);
    g_clear_pointer(&self->connection, spd_close);
    g_clear_pointer(&self->last, g_free);
    g_mutex_unlock(&self->lock);
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
    gst_element_class_add_static_pad_template(element_class, &sink_template);
    gst_element_class_set_static_metadata(
        element_class, "FastVLM speech by speech-dispatcher", "Sink/Text/Audio",
        "Speaks a text stream by speech-dispatcher", "The fastvlm authors");
}

static void gst_fastvlm_speechd_init(GstFastvlmSpeechd *self)
{
    self->max_length = 300;
    g_mutex_init(&self->lock);
}
