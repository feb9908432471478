/*
 * The writable properties, in one table; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmsettings.h"

#include "gstfastvlmchange.h"
#include "gstfastvlmprompts.h"

#define MAX_RESOLUTION 4096
#define MAX_THREADS 256
#define MAX_BUDGET_MS 3600000

#define FLAGS (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)
#define LIVE (FLAGS | GST_PARAM_MUTABLE_PLAYING)
#define AT_START (FLAGS | GST_PARAM_MUTABLE_READY)

#define MEMBER(member) G_STRUCT_OFFSET(GstFastvlmSettings, member)
#define MAX_TIME (G_MAXUINT64 - 1) /* ns; one more is GST_CLOCK_TIME_NONE */

/* The type kept in `type`, registered by whoever asks first. */
static GType get_enum(gsize *type, const char *name, const GEnumValue *values)
{
    if (g_once_init_enter(type)) {
        const GType registered = g_enum_register_static(name, values);

        gst_type_mark_as_plugin_api(registered, 0);
        g_once_init_leave(type, registered);
    }
    return *type;
}

GType gst_fastvlm_trigger_get_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {
        {GST_FASTVLM_TRIGGER_INTERVAL, "The first frame after each interval", "interval"},
        {GST_FASTVLM_TRIGGER_MANUAL, "None: only caption-now is answered", "manual"},
        {0, NULL, NULL},
    };

    return get_enum(&type, "GstFastvlmTrigger", values);
}

GType gst_fastvlm_mode_get_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {
        {GST_FASTVLM_MODE_LIVE, "Newest frame wins, video never waits", "live"},
        {GST_FASTVLM_MODE_COMPLETE, "Every sample is captioned before its frame leaves",
         "complete"},
        {0, NULL, NULL},
    };

    return get_enum(&type, "GstFastvlmMode", values);
}

GType gst_fastvlm_fit_get_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {
        {FASTVLM_FIT_PAD, "Black bars, all of the picture", "pad"},
        {FASTVLM_FIT_CROP, "The middle square", "crop"},
        {FASTVLM_FIT_STRETCH, "All of the picture, aspect ratio lost", "stretch"},
        {FASTVLM_FIT_AUTO, "As the model was trained, pad or crop", "auto"},
        {0, NULL, NULL},
    };

    return get_enum(&type, "GstFastvlmFit", values);
}

GType gst_fastvlm_head_get_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {
        {FASTVLM_HEAD_AUTO, "As config.json says", "auto"},
        {FASTVLM_HEAD_TIED, "The embedding", "tied"},
        {FASTVLM_HEAD_OWN, "lm_head.weight", "own"},
        {0, NULL, NULL},
    };

    return get_enum(&type, "GstFastvlmHead", values);
}

GType gst_fastvlm_precision_get_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {
        {FASTVLM_PRECISION_AUTO, "What is best on this machine", "auto"},
        {FASTVLM_PRECISION_F32, "32-bit float", "f32"},
        {FASTVLM_PRECISION_BF16, "bfloat16", "bf16"},
        {FASTVLM_PRECISION_INT8, "8-bit integer", "int8"},
        {FASTVLM_PRECISION_INT4, "4-bit integer weights", "int4"},
        {0, NULL, NULL},
    };

    return get_enum(&type, "GstFastvlmPrecision", values);
}

/* ---- the table ---- */

/* One property: whatever GObject, defaults, copies and documentation need to know. */
typedef struct {
    guint id;
    GType type;
    gsize offset; /* in GstFastvlmSettings */
    const char *name, *nick, *blurb;
    GParamFlags flags;
    const char *text;           /* a string's default */
    double low, high, fallback; /* of numbers; flags and enums have their default alone */
    guint64 most;               /* of 64 bits: high and fallback may not fit a double */
    GType (*enum_type)(void);
} Property;

