/*
 * The worker pool: every item once, no worker index twice at a time, turns, cancellation.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/pool/all-items/1", GINT_TO_POINTER(1), test_all_items);
    g_test_add_data_func("/pool/all-items/2", GINT_TO_POINTER(2), test_all_items);
    g_test_add_data_func("/pool/all-items/5", GINT_TO_POINTER(5), test_all_items);
    g_test_add_func("/pool/cancel", test_cancel);
    g_test_add_func("/pool/turns", test_turns);
    return g_test_run();
}
