/*
 * fastvlm-watch beside a camera that drops the connection again and again: no file, thread or memory may
 * be left of it.
 *
 *     soak_watch FASTVLM-WATCH N_RECONNECTS     TAP; a line every so often to standard error
 *
 * The program is another process, so what it holds is read from /proc. Memory is held against itself: the
 * slope of a line through the samples behind the first quarter, in which pools and caches fill.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "camera_server.h"
#include "watching.h"

#define N_SAMPLES 20
/* Growth over all of the run that is the allocator's own; a leak of 16 kB each is 32 MB in 2,000. */
#define NOISE_MB 6.0
/* A connection that is just being made or ended holds some of each. */
#define NOISE_ENTRIES 6

typedef struct {
    double rss_mb;
    guint n_files;
    guint n_threads;
} Held;

static guint count_entries(const char *pid, const char *what)
{
    char *path = g_strdup_printf("/proc/%s/%s", pid, what);
    GDir *directory = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (g_dir_read_name(directory) != NULL) {
        n++;
    }
    g_dir_close(directory);
    g_free(path);
    return n;
}

static double get_rss_mb(const char *pid)
{
    char *path = g_strdup_printf("/proc/%s/statm", pid), *text = NULL;
    long n_total = 0, n_resident = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%ld %ld", &n_total, &n_resident), ==, 2);
    g_free(text);
    g_free(path);
    return (double)n_resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static Held get_held(const Watch *watch)
{
    const char *pid = g_subprocess_get_identifier(watch->process);

    return (Held){get_rss_mb(pid), count_entries(pid, "fd"), count_entries(pid, "task")};
}

/* Growth from the first sample looked at to the last, by the line of least squares. */
static double get_growth_mb(const Held *held, guint first, guint n)
{
    double mean_x = 0, mean_y = 0, sum_xy = 0, sum_xx = 0;

    for (guint i = first; i < n; i++) {
        mean_x += (double)i / (n - first);
        mean_y += held[i].rss_mb / (n - first);
    }
    for (guint i = first; i < n; i++) {
        sum_xy += (i - mean_x) * (held[i].rss_mb - mean_y);
        sum_xx += (i - mean_x) * (i - mean_x);
    }
    return sum_xy / sum_xx * (n - 1 - first);
}

static void reconnect(Watch *watch, CameraServer *server)
{
    camera_server_drop(server);
    watch_await_state(watch, "lost");
    watch_await_state(watch, "connected");
    g_string_truncate(watch->all, 0);
}

static gboolean report(const Held *held, json_int_t n_captions, guint n_reconnects)
{
    const Held *warm = &held[N_SAMPLES / 4], *last = &held[N_SAMPLES - 1];
    const double growth_mb = get_growth_mb(held, N_SAMPLES / 4, N_SAMPLES);
    const gboolean steady = growth_mb < NOISE_MB;
    const gboolean closed = last->n_files <= warm->n_files + NOISE_ENTRIES;
    const gboolean joined = last->n_threads <= warm->n_threads + NOISE_ENTRIES;

    printf("1..4\n");
    printf("%sok 1 - captions # %" JSON_INTEGER_FORMAT " in %u reconnects\n",
           n_captions > 0 ? "" : "not ", n_captions, n_reconnects);
    printf("%sok 2 - memory # %.1f MB, grew by %.2f MB (at most %.0f)\n", steady ? "" : "not ",
           last->rss_mb, growth_mb, NOISE_MB);
    printf("%sok 3 - files # %u, then %u\n", closed ? "" : "not ", warm->n_files, last->n_files);
    printf("%sok 4 - threads # %u, then %u\n", joined ? "" : "not ", warm->n_threads,
           last->n_threads);
    return n_captions > 0 && steady && closed && joined;
}

int main(int argc, char **argv)
{
    const CameraSetup setup = {.pattern = "ball", .width = 160, .height = 120};
    const guint n_reconnects = argc > 2 ? (guint)g_ascii_strtoull(argv[2], NULL, 10) : 0;
    const guint n_each = MAX(n_reconnects / N_SAMPLES, 1);
    Held held[N_SAMPLES];

    gst_init(NULL, NULL);
    watch_program = argv[1];
    CameraServer *server = camera_server_new();
    char *url = camera_server_get_url(server, NULL);
    const char *const words[] = {"--retry=0.02", "--retry-max=0.1", "--interval=0.05", url, NULL};

    camera_server_start(server, &setup);
    Watch *watch = watch_begin(words);
    watch_await_caption(watch);
    for (guint i = 0; i < N_SAMPLES; i++) {
        for (guint k = 0; k < n_each; k++) {
            reconnect(watch, server);
        }
        held[i] = get_held(watch);
        g_printerr("%5u reconnects  %.1f MB  %u files  %u threads\n", (i + 1) * n_each,
                   held[i].rss_mb, held[i].n_files, held[i].n_threads);
    }
    const json_int_t n_captions = watch_await_caption(watch);
    watch_end(watch);
    camera_server_free(server);
    g_free(url);
    return report(held, n_captions, N_SAMPLES * n_each) ? EXIT_SUCCESS : EXIT_FAILURE;
}