#define STRING(id, member, name, nick, flags, text, blurb)                                  \
    {                                                                                       \
        id, G_TYPE_STRING, MEMBER(member), name, nick, blurb, flags, text, 0, 0, 0, 0, NULL \
    }
#define NUMBER(id, type, member, name, nick, flags, low, high, fallback, blurb)                \
    {                                                                                          \
        id, type, MEMBER(member), name, nick, blurb, flags, NULL, low, high, fallback, 0, NULL \
    }
#define TIME(id, member, name, nick, flags, fallback, blurb)                               \
    {                                                                                      \
        id, G_TYPE_UINT64, MEMBER(member), name, nick, blurb, flags, NULL, 0, 0, fallback, \
            MAX_TIME, NULL                                                                 \
    }
#define ENUM(id, member, name, nick, flags, enum_type, fallback, blurb)                     \
    {                                                                                       \
        id, G_TYPE_ENUM, MEMBER(member), name, nick, blurb, flags, NULL, 0, 0, fallback, 0, \
            enum_type                                                                       \
    }

static const Property properties[] = {
    STRING(GST_FASTVLM_PROP_MODEL_PATH, model_path, "model-path", "Model path", AT_START, "demo",
           "Checkpoint directory, or the name of a model that was installed or fetched "
           "by fastvlm pull, as 0.5b"),
    ENUM(GST_FASTVLM_PROP_PRECISION, precision, "precision", "Precision", AT_START,
         gst_fastvlm_precision_get_type, FASTVLM_PRECISION_AUTO, "Number format to compute in"),
    NUMBER(GST_FASTVLM_PROP_THREADS, G_TYPE_UINT, threads, "threads", "Threads", AT_START, 0,
           MAX_THREADS, 0, "Threads that compute (0: the CPUs this process may use)"),
    NUMBER(
        GST_FASTVLM_PROP_NICE, G_TYPE_INT, nice, "nice", "Nice", AT_START, 0, 19, 10,
        "Nice value of the threads that compute, so that video goes first (19: they take only what "
        "no other thread wants); of a shared model the first element decides"),
    STRING(GST_FASTVLM_PROP_VISION_PATH, vision_path, "vision-path", "Vision path", AT_START, NULL,
           "Checkpoint directory or model's name to take the encoder from (none: the model's own); "
           "an export for MLX has none and needs one"),
    ENUM(GST_FASTVLM_PROP_HEAD, head, "head", "Head", AT_START, gst_fastvlm_head_get_type,
         FASTVLM_HEAD_AUTO, "Matrix that chooses tokens, for a config.json that is wrong about it"),
    STRING(GST_FASTVLM_PROP_PROMPT, prompt, "prompt", "Prompt", LIVE, FASTVLM_DEFAULT_PROMPT,
           "What to ask about each sample"),
    STRING(GST_FASTVLM_PROP_PROMPTS, prompts, "prompts", "Prompts", LIVE, NULL,
           "What to ask about each sample instead of `prompt`, one prompt a line or as a "
           "GstValueArray of strings, for gst-launch-1.0 "
           "'<(string)one\\ dog?,(string)a\\ cat?>'; "
           "16 at most: the picture is encoded once, and each is answered with its prompt-index; "
           "metadata, text and drawing carry the answer to the first (none: prompt alone)"),
    STRING(GST_FASTVLM_PROP_SYSTEM_PROMPT, system_prompt, "system-prompt", "System prompt", LIVE,
           FASTVLM_DEFAULT_SYSTEM_PROMPT, "What the model is told it is"),
    STRING(GST_FASTVLM_PROP_CHOICES, choices, "choices", "Choices", LIVE, NULL,
           "The answer is one of these, between commas, as yes,no; messages and metadata tell how "
           "probable each is (none: any answer)"),
    NUMBER(GST_FASTVLM_PROP_RESOLUTION, G_TYPE_UINT, resolution, "resolution", "Resolution", LIVE,
           0, MAX_RESOLUTION, 0,
           "Side of the picture that the model sees, pixels, a multiple of 64 (0: the model's "
           "own)"),
    NUMBER(
        GST_FASTVLM_PROP_LATENCY_BUDGET, G_TYPE_UINT, latency_budget, "latency-budget",
        "Latency budget", LIVE, 0, MAX_BUDGET_MS, 0,
        "Longest time from a frame's arrival to its last caption, ms: where resolution is 0, the "
        "largest that keeps it is chosen, as this machine is busy (0: off)"),
    ENUM(GST_FASTVLM_PROP_FIT, fit, "fit", "Fit", LIVE, gst_fastvlm_fit_get_type, FASTVLM_FIT_AUTO,
         "How a picture whose display aspect is not square becomes one"),
    TIME(GST_FASTVLM_PROP_INTERVAL, interval, "interval", "Interval", LIVE, GST_SECOND,
         "Running time between samples, ns (0: every frame in mode complete, as often as the model "
         "can in mode live)"),
    NUMBER(GST_FASTVLM_PROP_CHANGE_THRESHOLD, G_TYPE_DOUBLE, change_threshold, "change-threshold",
           "Change threshold", LIVE, 0, 1, 0,
           "Share of a coarse grid that must have changed since the last sample captioned, or a "
           "sample is not captioned again but told of as unchanged; 0.02 is a good start (0: off)"),
    STRING(GST_FASTVLM_PROP_CHANGE_MASK, change_mask, "change-mask", "Change mask", LIVE, NULL,
           "Parts of the picture whose change does not count, as a clock's: x,y,width,height in "
           "pixels or with % in shares, and semicolons between several (none: all counts)"),
    TIME(GST_FASTVLM_PROP_MAX_AGE, max_age, "max-age", "Max age", LIVE, 60 * GST_SECOND,
         "Running time after which a sample is captioned even if nothing changed, ns (0: never)"),
    ENUM(GST_FASTVLM_PROP_TRIGGER, trigger, "trigger", "Trigger", LIVE,
         gst_fastvlm_trigger_get_type, GST_FASTVLM_TRIGGER_INTERVAL,
         "What chooses the frames that are captioned, beside the signal and the event that ask for "
         "one"),
    NUMBER(GST_FASTVLM_PROP_REGIONS, G_TYPE_BOOLEAN, regions, "regions", "Regions", LIVE, 0, 1, 0,
           "Caption each GstVideoRegionOfInterestMeta of a frame by itself, the largest first, "
           "instead of the whole picture; frames without any are passed over"),
    ENUM(GST_FASTVLM_PROP_MODE, mode, "mode", "Mode", LIVE, gst_fastvlm_mode_get_type,
         GST_FASTVLM_MODE_LIVE, "Whether video may wait for captions"),
    STRING(GST_FASTVLM_PROP_ALERT_ON, alert_on, "alert-on", "Alert on", LIVE, NULL,
           "Post a message fastvlm-alert when this choice (several, between commas: together) "
           "becomes probable, and when it is not any more (none: no alerts)"),
    NUMBER(GST_FASTVLM_PROP_ALERT_THRESHOLD, G_TYPE_DOUBLE, alert_threshold, "alert-threshold",
           "Alert threshold", LIVE, 0, 1, 0.8, "Probability at which an alert is raised"),
    NUMBER(GST_FASTVLM_PROP_ALERT_CLEAR, G_TYPE_DOUBLE, alert_clear, "alert-clear", "Alert clear",
           LIVE, 0, 1, 0.5,
           "Probability down at which it is cleared; between the two nothing changes"),
    TIME(GST_FASTVLM_PROP_ALERT_COOLDOWN, alert_cooldown, "alert-cooldown", "Alert cooldown", LIVE,
         10 * GST_SECOND, "Running time after a clear in which no alert is raised, ns"),
    NUMBER(GST_FASTVLM_PROP_MAX_TOKENS, G_TYPE_UINT, max_tokens, "max-tokens", "Max tokens", LIVE,
           1, G_MAXINT, FASTVLM_DEFAULT_MAX_TOKENS, "Longest caption, tokens"),
    NUMBER(GST_FASTVLM_PROP_TEMPERATURE, G_TYPE_DOUBLE, temperature, "temperature", "Temperature",
           LIVE, 0, 100, 0, "Randomness of the choice of tokens (0: always the most probable one)"),
    NUMBER(GST_FASTVLM_PROP_TOP_P, G_TYPE_DOUBLE, top_p, "top-p", "Top p", LIVE, 0, 1, 1,
           "Choose among the fewest tokens that are this probable together (1: off)"),
    NUMBER(GST_FASTVLM_PROP_TOP_K, G_TYPE_UINT, top_k, "top-k", "Top k", LIVE, 0, G_MAXINT, 0,
           "Choose among that many most probable tokens (0: off)"),
    {GST_FASTVLM_PROP_SEED, G_TYPE_UINT64, MEMBER(seed), "seed", "Seed",
     "Of the random choice: same seed, same caption", LIVE, NULL, 0, 0, 0, G_MAXUINT64, NULL},
    NUMBER(GST_FASTVLM_PROP_OVERLAY, G_TYPE_BOOLEAN, overlay, "overlay", "Overlay", LIVE, 0, 1, 0,
           "Draw the caption on the picture"),
    STRING(GST_FASTVLM_PROP_FONT_DESC, font_desc, "font-desc", "Font description", LIVE, NULL,
           "Pango font description of the overlay (none: scaled to the video)"),
    TIME(GST_FASTVLM_PROP_TEXT_REPEAT, text_repeat, "text-repeat", "Text repeat", LIVE, 0,
         "Push the current caption on text_src again in slices this long, ns (0: off), for a live "
         "textoverlay that must change at once"),
    NUMBER(GST_FASTVLM_PROP_REPEAT, G_TYPE_BOOLEAN, repeat, "repeat", "Repeat", LIVE, 0, 1, 0,
           "Push a caption on text_src also if it is the same as the last, in mode live; in "
           "complete every one is pushed"),
};

