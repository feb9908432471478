/*
 * What tests over many rounds share; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "lasting.h"

#include <stdio.h>
#include <unistd.h>

#define PATIENCE (60 * GST_SECOND)

static guint count_entries(const char *path)
{
    GDir *directory = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (g_dir_read_name(directory) != NULL) {
        n++;
    }
    g_dir_close(directory);
    return n;
}

double get_rss_mb(void)
{
    char *text = NULL;
    long n_total = 0, n_resident = 0;

    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%ld %ld", &n_total, &n_resident), ==, 2);
    g_free(text);
    return (double)n_resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

/* Idle threads of GLib's pools go after a while of their own; none of them is to be in the count. */
static void settle_threads(void)
{
    guint before = G_MAXUINT;

    g_thread_pool_stop_unused_threads();
    for (int i = 0; i < 20; i++) {
        const guint n = count_entries("/proc/self/task");

        if (n >= before) {
            return;
        }
        before = n;
        g_usleep(50000);
    }
}

Holdings get_holdings(void)
{
    settle_threads();
    return (Holdings){
        .rss_mb = get_rss_mb(),
        .n_files = count_entries("/proc/self/fd"),
        .n_threads = count_entries("/proc/self/task"),
    };
}

/* What an element did not wait for when it stopped winds up by itself. */
Holdings await_holdings(const Holdings *before)
{
    const gint64 start = g_get_monotonic_time();
    Holdings now = get_holdings();

    while ((now.n_files > before->n_files || now.n_threads > before->n_threads) &&
           ms_since(start) < PATIENCE_US / 1000) {
        g_usleep(50000);
        now = get_holdings();
    }
    return now;
}

GstElement *make_pipeline(const char *line)
{
    GError *error = NULL;
    GstElement *pipeline = gst_parse_launch(line, &error);

    g_assert_no_error(error);
    return pipeline;
}

void play_pipeline(GstElement *pipeline)
{
    g_assert_cmpint(gst_element_set_state(pipeline, GST_STATE_PLAYING), !=,
                    GST_STATE_CHANGE_FAILURE);
}

void stop_pipeline(GstElement *pipeline)
{
    g_assert_cmpint(gst_element_set_state(pipeline, GST_STATE_NULL), ==, GST_STATE_CHANGE_SUCCESS);
    gst_object_unref(pipeline);
}

void await_message(GstElement *pipeline, GstMessageType types)
{
    GstBus *bus = gst_element_get_bus(pipeline);
    GstMessage *message = gst_bus_timed_pop_filtered(bus, PATIENCE, types | GST_MESSAGE_ERROR);

    g_assert_nonnull(message);
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        GError *error;
        gst_message_parse_error(message, &error, NULL);
        g_error("%s", error->message);
    }
    gst_message_unref(message);
    gst_object_unref(bus);
}

guint64 get_stat_of(GstElement *pipeline, const char *name, const char *field)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(pipeline), name);
    GstStructure *stats = NULL;

    g_object_get(element, "stats", &stats, NULL);
    const guint64 value = get_uint64(stats, field);
    gst_structure_free(stats);
    gst_object_unref(element);
    return value;
}
