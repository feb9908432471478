/*
 * The camera; see the header. It lives in a thread and a main context of its own.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "camera_server.h"

#include <gio/gio.h>
#include <gst/rtsp-server/rtsp-server.h>

struct _CameraServer {
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
    guint16 port;
    GstRTSPServer *server; /* NULL: nobody listens */
    GSource *source;
    double loss;
    GMutex lock;
    GstElement *media; /* of the stream that goes on; NULL: none */
};

static gpointer run(gpointer data)
{
    CameraServer *server = data;

    g_main_context_push_thread_default(server->context);
    g_main_loop_run(server->loop);
    g_main_context_pop_thread_default(server->context);
    return NULL;
}

static guint16 find_port(void)
{
    GSocketListener *listener = g_socket_listener_new();
    const guint16 port = g_socket_listener_add_any_inet_port(listener, NULL, NULL);

    g_socket_listener_close(listener);
    g_object_unref(listener);
    return port;
}

CameraServer *camera_server_new(void)
{
    CameraServer *server = g_new0(CameraServer, 1);

    g_mutex_init(&server->lock);
    server->context = g_main_context_new();
    server->loop = g_main_loop_new(server->context, FALSE);
    server->port = find_port();
    server->thread = g_thread_new("camera", run, server);
    return server;
}

void camera_server_free(CameraServer *server)
{
    camera_server_stop(server);
    g_main_loop_quit(server->loop);
    g_thread_join(server->thread);
    g_main_loop_unref(server->loop);
    g_main_context_unref(server->context);
    g_clear_pointer(&server->media, gst_object_unref);
    g_mutex_clear(&server->lock);
    g_free(server);
}

char *camera_server_get_url(CameraServer *server, const char *credentials)
{
    return g_strdup_printf("rtsp://%s%s127.0.0.1:%u/live?key=sesame",
                           credentials != NULL ? credentials : "", credentials != NULL ? "@" : "",
                           server->port);
}

static GstPadProbeReturn lose_packet(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    const CameraServer *server = data;

    return g_random_double() < server->loss ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

static void configure(GstRTSPMediaFactory *factory, GstRTSPMedia *media, gpointer data)
{
    CameraServer *server = data;

    g_mutex_lock(&server->lock);
    g_clear_pointer(&server->media, gst_object_unref);
    server->media = gst_rtsp_media_get_element(media);
    if (server->loss > 0) {
        GstElement *payloader = gst_bin_get_by_name(GST_BIN(server->media), "pay0");
        GstPad *pad = gst_element_get_static_pad(payloader, "src");
        gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST,
                          lose_packet, server, NULL);
        gst_object_unref(pad);
        gst_object_unref(payloader);
    }
    g_mutex_unlock(&server->lock);
}

static void ask_for_password(GstRTSPServer *rtsp, GstRTSPMediaFactory *factory,
                             const char *password)
{
    GstRTSPAuth *auth = gst_rtsp_auth_new();
    GstRTSPToken *token =
        gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, "viewer", NULL);
    char *basic = gst_rtsp_auth_make_basic("admin", password);

    gst_rtsp_auth_add_basic(auth, basic, token);
    gst_rtsp_media_factory_add_role(factory, "viewer", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS,
                                    G_TYPE_BOOLEAN, TRUE, GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT,
                                    G_TYPE_BOOLEAN, TRUE, NULL);
    gst_rtsp_server_set_auth(rtsp, auth);
    gst_rtsp_token_unref(token);
    g_object_unref(auth);
    g_free(basic);
}

void camera_server_start(CameraServer *server, const CameraSetup *setup)
{
    char *service = g_strdup_printf("%u", server->port);
    char *launch = g_strdup_printf(
        "( videotestsrc name=test is-live=true pattern=%s ! video/x-raw, format=I420, width=%d, "
        "height=%d, framerate=10/1 ! identity name=leap ! valve name=valve ! %s name=pay0 )",
        setup->pattern, setup->width, setup->height,
        setup->jpeg ? "jpegenc ! rtpjpegpay" : "vp8enc deadline=1 keyframe-max-dist=5 ! rtpvp8pay");
    server->loss = setup->loss;
    GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new();

    server->server = gst_rtsp_server_new();
    gst_rtsp_server_set_address(server->server, "127.0.0.1");
    gst_rtsp_server_set_service(server->server, service);
    gst_rtsp_media_factory_set_launch(factory, launch);
    gst_rtsp_media_factory_set_shared(factory, TRUE);
    g_signal_connect(factory, "media-configure", G_CALLBACK(configure), server);
    if (setup->password != NULL) {
        ask_for_password(server->server, factory, setup->password);
    }
    GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points(server->server);
    gst_rtsp_mount_points_add_factory(mounts, "/live", factory);
    g_object_unref(mounts);
    /* Of a server that has just gone the port may be taken for a moment still. */
    for (int tries = 0; server->source == NULL && tries < 200; tries++) {
        GError *error = NULL;
        server->source = gst_rtsp_server_create_source(server->server, NULL, &error);
        if (server->source == NULL) {
            g_test_message("listening: %s", error->message);
            g_error_free(error);
            g_usleep(50000);
        }
    }
    g_assert_nonnull(server->source);
    g_source_set_callback(server->source, (GSourceFunc)(GCallback)gst_rtsp_server_io_func,
                          server->server, NULL);
    g_source_attach(server->source, server->context);
    g_free(launch);
    g_free(service);
}

static GstRTSPFilterResult remove_client(GstRTSPServer *server, GstRTSPClient *client,
                                         gpointer data)
{
    return GST_RTSP_FILTER_REMOVE;
}

void camera_server_drop(CameraServer *server)
{
    GList *clients = gst_rtsp_server_client_filter(server->server, remove_client, NULL);

    g_list_free_full(clients, g_object_unref);
}

void camera_server_stop(CameraServer *server)
{
    if (server->server == NULL) {
        return;
    }
    g_source_destroy(server->source);
    g_clear_pointer(&server->source, g_source_unref);
    camera_server_drop(server);
    g_clear_object(&server->server);
}

static void set_media(CameraServer *server, const char *name, const char *property,
                      const char *value)
{
    g_mutex_lock(&server->lock);
    GstElement *element = gst_bin_get_by_name(GST_BIN(server->media), name);
    gst_util_set_object_arg(G_OBJECT(element), property, value);
    gst_object_unref(element);
    g_mutex_unlock(&server->lock);
}

void camera_server_stall(CameraServer *server)
{
    set_media(server, "valve", "drop", "true");
}

void camera_server_leap(CameraServer *server, int seconds)
{
    char *offset = g_strdup_printf("%" G_GINT64_FORMAT, seconds * (gint64)GST_SECOND);

    set_media(server, "leap", "ts-offset", offset);
    g_free(offset);
}

void camera_server_set_pattern(CameraServer *server, const char *pattern)
{
    set_media(server, "test", "pattern", pattern);
}
