/*
 * The writable properties; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmsettings.h"

#define MAX_RESOLUTION 4096
#define MAX_THREADS 256

#define FLAGS (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS)
#define LIVE (FLAGS | GST_PARAM_MUTABLE_PLAYING)
#define AT_START (FLAGS | GST_PARAM_MUTABLE_READY)

static GType register_enum(const char *name, const GEnumValue *values)
{
    const GType type = g_enum_register_static(name, values);

    gst_type_mark_as_plugin_api(type, 0);
    return type;
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

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, register_enum("GstFastvlmMode", values));
    }
    return type;
}

GType gst_fastvlm_fit_get_type(void)
{
    static gsize type = 0;
    static const GEnumValue values[] = {
        {FASTVLM_FIT_PAD, "Black bars, all of the picture", "pad"},
        {FASTVLM_FIT_CROP, "The middle square", "crop"},
        {FASTVLM_FIT_STRETCH, "All of the picture, aspect ratio lost", "stretch"},
        {0, NULL, NULL},
    };

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, register_enum("GstFastvlmFit", values));
    }
    return type;
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

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, register_enum("GstFastvlmPrecision", values));
    }
    return type;
}

void gst_fastvlm_settings_init(GstFastvlmSettings *settings)
{
    *settings = (GstFastvlmSettings){
        .model_path = g_strdup("demo"),
        .prompt = g_strdup(FASTVLM_DEFAULT_PROMPT),
        .system_prompt = g_strdup(FASTVLM_DEFAULT_SYSTEM_PROMPT),
        .precision = FASTVLM_PRECISION_AUTO,
        .fit = FASTVLM_FIT_PAD,
        .interval = GST_SECOND,
        .mode = GST_FASTVLM_MODE_LIVE,
        .max_tokens = FASTVLM_DEFAULT_MAX_TOKENS,
        .top_p = 1.0,
        .nice = 10,
    };
}

void gst_fastvlm_settings_clear(GstFastvlmSettings *settings)
{
    g_free(settings->model_path);
    g_free(settings->prompt);
    g_free(settings->system_prompt);
    g_free(settings->font_desc);
    *settings = (GstFastvlmSettings){0};
}

void gst_fastvlm_settings_copy(GstFastvlmSettings *to, const GstFastvlmSettings *from)
{
    *to = *from;
    to->model_path = g_strdup(from->model_path);
    to->prompt = g_strdup(from->prompt);
    to->system_prompt = g_strdup(from->system_prompt);
    to->font_desc = g_strdup(from->font_desc);
}

gboolean gst_fastvlm_settings_is_resolution(guint resolution)
{
    return resolution % 64 == 0 && resolution <= MAX_RESOLUTION;
}

static void install_model(GObjectClass *klass)
{
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_MODEL_PATH,
        g_param_spec_string("model-path", "Model path",
                            "Checkpoint directory, or the name of an installed model", "demo",
                            AT_START));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_PRECISION,
        g_param_spec_enum("precision", "Precision", "Number format to compute in",
                          GST_TYPE_FASTVLM_PRECISION, FASTVLM_PRECISION_AUTO, AT_START));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_THREADS,
        g_param_spec_uint("threads", "Threads",
                          "Threads that compute (0: the CPUs this process may use)", 0, MAX_THREADS,
                          0, AT_START));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_NICE,
        g_param_spec_int("nice", "Nice",
                         "Nice value of the threads that compute, so that video goes first; of a "
                         "shared model the first element decides",
                         0, 19, 10, AT_START));
}

static void install_question(GObjectClass *klass)
{
    g_object_class_install_property(klass, GST_FASTVLM_PROP_PROMPT,
                                    g_param_spec_string("prompt", "Prompt",
                                                        "What to ask about each sample",
                                                        FASTVLM_DEFAULT_PROMPT, LIVE));
    g_object_class_install_property(klass, GST_FASTVLM_PROP_SYSTEM_PROMPT,
                                    g_param_spec_string("system-prompt", "System prompt",
                                                        "What the model is told it is",
                                                        FASTVLM_DEFAULT_SYSTEM_PROMPT, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_RESOLUTION,
        g_param_spec_uint("resolution", "Resolution",
                          "Side of the picture that the model sees, pixels, a multiple of 64 (0: "
                          "the model's own)",
                          0, MAX_RESOLUTION, 0, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_FIT,
        g_param_spec_enum("fit", "Fit",
                          "How a picture whose display aspect is not square becomes one",
                          GST_TYPE_FASTVLM_FIT, FASTVLM_FIT_PAD, LIVE));
}

static void install_sampling(GObjectClass *klass)
{
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_INTERVAL,
        g_param_spec_uint64("interval", "Interval",
                            "Running time between samples, ns (0: every frame in mode complete, as "
                            "often as the model can in mode live)",
                            0, G_MAXUINT64 - 1, GST_SECOND, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_MODE,
        g_param_spec_enum("mode", "Mode", "Whether video may wait for captions",
                          GST_TYPE_FASTVLM_MODE, GST_FASTVLM_MODE_LIVE, LIVE));
}

static void install_generation(GObjectClass *klass)
{
    g_object_class_install_property(klass, GST_FASTVLM_PROP_MAX_TOKENS,
                                    g_param_spec_uint("max-tokens", "Max tokens",
                                                      "Longest caption, tokens", 1, G_MAXINT,
                                                      FASTVLM_DEFAULT_MAX_TOKENS, LIVE));
    g_object_class_install_property(klass, GST_FASTVLM_PROP_TEMPERATURE,
                                    g_param_spec_double("temperature", "Temperature",
                                                        "Randomness of the choice of tokens (0: "
                                                        "always the most probable one)",
                                                        0, 100, 0, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_TOP_P,
        g_param_spec_double("top-p", "Top p",
                            "Choose among the fewest tokens that are this probable together (1: "
                            "off)",
                            0, 1, 1, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_TOP_K,
        g_param_spec_uint("top-k", "Top k", "Choose among that many most probable tokens (0: off)",
                          0, G_MAXINT, 0, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_SEED,
        g_param_spec_uint64("seed", "Seed", "Of the random choice: same seed, same caption", 0,
                            G_MAXUINT64, 0, LIVE));
}

static void install_output(GObjectClass *klass)
{
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_OVERLAY,
        g_param_spec_boolean("overlay", "Overlay", "Draw the caption on the picture", FALSE, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_FONT_DESC,
        g_param_spec_string("font-desc", "Font description",
                            "Pango font description of the overlay (none: scaled to the video)",
                            NULL, LIVE));
    g_object_class_install_property(
        klass, GST_FASTVLM_PROP_TEXT_REPEAT,
        g_param_spec_uint64("text-repeat", "Text repeat",
                            "Push the current caption on text_src again in slices this long, ns "
                            "(0: off), for a live textoverlay that must change at once",
                            0, G_MAXUINT64 - 1, 0, LIVE));
}

void gst_fastvlm_settings_install(GObjectClass *klass)
{
    install_model(klass);
    install_question(klass);
    install_sampling(klass);
    install_generation(klass);
    install_output(klass);
}

/* NULL means the default, so that no string but font_desc is ever NULL. */
static void set_string(char **string, const GValue *value, const char *fallback)
{
    const char *given = g_value_get_string(value);

    g_free(*string);
    *string = g_strdup(given != NULL ? given : fallback);
}

