/*
 * Lines of JSON; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "report.h"

#include <math.h>
#include <stdio.h>

static gboolean is_harmless(gunichar c)
{
    const gboolean turns_text = (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);

    return !g_unichar_iscntrl(c) && !turns_text && c != 0x2028 && c != 0x2029 && c != 0xfeff;
}

char *watch_report_clean(const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_new(NULL);
    int n = 0;

    for (const char *p = valid; *p != '\0' && n < WATCH_MAX_TEXT; p = g_utf8_next_char(p), n++) {
        const gunichar c = g_utf8_get_char(p);
        g_string_append_unichar(clean, is_harmless(c) ? c : ' ');
    }
    g_free(valid);
    return g_string_free(clean, FALSE);
}

void watch_report_set_text(json_t *report, const char *key, const char *text)
{
    char *clean = watch_report_clean(text != NULL ? text : "");

    json_object_set_new(report, key, json_string(clean));
    g_free(clean);
}

char *watch_report_time(gint64 age_us)
{
    GDateTime *now = g_date_time_new_now_utc();
    GDateTime *then = g_date_time_add(now, -age_us);
    char *seconds = g_date_time_format(then, "%Y-%m-%dT%H:%M:%S");
    char *time = g_strdup_printf("%s.%03dZ", seconds, g_date_time_get_microsecond(then) / 1000);

    g_free(seconds);
    g_date_time_unref(then);
    g_date_time_unref(now);
    return time;
}

json_t *watch_report_new(const char *type, const char *camera, gint64 age_us)
{
    json_t *report = json_object();
    char *time = watch_report_time(age_us);

    json_object_set_new(report, "type", json_string(type));
    json_object_set_new(report, "camera", json_string(camera));
    json_object_set_new(report, "time", json_string(time));
    g_free(time);
    return report;
}

static json_t *read_choices(const GValue *choices)
{
    json_t *object = json_object();

    for (guint i = 0; i < gst_value_array_get_size(choices); i++) {
        const GValue *value = gst_value_array_get_value(choices, i);
        double probability = 0;

        if (!GST_VALUE_HOLDS_STRUCTURE(value)) {
            continue;
        }
        const GstStructure *choice = gst_value_get_structure(value);
        gst_structure_get_double(choice, "probability", &probability);
        char *name = watch_report_clean(gst_structure_get_string(choice, "name"));
        json_object_set_new(object, name, json_real(probability));
        g_free(name);
    }
    return object;
}

static gboolean add_field(GQuark id, const GValue *value, gpointer data)
{
    json_t *report = data;
    char *key = g_strdelimit(g_strdup(g_quark_to_string(id)), "-", '_');

    if (json_object_get(report, key) != NULL || g_str_equal(key, "pts") ||
        g_str_has_suffix(key, "_time") || g_str_equal(key, "since")) {
        /* Ours already, or a time of the pipeline's, which says nothing outside. */
    } else if (G_VALUE_HOLDS_STRING(value)) {
        watch_report_set_text(report, key, g_value_get_string(value));
    } else if (G_VALUE_HOLDS_DOUBLE(value) && isfinite(g_value_get_double(value))) {
        json_object_set_new(report, key, json_real(g_value_get_double(value)));
    } else if (G_VALUE_HOLDS_UINT(value)) {
        json_object_set_new(report, key, json_integer(g_value_get_uint(value)));
    } else if (G_VALUE_HOLDS_UINT64(value)) {
        json_object_set_new(report, key, json_integer((json_int_t)g_value_get_uint64(value)));
    } else if (GST_VALUE_HOLDS_ARRAY(value) && gst_value_array_get_size(value) > 0) {
        json_object_set_new(report, key, read_choices(value));
    }
    g_free(key);
    return TRUE;
}

void watch_report_set_answer(json_t *report, const GstStructure *answer)
{
    gst_structure_foreach(answer, add_field, report);
}

gboolean watch_report_write(json_t *report)
{
    char *line = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(6));
    const gboolean written = line != NULL && puts(line) >= 0 && fflush(stdout) == 0;

    free(line);
    json_decref(report);
    return written;
}
