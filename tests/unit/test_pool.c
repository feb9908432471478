/*
 * The worker pool: every item once, no worker index twice at a time, priorities, turns, cancellation, no
 * work for the CPU when there is none.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/pool.h"

#define N_ITEMS 1000

typedef struct {
    gint counts[N_ITEMS];
    gint busy[FASTVLM_POOL_MAX_THREADS];
    gint clashes;
    gint cancel;
    int cancel_at; /* item that sets `cancel`; -1: none */
} Work;

static void count_item(int item, int worker, void *data)
{
    Work *work = data;

    if (g_atomic_int_add(&work->busy[worker], 1) != 0)
        g_atomic_int_inc(&work->clashes);
    g_atomic_int_inc(&work->counts[item]);
    if (item == work->cancel_at)
        g_atomic_int_set(&work->cancel, 1);
    g_atomic_int_add(&work->busy[worker], -1);
}

static void test_all_items(gconstpointer n_threads)
{
    FastvlmPool *pool = fastvlm_pool_new(GPOINTER_TO_INT(n_threads), 0, NULL);
    Work *work = g_new0(Work, 1);

    g_assert_cmpint(fastvlm_pool_get_n_threads(pool), ==, GPOINTER_TO_INT(n_threads));
    work->cancel_at = -1;
    for (int run = 1; run <= 200; run++) {
        g_assert_true(fastvlm_pool_run(pool, N_ITEMS, count_item, work, &work->cancel));
        for (int i = 0; i < N_ITEMS; i++)
            g_assert_cmpint(work->counts[i], ==, run);
    }
    g_assert_true(fastvlm_pool_run(pool, 0, count_item, work, NULL));
    g_assert_cmpint(work->clashes, ==, 0);
    g_free(work);
    fastvlm_pool_free(pool);
}

static void test_cancel(void)
{
    FastvlmPool *pool = fastvlm_pool_new(3, 0, NULL);
    Work *work = g_new0(Work, 1);
    int n_done = 0;

    work->cancel_at = 10;
    g_assert_false(fastvlm_pool_run(pool, N_ITEMS, count_item, work, &work->cancel));
    for (int i = 0; i < N_ITEMS; i++)
        n_done += work->counts[i];
    g_assert_cmpint(n_done, >=, 11);
    g_assert_cmpint(n_done, <, N_ITEMS);
    g_assert_false(fastvlm_pool_run(pool, N_ITEMS, count_item, work, &work->cancel));
    work->cancel = 0;
    work->cancel_at = -1;
    g_assert_true(fastvlm_pool_run(pool, N_ITEMS, count_item, work, &work->cancel));
    g_free(work);
    fastvlm_pool_free(pool);
}

typedef struct {
    gint n_done;
    gboolean waited_in_vain;
} Slow;

/* The first item lasts until all others are done. */
static void run_slow_item(int item, int worker, void *data)
{
    Slow *slow = data;
    const gint64 end_us = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;

    while (item == 0 && g_atomic_int_get(&slow->n_done) < N_ITEMS - 1 && !slow->waited_in_vain) {
        g_usleep(100);
        slow->waited_in_vain = g_get_monotonic_time() > end_us;
    }
    g_atomic_int_inc(&slow->n_done);
}

/* What a thread does not come to, others do. */
static void test_slow_item(gconstpointer n_threads)
{
    FastvlmPool *pool = fastvlm_pool_new(GPOINTER_TO_INT(n_threads), 0, NULL);

    for (int run = 0; run < 20; run++) {
        Slow slow = {0};

        g_assert_true(fastvlm_pool_run(pool, N_ITEMS, run_slow_item, &slow, NULL));
        g_assert_false(slow.waited_in_vain);
        g_assert_cmpint(slow.n_done, ==, N_ITEMS);
    }
    fastvlm_pool_free(pool);
}

typedef struct {
    FastvlmPool *pool;
    Work *work;
} Caller;

