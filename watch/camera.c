/*
 * A camera; see the header. All but take_frame() runs in the main context.
 *
 *     connect -> connected (first frame) -> lost (error, end, watchdog) -> retire -> wait -> connect
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "camera.h"

#include <gst/app/gstappsrc.h>
#include <gst/video/video.h>
#include <string.h>

#include "picture.h"
#include "report.h"
#include "source.h"

#define WATCHDOG_MS 250
/* Longest time from connecting to the first picture, beside `stall`. */
#define FIRST_PICTURE_S 15
/* A connection that has lasted so long was a good one: the waits begin anew. */
#define GOOD_S 10

struct _WatchCamera {
    const WatchOptions *options;
    WatchAddress *address;
    WatchSpeaker *speaker;
    WatchCameraFuncs funcs;

    GstElement *pipeline; /* plays as long as the camera is watched */
    GstElement *element, *frames;
    WatchPictures *pictures; /* NULL: not recorded */

    GstElement *source; /* NULL: between two connections */
    GThread *retiring;
    guint watchdog, retry;
    double delay_s;
    gint64 connecting_us, connected_us; /* 0: not */
    char *state, *reason;               /* told last */

    GMutex lock; /* what follows: the source's thread */
    gint64 frame_us;
    GstCaps *caps; /* of the source's frames so far */
};

static void connect_source(WatchCamera *camera);

static void write_report(WatchCamera *camera, json_t *report)
{
    if (!watch_report_write(report)) {
        camera->funcs.failed(camera->funcs.data, "cannot write to standard output");
    }
}

static gboolean is_state(const WatchCamera *camera, const char *state)
{
    return g_strcmp0(camera->state, state) == 0;
}

/* Told when it is news; `extra` (NULL: nothing) is taken over. */
static void tell_state(WatchCamera *camera, const char *state, const char *reason, json_t *extra)
{
    if (is_state(camera, state) && g_strcmp0(camera->reason, reason) == 0 && extra == NULL) {
        return;
    }
    json_t *report = watch_report_new("state", camera->address->name, 0);
    json_object_set_new(report, "state", json_string(state));
    if (reason != NULL) {
        watch_report_set_text(report, "reason", reason);
    }
    if (extra != NULL) {
        json_object_update(report, extra);
        json_decref(extra);
    }
    g_free(camera->state);
    g_free(camera->reason);
    camera->state = g_strdup(state);
    camera->reason = g_strdup(reason);
    write_report(camera, report);
}

static void say_state(WatchCamera *camera, const char *words)
{
    char *text = g_strdup_printf(words, camera->address->name);

    watch_speaker_say(camera->speaker, text, FALSE);
    g_free(text);
}

/* In the source's thread. A frame of a new kind is told by a message, in order with the others. */
static void note_frame(WatchCamera *camera, GstElement *sink, GstCaps *caps)
{
    g_mutex_lock(&camera->lock);
    camera->frame_us = g_get_monotonic_time();
    const gboolean is_new = camera->caps == NULL || !gst_caps_is_equal(camera->caps, caps);
    if (is_new) {
        gst_caps_replace(&camera->caps, caps);
    }
    g_mutex_unlock(&camera->lock);
    if (is_new) {
        gst_app_src_set_caps(GST_APP_SRC(camera->frames), caps);
        gst_element_post_message(
            sink, gst_message_new_application(
                      GST_OBJECT(sink),
                      gst_structure_new("pictures", "caps", GST_TYPE_CAPS, caps, NULL)));
    }
}

static GstFlowReturn take_frame(GstAppSink *sink, gpointer data)
{
    WatchCamera *camera = data;
    GstSample *sample = gst_app_sink_pull_sample(sink);

    if (sample == NULL) {
        return GST_FLOW_EOS;
    }
    note_frame(camera, GST_ELEMENT(sink), gst_sample_get_caps(sample));
    GstBuffer *frame = gst_buffer_copy(gst_sample_get_buffer(sample));
    GST_BUFFER_PTS(frame) = gst_element_get_current_running_time(camera->pipeline);
    GST_BUFFER_DTS(frame) = GST_CLOCK_TIME_NONE;
    gst_sample_unref(sample);
    gst_app_src_push_buffer(GST_APP_SRC(camera->frames), frame);
    return GST_FLOW_OK;
}

