/*
 * A worker pool: one function over many items, forked and joined.
 *
 * Each thread has a share of the items, all neighbours: what they read, such as a part of the weights or
 * rows around a stripe, is read by one core, one behind the other. Who is done takes from the ends of
 * others' shares. So that results never depend on the number of threads, an item must write only what is
 * its own, and the items must follow from the shapes alone.
 *
 * Runs follow each other closely while something is computed, so threads that are done spin for some
 * ten microseconds before they sleep; not where that would take a CPU from a thread with work (more
 * threads than CPUs, in this pool or in all of the process's together). Nothing spins for long when
 * there is no work.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_POOL_H
#define FASTVLM_BASE_POOL_H

#include <glib.h>

typedef struct _FastvlmPool FastvlmPool;

/** Most threads a pool can have. */
#define FASTVLM_POOL_MAX_THREADS 256

/** A slice for long work: about what a step of a decoder takes. */
#define FASTVLM_POOL_SLICE_US 20000

/**
 * @param item    0 .. n_items - 1
 * @param worker  0 .. threads - 1, no two at the same time: the index of a thread's scratch memory
 */
typedef void (*FastvlmPoolFunc)(int item, int worker, void *data);

/** CPUs this process may run on. */
int fastvlm_pool_count_cpus(void);

/**
 * Starts `n_threads` - 1 workers; the calling thread of a run is the last one.
 *
 * @param nice  nice value of the workers, 0 .. 19. Above 0 they also wait for their turn when they wake up
 *              (SCHED_BATCH), and at 19 they take only what no other thread wants (SCHED_IDLE).
 * @return a pool to free with fastvlm_pool_free(), or NULL
 * Errors: LIMIT (a thread cannot be started).
 */
FastvlmPool *fastvlm_pool_new(int n_threads, int nice, GError **error);

/** Ends the workers. No run may be under way. NULL is fine. */
void fastvlm_pool_free(FastvlmPool *pool);

/** Threads that compute in a run, the caller's included. */
int fastvlm_pool_get_n_threads(const FastvlmPool *pool);

/**
 * Calls `func` for all items and returns when all are done. Runs of several threads take turns, in the
 * order in which they were asked for.
 *
 * @param cancel  looked at before each item (atomically) and while waiting for a turn (see
 *                fastvlm_pool_wake()); once it is not 0 no further item begins. May be NULL.
 * @return FALSE if cancelled: some items were not done
 */
gboolean fastvlm_pool_run(FastvlmPool *pool, int n_items, FastvlmPoolFunc func, void *data,
                          const gint *cancel);

/**
 * Waits for this thread's turn and keeps it for all runs up to fastvlm_pool_release(). Not to be
 * nested.
 *
 * @param slice_us  0: keep it; else between two runs, once the turn has lasted so long, others who
 *                  wait get theirs first
 * @param cancel    may be NULL
 * @return FALSE if cancelled; fastvlm_pool_release() is then allowed, not needed
 */
gboolean fastvlm_pool_hold(FastvlmPool *pool, int slice_us, const gint *cancel);

/** Ends this thread's turn if it has one. */
void fastvlm_pool_release(FastvlmPool *pool);

/** Makes threads that wait for their turn look at their `cancel`. Any thread. */
void fastvlm_pool_wake(FastvlmPool *pool);

#endif