static gpointer call_many_times(gpointer data)
{
    Caller *caller = data;

    for (int run = 0; run < 200; run++)
        g_assert_true(fastvlm_pool_run(caller->pool, N_ITEMS, count_item, caller->work, NULL));
    return NULL;
}

/* What the kernel was told of each thread, by its index. */
typedef struct {
    gint n_here; /* threads in the run */
    int policies[2];
    int nices[2];
} Priorities;

/* Each of two threads takes one of two items. */
static void note_priority(int item, int worker, void *data)
{
    Priorities *priorities = data;

    priorities->policies[worker] = sched_getscheduler(0);
    priorities->nices[worker] = getpriority(PRIO_PROCESS, (id_t)gettid());
    g_atomic_int_inc(&priorities->n_here);
    while (g_atomic_int_get(&priorities->n_here) < 2)
        g_thread_yield();
}

/* Workers go behind whoever shows the video, and do not push it away when they wake up. */
static void test_priority(void)
{
    static const int cases[][2] = {{0, SCHED_OTHER}, {10, SCHED_BATCH}, {19, SCHED_IDLE}};
    const int own_nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    const int own_policy = sched_getscheduler(0);

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        FastvlmPool *pool = fastvlm_pool_new(2, cases[i][0], NULL);
        Priorities priorities = {0};

        g_assert_true(fastvlm_pool_run(pool, 2, note_priority, &priorities, NULL));
        g_assert_cmpint(priorities.policies[1], ==, own_policy);
        g_assert_cmpint(priorities.nices[1], ==, own_nice);
        g_assert_cmpint(priorities.policies[0], ==,
                        own_policy == SCHED_OTHER ? cases[i][1] : own_policy);
        g_assert_cmpint(priorities.nices[0], >=, cases[i][0]);
        fastvlm_pool_free(pool);
    }
}

/* Two callers: runs take turns, so each sees only its own items. */
static void test_turns(void)
{
    FastvlmPool *pool = fastvlm_pool_new(2, 5, NULL);
    Caller callers[2];
    GThread *threads[2];

    for (int i = 0; i < 2; i++) {
        callers[i] = (Caller){pool, g_new0(Work, 1)};
        callers[i].work->cancel_at = -1;
        threads[i] = g_thread_new("caller", call_many_times, &callers[i]);
    }
    for (int i = 0; i < 2; i++) {
        g_thread_join(threads[i]);
        for (int item = 0; item < N_ITEMS; item++)
            g_assert_cmpint(callers[i].work->counts[item], ==, 200);
        g_assert_cmpint(callers[i].work->clashes, ==, 0);
        g_free(callers[i].work);
    }
    fastvlm_pool_free(pool);
}

typedef struct {
    FastvlmPool *pool;
    gint cancel;
    gint order; /* runs that were done, of all threads */
    gint waits; /* threads that are about to ask for a turn */
} Line;

static void count_run(int item, int worker, void *data)
{
    if (item == 0)
        g_atomic_int_inc(&((Line *)data)->order);
}

static gpointer hold_for_runs(gpointer data)
{
    Line *line = data;
    gint first, last;

    g_atomic_int_inc(&line->waits);
    g_assert_true(fastvlm_pool_hold(line->pool, 0, &line->cancel));
    first = g_atomic_int_get(&line->order);
    for (int i = 0; i < 100; i++)
        g_assert_true(fastvlm_pool_run(line->pool, 4, count_run, line, NULL));
    last = g_atomic_int_get(&line->order);
    fastvlm_pool_release(line->pool);
    g_assert_cmpint(last - first, ==, 100); /* nobody's run came between */
    return GINT_TO_POINTER(first + 1);
}

