/*
 * What a user can set: the element's writable properties, their types, ranges and defaults.
 *
 * The element holds one GstFastvlmSettings under its object lock; the worker takes a copy when a
 * caption begins, so that a caption is made of one set of values.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_SETTINGS_H
#define GST_FASTVLM_SETTINGS_H

#include <gst/gst.h>
#include <fastvlm/fastvlm.h>

G_BEGIN_DECLS

typedef enum {
    GST_FASTVLM_MODE_LIVE,     /* newest frame wins and the video never waits */
    GST_FASTVLM_MODE_COMPLETE, /* every sample is captioned before its frame leaves */
} GstFastvlmMode;

typedef enum {
    GST_FASTVLM_TRIGGER_INTERVAL, /* the grid chooses samples */
    GST_FASTVLM_TRIGGER_MANUAL,   /* only those asked for are captioned */
} GstFastvlmTrigger;

/** Most prompts asked about one sample. */
#define GST_FASTVLM_MAX_PROMPTS 16

#define GST_TYPE_FASTVLM_TRIGGER (gst_fastvlm_trigger_get_type())
#define GST_TYPE_FASTVLM_MODE (gst_fastvlm_mode_get_type())
#define GST_TYPE_FASTVLM_FIT (gst_fastvlm_fit_get_type())
#define GST_TYPE_FASTVLM_HEAD (gst_fastvlm_head_get_type())
#define GST_TYPE_FASTVLM_PRECISION (gst_fastvlm_precision_get_type())
GType gst_fastvlm_trigger_get_type(void);
GType gst_fastvlm_mode_get_type(void);
GType gst_fastvlm_fit_get_type(void);
GType gst_fastvlm_head_get_type(void);
GType gst_fastvlm_precision_get_type(void);

/** Property ids, in the order that gst-inspect shows their pairs in. */
enum {
    GST_FASTVLM_PROP_0,
    GST_FASTVLM_PROP_MODEL_PATH,
    GST_FASTVLM_PROP_PROMPT,
    GST_FASTVLM_PROP_PROMPTS,
    GST_FASTVLM_PROP_SYSTEM_PROMPT,
    GST_FASTVLM_PROP_CHOICES,
    GST_FASTVLM_PROP_PRECISION,
    GST_FASTVLM_PROP_THREADS,
    GST_FASTVLM_PROP_RESOLUTION,
    GST_FASTVLM_PROP_LATENCY_BUDGET,
    GST_FASTVLM_PROP_FIT,
    GST_FASTVLM_PROP_INTERVAL,
    GST_FASTVLM_PROP_CHANGE_THRESHOLD,
    GST_FASTVLM_PROP_CHANGE_MASK,
    GST_FASTVLM_PROP_MAX_AGE,
    GST_FASTVLM_PROP_TRIGGER,
    GST_FASTVLM_PROP_REGIONS,
    GST_FASTVLM_PROP_MODE,
    GST_FASTVLM_PROP_ALERT_ON,
    GST_FASTVLM_PROP_ALERT_THRESHOLD,
    GST_FASTVLM_PROP_ALERT_CLEAR,
    GST_FASTVLM_PROP_ALERT_COOLDOWN,
    GST_FASTVLM_PROP_MAX_TOKENS,
    GST_FASTVLM_PROP_TEMPERATURE,
    GST_FASTVLM_PROP_TOP_P,
    GST_FASTVLM_PROP_TOP_K,
    GST_FASTVLM_PROP_SEED,
    GST_FASTVLM_PROP_OVERLAY,
    GST_FASTVLM_PROP_FONT_DESC,
    GST_FASTVLM_PROP_TEXT_REPEAT,
    GST_FASTVLM_PROP_REPEAT,
    GST_FASTVLM_PROP_NICE,
    GST_FASTVLM_PROP_VISION_PATH,
    GST_FASTVLM_PROP_HEAD,
    GST_FASTVLM_N_SETTINGS, /* the element's read-only properties follow */
};

typedef struct {
    char *model_path;
    char *prompt;
    char *prompts; /* as gst_fastvlm_prompts_parse() takes them; NULL or none: `prompt` alone */
    char *system_prompt;
    char *choices; /* as fastvlm_choices_parse() takes them; NULL or "": any answer */
    FastvlmPrecision precision;
    guint threads;
    guint resolution;     /* pixels */
    guint latency_budget; /* ms; 0: off */
    FastvlmFit fit;
    guint64 interval;        /* ns */
    double change_threshold; /* 0: looks do not matter */
    char *change_mask;       /* as gst_fastvlm_mask_parse() takes it; NULL: none */
    guint64 max_age;         /* ns; 0: no limit */
    GstFastvlmTrigger trigger;
    gboolean regions; /* caption regions of interest instead of the whole picture */
    GstFastvlmMode mode;
    char *alert_on; /* some of the choices, between commas; NULL or "": no alerts */
    double alert_threshold;
    double alert_clear;
    guint64 alert_cooldown; /* ns */
    guint max_tokens;
    double temperature;
    double top_p;
    guint top_k;
    guint64 seed;
    gboolean overlay;
    char *font_desc;     /* NULL: the default */
    guint64 text_repeat; /* ns */
    gboolean repeat;
    gint nice;
    char *vision_path; /* NULL: the model's own encoder */
    FastvlmHead head;
} GstFastvlmSettings;

/** The defaults. */
void gst_fastvlm_settings_init(GstFastvlmSettings *settings);
void gst_fastvlm_settings_clear(GstFastvlmSettings *settings);
void gst_fastvlm_settings_copy(GstFastvlmSettings *to, const GstFastvlmSettings *from);

/** What a model is loaded with; without callbacks. Strings stay the settings'. */
FastvlmModelParams gst_fastvlm_settings_get_params(const GstFastvlmSettings *settings);

/** Installs the properties 1 .. GST_FASTVLM_N_SETTINGS - 1. */
void gst_fastvlm_settings_install(GObjectClass *klass);

/** Sets or gets one of them; FALSE where `id` is none. */
gboolean gst_fastvlm_settings_set(GstFastvlmSettings *settings, guint id, const GValue *value);
gboolean gst_fastvlm_settings_get(const GstFastvlmSettings *settings, guint id, GValue *value);

/** What is asked about a sample: one prompt or more, NULL-terminated; free with g_strfreev(). */
char **gst_fastvlm_settings_list_prompts(const GstFastvlmSettings *settings);

/** Whether answers are to be one of the choices. */
gboolean gst_fastvlm_settings_has_choices(const GstFastvlmSettings *settings);

/**
 * Whether a value makes sense, as far as its type does not say that already. One line in `error` says
 * what was found and expected.
 */
gboolean gst_fastvlm_settings_check(guint id, const GValue *value, GError **error);

/** The same for all of them. */
gboolean gst_fastvlm_settings_check_all(const GstFastvlmSettings *settings, GError **error);

G_END_DECLS

#endif
