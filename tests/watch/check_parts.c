/*
 * The parts of fastvlm-watch that need no camera: addresses and their secrets, lines of JSON made of
 * hostile words, and the picture that belongs to a time.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gst/gst.h>
#include <gst/video/video.h>
#include <glib/gstdio.h>
#include <string.h>

#include "address.h"
#include "picture.h"
#include "report.h"

static WatchAddress *parse(const char *text)
{
    GError *error = NULL;
    WatchAddress *address = watch_address_parse(text, &error);

    g_assert_no_error(error);
    return address;
}

static void test_address(void)
{
    WatchAddress *address = parse("front.door=rtsp://me:p%40ss%3Aw@cam.example:8554/a/b?token=t0k");

    g_assert_cmpint(address->kind, ==, WATCH_RTSP);
    g_assert_cmpstr(address->name, ==, "front.door");
    g_assert_cmpstr(address->location, ==, "rtsp://cam.example:8554/a/b?token=t0k");
    g_assert_cmpstr(address->user, ==, "me");
    g_assert_cmpstr(address->password, ==, "p@ss:w");
    char *safe = watch_address_redact(
        address, "no rtsp://me:p%40ss%3Aw@cam.example/a/b?token=t0k (p@ss:w), sorry");
    g_assert_cmpstr(safe, ==, "no rtsp://me:***@cam.example/a/b?*** (***), sorry");
    g_free(safe);
    watch_address_free(address);

    address = parse("rtsp://[::1]/x?a=b");
    g_assert_cmpstr(address->name, ==, "--1");
    g_assert_null(address->user);
    watch_address_free(address);
    address = parse("x=/dev/null");
    g_assert_cmpint(address->kind, ==, WATCH_DEVICE);
    watch_address_free(address);
}

/* What is refused is refused without repeating what may be a password. */
static void test_bad_address(void)
{
    const char *const bad[] = {
        "rtsp://me:p@ss:w0rd@host:x/", "rtsp://", "rtsp://me:secret@", "http://:80", "",
        "../../no/such/file"};

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;
        g_assert_null(watch_address_parse(bad[i], &error));
        g_assert_nonnull(error);
        g_assert_null(strstr(error->message, "w0rd"));
        g_assert_null(strstr(error->message, "secret"));
        g_error_free(error);
    }
}

static void test_hostile_caption(void)
{
    char *hostile =
        g_strconcat("\"}\n{\"type\":\"alert\"} \x1b]0;x\x07 \xe2\x80\xae `rm -rf`\t", NULL);
    char *flood = g_strnfill(100000, 'x');
    GstStructure *answer = gst_structure_new(
        "fastvlm-caption", "type", G_TYPE_STRING, "final", "text", G_TYPE_STRING, hostile, "prompt",
        G_TYPE_STRING, flood, "camera", G_TYPE_STRING, "other", "pts", G_TYPE_UINT64, (guint64)1,
        "sequence", G_TYPE_UINT64, (guint64)7, "confidence", G_TYPE_DOUBLE,
        g_ascii_strtod("nan", NULL), "age-ms", G_TYPE_DOUBLE, 1.5, NULL);
    json_t *report = watch_report_new("caption", "door", 0);

    watch_report_set_answer(report, answer);
    char *line = json_dumps(report, JSON_COMPACT);
    g_assert_nonnull(line);
    for (const char *p = line; *p != '\0'; p++) {
        g_assert_cmpint((guchar)*p, >=, ' ');
    }
    g_assert_null(strstr(line, "\\u001b"));
    g_assert_null(strstr(line, "\xe2\x80\xae"));
    g_assert_cmpuint(strlen(line), <, 3 * WATCH_MAX_TEXT);
    g_assert_cmpstr(json_string_value(json_object_get(report, "type")), ==, "caption");
    g_assert_cmpstr(json_string_value(json_object_get(report, "camera")), ==, "door");
    g_assert_cmpint(json_integer_value(json_object_get(report, "sequence")), ==, 7);
    g_assert_cmpfloat(json_real_value(json_object_get(report, "age_ms")), ==, 1.5);
    g_assert_null(json_object_get(report, "confidence"));
    g_assert_null(json_object_get(report, "pts"));
    free(line);
    json_decref(report);
    gst_structure_free(answer);
    g_free(flood);
    g_free(hostile);
}

/* A picture of the grid is kept and written; one that cannot be is an error. */
static void test_picture(void)
{
    GstElement *pipeline = gst_parse_launch("videotestsrc num-buffers=50 pattern=black ! "
                                            "video/x-raw, format=GRAY8, width=64, height=64, "
                                            "framerate=10/1 ! identity name=i ! fakesink",
                                            NULL);
    GstElement *identity = gst_bin_get_by_name(GST_BIN(pipeline), "i");
    GstPad *pad = gst_element_get_static_pad(identity, "sink");
    WatchPictures *pictures = watch_pictures_new(pad, GST_SECOND);
    char *directory = g_dir_make_tmp("fastvlm-watch-XXXXXX", NULL);
    GstBus *bus = gst_element_get_bus(pipeline);
    GError *error = NULL;

    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    GstMessage *message = gst_bus_timed_pop_filtered(bus, 20 * GST_SECOND, GST_MESSAGE_EOS);
    g_assert_nonnull(message);
    gst_message_unref(message);
    char *path = watch_pictures_save(pictures, 3 * GST_SECOND, directory, "door",
                                     "2026-01-31T23:59:59.999Z", &error);
    g_assert_no_error(error);
    char *name = g_path_get_basename(path);
    g_assert_cmpstr(name, ==, "door-2026-01-31T23-59-59.999Z.jpg");
    g_assert_cmpint(remove(path), ==, 0);
    g_free(path);
    g_assert_null(watch_pictures_save(pictures, 3 * GST_SECOND, "/nowhere", "door", "t", &error));
    g_assert_nonnull(error);
    g_error_free(error);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    watch_pictures_free(pictures);
    g_assert_cmpint(g_rmdir(directory), ==, 0);
    g_free(name);
    g_free(directory);
    gst_object_unref(bus);
    gst_object_unref(pad);
    gst_object_unref(identity);
    gst_object_unref(pipeline);
}

/* No others, which a sanitizer might have words with. */
static void load_plugins(void)
{
    const char *const names[] = {"coreelements", "videotestsrc", "videoconvertscale", "jpeg",
                                 "app"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        char *path = g_strdup_printf("%s/libgst%s.so", GST_PLUGINS_DIR, names[i]);
        GstPlugin *plugin = gst_plugin_load_file(path, NULL);
        g_assert_nonnull(plugin);
        gst_object_unref(plugin);
        g_free(path);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    gst_init(&argc, &argv);
    load_plugins();
    g_test_add_func("/parts/address", test_address);
    g_test_add_func("/parts/bad-address", test_bad_address);
    g_test_add_func("/parts/hostile-caption", test_hostile_caption);
    g_test_add_func("/parts/picture", test_picture);
    return g_test_run();
}
