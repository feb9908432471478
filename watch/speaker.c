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

/* A sink that waits for no preroll: words are few. */
static GstElement *make_dispatcher(GError **error)
{
    GstElement *voice = gst_element_factory_make("fastvlmspeechd", "voice");

    if (voice == NULL) {
        g_set_error(error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN,
                    "no element fastvlmspeechd: build with -Dspeechd=enabled, or use espeak");
        return NULL;
    }
    GstElement *pipeline = gst_pipeline_new(NULL);
    g_object_set(voice, "async", FALSE, NULL);
    gst_bin_add(GST_BIN(pipeline), voice);
    return pipeline;
}

/* The elements between "voice" and what can be heard; `path` and `by` as in the header. */
static GstElement *make_pipeline(const char *path, WatchSpeakBy by, GError **error)
{
    if (by == WATCH_SPEAK_BY_DISPATCHER) {
        return make_dispatcher(error);
    }
    return gst_parse_launch(
        *path != '\0' ? "fastvlmspeak name=voice timing=clock ! wavenc ! filesink name=file"
                      : "fastvlmspeak name=voice timing=clock ! audioconvert ! audioresample ! "
                        "autoaudiosink",
        error);
}

static void set_up(GstElement *pipeline, GstElement *element, const char *path, WatchSpeakBy by,
                   const char *voice)
{
    GstElement *file = gst_bin_get_by_name(GST_BIN(pipeline), "file");

    if (voice != NULL) {
        g_object_set(element, by == WATCH_SPEAK_BY_DISPATCHER ? "language" : "voice", voice, NULL);
    }
    if (file != NULL) {
        g_object_set(file, "location", path, NULL);
        gst_object_unref(file);
    }
}

static void free_speaker(WatchSpeaker *speaker)
{
    gst_element_set_state(speaker->pipeline, GST_STATE_NULL);
    gst_object_unref(speaker->voice);
    gst_object_unref(speaker->pipeline);
    g_free(speaker);
}

static WatchSpeaker *try_speaker(const char *path, WatchSpeakBy by, const char *voice,
                                 GError **error)
{
    GstElement *pipeline = make_pipeline(path, by, error);

    if (pipeline == NULL) {
        return NULL;
    }
    WatchSpeaker *speaker = g_new0(WatchSpeaker, 1);
    speaker->pipeline = pipeline;
    speaker->voice = gst_bin_get_by_name(GST_BIN(pipeline), "voice");
    set_up(pipeline, speaker->voice, path, by, voice);
    if (gst_element_set_state(pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) {
        explain(pipeline, error);
        free_speaker(speaker);
        return NULL;
    }
    return speaker;
}

/* Whoever can be asked to speak: speech-dispatcher where one answers, espeak-ng else. */
static WatchSpeaker *find_speaker(const char *path, WatchSpeakBy by, const char *voice,
                                  GError **error)
{
    WatchSpeaker *speaker = NULL;

    if (by == WATCH_SPEAK_BY_ANY && *path == '\0') {
        speaker = try_speaker(path, WATCH_SPEAK_BY_DISPATCHER, voice, NULL);
        by = speaker != NULL ? WATCH_SPEAK_BY_DISPATCHER : WATCH_SPEAK_BY_ESPEAK;
    }
    if (speaker == NULL) {
        speaker = try_speaker(path, by, voice, error);
    }
    if (speaker != NULL && *path == '\0') {
        fprintf(stderr, "fastvlm-watch: %s speaks\n",
                by == WATCH_SPEAK_BY_DISPATCHER ? "speech-dispatcher" : "espeak-ng");
    }
    return speaker;
}

WatchSpeaker *watch_speaker_new(const char *path, WatchSpeakBy by, const char *voice,
                                GError **error)
{
    WatchSpeaker *speaker = find_speaker(path, by, voice, error);

    if (speaker == NULL) {
        return NULL;
    }
    GstBus *bus = gst_element_get_bus(speaker->pipeline);
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
    free_speaker(speaker);
}