static const Property *find_property(guint id)
{
    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (properties[i].id == id) {
            return &properties[i];
        }
    }
    return NULL;
}

/* ---- the settings ---- */

static gpointer get_member(const GstFastvlmSettings *settings, const Property *property)
{
    return (char *)settings + property->offset;
}

static void set_default(GstFastvlmSettings *settings, const Property *property)
{
    gpointer member = get_member(settings, property);

    switch (property->type) {
    case G_TYPE_STRING:
        *(char **)member = g_strdup(property->text);
        break;
    case G_TYPE_UINT64:
        *(guint64 *)member = (guint64)property->fallback;
        break;
    case G_TYPE_DOUBLE:
        *(double *)member = property->fallback;
        break;
    case G_TYPE_UINT:
        *(guint *)member = (guint)property->fallback;
        break;
    default: /* int, boolean, enum */
        *(gint *)member = (gint)property->fallback;
    }
}

void gst_fastvlm_settings_init(GstFastvlmSettings *settings)
{
    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        set_default(settings, &properties[i]);
    }
}

void gst_fastvlm_settings_clear(GstFastvlmSettings *settings)
{
    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (properties[i].type == G_TYPE_STRING) {
            g_free(*(char **)get_member(settings, &properties[i]));
        }
    }
    *settings = (GstFastvlmSettings){0};
}

