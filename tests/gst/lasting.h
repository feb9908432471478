/*
 * What tests over many rounds share: pipelines from a line, and what the process holds.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_TEST_LASTING_H
#define GST_FASTVLM_TEST_LASTING_H

#include "support.h"

/* What sanitizers keep of freed memory grows by their own rules; they find leaks by themselves. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_MEASURE_MEMORY FALSE
#else
#define CAN_MEASURE_MEMORY TRUE
#endif

double get_rss_mb(void);

/** What a process holds. */
typedef struct {
    double rss_mb;
    guint n_files;
    guint n_threads;
} Holdings;

/** Idle threads of GLib's pools are let go first. */
Holdings get_holdings(void);

/** The same once files and threads are no more than `before`, or after half a minute. */
Holdings await_holdings(const Holdings *before);

GstElement *make_pipeline(const char *line);

void play_pipeline(GstElement *pipeline);

/** Ends it for good. */
void stop_pipeline(GstElement *pipeline);

/** Waits, a minute at most, for a message of these types; an error ends the test. */
void await_message(GstElement *pipeline, GstMessageType types);

/** A number of an element's stats, by its name in the pipeline. */
guint64 get_stat_of(GstElement *pipeline, const char *name, const char *field);

#endif
