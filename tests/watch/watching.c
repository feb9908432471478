/*
 * fastvlm-watch as its tests run it; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "watching.h"

#include <gst/gst.h>
#include <signal.h>
#include <string.h>

#define PATIENCE_S 40

const char *watch_program;

static gpointer read_lines(gpointer data)
{
    Watch *watch = data;
    GDataInputStream *stream =
        g_data_input_stream_new(g_subprocess_get_stdout_pipe(watch->process));
    char *line;

    while ((line = g_data_input_stream_read_line(stream, NULL, NULL, NULL)) != NULL) {
        g_async_queue_push(watch->lines, line);
    }
    g_async_queue_push(watch->lines, g_strdup(""));
    g_object_unref(stream);
    return NULL;
}

Watch *watch_begin(const char *const *words)
{
    const char *const quick[] = {
        "--interval=0.3", "--retry=0.1", "--retry-max=0.3", "--stall=2", "--retry-refused=0.5",
        "--latency=100",  NULL};
    Watch *watch = g_new0(Watch, 1);
    GPtrArray *argv = g_ptr_array_new();
    GError *error = NULL;

    g_ptr_array_add(argv, (gpointer)watch_program);
    for (int i = 0; quick[i] != NULL; i++) {
        g_ptr_array_add(argv, (gpointer)quick[i]);
    }
    for (int i = 0; words[i] != NULL; i++) {
        g_ptr_array_add(argv, (gpointer)words[i]);
    }
    g_ptr_array_add(argv, NULL);
    watch->process =
        g_subprocess_newv((const char *const *)argv->pdata,
                          G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);
    g_assert_no_error(error);
    g_ptr_array_unref(argv);
    watch->lines = g_async_queue_new_full(g_free);
    watch->all = g_string_new(NULL);
    watch->reader = g_thread_new("reader", read_lines, watch);
    return watch;
}

Watch *watch_begin_one(const char *url)
{
    const char *const words[] = {url, NULL};

    return watch_begin(words);
}

/* The next line, which is an object; NULL at the end or where none comes in time. */
static json_t *next_line(Watch *watch, double seconds)
{
    char *line = g_async_queue_timeout_pop(watch->lines, (guint64)(seconds * G_USEC_PER_SEC));
    json_error_t error;

    if (line == NULL || *line == '\0') {
        g_free(line);
        return NULL;
    }
    g_string_append_printf(watch->all, "%s\n", line);
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        g_error("no line of JSON: %s", line);
    }
    g_free(line);
    return object;
}

const char *get_field(const json_t *line, const char *key)
{
    const char *value = json_string_value(json_object_get(line, key));

    return value != NULL ? value : "";
}

json_t *watch_await(Watch *watch, const char *type, const char *state)
{
    for (;;) {
        json_t *line = next_line(watch, PATIENCE_S);
        if (line == NULL) {
            g_error("no %s %s after:\n%s", type, state != NULL ? state : "", watch->all->str);
        }
        if (g_str_equal(get_field(line, "type"), type) &&
            (state == NULL || g_str_equal(get_field(line, "state"), state))) {
            return line;
        }
        json_decref(line);
    }
}

void watch_await_state(Watch *watch, const char *state)
{
    json_decref(watch_await(watch, "state", state));
}

json_int_t watch_await_caption(Watch *watch)
{
    GDateTime *now = g_date_time_new_now_utc();
    json_int_t sequence = 0;

    while (sequence == 0) {
        json_t *line = watch_await(watch, "caption", NULL);
        GDateTime *time = g_date_time_new_from_iso8601(get_field(line, "time"), NULL);
        g_assert_nonnull(time);
        g_assert_cmpuint(strlen(get_field(line, "text")), >, 0);
        if (g_date_time_compare(time, now) > 0) {
            sequence = json_integer_value(json_object_get(line, "sequence"));
        }
        g_date_time_unref(time);
        json_decref(line);
    }
    g_date_time_unref(now);
    return sequence;
}

void watch_end(Watch *watch)
{
    json_t *line;

    g_subprocess_send_signal(watch->process, SIGTERM);
    while ((line = next_line(watch, PATIENCE_S)) != NULL) {
        json_decref(line);
    }
    g_assert_true(g_subprocess_wait(watch->process, NULL, NULL));
    g_assert_true(g_subprocess_get_if_exited(watch->process));
    g_assert_cmpint(g_subprocess_get_exit_status(watch->process), ==, 0);
    g_thread_join(watch->reader);
    g_object_unref(watch->process);
    g_async_queue_unref(watch->lines);
    g_string_free(watch->all, TRUE);
    g_free(watch);
}

guint watch_count(const Watch *watch, const char *words)
{
    guint n = 0;

    for (const char *p = watch->all->str; (p = strstr(p, words)) != NULL; p++) {
        n++;
    }
    return n;
}