static gboolean try_again(gpointer data)
{
    WatchCamera *camera = data;

    camera->retry = 0;
    connect_source(camera);
    return G_SOURCE_REMOVE;
}

/* A little by chance, so that many cameras do not come back at once. */
static gboolean wait_and_try(gpointer data)
{
    WatchCamera *camera = data;
    const double delay_s =
        is_state(camera, "refused") ? camera->options->retry_refused_s : camera->delay_s;

    g_thread_join(g_steal_pointer(&camera->retiring));
    camera->retry =
        g_timeout_add((guint)(delay_s * g_random_double_range(900, 1100)), try_again, camera);
    camera->delay_s = MIN(2 * camera->delay_s, camera->options->retry_max_s);
    return G_SOURCE_REMOVE;
}

/* Ending a connection may take its time: other cameras are not to wait for it. */
static gpointer retire(gpointer data)
{
    WatchCamera *camera = data;

    gst_element_set_state(camera->source, GST_STATE_NULL);
    g_clear_pointer(&camera->source, gst_object_unref);
    g_idle_add(wait_and_try, camera);
    return NULL;
}

static void stop_watching_source(WatchCamera *camera)
{
    GstBus *bus = gst_element_get_bus(camera->source);

    gst_bus_remove_watch(bus);
    gst_object_unref(bus);
    g_clear_handle_id(&camera->watchdog, g_source_remove);
}

static void lose(WatchCamera *camera, const char *state, const char *reason)
{
    const gint64 now_us = g_get_monotonic_time();

    stop_watching_source(camera);
    if (camera->connected_us != 0) {
        say_state(camera, "The camera %s is lost.");
        if (now_us - camera->connected_us > GOOD_S * G_USEC_PER_SEC) {
            camera->delay_s = camera->options->retry_s;
        }
    }
    camera->connected_us = 0;
    tell_state(camera, state, reason, NULL);
    camera->retiring = g_thread_new("watch-retire", retire, camera);
}

static void note_pictures(WatchCamera *camera, const GstCaps *caps)
{
    const char *state = camera->connected_us == 0 ? "connected" : "changed";
    GstVideoInfo info;

    if (!gst_video_info_from_caps(&info, caps)) {
        return;
    }
    if (camera->connected_us == 0) {
        camera->connected_us = g_get_monotonic_time();
        if (is_state(camera, "lost")) {
            say_state(camera, "The camera %s is back.");
        }
    }
    tell_state(camera, state, NULL,
               json_pack("{s:i, s:i}", "width", GST_VIDEO_INFO_WIDTH(&info), "height",
                         GST_VIDEO_INFO_HEIGHT(&info)));
}

static void note_error(WatchCamera *camera, GstMessage *message)
{
    gboolean refused;
    char *reason = watch_source_explain(camera->address, message, &refused);

    lose(camera, refused ? "refused" : "lost", reason);
    g_free(reason);
}

static gboolean hear_source(GstBus *bus, GstMessage *message, gpointer data)
{
    WatchCamera *camera = data;
    const GstStructure *structure = gst_message_get_structure(message);

    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_APPLICATION) {
        note_pictures(camera, gst_value_get_caps(gst_structure_get_value(structure, "caps")));
    } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        note_error(camera, message);
        return G_SOURCE_REMOVE;
    } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS) {
        if (camera->address->kind == WATCH_FILE) {
            gst_app_src_end_of_stream(GST_APP_SRC(camera->frames));
        } else {
            lose(camera, "lost", "the camera ended the stream");
            return G_SOURCE_REMOVE;
        }
    }
    return G_SOURCE_CONTINUE;
}

