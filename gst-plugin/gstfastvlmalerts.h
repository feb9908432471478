/*
 * Alerts: whether what is watched for is there, from a probability that wavers.
 *
 *     probability -> at or over the threshold: alert -> at or under the lower one: clear -> ...
 *
 * Between the two thresholds nothing changes, and after a clear there is no alert for a while, so that
 * a doubtful picture does not ring again and again. Pure logic, no locks.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_ALERTS_H
#define GST_FASTVLM_ALERTS_H

#include "gstfastvlmmeta.h"
#include "gstfastvlmsettings.h"

G_BEGIN_DECLS

/** The name of the message's structure. */
#define GST_FASTVLM_ALERT_NAME "fastvlm-alert"

typedef enum {
    GST_FASTVLM_ALERT_NONE, /* all stays as it is */
    GST_FASTVLM_ALERT_RAISE,
    GST_FASTVLM_ALERT_CLEAR,
} GstFastvlmAlertChange;

/** One thing that is watched for; gst_fastvlm_alert_init() begins with all quiet. */
typedef struct {
    gboolean is_raised;
    GstClockTime
        since; /* running time: the first frame over the threshold; NONE: the last was not */
    GstClockTime cleared; /* running time of the last clear, or NONE */
} GstFastvlmAlert;

/** When an alert is raised and cleared. */
typedef struct {
    double threshold;      /* raised at this probability */
    double clear;          /* cleared at this one; where it is higher than the other, at that one */
    GstClockTime cooldown; /* running time after a clear without an alert, ns */
} GstFastvlmAlertRule;

void gst_fastvlm_alert_init(GstFastvlmAlert *alert);

/**
 * The next frame's probability.
 *
 * @param running_time  of the frame, ns; time that falls back ends a cooldown
 * @param since         running time at which the alert began, out where something changes
 */
GstFastvlmAlertChange gst_fastvlm_alert_judge(GstFastvlmAlert *alert,
                                              const GstFastvlmAlertRule *rule, double probability,
                                              GstClockTime running_time, GstClockTime *since);

/**
 * How probable it is that one of the choices named in `alert_on`, between commas, holds: their sum.
 *
 * @return FALSE where none of them is among the answer's choices
 */
gboolean gst_fastvlm_alert_weigh(const GstFastvlmAnswer *answer, const char *alert_on,
                                 double *probability);

G_END_DECLS

#endif
