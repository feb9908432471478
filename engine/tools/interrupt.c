/*
 * ^C and its kin, taken by a thread with sigwait(), because nothing that a session does is allowed
 * in a signal handler. Signals that the caller of the command ignores (nohup, "&" in a script) stay
 * ignored.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "tools/tool.h"

/* One process, one set of signals: the only state of the tool that is not passed around. */
static GMutex lock;
static FastvlmSession *attached; /* guarded by lock */
static int raised_signal;        /* atomic; 0: none */
static sigset_t watched;         /* set before the thread starts */

static void *wait_for_signals(void *unused)
{
    int number = 0;
    while (sigwait(&watched, &number) == 0) {
        if (!g_atomic_int_compare_and_exchange(&raised_signal, 0, number))
            _exit(128 + number);
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
    sigemptyset(&watched);
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        struct sigaction action;
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&watched, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, &watched, NULL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for_signals, NULL) == 0)
        pthread_detach(thread);
    else
        pthread_sigmask(SIG_UNBLOCK, &watched, NULL);
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

int interrupt_fail(void)
{
    tool_fail("interrupted");
    return 128 + g_atomic_int_get(&raised_signal);
}