/* A stream that stalls without closing tells nobody. */
static gboolean look_for_stall(gpointer data)
{
    WatchCamera *camera = data;
    const gint64 now_us = g_get_monotonic_time();
    const double stall_s = camera->options->stall_s;

    g_mutex_lock(&camera->lock);
    const gint64 frame_us = camera->frame_us;
    g_mutex_unlock(&camera->lock);
    const gboolean waits = frame_us == 0;
    const double limit_s = waits ? MAX(stall_s, FIRST_PICTURE_S) : stall_s;
    const gint64 since_us = waits ? camera->connecting_us : frame_us;
    if ((double)(now_us - since_us) < limit_s * G_USEC_PER_SEC ||
        camera->address->kind == WATCH_FILE) {
        return G_SOURCE_CONTINUE;
    }
    char *reason = g_strdup_printf("no picture for %g s", limit_s);
    camera->watchdog = 0;
    lose(camera, "lost", reason);
    g_free(reason);
    return G_SOURCE_REMOVE;
}

static void connect_source(WatchCamera *camera)
{
    GstAppSinkCallbacks callbacks = {.new_sample = take_frame};

    camera->source = watch_source_new(camera->address, camera->options);
    GstElement *sink = gst_bin_get_by_name(GST_BIN(camera->source), "pictures");
    gst_app_sink_set_callbacks(GST_APP_SINK(sink), &callbacks, camera, NULL);
    gst_object_unref(sink);
    g_mutex_lock(&camera->lock);
    camera->frame_us = 0;
    gst_caps_replace(&camera->caps, NULL);
    g_mutex_unlock(&camera->lock);
    camera->connecting_us = g_get_monotonic_time();
    GstBus *bus = gst_element_get_bus(camera->source);
    gst_bus_add_watch(bus, hear_source, camera);
    gst_object_unref(bus);
    camera->watchdog = g_timeout_add(WATCHDOG_MS, look_for_stall, camera);
    if (camera->state == NULL || is_state(camera, "loading")) {
        tell_state(camera, "connecting", NULL, NULL);
    }
    /* A failure posts its error. */
    gst_element_set_state(camera->source, GST_STATE_PLAYING);
}

/* How long ago a running time was, us. */
static gint64 get_age_us(WatchCamera *camera, const GstStructure *answer, const char *field)
{
    const GstClockTime now = gst_element_get_current_running_time(camera->pipeline);
    guint64 then = 0;

    if (!GST_CLOCK_TIME_IS_VALID(now) || !gst_structure_get_uint64(answer, field, &then) ||
        then > now) {
        return 0;
    }
    return (gint64)((now - then) / GST_USECOND);
}

static void record(WatchCamera *camera, const GstStructure *answer, json_t *report)
{
    guint64 pts = 0;
    GError *error = NULL;

    gst_structure_get_uint64(answer, "pts", &pts);
    char *path =
        watch_pictures_save(camera->pictures, pts, camera->options->record, camera->address->name,
                            json_string_value(json_object_get(report, "time")), &error);
    if (path != NULL) {
        watch_report_set_text(report, "picture", path);
    } else {
        watch_report_set_text(report, "picture_error", error->message);
        g_error_free(error);
    }
    g_free(path);
}

static void tell_answer(WatchCamera *camera, const GstStructure *answer, const char *type)
{
    json_t *report =
        watch_report_new(type, camera->address->name, get_age_us(camera, answer, "running-time"));
    const char *text = gst_structure_get_string(answer, "text");
    const gboolean is_alert = g_str_equal(type, "alert");

    watch_report_set_answer(report, answer);
    if (gst_structure_has_field(answer, "since")) {
        char *since = watch_report_time(get_age_us(camera, answer, "since"));
        json_object_set_new(report, "since", json_string(since));
        g_free(since);
    }
    if (is_alert && camera->pictures != NULL) {
        record(camera, answer, report);
    }
    write_report(camera, report);
    if (is_alert) {
        char *words = g_strdup_printf("Alert from %s: %s", camera->address->name, text);
        watch_speaker_say(camera->speaker, words, TRUE);
        g_free(words);
    } else if (g_str_equal(type, "caption") && text != NULL) {
        watch_speaker_say(camera->speaker, text, FALSE);
    }
}

