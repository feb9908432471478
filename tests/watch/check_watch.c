/*
 * fastvlm-watch beside cameras that come late, vanish, stall, change and refuse.
 *
 *     check_watch FASTVLM-WATCH: camera_server.h -> RTSP on loopback -> the program -> its lines
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib/gstdio.h>
#include <gst/gst.h>
#include <jansson.h>
#include <string.h>

#include "camera_server.h"
#include "watching.h"

static const CameraSetup ball = {.pattern = "ball", .width = 160, .height = 120};

/* No camera at first, then one; it drops, vanishes, and comes back with another size and codec. */
static void test_comes_and_goes(void)
{
    const CameraSetup other = {.pattern = "smpte", .width = 320, .height = 240, .jpeg = TRUE};
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, NULL);
    Watch *watch = watch_begin_one(url);

    watch_await_state(watch, "lost");
    g_usleep(G_USEC_PER_SEC);
    camera_server_start(server, &ball);
    json_t *line = watch_await(watch, "state", "connected");
    g_assert_cmpint(json_integer_value(json_object_get(line, "width")), ==, 160);
    json_decref(line);
    g_assert_cmpuint(watch_count(watch, "\"lost\""), ==, 1);
    const json_int_t first = watch_await_caption(watch);

    camera_server_drop(server);
    watch_await_state(watch, "lost");
    watch_await_state(watch, "connected");
    const json_int_t second = watch_await_caption(watch);
    /* The numbers go on: the element, and the model in it, did too. */
    g_assert_cmpint(second, >, first);

    camera_server_stop(server);
    watch_await_state(watch, "lost");
    g_usleep(2 * G_USEC_PER_SEC);
    camera_server_start(server, &other);
    line = watch_await(watch, "state", "connected");
    g_assert_cmpint(json_integer_value(json_object_get(line, "width")), ==, 320);
    json_decref(line);
    g_assert_cmpint(watch_await_caption(watch), >, second);
    g_assert_null(strstr(watch->all->str, "sesame"));
    watch_end(watch);
    camera_server_free(server);
    g_free(url);
}

static void test_stall(void)
{
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, NULL);

    camera_server_start(server, &ball);
    Watch *watch = watch_begin_one(url);
    watch_await_caption(watch);
    camera_server_stall(server);
    json_t *line = watch_await(watch, "state", "lost");
    g_assert_cmpstr(get_field(line, "reason"), ==, "no picture for 2 s");
    json_decref(line);
    watch_await_state(watch, "connected");
    watch_await_caption(watch);
    watch_end(watch);
    camera_server_free(server);
    g_free(url);
}

/* Refused is said once, whatever is tried; the right password helps at once. */
static void test_password(void)
{
    CameraSetup locked = ball;
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, "admin:op%40n-s%C3%A9same");

    locked.password = "another";
    camera_server_start(server, &locked);
    Watch *watch = watch_begin_one(url);
    json_t *line = watch_await(watch, "state", "refused");
    g_assert_cmpstr(get_field(line, "reason"), ==, "the camera refused name and password");
    json_decref(line);
    /* Three tries later. */
    g_usleep(5 * G_USEC_PER_SEC / 2);
    camera_server_stop(server);
    locked.password = "op@n-s\xc3\xa9same";
    camera_server_start(server, &locked);
    watch_await_state(watch, "connected");
    g_assert_cmpuint(watch_count(watch, "\"refused\""), ==, 1);
    watch_await_caption(watch);
    g_assert_null(strstr(watch->all->str, "same"));
    g_assert_null(strstr(watch->all->str, "op%40n"));
    g_assert_null(strstr(watch->all->str, "op@n"));
    watch_end(watch);
    camera_server_free(server);
    g_free(url);
}

/* By UDP with one packet in fifty lost; then time leaps forth and back. */
static void test_loss_and_leaps(void)
{
    CameraSetup lossy = ball;
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, NULL);
    const char *const words[] = {"--protocol=udp", "--stall=8", url, NULL};

    lossy.loss = 0.02;
    camera_server_start(server, &lossy);
    Watch *watch = watch_begin(words);
    json_int_t last = watch_await_caption(watch);
    const int leaps[] = {3600, -3600, 7};
    for (guint i = 0; i < G_N_ELEMENTS(leaps); i++) {
        camera_server_leap(server, leaps[i]);
        for (int n = 0; n < 3; n++) {
            const json_int_t sequence = watch_await_caption(watch);
            g_assert_cmpint(sequence, >, last);
            last = sequence;
        }
    }
    watch_end(watch);
    camera_server_free(server);
    g_free(url);
}