void gst_fastvlm_settings_copy(GstFastvlmSettings *to, const GstFastvlmSettings *from)
{
    *to = *from;
    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (properties[i].type == G_TYPE_STRING) {
            *(char **)get_member(to, &properties[i]) =
                g_strdup(*(char **)get_member(from, &properties[i]));
        }
    }
}

char **gst_fastvlm_settings_list_prompts(const GstFastvlmSettings *settings)
{
    char **prompts = gst_fastvlm_prompts_parse(settings->prompts);

    if (prompts[0] == NULL) {
        g_strfreev(prompts);
        prompts = g_strdupv((char *[]){settings->prompt, NULL});
    }
    return prompts;
}

gboolean gst_fastvlm_settings_has_choices(const GstFastvlmSettings *settings)
{
    return settings->choices != NULL && *settings->choices != '\0';
}

/* ---- GObject ---- */

static GParamSpec *make_spec(const Property *p)
{
    switch (p->type) {
    case G_TYPE_STRING:
        return g_param_spec_string(p->name, p->nick, p->blurb, p->text, p->flags);
    case G_TYPE_UINT64:
        return g_param_spec_uint64(p->name, p->nick, p->blurb, 0, p->most, (guint64)p->fallback,
                                   p->flags);
    case G_TYPE_DOUBLE:
        return g_param_spec_double(p->name, p->nick, p->blurb, p->low, p->high, p->fallback,
                                   p->flags);
    case G_TYPE_UINT:
        return g_param_spec_uint(p->name, p->nick, p->blurb, (guint)p->low, (guint)p->high,
                                 (guint)p->fallback, p->flags);
    case G_TYPE_INT:
        return g_param_spec_int(p->name, p->nick, p->blurb, (gint)p->low, (gint)p->high,
                                (gint)p->fallback, p->flags);
    case G_TYPE_BOOLEAN:
        return g_param_spec_boolean(p->name, p->nick, p->blurb, p->fallback > 0, p->flags);
    default:
        return g_param_spec_enum(p->name, p->nick, p->blurb, p->enum_type(), (gint)p->fallback,
                                 p->flags);
    }
}

