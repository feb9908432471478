/*
 * Turns: a lock that is handed on in the order it was asked for, and that a long piece of work can
 * keep for slices of time.
 *
 *     take -> work -> [the slice is over and others wait: give -> to the end of the line] -> give
 *
 * A mutex lets the thread that just gave it up have it again before one that waits for it; here nobody
 * passes another. Waiting can be cancelled.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_TURN_H
#define FASTVLM_BASE_TURN_H

#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct _FastvlmTurnWaiter FastvlmTurnWaiter;

typedef struct {
    pthread_mutex_t lock; /* guards the waiters, and `owner` against two takers */
    pthread_cond_t passed;
    FastvlmTurnWaiter *first; /* who has the next turn */
    FastvlmTurnWaiter *last;
    _Atomic(const void *) owner; /* the thread whose turn it is; NULL: nobody's */
    atomic_int n_waiting;
    gint64 taken_us; /* when the owner took it; the owner's */
} FastvlmTurn;

void fastvlm_turn_init(FastvlmTurn *turn);

/** Nobody may have the turn or wait for it. */
void fastvlm_turn_clear(FastvlmTurn *turn);

/**
 * Waits for this thread's turn; it must not have it already.
 *
 * @param cancel  looked at (atomically) before waiting and whenever fastvlm_turn_wake() is called.
 *                May be NULL.
 * @return FALSE if cancelled: then it is not this thread's turn
 */
gboolean fastvlm_turn_take(FastvlmTurn *turn, const gint *cancel);

/** Ends this thread's turn. */
void fastvlm_turn_give(FastvlmTurn *turn);

/** Whether it is this thread's turn. */
gboolean fastvlm_turn_is_mine(const FastvlmTurn *turn);

/** Whether others wait and this thread's turn has lasted `slice_us` already. */
gboolean fastvlm_turn_is_over(const FastvlmTurn *turn, gint64 slice_us);

/** Makes those who wait look at their `cancel`. Any thread. */
void fastvlm_turn_wake(FastvlmTurn *turn);

#endif
