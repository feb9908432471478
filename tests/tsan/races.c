/*
 * Two threads and a number: with a GMutex around it there is no race, without there is one. Shows that
 * the sanitizer is told of GLib's locks, and that this does not make it blind.
 *
 *     races locked|bare       exit status 66 where the sanitizer has reported
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <string.h>

#define N_STEPS 10000

static GMutex lock;
static gboolean locked;
static int number;

static gpointer count(gpointer unused)
{
    for (int i = 0; i < N_STEPS; i++) {
        if (locked)
            g_mutex_lock(&lock);
        number++;
        if (locked)
            g_mutex_unlock(&lock);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    locked = argc > 1 && strcmp(argv[1], "locked") == 0;
    GThread *threads[] = {g_thread_new("a", count, NULL), g_thread_new("b", count, NULL)};
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    return number > 0 ? 0 : 1;
}