gboolean gst_fastvlm_settings_set(GstFastvlmSettings *settings, guint id, const GValue *value)
{
    switch (id) {
    case GST_FASTVLM_PROP_MODEL_PATH:
        set_string(&settings->model_path, value, "demo");
        break;
    case GST_FASTVLM_PROP_PROMPT:
        set_string(&settings->prompt, value, FASTVLM_DEFAULT_PROMPT);
        break;
    case GST_FASTVLM_PROP_SYSTEM_PROMPT:
        set_string(&settings->system_prompt, value, FASTVLM_DEFAULT_SYSTEM_PROMPT);
        break;
    case GST_FASTVLM_PROP_PRECISION:
        settings->precision = (FastvlmPrecision)g_value_get_enum(value);
        break;
    case GST_FASTVLM_PROP_THREADS:
        settings->threads = g_value_get_uint(value);
        break;
    case GST_FASTVLM_PROP_RESOLUTION:
        settings->resolution = g_value_get_uint(value);
        break;
    case GST_FASTVLM_PROP_FIT:
        settings->fit = (FastvlmFit)g_value_get_enum(value);
        break;
    case GST_FASTVLM_PROP_INTERVAL:
        settings->interval = g_value_get_uint64(value);
        break;
    case GST_FASTVLM_PROP_MODE:
        settings->mode = (GstFastvlmMode)g_value_get_enum(value);
        break;
    case GST_FASTVLM_PROP_MAX_TOKENS:
        settings->max_tokens = g_value_get_uint(value);
        break;
    case GST_FASTVLM_PROP_TEMPERATURE:
        settings->temperature = g_value_get_double(value);
        break;
    case GST_FASTVLM_PROP_TOP_P:
        settings->top_p = g_value_get_double(value);
        break;
    case GST_FASTVLM_PROP_TOP_K:
        settings->top_k = g_value_get_uint(value);
        break;
    case GST_FASTVLM_PROP_SEED:
        settings->seed = g_value_get_uint64(value);
        break;
    case GST_FASTVLM_PROP_OVERLAY:
        settings->overlay = g_value_get_boolean(value);
        break;
    case GST_FASTVLM_PROP_FONT_DESC:
        set_string(&settings->font_desc, value, NULL);
        break;
    case GST_FASTVLM_PROP_TEXT_REPEAT:
        settings->text_repeat = g_value_get_uint64(value);
        break;
    case GST_FASTVLM_PROP_NICE:
        settings->nice = g_value_get_int(value);
        break;
    default:
        return FALSE;
    }
    return TRUE;
}

