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

struct Progress {
    char *label;
    gint64 start_us;
    GThread *thread; /* NULL where there is no terminal */
    GMutex lock;     /* guards what follows */
    GCond changed;
    double fraction; /* negative: not known */
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
static void fill_bar(char bar[BAR_WIDTH + 1], double fraction, gint64 elapsed_us)
{
    memset(bar, '-', BAR_WIDTH);
    bar[BAR_WIDTH] = '\0';
    if (fraction >= 0) {
        memset(bar, '#', (gsize)(fraction * BAR_WIDTH));
        return;
    }
    gint64 step = elapsed_us / REDRAWN_US % (2 * (BAR_WIDTH - 3));
    gint64 at = step < BAR_WIDTH - 3 ? step : 2 * (BAR_WIDTH - 3) - step;
    memset(bar + at, '#', 3);
}

static void draw(Progress *progress)
{
    gint64 elapsed_us = g_get_monotonic_time() - progress->start_us;
    char bar[BAR_WIDTH + 1];
    fill_bar(bar, progress->fraction, elapsed_us);
    char percent[16] = "";
    if (progress->fraction >= 0)
        g_snprintf(percent, sizeof percent, "%3.0f %%  ", progress->fraction * 100);
    char tail[80];
    g_snprintf(tail, sizeof tail, "  [%s]  %s%.1f s", bar, percent, elapsed_us / 1e6);
    int room = get_terminal_width() - 1 - (int)strlen(tail);
    if (room > 0)
        fprintf(stderr, "\r%.*s%s\033[K", room, progress->label, tail);
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
