/*
 * Lines of JSON on standard output.
 *
 * Words come from outside: they are made valid UTF-8 of at most WATCH_MAX_TEXT characters without
 * control characters and without those that turn the direction of text.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_REPORT_H
#define FASTVLM_WATCH_REPORT_H

#include <glib.h>
#include <gst/gst.h>
#include <jansson.h>

#define WATCH_MAX_TEXT 2000

/** The time `age_us` ago as 2026-01-31T23:59:59.999Z; free with g_free(). */
char *watch_report_time(gint64 age_us);

/** {"type", "camera", "time"}, of the time `age_us` ago. */
json_t *watch_report_new(const char *type, const char *camera, gint64 age_us);

void watch_report_set_text(json_t *report, const char *key, const char *text);

/**
 * The fields of a fastvlm-caption or fastvlm-alert: strings, numbers, and the choices as
 * {"name": probability}. The frame's times are left out, and - in names becomes _.
 */
void watch_report_set_answer(json_t *report, const GstStructure *answer);

/** Writes the line and frees the report; FALSE where nobody reads any more. */
gboolean watch_report_write(json_t *report);

/** Words made harmless; free with g_free(). */
char *watch_report_clean(const char *text);

#endif
