/*
 * fastvlmspeechd beside a server that only writes down what it is told.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <gst/check/gstharness.h>
#include <string.h>

#include "gstfastvlmspeechd.h"

/* Speaks SSIP, as much of it as libspeechd asks for. */
typedef struct {
    char *directory, *path;
    GSocketListener *listener;
    GCancellable *cancel;
    GThread *thread;
    GMutex lock;
    GCond changed;
    GString *said;  /* priority and text of each message, a line each */
    gint answers;   /* FALSE: it listens and says nothing */
    gint n_clients; /* that it serves */
} Server;

static void note(Server *server, const char *priority, const char *text)
{
    g_mutex_lock(&server->lock);
    g_string_append_printf(server->said, "%s: %s\n", priority, text);
    g_cond_broadcast(&server->changed);
    g_mutex_unlock(&server->lock);
}

/* The text that follows SPEAK, up to a line with a dot. */
static void hear(Server *server, GDataInputStream *in, const char *priority)
{
    GString *text = g_string_new(NULL);
    char *line;

    while ((line = g_data_input_stream_read_line(in, NULL, server->cancel, NULL)) != NULL &&
           strcmp(line, ".") != 0) {
        g_string_append(text, line);
        g_free(line);
    }
    g_free(line);
    note(server, priority, text->str);
    g_string_free(text, TRUE);
}

static void answer(Server *server, GOutputStream *out, const char *text)
{
    if (g_atomic_int_get(&server->answers)) {
        g_output_stream_write_all(out, text, strlen(text), NULL, NULL, NULL);
    }
}

static void serve(Server *server, GIOStream *stream)
{
    GDataInputStream *in = g_data_input_stream_new(g_io_stream_get_input_stream(stream));
    GOutputStream *out = g_io_stream_get_output_stream(stream);
    char priority[32] = "none", *line;

    g_data_input_stream_set_newline_type(in, G_DATA_STREAM_NEWLINE_TYPE_CR_LF);
    while ((line = g_data_input_stream_read_line(in, NULL, server->cancel, NULL)) != NULL) {
        if (sscanf(line, "SET SELF PRIORITY %31s", priority) == 1) {
            answer(server, out, "202 OK PRIORITY SET\r\n");
        } else if (g_ascii_strcasecmp(line, "SPEAK") == 0) {
            answer(server, out, "230 OK RECEIVING DATA\r\n");
            hear(server, in, priority);
            answer(server, out, "225-1\r\n225 OK MESSAGE QUEUED\r\n");
        } else {
            if (g_str_has_prefix(line, "SET SELF LANGUAGE")) {
                note(server, "language", line + strlen("SET SELF LANGUAGE "));
            }
            answer(server, out, "208 OK CLIENT NAME SET\r\n");
        }
        g_free(line);
    }
    g_object_unref(in);
}

static gpointer run_server(gpointer data)
{
    Server *server = data;
    GSocketConnection *connection;

    while ((connection = g_socket_listener_accept(server->listener, NULL, server->cancel, NULL)) !=
           NULL) {
        g_atomic_int_inc(&server->n_clients);
        serve(server, G_IO_STREAM(connection));
        g_object_unref(connection);
        g_atomic_int_add(&server->n_clients, -1);
    }
    return NULL;
}

static Server *server_new(gboolean answers)
{
    Server *server = g_new0(Server, 1);
    GError *error = NULL;

    server->answers = answers;
    server->directory = g_dir_make_tmp("fastvlm-speechd-XXXXXX", NULL);
    server->path = g_build_filename(server->directory, "socket", NULL);
    server->listener = g_socket_listener_new();
    server->cancel = g_cancellable_new();
    server->said = g_string_new(NULL);
    GSocketAddress *address = g_unix_socket_address_new(server->path);
    g_socket_listener_add_address(server->listener, address, G_SOCKET_TYPE_STREAM,
                                  G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, &error);
    g_assert_no_error(error);
    g_object_unref(address);
    char *variable = g_strconcat("unix_socket:", server->path, NULL);
    g_setenv("SPEECHD_ADDRESS", variable, TRUE);
    g_free(variable);
    server->thread = g_thread_new("server", run_server, server);
    return server;
}