static void note_answer(WatchCamera *camera, const GstStructure *answer)
{
    const char *type = gst_structure_get_string(answer, "type");

    if (gst_structure_has_name(answer, "fastvlm-alert")) {
        tell_answer(camera, answer, g_strcmp0(type, "clear") == 0 ? "clear" : "alert");
    } else if (gst_structure_has_name(answer, "fastvlm-caption") && g_strcmp0(type, "final") == 0) {
        tell_answer(camera, answer, "caption");
    }
}

static void note_loading(WatchCamera *camera, GstMessage *message)
{
    GstProgressType type;

    gst_message_parse_progress(message, &type, NULL, NULL);
    json_t *report = watch_report_new("model", camera->address->name, 0);
    json_object_set_new(report, "state",
                        json_string(type == GST_PROGRESS_TYPE_COMPLETE ? "ready" : "loading"));
    if (type == GST_PROGRESS_TYPE_START || type == GST_PROGRESS_TYPE_COMPLETE) {
        write_report(camera, report);
        watch_speaker_say(camera->speaker,
                          type == GST_PROGRESS_TYPE_START ? "The model is loading." : "Ready.",
                          FALSE);
    } else {
        json_decref(report);
    }
}

static void note_warning(WatchCamera *camera, GstMessage *message)
{
    GError *error = NULL;

    gst_message_parse_warning(message, &error, NULL);
    json_t *report = watch_report_new("warning", camera->address->name, 0);
    watch_report_set_text(report, "text", error->message);
    g_error_free(error);
    write_report(camera, report);
}

static gboolean hear_element(GstBus *bus, GstMessage *message, gpointer data)
{
    WatchCamera *camera = data;
    GError *error = NULL;

    switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ELEMENT:
        note_answer(camera, gst_message_get_structure(message));
        break;
    case GST_MESSAGE_PROGRESS:
        note_loading(camera, message);
        break;
    case GST_MESSAGE_WARNING:
        note_warning(camera, message);
        break;
    case GST_MESSAGE_ERROR:
        gst_message_parse_error(message, &error, NULL);
        camera->funcs.failed(camera->funcs.data, error->message);
        g_error_free(error);
        break;
    case GST_MESSAGE_EOS:
        tell_state(camera, "ended", NULL, NULL);
        camera->funcs.ended(camera->funcs.data);
        break;
    default:
        break;
    }
    return G_SOURCE_CONTINUE;
}

/* NAME=VALUE, checked: gst-launch-1.0's own setter is silent about values that make no sense. */
static gboolean set_property(GstElement *element, const char *assignment, GError **error)
{
    char **parts = g_strsplit(assignment, "=", 2);
    GParamSpec *spec = g_object_class_find_property(G_OBJECT_GET_CLASS(element), parts[0]);
    GValue value = G_VALUE_INIT;
    gboolean fine = spec != NULL && (spec->flags & G_PARAM_WRITABLE) != 0;

    if (!fine) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "fastvlmcaption has no property \"%s\" to set", parts[0]);
    } else {
        g_value_init(&value, spec->value_type);
        fine = G_VALUE_HOLDS_STRING(&value) || gst_value_deserialize(&value, parts[1]);
        if (G_VALUE_HOLDS_STRING(&value)) {
            g_value_set_string(&value, parts[1]);
        }
        fine = fine && !g_param_value_validate(spec, &value);
        if (fine) {
            g_object_set_property(G_OBJECT(element), parts[0], &value);
        } else {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "%s: \"%s\" is no value for it; gst-inspect-1.0 fastvlmcaption lists them",
                        parts[0], parts[1]);
        }
        g_value_unset(&value);
    }
    g_strfreev(parts);
    return fine;
}

