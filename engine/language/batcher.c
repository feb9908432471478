/*
 * Joint steps of several timelines.
 *
 *     idle -> waiting -> running -> done | failed       (a seat; back to idle when its thread has it)
 *                 ^         |
 *                 +---------+  one of the run was cancelled
 *
 * Seats stand in a line; who was served goes to its end, so that where not all fit into a run each has
 * its turn. Whoever has nothing else to do and finds that everybody is there, or has been waited for
 * long enough, leads.
 *
 * POSIX locks, not GLib's: ThreadSanitizer sees into them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/batcher.h"

#include <fastvlm/error.h>

#include <pthread.h>
#include <string.h>
#include <time.h>

#define MAX_SEATS 32 /* of one run */
#define MAX_ROWS 32
#define GATHER_SHARE 8       /* others are waited for up to this part of a step ... */
#define GATHER_MAX_US 3000   /* ... and no longer than this */
#define FIRST_ROW_COST 0.1   /* until it is measured */
#define SMOOTHING (1.0 / 16) /* of measurements */

typedef enum { IDLE, WAITING, RUNNING, DONE, FAILED } SeatState;

struct _FastvlmBatcher {
    const FastvlmLanguageWeights *weights;
    FastvlmCompute compute; /* this and `state`: the leader's */
    FastvlmDecoderState state;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    FastvlmSeat *first;
    int max_seats;
    gboolean is_led;
    gint64 gather_us; /* since when others are waited for; 0: they are not */
    gint stop;        /* atomic: one of the run was cancelled */
    double one_row_us;
    double row_cost;
    gboolean is_cost_fixed;
    guint64 n_runs;
    guint64 n_steps;
};