gboolean gst_fastvlm_settings_get(const GstFastvlmSettings *settings, guint id, GValue *value)
{
    switch (id) {
    case GST_FASTVLM_PROP_MODEL_PATH:
        g_value_set_string(value, settings->model_path);
        break;
    case GST_FASTVLM_PROP_PROMPT:
        g_value_set_string(value, settings->prompt);
        break;
    case GST_FASTVLM_PROP_SYSTEM_PROMPT:
        g_value_set_string(value, settings->system_prompt);
        break;
    case GST_FASTVLM_PROP_PRECISION:
        g_value_set_enum(value, (gint)settings->precision);
        break;
    case GST_FASTVLM_PROP_THREADS:
        g_value_set_uint(value, settings->threads);
        break;
    case GST_FASTVLM_PROP_RESOLUTION:
        g_value_set_uint(value, settings->resolution);
        break;
    case GST_FASTVLM_PROP_FIT:
        g_value_set_enum(value, (gint)settings->fit);
        break;
    case GST_FASTVLM_PROP_INTERVAL:
        g_value_set_uint64(value, settings->interval);
        break;
    case GST_FASTVLM_PROP_MODE:
        g_value_set_enum(value, (gint)settings->mode);
        break;
    case GST_FASTVLM_PROP_MAX_TOKENS:
        g_value_set_uint(value, settings->max_tokens);
        break;
    case GST_FASTVLM_PROP_TEMPERATURE:
        g_value_set_double(value, settings->temperature);
        break;
    case GST_FASTVLM_PROP_TOP_P:
        g_value_set_double(value, settings->top_p);
        break;
    case GST_FASTVLM_PROP_TOP_K:
        g_value_set_uint(value, settings->top_k);
        break;
    case GST_FASTVLM_PROP_SEED:
        g_value_set_uint64(value, settings->seed);
        break;
    case GST_FASTVLM_PROP_OVERLAY:
        g_value_set_boolean(value, settings->overlay);
        break;
    case GST_FASTVLM_PROP_FONT_DESC:
        g_value_set_string(value, settings->font_desc);
        break;
    case GST_FASTVLM_PROP_TEXT_REPEAT:
        g_value_set_uint64(value, settings->text_repeat);
        break;
    case GST_FASTVLM_PROP_NICE:
        g_value_set_int(value, settings->nice);
        break;
    default:
        return FALSE;
    }
    return TRUE;
}