static gboolean set_properties(WatchCamera *camera, GError **error)
{
    g_object_set(camera->element, "interval", (guint64)(camera->options->interval_s * GST_SECOND),
                 NULL);
    for (char **property = camera->options->properties; *property != NULL; property++) {
        if (!set_property(camera->element, *property, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean start_element(WatchCamera *camera, GError **error)
{
    GstBus *bus = gst_element_get_bus(camera->pipeline);
    gboolean fine =
        gst_element_set_state(camera->pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE;

    if (fine) {
        gst_bus_add_watch(bus, hear_element, camera);
    } else {
        GstMessage *message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
        if (message != NULL) {
            gst_message_parse_error(message, error, NULL);
            gst_message_unref(message);
        } else {
            g_set_error(error, GST_CORE_ERROR, GST_CORE_ERROR_STATE_CHANGE, "cannot start");
        }
    }
    gst_object_unref(bus);
    return fine;
}

static gboolean build(WatchCamera *camera, GError **error)
{
    camera->pipeline = gst_parse_launch("appsrc name=frames is-live=true format=time max-buffers=2 "
                                        "leaky-type=downstream ! fastvlmcaption name=captions ! "
                                        "fakesink sync=false async=false enable-last-sample=false",
                                        error);
    if (camera->pipeline == NULL) {
        return FALSE;
    }
    camera->frames = gst_bin_get_by_name(GST_BIN(camera->pipeline), "frames");
    camera->element = gst_bin_get_by_name(GST_BIN(camera->pipeline), "captions");
    if (!set_properties(camera, error)) {
        return FALSE;
    }
    if (camera->options->record != NULL) {
        GstPad *pad = gst_element_get_static_pad(camera->element, "sink");
        guint64 interval;
        g_object_get(camera->element, "interval", &interval, NULL);
        camera->pictures = watch_pictures_new(pad, MAX(interval, GST_SECOND / 100));
        gst_object_unref(pad);
    }
    return start_element(camera, error);
}

WatchCamera *watch_camera_new(WatchAddress *address, const WatchOptions *options,
                              WatchSpeaker *speaker, const WatchCameraFuncs *funcs, GError **error)
{
    WatchCamera *camera = g_new0(WatchCamera, 1);

    g_mutex_init(&camera->lock);
    camera->address = address;
    camera->options = options;
    camera->speaker = speaker;
    camera->funcs = *funcs;
    camera->delay_s = options->retry_s;
    if (!build(camera, error)) {
        watch_camera_free(camera);
        return NULL;
    }
    connect_source(camera);
    return camera;
}

void watch_camera_free(WatchCamera *camera)
{
    if (camera == NULL) {
        return;
    }
    if (camera->retiring != NULL) {
        g_thread_join(camera->retiring);
    } else if (camera->source != NULL) {
        stop_watching_source(camera);
        gst_element_set_state(camera->source, GST_STATE_NULL);
        gst_object_unref(camera->source);
    }
    g_idle_remove_by_data(camera);
    g_clear_handle_id(&camera->retry, g_source_remove);
    if (camera->pipeline != NULL) {
        GstBus *bus = gst_element_get_bus(camera->pipeline);
        gst_bus_remove_watch(bus);
        gst_object_unref(bus);
        gst_element_set_state(camera->pipeline, GST_STATE_NULL);
        g_clear_pointer(&camera->frames, gst_object_unref);
        g_clear_pointer(&camera->element, gst_object_unref);
        gst_object_unref(camera->pipeline);
    }
    watch_pictures_free(camera->pictures);
    gst_caps_replace(&camera->caps, NULL);
    watch_address_free(camera->address);
    g_free(camera->state);
    g_free(camera->reason);
    g_mutex_clear(&camera->lock);
    g_free(camera);
}