FastvlmBatcher *fastvlm_batcher_new(const FastvlmLanguageWeights *weights, FastvlmPool *pool,
                                    const FastvlmKernels *kernels, gboolean use_blas)
{
    FastvlmBatcher *batcher = g_new0(FastvlmBatcher, 1);
    pthread_condattr_t attributes;

    batcher->weights = weights;
    batcher->compute.pool = pool;
    batcher->compute.kernels = kernels;
    batcher->compute.use_blas = use_blas;
    batcher->compute.cancel = &batcher->stop;
    fastvlm_compute_init(&batcher->compute);
    batcher->max_seats = use_blas ? 1 : MAX_SEATS; /* its rows do not all come out the same */
    batcher->row_cost = FIRST_ROW_COST;
    pthread_mutex_init(&batcher->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&batcher->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return batcher;
}

void fastvlm_batcher_free(FastvlmBatcher *batcher)
{
    if (!batcher)
        return;
    fastvlm_decoder_state_clear(&batcher->state);
    fastvlm_compute_clear(&batcher->compute);
    pthread_mutex_destroy(&batcher->lock);
    pthread_cond_destroy(&batcher->changed);
    g_free(batcher);
}

/** With the lock held, as all that follows where nothing else is said. */
static void add_seat(FastvlmBatcher *batcher, FastvlmSeat *seat)
{
    FastvlmSeat **link = &batcher->first;

    while (*link)
        link = &(*link)->next;
    seat->next = NULL;
    *link = seat;
}

static void remove_seat(FastvlmBatcher *batcher, const FastvlmSeat *seat)
{
    FastvlmSeat **link = &batcher->first;

    while (*link != seat)
        link = &(*link)->next;
    *link = seat->next;
}

void fastvlm_batcher_join(FastvlmBatcher *batcher, FastvlmSeat *seat)
{
    *seat = (FastvlmSeat){.state = IDLE};
    pthread_mutex_lock(&batcher->lock);
    add_seat(batcher, seat);
    pthread_mutex_unlock(&batcher->lock);
}

void fastvlm_batcher_leave(FastvlmBatcher *batcher, FastvlmSeat *seat)
{
    pthread_mutex_lock(&batcher->lock);
    remove_seat(batcher, seat);
    pthread_cond_broadcast(&batcher->changed); /* nobody is to wait for it */
    pthread_mutex_unlock(&batcher->lock);
}

static gboolean is_cancelled(const FastvlmSeat *seat)
{
    return g_atomic_int_get(seat->cancel) != 0;
}

void fastvlm_batcher_wake(FastvlmBatcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    for (FastvlmSeat *seat = batcher->first; seat; seat = seat->next)
        if (seat->state == RUNNING && is_cancelled(seat))
            g_atomic_int_set(&batcher->stop, 1);
    pthread_cond_broadcast(&batcher->changed);
    pthread_mutex_unlock(&batcher->lock);
}

double fastvlm_batcher_get_row_cost(FastvlmBatcher *batcher)
{
    double cost;

    pthread_mutex_lock(&batcher->lock);
    cost = batcher->row_cost;
    pthread_mutex_unlock(&batcher->lock);
    return cost;
}

void fastvlm_batcher_fix_row_cost(FastvlmBatcher *batcher, double cost)
{
    pthread_mutex_lock(&batcher->lock);
    batcher->row_cost = cost;
    batcher->is_cost_fixed = TRUE;
    pthread_mutex_unlock(&batcher->lock);
}

void fastvlm_batcher_count(FastvlmBatcher *batcher, guint64 *n_runs, guint64 *n_steps)
{
    pthread_mutex_lock(&batcher->lock);
    *n_runs = batcher->n_runs;
    *n_steps = batcher->n_steps;
    pthread_mutex_unlock(&batcher->lock);
}

static gint64 gather_end_us(const FastvlmBatcher *batcher)
{
    return batcher->gather_us + MIN((gint64)(batcher->one_row_us / GATHER_SHARE), GATHER_MAX_US);
}

/** Whether a run may begin: all that hurry are there, or were waited for. */
static gboolean is_gathered(FastvlmBatcher *batcher)
{
    gboolean all_there = TRUE;

    for (const FastvlmSeat *seat = batcher->first; seat; seat = seat->next)
        all_there &= seat->state != IDLE || seat->is_late;
    if (all_there)
        return TRUE;
    if (batcher->gather_us == 0)
        batcher->gather_us = g_get_monotonic_time();
    if (g_get_monotonic_time() < gather_end_us(batcher))
        return FALSE;
    for (FastvlmSeat *seat = batcher->first; seat; seat = seat->next)
        if (seat->state == IDLE)
            seat->is_late = TRUE;
    return TRUE;
}

static void wait_for_change(FastvlmBatcher *batcher)
{
    struct timespec end;

    if (batcher->is_led) {
        pthread_cond_wait(&batcher->changed, &batcher->lock);
        return;
    }
    end.tv_sec = (time_t)(gather_end_us(batcher) / G_USEC_PER_SEC);
    end.tv_nsec = (long)(gather_end_us(batcher) % G_USEC_PER_SEC) * 1000;
    pthread_cond_timedwait(&batcher->changed, &batcher->lock, &end);
}

/** Those whose steps are run now, in the order of the line. Returns how many. */
static int choose_seats(FastvlmBatcher *batcher, FastvlmSeat **seats)
{
    int n = 0, n_rows = 0;

    for (FastvlmSeat *seat = batcher->first; seat && n < batcher->max_seats; seat = seat->next) {
        if (seat->state != WAITING || is_cancelled(seat) ||
            (n > 0 && n_rows + seat->part.n_rows > MAX_ROWS))
            continue;
        seat->state = RUNNING;
        n_rows += seat->part.n_rows;
        seats[n++] = seat;
    }
    for (int i = 0; i < n; i++) {
        remove_seat(batcher, seats[i]);
        add_seat(batcher, seats[i]);
    }
    return n;
}

typedef struct {
    FastvlmSeat *const *seats;
    const FastvlmDecoderPart *parts;
    const float *logits;
    gsize vocab_size;
} LogitsCopy;

static void copy_logits(int item, int worker, void *data)
{
    const LogitsCopy *copy = data;
    gsize row = 0;

    for (int i = 0; i < item; i++)
        row += (gsize)copy->parts[i].n_rows;
    memcpy(copy->seats[item]->logits, copy->logits + row * copy->vocab_size,
           (gsize)copy->parts[item].n_rows * copy->vocab_size * sizeof(float));
}

/** Without the lock: the run itself. */
static gboolean run_seats(FastvlmBatcher *batcher, FastvlmSeat *const *seats, int n_seats,
                          int n_rows, GError **error)
{
    const FastvlmLanguageWeights *weights = batcher->weights;
    const gsize hidden = (gsize)weights->hidden;
    FastvlmDecoderPart parts[MAX_SEATS];
    FastvlmDecoderState state;
    LogitsCopy copy;
    int capacity = 0, row = 0;

    for (int i = 0; i < n_seats; i++)
        capacity = MAX(capacity, seats[i]->part.cache->capacity);
    if (!fastvlm_decoder_prepare(weights, &batcher->compute, n_rows, n_seats > 1 ? n_rows : 0,
                                 capacity, &batcher->state, error))
        return FALSE;
    for (int i = 0; i < n_seats; i++) {
        parts[i] = seats[i]->part;
        memcpy(batcher->state.x + (gsize)row * hidden, seats[i]->x,
               (gsize)parts[i].n_rows * hidden * sizeof(float));
        row += parts[i].n_rows;
    }
    state = batcher->state;
    if (n_seats == 1)
        state.logits = seats[0]->logits;
    if (!fastvlm_decoder_run(weights, &batcher->compute, parts, n_seats, &state, error))
        return FALSE;
    copy = (LogitsCopy){seats, parts, state.logits, (gsize)weights->vocab_size};
    if (n_seats > 1) /* the caches have the rows: no way back */
        fastvlm_pool_run(batcher->compute.pool, n_seats, copy_logits, &copy, NULL);
    return TRUE;
}

static void smooth(double *mean, double value)
{
    *mean = *mean == 0.0 ? value : *mean + (value - *mean) * SMOOTHING;
}

static void note_time(FastvlmBatcher *batcher, int n_rows, double us)
{
    if (n_rows == 1)
        smooth(&batcher->one_row_us, us);
    else if (batcher->one_row_us > 0.0 && !batcher->is_cost_fixed)
        smooth(&batcher->row_cost, MAX(us / batcher->one_row_us - 1.0, 0.0) / (n_rows - 1));
}

/** What a run came to; where it was stopped for one, the others wait again. */
static void settle_seats(FastvlmSeat *const *seats, int n_seats, gboolean ok, const GError *problem)
{
    for (int i = 0; i < n_seats; i++) {
        if (ok)
            seats[i]->state = DONE;
        else if (g_error_matches(problem, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED))
            seats[i]->state = WAITING;
        else {
            seats[i]->state = FAILED;
            seats[i]->error = g_error_copy(problem);
        }
    }
}

/** The thread of `self` runs what waits; the lock is given up meanwhile. */
static void lead(FastvlmBatcher *batcher, const FastvlmSeat *self)
{
    FastvlmPool *pool = batcher->compute.pool;
    FastvlmSeat *seats[MAX_SEATS];
    GError *problem = NULL;
    gboolean has_turn, ok;
    gint64 start_us;
    int n_seats = 0, n_rows = 0;

    batcher->is_led = TRUE;
    pthread_mutex_unlock(&batcher->lock);
    has_turn = fastvlm_pool_hold(pool, 0, self->cancel);
    pthread_mutex_lock(&batcher->lock);
    if (has_turn)
        n_seats = choose_seats(batcher, seats);
    if (n_seats > 0) {
        g_atomic_int_set(&batcher->stop, 0);
        for (int i = 0; i < n_seats; i++)
            n_rows += seats[i]->part.n_rows;
        pthread_mutex_unlock(&batcher->lock);
        start_us = g_get_monotonic_time();
        ok = run_seats(batcher, seats, n_seats, n_rows, &problem);
        pthread_mutex_lock(&batcher->lock);
        if (ok) {
            note_time(batcher, n_rows, (double)(g_get_monotonic_time() - start_us));
            batcher->n_runs++;
            batcher->n_steps += (guint64)n_seats;
        }
        settle_seats(seats, n_seats, ok, problem);
        g_clear_error(&problem);
    }
    batcher->is_led = FALSE;
    batcher->gather_us = 0;
    pthread_cond_broadcast(&batcher->changed);
    if (has_turn)
        fastvlm_pool_release(pool);
}

static gboolean finish_step(FastvlmSeat *seat, GError **error)
{
    const SeatState state = (SeatState)seat->state;

    seat->state = IDLE;
    if (state == DONE)
        return TRUE;
    if (state == FAILED)
        g_propagate_error(error, g_steal_pointer(&seat->error));
    else
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
    return FALSE;
}

gboolean fastvlm_batcher_step(FastvlmBatcher *batcher, FastvlmSeat *seat, FastvlmKvCache *cache,
                              const float *x, int n_rows, const gint *cancel, float *logits,
                              GError **error)
{
    gboolean ok;

    pthread_mutex_lock(&batcher->lock);
    seat->part = (FastvlmDecoderPart){cache, n_rows, n_rows};
    seat->x = x;
    seat->cancel = cancel;
    seat->logits = logits;
    seat->is_late = FALSE;
    seat->state = WAITING;
    pthread_cond_broadcast(&batcher->changed);
    while (seat->state == RUNNING || (seat->state == WAITING && !is_cancelled(seat))) {
        if (!batcher->is_led && is_gathered(batcher))
            lead(batcher, seat);
        else
            wait_for_change(batcher);
    }
    ok = finish_step(seat, error);
    pthread_mutex_unlock(&batcher->lock);
    return ok;
}
