/*
 * Sources; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "source.h"

#include <gst/video/video.h>

/* rtspsrc's GstRTSPLowerTrans, which its property takes by number. */
#define UDP 1
#define UDP_MULTICAST 2
#define TCP 4

/* Longest silence of a server that was asked something. */
#define ANSWER_S 10

#define FORMATS                                                                                  \
    "video/x-raw, format=(string){ I420, YV12, NV12, NV21, YUY2, UYVY, Y42B, Y444, GRAY8, RGB, " \
    "BGR, RGBx, BGRx, xRGB, xBGR, RGBA, BGRA, ARGB, ABGR, I420_10LE, P010_10LE }"

/* Sound and metadata of a camera are left where they are. */
static gboolean select_stream(GstElement *rtspsrc, guint n, GstCaps *caps, gpointer data)
{
    const GstStructure *structure = gst_caps_get_structure(caps, 0);

    return g_strcmp0(gst_structure_get_string(structure, "media"), "video") == 0;
}

/* Links a new pad of `element` to the sink of the one given, unless that has one. */
static void link_pad(GstElement *element, GstPad *pad, GstElement *to)
{
    GstPad *sink = gst_element_get_static_pad(to, "sink");

    if (!gst_pad_is_linked(sink)) {
        gst_pad_link(pad, sink);
    }
    gst_object_unref(sink);
}

static void link_video(GstElement *decoder, GstPad *pad, GstElement *to)
{
    GstCaps *caps = gst_pad_get_current_caps(pad);

    if (caps == NULL) {
        caps = gst_pad_query_caps(pad, NULL);
    }
    if (gst_structure_has_name(gst_caps_get_structure(caps, 0), "video/x-raw")) {
        link_pad(decoder, pad, to);
    }
    gst_caps_unref(caps);
}

/* The decoder plugs parsers for whatever the RTP caps say, after each reconnect anew. */
static GstElement *add_rtsp(GstElement *pipeline, const WatchAddress *address,
                            const WatchOptions *options)
{
    GstElement *rtspsrc = gst_element_factory_make("rtspsrc", NULL);
    GstElement *decoder = gst_element_factory_make("decodebin", NULL);
    const char *protocol = options->protocol != NULL ? options->protocol : "tcp";
    const guint protocols = g_str_equal(protocol, "tcp")   ? TCP
                            : g_str_equal(protocol, "udp") ? UDP | UDP_MULTICAST
                                                           : TCP | UDP | UDP_MULTICAST;

    g_object_set(rtspsrc, "location", address->location, "latency", (guint)options->latency_ms,
                 "tcp-timeout", (guint64)ANSWER_S * G_USEC_PER_SEC, "drop-on-latency", TRUE, NULL);
    /* By number: the flags' type is the plugin's. */
    GParamSpec *spec = g_object_class_find_property(G_OBJECT_GET_CLASS(rtspsrc), "protocols");
    GValue value = G_VALUE_INIT;
    g_value_init(&value, G_PARAM_SPEC_VALUE_TYPE(spec));
    g_value_set_flags(&value, protocols);
    g_object_set_property(G_OBJECT(rtspsrc), "protocols", &value);
    g_value_unset(&value);
    if (address->user != NULL) {
        g_object_set(rtspsrc, "user-id", address->user, "user-pw",
                     address->password != NULL ? address->password : "", NULL);
    }
    gst_bin_add_many(GST_BIN(pipeline), rtspsrc, decoder, NULL);
    g_signal_connect(rtspsrc, "select-stream", G_CALLBACK(select_stream), NULL);
    g_signal_connect_object(rtspsrc, "pad-added", G_CALLBACK(link_pad), decoder, 0);
    return decoder;
}

/* Credentials go by the properties of whatever element reads http, so no URI has them. */
static void set_up_http(GstElement *decoder, GstElement *source, gpointer data)
{
    const WatchAddress *address = data;

    if (address->user != NULL &&
        g_object_class_find_property(G_OBJECT_GET_CLASS(source), "user-id") != NULL) {
        g_object_set(source, "user-id", address->user, "user-pw",
                     address->password != NULL ? address->password : "", NULL);
    }
}

static GstElement *add_uri(GstElement *pipeline, const WatchAddress *address)
{
    GstElement *decoder = gst_element_factory_make("uridecodebin", NULL);
    char *uri = address->kind == WATCH_FILE ? gst_filename_to_uri(address->location, NULL)
                                            : g_strdup(address->location);

    g_object_set(decoder, "uri", uri, NULL);
    g_free(uri);
    gst_bin_add(GST_BIN(pipeline), decoder);
    g_signal_connect(decoder, "source-setup", G_CALLBACK(set_up_http), (gpointer)address);
    return decoder;
}

static GstElement *add_device(GstElement *pipeline, const WatchAddress *address)
{
    GstElement *source = gst_element_factory_make("v4l2src", NULL);
    GstElement *decoder = gst_element_factory_make("decodebin", NULL);

    g_object_set(source, "device", address->location, NULL);
    gst_bin_add_many(GST_BIN(pipeline), source, decoder, NULL);
    gst_element_link(source, decoder);
    return decoder;
}

GstElement *watch_source_new(const WatchAddress *address, const WatchOptions *options)
{
    GstElement *pipeline = gst_pipeline_new(NULL);
    GstElement *convert = gst_element_factory_make("videoconvert", NULL);
    GstElement *sink = gst_element_factory_make("appsink", "pictures");
    GstCaps *caps = gst_caps_from_string(FORMATS);
    GstElement *decoder = address->kind == WATCH_RTSP     ? add_rtsp(pipeline, address, options)
                          : address->kind == WATCH_DEVICE ? add_device(pipeline, address)
                                                          : add_uri(pipeline, address);

    /* Only a file has to be held back to its own pace. */
    g_object_set(sink, "caps", caps, "sync", address->kind == WATCH_FILE, "max-buffers", 1u, "drop",
                 TRUE, "enable-last-sample", FALSE, NULL);
    gst_caps_unref(caps);
    gst_bin_add_many(GST_BIN(pipeline), convert, sink, NULL);
    gst_element_link(convert, sink);
    g_signal_connect_object(decoder, "pad-added", G_CALLBACK(link_video), convert, 0);
    return pipeline;
}

char *watch_source_explain(const WatchAddress *address, GstMessage *message, gboolean *refused)
{
    GError *error = NULL;
    char *debug = NULL;

    gst_message_parse_error(message, &error, &debug);
    *refused = g_error_matches(error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_AUTHORIZED);
    char *words =
        *refused ? g_strdup(address->user != NULL ? "the camera refused name and password"
                                                  : "the camera wants name and password: write "
                                                    "rtsp://USER:PASSWORD@HOST/PATH")
                 : watch_address_redact(address, error->message);
    g_error_free(error);
    g_free(debug);
    return words;
}
