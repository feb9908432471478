/*
 * Alerts; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmalerts.h"

void gst_fastvlm_alert_init(GstFastvlmAlert *alert)
{
    *alert = (GstFastvlmAlert){.since = GST_CLOCK_TIME_NONE, .cleared = GST_CLOCK_TIME_NONE};
}

static gboolean is_cooling(const GstFastvlmAlert *alert, const GstFastvlmAlertRule *rule,
                           GstClockTime running_time)
{
    return GST_CLOCK_TIME_IS_VALID(alert->cleared) && running_time >= alert->cleared &&
           running_time - alert->cleared < rule->cooldown;
}

static GstFastvlmAlertChange judge_quiet(GstFastvlmAlert *alert, const GstFastvlmAlertRule *rule,
                                         double probability, GstClockTime running_time)
{
    if (probability < rule->threshold) {
        alert->since = GST_CLOCK_TIME_NONE;
        return GST_FASTVLM_ALERT_NONE;
    }
    if (!GST_CLOCK_TIME_IS_VALID(alert->since) || running_time < alert->since) {
        alert->since = running_time;
    }
    if (is_cooling(alert, rule, running_time)) {
        return GST_FASTVLM_ALERT_NONE;
    }
    alert->is_raised = TRUE;
    return GST_FASTVLM_ALERT_RAISE;
}

static GstFastvlmAlertChange judge_raised(GstFastvlmAlert *alert, const GstFastvlmAlertRule *rule,
                                          double probability, GstClockTime running_time)
{
    const double clear = MIN(rule->clear, rule->threshold);

    /* Equal thresholds must not both hold. */
    if (probability > clear || probability >= rule->threshold) {
        return GST_FASTVLM_ALERT_NONE;
    }
    alert->is_raised = FALSE;
    alert->cleared = running_time;
    return GST_FASTVLM_ALERT_CLEAR;
}

GstFastvlmAlertChange gst_fastvlm_alert_judge(GstFastvlmAlert *alert,
                                              const GstFastvlmAlertRule *rule, double probability,
                                              GstClockTime running_time, GstClockTime *since)
{
    const GstFastvlmAlertChange change = alert->is_raised
                                             ? judge_raised(alert, rule, probability, running_time)
                                             : judge_quiet(alert, rule, probability, running_time);

    *since = alert->since;
    if (change == GST_FASTVLM_ALERT_CLEAR) {
        alert->since = GST_CLOCK_TIME_NONE;
    }
    return change;
}

gboolean gst_fastvlm_alert_weigh(const GstFastvlmAnswer *answer, const char *alert_on,
                                 double *probability)
{
    char **names = g_strsplit(alert_on, ",", -1);
    gboolean known = FALSE;

    *probability = 0;
    for (char **name = names; *name != NULL; name++) {
        g_strstrip(*name);
    }
    for (guint i = 0; answer->choices != NULL && i < answer->choices->len; i++) {
        const GstFastvlmChoice *choice = &g_array_index(answer->choices, GstFastvlmChoice, i);

        if (g_strv_contains((const char *const *)names, choice->name)) {
            *probability += choice->probability;
            known = TRUE;
        }
    }
    g_strfreev(names);
    return known;
}