static void server_free(Server *server)
{
    g_cancellable_cancel(server->cancel);
    g_thread_join(server->thread);
    g_object_unref(server->listener);
    g_object_unref(server->cancel);
    g_unlink(server->path);
    g_rmdir(server->directory);
    g_string_free(server->said, TRUE);
    g_free(server->path);
    g_free(server->directory);
    g_free(server);
}

/* What was said from the start on must be just this. */
static void expect_said(Server *server, const char *expected)
{
    const gint64 until = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;

    g_mutex_lock(&server->lock);
    while (strlen(server->said->str) < strlen(expected) &&
           g_cond_wait_until(&server->changed, &server->lock, until)) {
    }
    g_assert_cmpstr(server->said->str, ==, expected);
    g_mutex_unlock(&server->lock);
}

static GstHarness *harness_new(const char *line)
{
    GstHarness *harness = gst_harness_new_parse(line);

    gst_harness_set_src_caps_str(harness, "text/x-raw, format=utf8");
    return harness;
}

static void push(GstHarness *harness, const char *text)
{
    GstBuffer *buffer = gst_buffer_new_memdup(text, strlen(text));

    GST_BUFFER_PTS(buffer) = 0;
    g_assert_cmpint(gst_harness_push(harness, buffer), ==, GST_FLOW_OK);
}

static void send(GstHarness *harness, const char *structure)
{
    g_assert_true(gst_harness_push_event(
        harness, gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM,
                                      gst_structure_new_from_string(structure))));
}

/* Each once, on one line, whatever stands in it; alerts are important. */
static void test_says(void)
{
    Server *server = server_new(TRUE);
    GstHarness *harness = harness_new("fastvlmspeechd sync=false language=cs max-length=20");

    push(harness, "A red ball.");
    push(harness, "A red ball.");
    push(harness, ".\r\nSTOP ALL\r\n\033\377");
    push(harness, "\n\n");
    push(harness, "More than twenty characters, that is.");
    send(harness, "fastvlm-alert, type=alert, text=\"A door is open.\"");
    send(harness, "fastvlm-alert, type=clear, text=\"It is closed.\"");
    send(harness, "fastvlm-say, text=\"Now!\", urgent=true");
    expect_said(server, "language: cs\nPROGRESS: A red ball.\nPROGRESS: .. STOP ALL \xef\xbf\xbd\n"
                        "PROGRESS: More than twenty cha\nIMPORTANT: A door is open.\n"
                        "PROGRESS: It is closed.\nIMPORTANT: Now!\n");
    gst_harness_teardown(harness);
    server_free(server);
}

/* By the signal, as fastvlmspeak has it: TRUE for what is news. */
static void test_signal(void)
{
    Server *server = server_new(TRUE);
    GstHarness *harness = harness_new("fastvlmspeechd sync=false");
    GstElement *element = gst_harness_find_element(harness, "fastvlmspeechd");
    gboolean said;

    g_signal_emit_by_name(element, "say", "The camera is lost.", TRUE, &said);
    g_assert_true(said);
    g_signal_emit_by_name(element, "say", "The camera is lost.", TRUE, &said);
    g_assert_false(said);
    expect_said(server, "IMPORTANT: The camera is lost.\n");
    gst_object_unref(element);
    gst_harness_teardown(harness);
    server_free(server);
}

/* The next message of a kind within ten seconds; checks its text. */
static void expect_message(GstBus *bus, GstMessageType type, const char *text)
{
    GError *error = NULL;
    GstMessage *message = gst_bus_timed_pop_filtered(bus, 10 * GST_SECOND, type);

    g_assert_nonnull(message);
    if (type == GST_MESSAGE_ERROR) {
        gst_message_parse_error(message, &error, NULL);
    } else {
        gst_message_parse_warning(message, &error, NULL);
    }
    g_assert_nonnull(strstr(error->message, text));
    g_error_free(error);
    gst_message_unref(message);
}

