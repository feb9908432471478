/*
 * Alerts of the element: which answers are judged, and what is said of it on the bus.
 *
 *     final answer to a standing prompt -> gstfastvlmalerts.c -> message fastvlm-alert
 *     those about regions -> for each prompt the most probable -> the same
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmprivate.h"

#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

/* With the object lock held. */
static void forget_alerts(GstFastvlmCaption *self)
{
    for (guint i = 0; i < GST_FASTVLM_MAX_PROMPTS; i++) {
        gst_fastvlm_alert_init(&self->alerts[i]);
    }
    g_clear_pointer(&self->alert_on, g_free);
}

void gst_fastvlm_caption_forget_alerts(GstFastvlmCaption *self)
{
    GST_OBJECT_LOCK(self);
    forget_alerts(self);
    GST_OBJECT_UNLOCK(self);
}

static void post_alert(GstFastvlmCaption *self, const GstFastvlmAnswer *answer, gboolean raised,
                       const char *alert_on, double probability, GstClockTime since)
{
    GstStructure *structure = gst_fastvlm_answer_to_structure(answer, GST_FASTVLM_ALERT_NAME);

    gst_structure_set(structure, "type", G_TYPE_STRING, raised ? "alert" : "clear", "alert-on",
                      G_TYPE_STRING, alert_on, "probability", G_TYPE_DOUBLE, probability, "since",
                      G_TYPE_UINT64, since, NULL);
    GST_INFO_OBJECT(self, "%s %s: %.3f", raised ? "alert" : "clear", alert_on, probability);
    gst_element_post_message(GST_ELEMENT(self),
                             gst_message_new_element(GST_OBJECT(self), structure));
}

/* Once for each thing to watch for that is none of the choices. */
static void warn_unknown(GstFastvlmCaption *self, const char *alert_on, const char *choices)
{
    GST_ELEMENT_WARNING(self, LIBRARY, SETTINGS,
                        ("alert-on=%s names none of the choices, \"%s\": no alert will be raised. "
                         "Name some of them.",
                         alert_on, choices != NULL ? choices : ""),
                        (NULL));
}

/* What a final answer brings about: *name is what the message says of it. */
static GstFastvlmAlertChange judge(GstFastvlmCaption *self, const GstFastvlmAnswer *answer,
                                   char **name, double *probability, GstClockTime *since,
                                   gboolean *is_unknown)
{
    const GstFastvlmSettings *settings = &self->settings;
    const char *alert_on = settings->alert_on != NULL ? settings->alert_on : "";
    const gboolean is_new = g_strcmp0(self->alert_on, alert_on) != 0;
    GstFastvlmAlert *alert = &self->alerts[answer->prompt_index];
    const GstFastvlmAlertRule rule = {settings->alert_threshold, settings->alert_clear,
                                      settings->alert_cooldown};
    const gboolean is_known = gst_fastvlm_alert_weigh(answer, alert_on, probability);

    *is_unknown = is_new && *alert_on != '\0' && !is_known;
    if (alert->is_raised && (is_new || !is_known)) {
        /* What was watched for is not any more. */
        *name = g_steal_pointer(&self->alert_on);
        *since = alert->since;
        forget_alerts(self);
        return GST_FASTVLM_ALERT_CLEAR;
    }
    if (is_new) {
        forget_alerts(self);
        self->alert_on = g_strdup(alert_on);
    }
    *name = g_strdup(alert_on);
    return is_known
               ? gst_fastvlm_alert_judge(alert, &rule, *probability, answer->running_time, since)
               : GST_FASTVLM_ALERT_NONE;
}

static void judge_answer(GstFastvlmCaption *self, const GstFastvlmAnswer *answer)
{
    GstClockTime since = GST_CLOCK_TIME_NONE;
    double probability = 0;
    gboolean is_unknown;
    char *name = NULL;

    GST_OBJECT_LOCK(self);
    const GstFastvlmAlertChange change =
        judge(self, answer, &name, &probability, &since, &is_unknown);
    char *choices = is_unknown ? g_strdup(self->settings.choices) : NULL;
    GST_OBJECT_UNLOCK(self);
    if (is_unknown) {
        warn_unknown(self, name, choices);
    }
    if (change != GST_FASTVLM_ALERT_NONE) {
        post_alert(self, answer, change == GST_FASTVLM_ALERT_RAISE, name, probability, since);
    }
    g_free(choices);
    g_free(name);
}

/* With the object lock held: how probable an answer makes what is watched for; -1: it does not say. */
static double weigh(GstFastvlmCaption *self, const GstFastvlmAnswer *answer)
{
    const char *alert_on = self->settings.alert_on;
    double probability;

    return gst_fastvlm_alert_weigh(answer, alert_on != NULL ? alert_on : "", &probability)
               ? probability
               : -1;
}

/* Keeps `answer` if no other region's makes more of what is watched for. */
static void keep_likeliest(GstFastvlmCaption *self, GstFastvlmAnswer *answer)
{
    GstFastvlmAnswer **likeliest = &self->likeliest[answer->prompt_index];

    GST_OBJECT_LOCK(self);
    const gboolean is_likelier =
        *likeliest == NULL || weigh(self, answer) > weigh(self, *likeliest);
    GST_OBJECT_UNLOCK(self);
    if (is_likelier) {
        gst_fastvlm_answer_unref(*likeliest);
        *likeliest = gst_fastvlm_answer_ref(answer);
    }
}

void gst_fastvlm_caption_judge_alert(GstFastvlmCaption *self, GstFastvlmAnswer *answer)
{
    if (!answer->is_region) {
        judge_answer(self, answer);
        return;
    }
    keep_likeliest(self, answer);
}

void gst_fastvlm_caption_forget_regions(GstFastvlmCaption *self)
{
    for (guint i = 0; i < GST_FASTVLM_MAX_PROMPTS; i++) {
        gst_fastvlm_answer_unref(g_steal_pointer(&self->likeliest[i]));
    }
}

void gst_fastvlm_caption_judge_regions(GstFastvlmCaption *self)
{
    for (guint i = 0; i < GST_FASTVLM_MAX_PROMPTS; i++) {
        GstFastvlmAnswer *answer = g_steal_pointer(&self->likeliest[i]);

        if (answer != NULL) {
            judge_answer(self, answer);
            gst_fastvlm_answer_unref(answer);
        }
    }
}