void gst_fastvlm_settings_install(GObjectClass *klass)
{
    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        g_object_class_install_property(klass, properties[i].id, make_spec(&properties[i]));
    }
}

/* NULL means the default, so that no string is ever NULL but those whose default is. */
static void set_string(char **string, const GValue *value, const char *fallback)
{
    const char *given = g_value_get_string(value);

    g_free(*string);
    *string = g_strdup(given != NULL ? given : fallback);
}

gboolean gst_fastvlm_settings_set(GstFastvlmSettings *settings, guint id, const GValue *value)
{
    const Property *property = find_property(id);

    if (property == NULL) {
        return FALSE;
    }
    gpointer member = get_member(settings, property);
    switch (property->type) {
    case G_TYPE_STRING:
        set_string(member, value, property->text);
        break;
    case G_TYPE_UINT64:
        *(guint64 *)member = g_value_get_uint64(value);
        break;
    case G_TYPE_DOUBLE:
        *(double *)member = g_value_get_double(value);
        break;
    case G_TYPE_UINT:
        *(guint *)member = g_value_get_uint(value);
        break;
    case G_TYPE_INT:
        *(gint *)member = g_value_get_int(value);
        break;
    case G_TYPE_BOOLEAN:
        *(gboolean *)member = g_value_get_boolean(value);
        break;
    default:
        *(gint *)member = g_value_get_enum(value);
    }
    return TRUE;
}

gboolean gst_fastvlm_settings_get(const GstFastvlmSettings *settings, guint id, GValue *value)
{
    const Property *property = find_property(id);

    if (property == NULL) {
        return FALSE;
    }
    gconstpointer member = get_member(settings, property);
    switch (property->type) {
    case G_TYPE_STRING:
        g_value_set_string(value, *(char *const *)member);
        break;
    case G_TYPE_UINT64:
        g_value_set_uint64(value, *(const guint64 *)member);
        break;
    case G_TYPE_DOUBLE:
        g_value_set_double(value, *(const double *)member);
        break;
    case G_TYPE_UINT:
        g_value_set_uint(value, *(const guint *)member);
        break;
    case G_TYPE_INT:
        g_value_set_int(value, *(const gint *)member);
        break;
    case G_TYPE_BOOLEAN:
        g_value_set_boolean(value, *(const gboolean *)member);
        break;
    default:
        g_value_set_enum(value, *(const gint *)member);
    }
    return TRUE;
}