/* A server that takes the connection and never answers: no state change waits for it for good. */
static void test_mute_server(void)
{
    Server *server = server_new(FALSE);
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmspeechd", NULL));
    GstBus *bus = gst_bus_new();
    const gint64 start_us = g_get_monotonic_time();

    g_object_set(element, "timeout", 300, NULL);
    gst_element_set_bus(element, bus);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    g_assert_cmpint(g_get_monotonic_time() - start_us, >=, 300 * G_TIME_SPAN_MILLISECOND);
    g_assert_cmpint(g_atomic_int_get(&server->n_clients), ==, 1);
    expect_message(bus, GST_MESSAGE_ERROR, "that answers: start it, or use fastvlmspeak");
    gst_element_set_state(element, GST_STATE_NULL);
    gst_element_set_bus(element, NULL);
    gst_object_unref(bus);
    gst_object_unref(element);
    server_free(server);
}

/* A server that falls silent at its first sentence: texts pass, a warning tells once, and it ends. */
static void test_server_hangs(void)
{
    Server *server = server_new(TRUE);
    GstHarness *harness = harness_new("fastvlmspeechd sync=false timeout=200");
    GstElement *element = gst_harness_find_element(harness, "fastvlmspeechd");
    GstBus *bus = gst_bus_new();

    gst_element_set_bus(element, bus);
    push(harness, "This is heard.");
    expect_said(server, "PROGRESS: This is heard.\n");
    g_atomic_int_set(&server->answers, FALSE);
    for (guint i = 0; i < 100; i++) {
        char *text = g_strdup_printf("Sentence %u.", i);

        push(harness, text);
        g_free(text);
        g_usleep(5000);
    }
    expect_message(bus, GST_MESSAGE_WARNING, "nothing is said until it does");
    g_assert_null(gst_bus_pop_filtered(bus, GST_MESSAGE_WARNING | GST_MESSAGE_ERROR));
    gst_element_set_bus(element, NULL);
    gst_object_unref(bus);
    gst_object_unref(element);
    gst_harness_teardown(harness);
    server_free(server);
}

/* Without a server the element says so, and what to do. */
static void test_no_server(void)
{
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmspeechd", NULL));
    GstBus *bus = gst_bus_new();
    GError *error = NULL;

    g_setenv("SPEECHD_ADDRESS", "unix_socket:/nowhere/socket", TRUE);
    gst_element_set_bus(element, bus);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    GstMessage *message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
    g_assert_nonnull(message);
    gst_message_parse_error(message, &error, NULL);
    g_assert_error(error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE);
    g_assert_nonnull(strstr(error->message, "start it, or use fastvlmspeak"));
    g_error_free(error);
    gst_message_unref(message);
    gst_element_set_state(element, GST_STATE_NULL);
    gst_element_set_bus(element, NULL);
    gst_object_unref(bus);
    gst_object_unref(element);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    gst_init(&argc, &argv);
    /* For check_leaks.sh to see that leaks are seen. */
    if (g_getenv("FASTVLM_TEST_LEAK") != NULL) {
        GstCaps *lost = gst_caps_new_empty_simple("test/leak");
        (void)lost;
    }
    g_assert_true(GST_ELEMENT_REGISTER(fastvlmspeechd, NULL));
    g_test_add_func("/speechd/says", test_says);
    g_test_add_func("/speechd/signal", test_signal);
    g_test_add_func("/speechd/mute-server", test_mute_server);
    g_test_add_func("/speechd/server-hangs", test_server_hangs);
    g_test_add_func("/speechd/no-server", test_no_server);
    const int result = g_test_run();
    gst_deinit();
    return result;
}
