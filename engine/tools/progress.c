/*
 * A progress bar on standard error, drawn by a thread of its own, so that work which reports nothing
 * in between is seen to go on too.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIRST_SHOWN_US (1 * G_USEC_PER_SEC)
#define REDRAWN_US (G_USEC_PER_SEC / 10)
#define BAR_WIDTH 20
#define NARROW_BAR_WIDTH 10 /* where bytes want the room */
#define RATE_MEMORY_US (5.0 * G_USEC_PER_SEC)

struct Progress {
    char *label;
    gint64 start_us;
    GThread *thread; /* NULL where there is no terminal */
    GMutex lock;     /* guards what follows */
    GCond changed;
    double fraction;  /* negative: not known */
    gboolean counted; /* in bytes */
    guint64 n_done, n_total;
    double rate;     /* bytes a second of late; negative: not known yet */
    guint64 n_rated; /* where the rate was last looked at, and when */
    gint64 rated_us;
    gboolean ended;
    gboolean drawn;
};

static gboolean is_terminal(void)
{
    const char *term = g_getenv("TERM");
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static int get_terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

/* A block that wanders where the end is not known, else a bar that fills. */
static void fill_bar(char bar[BAR_WIDTH + 1], int width, double fraction, gint64 elapsed_us)
{
    memset(bar, '-', (gsize)width);
    bar[width] = '\0';
    if (fraction >= 0) {
        memset(bar, '#', (gsize)(fraction * width));
        return;
    }
    gint64 step = elapsed_us / REDRAWN_US % (2 * (width - 3));
    gint64 at = step < width - 3 ? step : 2 * (width - 3) - step;
    memset(bar + at, '#', 3);
}

/* The rate is a mean that forgets, so that it neither jumps nor lags. */
static void update_rate(Progress *progress)
{
    gint64 now_us = g_get_monotonic_time();
    gint64 passed_us = now_us - progress->rated_us;
    if (passed_us < REDRAWN_US / 2 || progress->n_done < progress->n_rated)
        return;
    double rate = (double)(progress->n_done - progress->n_rated) * G_USEC_PER_SEC / passed_us;
    double share = MIN(1, passed_us / RATE_MEMORY_US);
    progress->rate = progress->rate < 0 ? rate : progress->rate + share * (rate - progress->rate);
    progress->n_rated = progress->n_done;
    progress->rated_us = now_us;
}

static void append_time_left(GString *text, double seconds)
{
    int left = (int)MIN(seconds + 0.5, 359999);
    if (left >= 3600)
        g_string_append_printf(text, "  %d:%02d:%02d left", left / 3600, left / 60 % 60, left % 60);
    else
        g_string_append_printf(text, "  %d:%02d left", left / 60, left % 60);
}

/* As "623.2 of 1520.1 MB  24.3 MB/s  0:37 left"; free it. */
static char *format_bytes(Progress *progress)
{
    GString *text = g_string_new(NULL);
    update_rate(progress);
    if (progress->n_total >= 1000000000)
        g_string_append_printf(text, "%.2f of %.2f GB", progress->n_done / 1e9,
                               progress->n_total / 1e9);
    else if (progress->n_total > 0)
        g_string_append_printf(text, "%.1f of %.1f MB", progress->n_done / 1e6,
                               progress->n_total / 1e6);
    else
        g_string_append_printf(text, "%.1f MB", progress->n_done / 1e6);
    if (progress->rate >= 0)
        g_string_append_printf(text, "  %.1f MB/s", progress->rate / 1e6);
    if (progress->rate > 0 && progress->n_total >= progress->n_done)
        append_time_left(text, (progress->n_total - progress->n_done) / progress->rate);
    return g_string_free(text, FALSE);
}

static void draw(Progress *progress)
{
    gint64 elapsed_us = g_get_monotonic_time() - progress->start_us;
    char bar[BAR_WIDTH + 1];
    fill_bar(bar, progress->counted ? NARROW_BAR_WIDTH : BAR_WIDTH, progress->fraction, elapsed_us);
    char percent[16] = "";
    if (progress->fraction >= 0)
        g_snprintf(percent, sizeof percent, "%3.0f %%  ", progress->fraction * 100);
    g_autofree char *amount =
        progress->counted ? format_bytes(progress) : g_strdup_printf("%.1f s", elapsed_us / 1e6);
    g_autofree char *tail = g_strdup_printf("  [%s]  %s%s", bar, percent, amount);
    int room = get_terminal_width() - 1 - (int)strlen(tail);
    if (room > 0)
        fprintf(stderr, "\r%.*s%s\033[K", room, progress->label, tail);
    else /* what is most worth knowing */
        fprintf(stderr, "\r%.*s\033[K", get_terminal_width() - 1, percent);
    fflush(stderr);
    progress->drawn = TRUE;
}

static gpointer run_progress(gpointer data)
{
    Progress *progress = data;
    gint64 next_us = progress->start_us + FIRST_SHOWN_US;
    g_mutex_lock(&progress->lock);
    while (!progress->ended) {
        if (g_cond_wait_until(&progress->changed, &progress->lock, next_us))
            continue;
        draw(progress);
        next_us = g_get_monotonic_time() + REDRAWN_US;
    }
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    g_mutex_unlock(&progress->lock);
    return NULL;
}

Progress *progress_new(const char *label)
{
    Progress *progress = g_new0(Progress, 1);
    progress->label = g_utf8_make_valid(label, -1);
    progress->start_us = g_get_monotonic_time();
    progress->fraction = -1;
    progress->rate = -1;
    g_mutex_init(&progress->lock);
    g_cond_init(&progress->changed);
    if (is_terminal())
        progress->thread = g_thread_new("progress", run_progress, progress);
    return progress;
}

void progress_set(Progress *progress, double fraction)
{
    g_mutex_lock(&progress->lock);
    progress->fraction = CLAMP(fraction, 0, 1);
    g_mutex_unlock(&progress->lock);
}

void progress_set_bytes(Progress *progress, guint64 n_done, guint64 n_total)
{
    g_mutex_lock(&progress->lock);
    if (!progress->counted || n_done < progress->n_rated) { /* what was there before has no rate */
        progress->n_rated = n_done;
        progress->rated_us = g_get_monotonic_time();
    }
    progress->counted = TRUE;
    progress->n_done = n_done;
    progress->n_total = n_total;
    progress->fraction = n_total > 0 ? CLAMP((double)n_done / n_total, 0, 1) : -1;
    g_mutex_unlock(&progress->lock);
}

void progress_free(Progress *progress)
{
    if (!progress)
        return;
    g_mutex_lock(&progress->lock);
    progress->ended = TRUE;
    g_cond_signal(&progress->changed);
    g_mutex_unlock(&progress->lock);
    if (progress->thread)
        g_thread_join(progress->thread);
    g_cond_clear(&progress->changed);
    g_mutex_clear(&progress->lock);
    g_free(progress->label);
    g_free(progress);
}
