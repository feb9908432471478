/*
 * fastvlm-watch beside cameras that come late, vanish, stall, change and refuse.
 *
 *     check_watch FASTVLM-WATCH: camera_server.h -> RTSP on loopback -> the program -> its lines
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <gst/gst.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>

#include "camera_server.h"

#define PATIENCE_S 40

static const char *program;
static const CameraSetup ball = {.pattern = "ball", .width = 160, .height = 120};

typedef struct {
    GSubprocess *process;
    GThread *reader;
    GAsyncQueue *lines; /* char, owned; "" at the end */
    GString *all;       /* what was written so far, for the eye of the reader of this queue */
} Watch;

static gpointer read_lines(gpointer data)
{
    Watch *watch = data;
    GDataInputStream *stream =
        g_data_input_stream_new(g_subprocess_get_stdout_pipe(watch->process));
    char *line;

    while ((line = g_data_input_stream_read_line(stream, NULL, NULL, NULL)) != NULL) {
        g_async_queue_push(watch->lines, line);
    }
    g_async_queue_push(watch->lines, g_strdup(""));
    g_object_unref(stream);
    return NULL;
}

/* The rest are words of its command line, up to NULL. Waits are short. */
static Watch *begin(const char *const *words)
{
    const char *const quick[] = {
        "--interval=0.3", "--retry=0.1", "--retry-max=0.3", "--stall=2", "--retry-refused=0.5",
        "--latency=100",  NULL};
    Watch *watch = g_new0(Watch, 1);
    GPtrArray *argv = g_ptr_array_new();
    GError *error = NULL;

    g_ptr_array_add(argv, (gpointer)program);
    for (int i = 0; quick[i] != NULL; i++) {
        g_ptr_array_add(argv, (gpointer)quick[i]);
    }
    for (int i = 0; words[i] != NULL; i++) {
        g_ptr_array_add(argv, (gpointer)words[i]);
    }
    g_ptr_array_add(argv, NULL);
    watch->process =
        g_subprocess_newv((const char *const *)argv->pdata,
                          G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE, &error);
    g_assert_no_error(error);
    g_ptr_array_unref(argv);
    watch->lines = g_async_queue_new_full(g_free);
    watch->all = g_string_new(NULL);
    watch->reader = g_thread_new("reader", read_lines, watch);
    return watch;
}

static Watch *begin_one(const char *url)
{
    const char *const words[] = {url, NULL};

    return begin(words);
}

/* The next line, which is an object; NULL at the end or where none comes in time. */
static json_t *next_line(Watch *watch, double seconds)
{
    char *line = g_async_queue_timeout_pop(watch->lines, (guint64)(seconds * G_USEC_PER_SEC));
    json_error_t error;

    if (line == NULL || *line == '\0') {
        g_free(line);
        return NULL;
    }
    g_string_append_printf(watch->all, "%s\n", line);
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        g_error("no line of JSON: %s", line);
    }
    g_free(line);
    return object;
}

static const char *get(const json_t *line, const char *key)
{
    const char *value = json_string_value(json_object_get(line, key));

    return value != NULL ? value : "";
}

/* Reads on until a line has that type and, where not NULL, that state; the caller frees it. */
static json_t *await(Watch *watch, const char *type, const char *state)
{
    for (;;) {
        json_t *line = next_line(watch, PATIENCE_S);
        if (line == NULL) {
            g_error("no %s %s after:\n%s", type, state != NULL ? state : "", watch->all->str);
        }
        if (g_str_equal(get(line, "type"), type) &&
            (state == NULL || g_str_equal(get(line, "state"), state))) {
            return line;
        }
        json_decref(line);
    }
}

static void await_state(Watch *watch, const char *state)
{
    json_decref(await(watch, "state", state));
}

/* A caption whose picture was taken after now; its sequence. */
static json_int_t await_caption(Watch *watch)
{
    GDateTime *now = g_date_time_new_now_utc();
    json_int_t sequence = 0;

    while (sequence == 0) {
        json_t *line = await(watch, "caption", NULL);
        GDateTime *time = g_date_time_new_from_iso8601(get(line, "time"), NULL);
        g_assert_nonnull(time);
        g_assert_cmpuint(strlen(get(line, "text")), >, 0);
        if (g_date_time_compare(time, now) > 0) {
            sequence = json_integer_value(json_object_get(line, "sequence"));
        }
        g_date_time_unref(time);
        json_decref(line);
    }
    g_date_time_unref(now);
    return sequence;
}

static void end(Watch *watch)
{
    json_t *line;

    g_subprocess_send_signal(watch->process, SIGTERM);
    while ((line = next_line(watch, PATIENCE_S)) != NULL) {
        json_decref(line);
    }
    g_assert_true(g_subprocess_wait(watch->process, NULL, NULL));
    g_assert_true(g_subprocess_get_if_exited(watch->process));
    g_assert_cmpint(g_subprocess_get_exit_status(watch->process), ==, 0);
    g_thread_join(watch->reader);
    g_object_unref(watch->process);
    g_async_queue_unref(watch->lines);
    g_string_free(watch->all, TRUE);
    g_free(watch);
}

