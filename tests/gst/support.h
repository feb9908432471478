/*
 * What the element's tests share: a program's start, frames, messages, a captured log.
 *
 * Each program registers the element by itself and loads the few plugins that it names, so that no
 * registry and no installed plugin decides what it tests.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_TEST_SUPPORT_H
#define GST_FASTVLM_TEST_SUPPORT_H

#include <gst/check/gstharness.h>
#include <gst/video/video.h>

#include "fake_fastvlm.h"

/** What surely comes is waited for as long as this; what comes late only slows a test down. */
#define PATIENCE_US (30 * G_TIME_SPAN_SECOND)

/** How long a fake model takes that somebody must not wait for. */
#define STALL_MS 10000

#define FRAME_DURATION (GST_SECOND / 25)

/** I420, 64x48, 25 frames a second. */
#define CAPS "video/x-raw, format=I420, width=64, height=48, framerate=25/1"

/** Starts GLib's tests and GStreamer, and registers the element. */
void support_init(int *argc, char ***argv);

/** Loads plugins of GStreamer's own by file name, as "coreelements"; ends with NULL. */
void support_load_plugins(const char *name, ...) G_GNUC_NULL_TERMINATED;

/**
 * A harness on a new element, its bus, and a clock that the test sets. `properties` are as in a
 * gst-launch line, and `caps` (may be NULL) are set.
 */
typedef struct {
    GstHarness *harness;
    GstElement *element;
    GstBus *bus;
    GPtrArray *messages; /* popped so far, all types */
} Fixture;

Fixture *fixture_new(const char *properties, const char *caps);

/** Stops the element, checks that nothing of the engine is alive, and resets the fake engine. */
void fixture_free(Fixture *fixture);

/** A frame of one colour, 0xRRGGBB, in the layout of `caps`. */
GstBuffer *make_frame(const char *caps, guint rgb, GstClockTime pts);

/** Pushes a frame of the harness's caps, `CAPS`. */
GstFlowReturn push_frame(Fixture *fixture, guint rgb, GstClockTime pts);

/**
 * Waits, PATIENCE_US at most, for a message of `type` (and of that structure's name where not
 * NULL) that no earlier call has returned. NULL if none came.
 */
GstMessage *wait_message(Fixture *fixture, GstMessageType type, const char *name);

/** wait_message() for a caption of the type "partial" or "final"; its structure. */
const GstStructure *wait_caption(Fixture *fixture, const char *type);

/** Messages of the kind that have come by now and that wait_message() has not returned. */
guint count_messages(Fixture *fixture, GstMessageType type, const char *name);

/** How many warnings have come by now whose text holds `words`. */
guint count_warnings(Fixture *fixture, const char *words);

/** A string, number or ... field of a structure; the test fails where it is missing. */
const char *get_text(const GstStructure *structure, const char *field);
guint64 get_uint64(const GstStructure *structure, const char *field);

/** A field of the element's stats. */
guint64 get_stat(Fixture *fixture, const char *field);

/** The caption meta's structure on a buffer, or NULL. */
const GstStructure *get_meta(GstBuffer *buffer);

/** Waits, PATIENCE_US at most, until a stat has that value. */
gboolean wait_stat(Fixture *fixture, const char *field, guint64 value);

double ms_since(gint64 start_us);

/**
 * Checks that what began at `start_us` waited for nobody. What it must not wait for takes STALL_MS or
 * is held, so that no slow machine is taken for a stall.
 */
#define assert_prompt(start_us) g_assert_cmpfloat(ms_since(start_us), <, STALL_MS / 2)

#endif