/* Long work shares its turn, after a slice, with one that then holds the pool for all its runs. */
static void test_hold(void)
{
    Line line = {.pool = fastvlm_pool_new(2, 0, NULL)};
    GThread *thread;
    int n_before = 0;
    int began;

    g_assert_true(fastvlm_pool_hold(line.pool, 1, NULL));
    thread = g_thread_new("holder", hold_for_runs, &line);
    while (g_atomic_int_get(&line.order) == n_before) {
        g_assert_true(fastvlm_pool_run(line.pool, 4, count_run, &line, NULL));
        n_before++;
        if (g_atomic_int_get(&line.waits))
            g_usleep(1000); /* the slice is over */
        g_assert_cmpint(n_before, <, 100000000);
    }
    began = GPOINTER_TO_INT(g_thread_join(thread));
    g_assert_cmpint(began, <=, n_before);
    g_assert_cmpint(g_atomic_int_get(&line.order), ==, n_before + 100);
    fastvlm_pool_release(line.pool);
    fastvlm_pool_release(line.pool); /* no turn: nothing */
    fastvlm_pool_free(line.pool);
}

static gpointer wait_in_vain(gpointer data)
{
    Line *line = data;

    g_atomic_int_inc(&line->waits);
    return GINT_TO_POINTER(fastvlm_pool_hold(line->pool, 0, &line->cancel));
}

/* Who waits for a turn can be told to stop, first or last in line; the others get theirs. */
static void test_cancel_waiting(void)
{
    Line first = {.pool = fastvlm_pool_new(2, 0, NULL)};
    Line second = first;
    GThread *threads[2];

    g_assert_true(fastvlm_pool_hold(first.pool, 0, NULL));
    threads[0] = g_thread_new("first", wait_in_vain, &first);
    g_usleep(5000);
    threads[1] = g_thread_new("second", hold_for_runs, &second);
    g_usleep(5000);
    g_atomic_int_set(&first.cancel, 1);
    fastvlm_pool_wake(first.pool);
    g_assert_false(GPOINTER_TO_INT(g_thread_join(threads[0])));
    fastvlm_pool_release(first.pool);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(threads[1])), ==, 1);
    g_assert_false(fastvlm_pool_hold(first.pool, 0, &first.cancel));
    g_assert_false(fastvlm_pool_run(first.pool, 4, count_run, &first, &first.cancel));
    g_assert_true(fastvlm_pool_run(first.pool, 4, count_run, &first, NULL));
    fastvlm_pool_free(first.pool);
}

static gint64 cpu_time_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (gint64)now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

/* Without work nothing spins. */
static void test_idle(void)
{
    FastvlmPool *pools[4];
    Line line = {0};
    gint64 spent_us;

    for (int i = 0; i < 4; i++) {
        pools[i] = fastvlm_pool_new(1 + i, 0, NULL);
        g_assert_true(fastvlm_pool_run(pools[i], 16, count_run, &line, NULL));
    }
    g_usleep(20000);
    spent_us = cpu_time_us();
    g_usleep(500000);
    spent_us = cpu_time_us() - spent_us;
    g_assert_cmpint(spent_us, <, 5000); /* under 1 % of a core */
    for (int i = 0; i < 4; i++)
        fastvlm_pool_free(pools[i]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/pool/all-items/1", GINT_TO_POINTER(1), test_all_items);
    g_test_add_data_func("/pool/all-items/2", GINT_TO_POINTER(2), test_all_items);
    g_test_add_data_func("/pool/all-items/5", GINT_TO_POINTER(5), test_all_items);
    g_test_add_data_func("/pool/slow-item/2", GINT_TO_POINTER(2), test_slow_item);
    g_test_add_data_func("/pool/slow-item/5", GINT_TO_POINTER(5), test_slow_item);
    g_test_add_func("/pool/cancel", test_cancel);
    g_test_add_func("/pool/priority", test_priority);
    g_test_add_func("/pool/turns", test_turns);
    g_test_add_func("/pool/hold", test_hold);
    g_test_add_func("/pool/cancel-waiting", test_cancel_waiting);
    g_test_add_func("/pool/idle", test_idle);
    return g_test_run();
}