/* ---- checks ---- */

static gboolean check_resolution(guint resolution, GError **error)
{
    if (resolution % 64 == 0) {
        return TRUE;
    }
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                "resolution=%u is no multiple of 64: set one, or 0 for the model's own",
                resolution);
    return FALSE;
}

static gboolean check_choices(const char *choices, GError **error)
{
    if (choices == NULL || *choices == '\0') {
        return TRUE;
    }
    char **names = fastvlm_choices_parse(choices, error);
    const gboolean ok = names != NULL;
    if (!ok) {
        g_prefix_error(error, "choices=%s: ", choices);
    }
    g_strfreev(names);
    return ok;
}

static gboolean check_prompts(const char *prompts, GError **error)
{
    char **list = gst_fastvlm_prompts_parse(prompts);
    const guint n = g_strv_length(list);

    g_strfreev(list);
    if (n <= GST_FASTVLM_MAX_PROMPTS) {
        return TRUE;
    }
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                "prompts has %u prompts: expected %d at most", n, GST_FASTVLM_MAX_PROMPTS);
    return FALSE;
}

static gboolean check_mask(const char *mask, GError **error)
{
    if (gst_fastvlm_mask_parse(mask, NULL)) {
        return TRUE;
    }
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                "change-mask=%s: expected x,y,width,height in pixels or with %%, and semicolons "
                "between several, as 70%%,0,30%%,10%%",
                mask);
    return FALSE;
}

gboolean gst_fastvlm_settings_check(guint id, const GValue *value, GError **error)
{
    switch (id) {
    case GST_FASTVLM_PROP_RESOLUTION:
        return check_resolution(g_value_get_uint(value), error);
    case GST_FASTVLM_PROP_PROMPTS:
        return check_prompts(g_value_get_string(value), error);
    case GST_FASTVLM_PROP_CHANGE_MASK:
        return check_mask(g_value_get_string(value), error);
    case GST_FASTVLM_PROP_CHOICES:
        return check_choices(g_value_get_string(value), error);
    default:
        return TRUE;
    }
}

/* All that is watched for is among the choices. */
static gboolean check_alerts(const GstFastvlmSettings *settings, GError **error)
{
    const char *alert_on = settings->alert_on != NULL ? settings->alert_on : "";
    char **watched = g_strsplit(alert_on, ",", -1);
    char **names = fastvlm_choices_parse(settings->choices, NULL);
    gboolean ok = TRUE;

    for (char **name = watched; ok && *name != NULL; name++) {
        ok = names != NULL && g_strv_contains((const char *const *)names, g_strstrip(*name));
    }
    g_strfreev(watched);
    g_strfreev(names);
    if (!ok) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "alert-on=%s: expected some of the choices, which are \"%s\"", alert_on,
                    settings->choices != NULL ? settings->choices : "");
    }
    return ok;
}

gboolean gst_fastvlm_settings_check_all(const GstFastvlmSettings *settings, GError **error)
{
    return check_resolution(settings->resolution, error) &&
           check_prompts(settings->prompts, error) && check_mask(settings->change_mask, error) &&
           check_choices(settings->choices, error) && check_alerts(settings, error);
}

FastvlmModelParams gst_fastvlm_settings_get_params(const GstFastvlmSettings *settings)
{
    return (FastvlmModelParams){
        .precision = settings->precision,
        .n_threads = (int)settings->threads,
        .worker_nice = settings->nice,
        .vision_path = settings->vision_path,
        .head = settings->head,
    };
}
