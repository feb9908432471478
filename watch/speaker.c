/*
 * The voice; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "speaker.h"

#include <gst/gst.h>
#include <stdio.h>

#define LAST_WORDS (10 * GST_SECOND)

struct _WatchSpeaker {
    GstElement *pipeline;
    GstElement *voice;
};

/* The first error on the bus, or what is known without one. */
static void explain(GstElement *pipeline, GError **error)
{
    GstBus *bus = gst_element_get_bus(pipeline);
    GstMessage *message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);

    if (message != NULL) {
        gst_message_parse_error(message, error, NULL);
        gst_message_unref(message);
    } else {
        g_set_error(error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_FAILED, "no sound can be made");
    }
    gst_object_unref(bus);
}

/* Trouble with the sound is told; the cameras go on. */
static gboolean hear(GstBus *bus, GstMessage *message, gpointer data)
{
    GError *error = NULL;

    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        gst_message_parse_error(message, &error, NULL);
    } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_WARNING) {
        gst_message_parse_warning(message, &error, NULL);
    }
    if (error != NULL) {
        fprintf(stderr, "fastvlm-watch: voice: %s\n", error->message);
        g_error_free(error);
    }
    return G_SOURCE_CONTINUE;
}

WatchSpeaker *watch_speaker_new(const char *path, const char *voice, GError **error)
{
    GstElement *pipeline = gst_parse_launch(
        *path != '\0' ? "fastvlmspeak name=voice timing=clock ! wavenc ! filesink name=file"
                      : "fastvlmspeak name=voice timing=clock ! audioconvert ! audioresample ! "
                        "autoaudiosink",
        error);

    if (pipeline == NULL) {
        return NULL;
    }
    WatchSpeaker *speaker = g_new0(WatchSpeaker, 1);
    speaker->pipeline = pipeline;
    speaker->voice = gst_bin_get_by_name(GST_BIN(pipeline), "voice");
    if (voice != NULL) {
        g_object_set(speaker->voice, "voice", voice, NULL);
    }
    if (*path != '\0') {
        GstElement *file = gst_bin_get_by_name(GST_BIN(pipeline), "file");
        g_object_set(file, "location", path, NULL);
        gst_object_unref(file);
    }
    if (gst_element_set_state(pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
        explain(pipeline, error);
        gst_element_set_state(pipeline, GST_STATE_NULL);
        gst_object_unref(speaker->voice);
        gst_object_unref(pipeline);
        g_free(speaker);
        return NULL;
    }
    GstBus *bus = gst_element_get_bus(pipeline);
    gst_bus_add_watch(bus, hear, NULL);
    gst_object_unref(bus);
    GstPad *pad = gst_element_get_static_pad(speaker->voice, "sink");
    gst_pad_send_event(pad, gst_event_new_stream_start("words"));
    gst_object_unref(pad);
    return speaker;
}

void watch_speaker_say(WatchSpeaker *speaker, const char *text, gboolean urgent)
{
    gboolean said;

    if (speaker != NULL) {
        g_signal_emit_by_name(speaker->voice, "say", text, urgent, &said);
    }
}

void watch_speaker_free(WatchSpeaker *speaker)
{
    if (speaker == NULL) {
        return;
    }
    GstBus *bus = gst_element_get_bus(speaker->pipeline);
    GstPad *pad = gst_element_get_static_pad(speaker->voice, "sink");
    gst_bus_remove_watch(bus);
    gst_pad_send_event(pad, gst_event_new_eos());
    gst_object_unref(pad);
    GstMessage *message =
        gst_bus_timed_pop_filtered(bus, LAST_WORDS, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    g_clear_pointer(&message, gst_message_unref);
    gst_object_unref(bus);
    gst_element_set_state(speaker->pipeline, GST_STATE_NULL);
    gst_object_unref(speaker->voice);
    gst_object_unref(speaker->pipeline);
    g_free(speaker);
}
