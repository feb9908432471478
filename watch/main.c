/*
 * fastvlm-watch: cameras, watched for good.
 *
 *     command line -> a camera each (camera.h), one model -> lines of JSON, pictures, speech
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <errno.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <gst/gst.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "camera.h"

typedef struct {
    WatchOptions options;
    GMainLoop *loop;
    GPtrArray *addresses; /* WatchAddress */
    GPtrArray *cameras;
    WatchSpeaker *speaker;
    guint n_ended;
    gboolean failed;
} Watch;

static void tell_error(const char *text)
{
    fprintf(stderr, "fastvlm-watch: %s\n", text);
}

static void stop_failed(gpointer data, const char *error)
{
    Watch *watch = data;

    if (!watch->failed) {
        tell_error(error);
    }
    watch->failed = TRUE;
    g_main_loop_quit(watch->loop);
}

static void note_end(gpointer data)
{
    Watch *watch = data;

    if (++watch->n_ended == watch->addresses->len) {
        g_main_loop_quit(watch->loop);
    }
}

static gboolean stop(gpointer data)
{
    g_main_loop_quit(data);
    return G_SOURCE_CONTINUE;
}

/* Two cameras of one name get numbers. */
static void make_unique(GPtrArray *addresses, WatchAddress *address)
{
    char *name = g_strdup(address->name);

    for (guint i = 0, n = 1; i < addresses->len; i++) {
        const WatchAddress *other = g_ptr_array_index(addresses, i);
        if (g_str_equal(other->name, address->name)) {
            g_free(address->name);
            address->name = g_strdup_printf("%s-%u", name, ++n);
            i = (guint)-1;
        }
    }
    g_free(name);
}

static gboolean add_address(Watch *watch, const char *text, GError **error)
{
    WatchAddress *address = watch_address_parse(text, error);

    if (address == NULL) {
        return FALSE;
    }
    make_unique(watch->addresses, address);
    g_ptr_array_add(watch->addresses, address);
    return TRUE;
}

/* A line a camera; empty lines and those that begin with # are none. */
static gboolean read_cameras(Watch *watch, const char *path, GError **error)
{
    GIOChannel *channel = g_str_equal(path, "-") ? g_io_channel_unix_new(fileno(stdin))
                                                 : g_io_channel_new_file(path, "r", NULL);
    char *all = NULL;
    gboolean fine = TRUE;

    if (channel == NULL || g_io_channel_set_encoding(channel, NULL, NULL) != G_IO_STATUS_NORMAL ||
        g_io_channel_read_to_end(channel, &all, NULL, NULL) != G_IO_STATUS_NORMAL) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "cannot read --cameras %s",
                    path);
        fine = FALSE;
    }
    char **lines = g_strsplit(all != NULL ? all : "", "\n", -1);
    for (char **line = lines; fine && *line != NULL; line++) {
        g_strstrip(*line);
        fine = **line == '\0' || **line == '#' || add_address(watch, *line, error);
    }
    g_strfreev(lines);
    g_free(all);
    g_clear_pointer(&channel, g_io_channel_unref);
    return fine;
}

static gboolean read_addresses(Watch *watch, GError **error)
{
    for (char **text = watch->options.addresses; text != NULL && *text != NULL; text++) {
        if (!add_address(watch, *text, error)) {
            return FALSE;
        }
    }
    if (watch->options.cameras != NULL && !read_cameras(watch, watch->options.cameras, error)) {
        return FALSE;
    }
    if (watch->addresses->len == 0) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--cameras names none");
        return FALSE;
    }
    return TRUE;
}

static gboolean prepare(Watch *watch, GError **error)
{
    const WatchOptions *options = &watch->options;

    if (options->record != NULL && g_mkdir_with_parents(options->record, 0755) != 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "--record %s: %s", options->record,
                    g_strerror(errno));
        return FALSE;
    }
    if (options->speak_to != NULL) {
        watch->speaker =
            watch_speaker_new(options->speak_to, options->speak_by, options->voice, error);
        if (watch->speaker == NULL) {
            return FALSE;
        }
    }
    const WatchCameraFuncs funcs = {.failed = stop_failed, .ended = note_end, .data = watch};
    while (watch->cameras->len < watch->addresses->len) {
        gpointer *place = &g_ptr_array_index(watch->addresses, watch->cameras->len);
        WatchCamera *camera =
            watch_camera_new(g_steal_pointer(place), options, watch->speaker, &funcs, error);
        if (camera == NULL) {
            return FALSE;
        }
        g_ptr_array_add(watch->cameras, camera);
    }
    return TRUE;
}

static void run(Watch *watch)
{
    const guint on_int = g_unix_signal_add(SIGINT, stop, watch->loop);
    const guint on_term = g_unix_signal_add(SIGTERM, stop, watch->loop);

    if (!watch->failed) {
        g_main_loop_run(watch->loop);
    }
    g_source_remove(on_int);
    g_source_remove(on_term);
}

static void clear(Watch *watch)
{
    g_ptr_array_unref(watch->cameras);
    watch_speaker_free(watch->speaker);
    g_ptr_array_unref(watch->addresses);
    g_main_loop_unref(watch->loop);
    watch_options_clear(&watch->options);
}

int main(int argc, char **argv)
{
    Watch watch = {.options = WATCH_DEFAULT_OPTIONS};
    GError *error = NULL;
    int status = 2;

    setlocale(LC_ALL, "");
    signal(SIGPIPE, SIG_IGN);
    watch.loop = g_main_loop_new(NULL, FALSE);
    watch.addresses = g_ptr_array_new_with_free_func((GDestroyNotify)watch_address_free);
    watch.cameras = g_ptr_array_new_with_free_func((GDestroyNotify)watch_camera_free);
    if (watch_options_parse(&watch.options, &argc, &argv, &error) &&
        read_addresses(&watch, &error)) {
        gst_init(NULL, NULL);
        if (prepare(&watch, &error)) {
            run(&watch);
            status = watch.failed ? 1 : 0;
        } else {
            status = error != NULL && error->domain == G_OPTION_ERROR ? 2 : 1;
        }
    }
    if (error != NULL) {
        tell_error(error->message);
        g_error_free(error);
    }
    clear(&watch);
    return status;
}
