/*
 * Turns: waiters in a line on their own stacks, the first of them takes what is given up.
 *
 * POSIX locks, not GLib's: ThreadSanitizer sees into them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/turn.h"

#include "base/cancel.h"

struct _FastvlmTurnWaiter {
    FastvlmTurnWaiter *next;
};

/** An address that is this thread's alone. */
static const void *find_self(void)
{
    static _Thread_local char self;

    return &self;
}

void fastvlm_turn_init(FastvlmTurn *turn)
{
    *turn = (FastvlmTurn){.first = NULL};
    pthread_mutex_init(&turn->lock, NULL);
    pthread_cond_init(&turn->passed, NULL);
}

void fastvlm_turn_clear(FastvlmTurn *turn)
{
    pthread_mutex_destroy(&turn->lock);
    pthread_cond_destroy(&turn->passed);
}

static void add_waiter(FastvlmTurn *turn, FastvlmTurnWaiter *waiter)
{
    if (turn->last)
        turn->last->next = waiter;
    else
        turn->first = waiter;
    turn->last = waiter;
    atomic_fetch_add(&turn->n_waiting, 1);
}

static void remove_waiter(FastvlmTurn *turn, const FastvlmTurnWaiter *waiter)
{
    FastvlmTurnWaiter **link = &turn->first;
    FastvlmTurnWaiter *before = NULL;

    while (*link != waiter) {
        before = *link;
        link = &before->next;
    }
    *link = waiter->next;
    if (turn->last == waiter)
        turn->last = before;
    atomic_fetch_sub(&turn->n_waiting, 1);
}

/** With the lock held. */
static gboolean wait_in_line(FastvlmTurn *turn, const gint *cancel)
{
    FastvlmTurnWaiter waiter = {NULL};
    gboolean stopped;

    add_waiter(turn, &waiter);
    while (!(stopped = fastvlm_is_cancelled(cancel)) &&
           (atomic_load(&turn->owner) || turn->first != &waiter))
        pthread_cond_wait(&turn->passed, &turn->lock);
    remove_waiter(turn, &waiter);
    if (stopped)
        pthread_cond_broadcast(&turn->passed); /* perhaps it was the first in line */
    return !stopped;
}

gboolean fastvlm_turn_take(FastvlmTurn *turn, const gint *cancel)
{
    gboolean ok = TRUE;

    pthread_mutex_lock(&turn->lock);
    if (fastvlm_is_cancelled(cancel))
        ok = FALSE;
    else if (atomic_load(&turn->owner) || turn->first)
        ok = wait_in_line(turn, cancel);
    if (ok)
        atomic_store(&turn->owner, find_self());
    pthread_mutex_unlock(&turn->lock);
    if (ok)
        turn->taken_us = g_get_monotonic_time();
    return ok;
}

void fastvlm_turn_give(FastvlmTurn *turn)
{
    pthread_mutex_lock(&turn->lock);
    atomic_store(&turn->owner, NULL);
    if (turn->first)
        pthread_cond_broadcast(&turn->passed);
    pthread_mutex_unlock(&turn->lock);
}

gboolean fastvlm_turn_is_mine(const FastvlmTurn *turn)
{
    return atomic_load(&turn->owner) == find_self();
}

gboolean fastvlm_turn_is_over(const FastvlmTurn *turn, gint64 slice_us)
{
    return atomic_load(&turn->n_waiting) > 0 && g_get_monotonic_time() - turn->taken_us >= slice_us;
}

void fastvlm_turn_wake(FastvlmTurn *turn)
{
    pthread_mutex_lock(&turn->lock);
    pthread_cond_broadcast(&turn->passed);
    pthread_mutex_unlock(&turn->lock);
}
