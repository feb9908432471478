/*
 * ^C and its kin. Nothing that a session does is allowed in a signal handler, so the handler passes the
 * number through a pipe to a thread. (Blocking the signals and sigwait() would be simpler, but
 * OpenBLAS starts threads before main(), which would take them and end the process.) Signals that the
 * caller of the command ignores (nohup, "&" in a script) stay ignored.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "tools/tool.h"

/* One process, one set of signals: the only state of the tool that is not passed around. */
static GMutex lock;
static FastvlmSession *attached; /* guarded by lock */
static int raised_signal;        /* atomic; 0: none */
static int pipe_ends[2];         /* read, write; set before any handler */

/* timeout(1) and some shells send a signal twice: only one that comes later is a second wish. */
#define SECOND_SIGNAL_US (1 * G_USEC_PER_SEC)

static void handle_signal(int number)
{
    int saved_errno = errno;
    guint8 byte = (guint8)number;
    /* Whoever waited sees at once why it does not any more. */
    g_atomic_int_compare_and_exchange(&raised_signal, 0, number);
    if (write(pipe_ends[1], &byte, 1) < 0) {
        /* The pipe is full of signals not yet seen: one more says nothing new. */
    }
    errno = saved_errno;
}

static gpointer cancel_at_signals(gpointer unused)
{
    gint64 first_us = 0;
    for (guint8 number; read(pipe_ends[0], &number, 1) == 1;) {
        if (first_us > 0) {
            if (g_get_monotonic_time() - first_us > SECOND_SIGNAL_US)
                _exit(128 + number);
            continue;
        }
        first_us = g_get_monotonic_time();
        g_mutex_lock(&lock);
        if (attached)
            fastvlm_session_cancel(attached);
        g_mutex_unlock(&lock);
    }
    return NULL;
}

void interrupt_watch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    if (pipe2(pipe_ends, O_CLOEXEC) != 0)
        return; /* then a signal ends the process at once */
    fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK);
    g_thread_unref(g_thread_new("signals", cancel_at_signals, NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) != 0 || action.sa_handler == SIG_IGN)
            continue;
        /* Calls are not restarted: one that waits for a pipe's other end is to give up. */
        action = (struct sigaction){.sa_handler = handle_signal};
        sigaction(numbers[i], &action, NULL);
    }
}

void interrupt_attach(FastvlmSession *session)
{
    g_mutex_lock(&lock);
    attached = session;
    if (session && interrupt_raised())
        fastvlm_session_cancel(session);
    g_mutex_unlock(&lock);
}

gboolean interrupt_raised(void)
{
    return g_atomic_int_get(&raised_signal) != 0;
}

int interrupt_get_code(void)
{
    return 128 + g_atomic_int_get(&raised_signal);
}

int interrupt_fail(void)
{
    tool_fail("interrupted");
    return interrupt_get_code();
}