static guint count(const Watch *watch, const char *words)
{
    guint n = 0;

    for (const char *p = watch->all->str; (p = strstr(p, words)) != NULL; p++) {
        n++;
    }
    return n;
}

/* No camera at first, then one; it drops, vanishes, and comes back with another size and codec. */
static void test_comes_and_goes(void)
{
    const CameraSetup other = {.pattern = "smpte", .width = 320, .height = 240, .jpeg = TRUE};
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, NULL);
    Watch *watch = begin_one(url);

    await_state(watch, "lost");
    g_usleep(G_USEC_PER_SEC);
    camera_server_start(server, &ball);
    json_t *line = await(watch, "state", "connected");
    g_assert_cmpint(json_integer_value(json_object_get(line, "width")), ==, 160);
    json_decref(line);
    g_assert_cmpuint(count(watch, "\"lost\""), ==, 1);
    const json_int_t first = await_caption(watch);

    camera_server_drop(server);
    await_state(watch, "lost");
    await_state(watch, "connected");
    const json_int_t second = await_caption(watch);
    /* The numbers go on: the element, and the model in it, did too. */
    g_assert_cmpint(second, >, first);

    camera_server_stop(server);
    await_state(watch, "lost");
    g_usleep(2 * G_USEC_PER_SEC);
    camera_server_start(server, &other);
    line = await(watch, "state", "connected");
    g_assert_cmpint(json_integer_value(json_object_get(line, "width")), ==, 320);
    json_decref(line);
    g_assert_cmpint(await_caption(watch), >, second);
    g_assert_null(strstr(watch->all->str, "sesame"));
    end(watch);
    camera_server_free(server);
    g_free(url);
}

static void test_stall(void)
{
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, NULL);

    camera_server_start(server, &ball);
    Watch *watch = begin_one(url);
    await_caption(watch);
    camera_server_stall(server);
    json_t *line = await(watch, "state", "lost");
    g_assert_cmpstr(get(line, "reason"), ==, "no picture for 2 s");
    json_decref(line);
    await_state(watch, "connected");
    await_caption(watch);
    end(watch);
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
    Watch *watch = begin_one(url);
    json_t *line = await(watch, "state", "refused");
    g_assert_cmpstr(get(line, "reason"), ==, "the camera refused name and password");
    json_decref(line);
    /* Three tries later. */
    g_usleep(5 * G_USEC_PER_SEC / 2);
    camera_server_stop(server);
    locked.password = "op@n-s\xc3\xa9same";
    camera_server_start(server, &locked);
    await_state(watch, "connected");
    g_assert_cmpuint(count(watch, "\"refused\""), ==, 1);
    await_caption(watch);
    g_assert_null(strstr(watch->all->str, "same"));
    g_assert_null(strstr(watch->all->str, "op%40n"));
    g_assert_null(strstr(watch->all->str, "op@n"));
    end(watch);
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
    Watch *watch = begin(words);
    json_int_t last = await_caption(watch);
    const int leaps[] = {3600, -3600, 7};
    for (guint i = 0; i < G_N_ELEMENTS(leaps); i++) {
        camera_server_leap(server, leaps[i]);
        for (int n = 0; n < 3; n++) {
            const json_int_t sequence = await_caption(watch);
            g_assert_cmpint(sequence, >, last);
            last = sequence;
        }
    }
    end(watch);
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
    Watch *watch = begin(words);
    while (n_door < 3 || n_other < 3) {
        json_t *line = await(watch, "caption", NULL);
        n_door += g_str_equal(get(line, "camera"), "door");
        n_other += g_str_equal(get(line, "camera"), "127.0.0.1");
        json_decref(line);
    }
    g_assert_cmpuint(count(watch, "\"camera\":\"gone\""), >=, 2);
    end(watch);
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
    Watch *watch = begin(words);
    await_caption(watch);
    g_assert_cmpuint(count(watch, "\"type\":\"alert\""), ==, 0);
    camera_server_set_pattern(server, "checkers-8");
    json_t *line = await(watch, "alert", NULL);
    g_assert_cmpfloat(json_real_value(json_object_get(line, "probability")), >=, 0.8);
    g_assert_true(json_is_string(json_object_get(line, "since")));
    check_picture(get(line, "picture"));
    json_decref(line);
    camera_server_set_pattern(server, "ball");
    json_decref(await(watch, "clear", NULL));
    end(watch);
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
    program = argv[1];
    g_test_add_func("/watch/comes-and-goes", test_comes_and_goes);
    g_test_add_func("/watch/stall", test_stall);
    g_test_add_func("/watch/password", test_password);
    g_test_add_func("/watch/loss-and-leaps", test_loss_and_leaps);
    g_test_add_func("/watch/many", test_many);
    g_test_add_func("/watch/alert", test_alert);
    return g_test_run();
}