static void test_many(void)
{
    const CameraSetup bars = {.pattern = "smpte", .width = 320, .height = 240};
    CameraServer *servers[2] = {camera_server_new(), camera_server_new()};
    char *directory = g_dir_make_tmp("fastvlm-watch-XXXXXX", NULL);
    char *path = g_build_filename(directory, "cameras", NULL);
    char *urls[2] = {camera_server_get_url(servers[0], NULL),
                     camera_server_get_url(servers[1], NULL)};
    char *text = g_strdup_printf("# two\n\ndoor=%s\n%s\n", urls[0], urls[1]);
    const char *const words[] = {"--cameras", path, "gone=rtsp://127.0.0.1:1/", NULL};
    guint n_door = 0, n_other = 0;

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    camera_server_start(servers[0], &ball);
    camera_server_start(servers[1], &bars);
    Watch *watch = watch_begin(words);
    while (n_door < 3 || n_other < 3) {
        json_t *line = watch_await(watch, "caption", NULL);
        n_door += g_str_equal(get_field(line, "camera"), "door");
        n_other += g_str_equal(get_field(line, "camera"), "127.0.0.1");
        json_decref(line);
    }
    g_assert_cmpuint(watch_count(watch, "\"camera\":\"gone\""), >=, 2);
    watch_end(watch);
    for (int i = 0; i < 2; i++) {
        camera_server_free(servers[i]);
        g_free(urls[i]);
    }
    g_unlink(path);
    g_rmdir(directory);
    g_free(text);
    g_free(path);
    g_free(directory);
}

static gboolean has_alerts(void)
{
    GstElement *element = gst_element_factory_make("fastvlmcaption", NULL);
    const gboolean has = element != NULL && g_object_class_find_property(
                                                G_OBJECT_GET_CLASS(element), "alert-on") != NULL;

    g_clear_pointer(&element, gst_object_unref);
    return has;
}

/* Whether it is a whole JPEG; then it goes. */
static void check_picture(const char *path)
{
    char *bytes = NULL;
    gsize n_bytes = 0;

    g_assert_true(g_file_get_contents(path, &bytes, &n_bytes, NULL));
    g_assert_cmpuint(n_bytes, >, 500);
    g_assert_cmpint(memcmp(bytes, "\xff\xd8\xff", 3), ==, 0);
    g_assert_cmpint(memcmp(bytes + n_bytes - 2, "\xff\xd9", 2), ==, 0);
    g_free(bytes);
    g_unlink(path);
}

static void test_alert(void)
{
    if (!has_alerts()) {
        g_test_skip("the element has no alerts");
        return;
    }
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, NULL);
    char *directory = g_dir_make_tmp("fastvlm-watch-XXXXXX", NULL);
    const char *const words[] = {"--prompt=Is there a checkerboard?",
                                 "--choices=yes,no",
                                 "--alert-on=yes",
                                 "--record",
                                 directory,
                                 url,
                                 NULL};

    camera_server_start(server, &ball);
    Watch *watch = watch_begin(words);
    watch_await_caption(watch);
    g_assert_cmpuint(watch_count(watch, "\"type\":\"alert\""), ==, 0);
    camera_server_set_pattern(server, "checkers-8");
    json_t *line = watch_await(watch, "alert", NULL);
    g_assert_cmpfloat(json_real_value(json_object_get(line, "probability")), >=, 0.8);
    g_assert_true(json_is_string(json_object_get(line, "since")));
    check_picture(get_field(line, "picture"));
    json_decref(line);
    camera_server_set_pattern(server, "ball");
    json_decref(watch_await(watch, "clear", NULL));
    watch_end(watch);
    g_rmdir(directory);
    g_free(directory);
    camera_server_free(server);
    g_free(url);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    gst_init(&argc, &argv);
    g_assert_cmpint(argc, ==, 2);
    watch_program = argv[1];
    g_test_add_func("/watch/comes-and-goes", test_comes_and_goes);
    g_test_add_func("/watch/stall", test_stall);
    g_test_add_func("/watch/password", test_password);
    g_test_add_func("/watch/loss-and-leaps", test_loss_and_leaps);
    g_test_add_func("/watch/many", test_many);
    g_test_add_func("/watch/alert", test_alert);
    return g_test_run();
}
