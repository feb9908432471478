/*
 * A worker pool: fork-join over items, workers asleep between runs.
 *
 * A run bumps `generation` under the lock and wakes the workers; each takes items from the atomic
 * counter `next` until none is left, then counts itself out. The caller does the same and waits for
 * the last worker to be out, so that no worker ever sees the fields of a later run.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/pool.h"

#include <fastvlm/error.h>

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    FastvlmPool *pool;
    int worker;
} Worker;

struct _FastvlmPool {
    GMutex turn; /* held for the length of a run */
    GMutex lock; /* guards what follows, but `next` */
    GCond wake;
    GCond done;
    guint generation;
    gboolean quit;
    int n_busy; /* workers not yet out of the current run */

    int n_items;
    gint next; /* atomic */
    FastvlmPoolFunc func;
    void *data;
    const gint *cancel;

    int nice;
    int n_threads;
    int n_started;
    GThread *threads[FASTVLM_POOL_MAX_THREADS];
    Worker workers[FASTVLM_POOL_MAX_THREADS];
};

int fastvlm_pool_count_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return (int)g_get_num_processors();
    return CLAMP(CPU_COUNT(&set), 1, FASTVLM_POOL_MAX_THREADS);
}

static gboolean is_cancelled(const FastvlmPool *pool)
{
    return pool->cancel && g_atomic_int_get(pool->cancel);
}

static void take_items(FastvlmPool *pool, int worker)
{
    while (!is_cancelled(pool)) {
        const int item = g_atomic_int_add(&pool->next, 1);

        if (item >= pool->n_items)
            return;
        pool->func(item, worker, pool->data);
    }
}

static gpointer run_worker(gpointer data)
{
    Worker *self = data;
    FastvlmPool *pool = self->pool;
    guint seen = 0;

    if (pool->nice > 0)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), pool->nice);
    g_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->generation == seen && !pool->quit)
            g_cond_wait(&pool->wake, &pool->lock);
        if (pool->quit)
            break;
        seen = pool->generation;
        g_mutex_unlock(&pool->lock);
        take_items(pool, self->worker);
        g_mutex_lock(&pool->lock);
        if (--pool->n_busy == 0)
            g_cond_signal(&pool->done);
    }
    g_mutex_unlock(&pool->lock);
    return NULL;
}

FastvlmPool *fastvlm_pool_new(int n_threads, int nice, GError **error)
{
    FastvlmPool *pool = g_new0(FastvlmPool, 1);

    g_mutex_init(&pool->turn);
    g_mutex_init(&pool->lock);
    g_cond_init(&pool->wake);
    g_cond_init(&pool->done);
    pool->nice = nice;
    pool->n_threads = CLAMP(n_threads, 1, FASTVLM_POOL_MAX_THREADS);
    for (int i = 0; i < pool->n_threads - 1; i++) {
        GError *cause = NULL;

        pool->workers[i] = (Worker){pool, i};
        pool->threads[i] = g_thread_try_new("fastvlm", run_worker, &pool->workers[i], &cause);
        if (!pool->threads[i]) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                        "cannot start worker thread %d of %d: %s; ask for fewer threads", i + 1,
                        pool->n_threads, cause->message);
            g_error_free(cause);
            fastvlm_pool_free(pool);
            return NULL;
        }
        pool->n_started++;
    }
    return pool;
}

void fastvlm_pool_free(FastvlmPool *pool)
{
    if (!pool)
        return;
    g_mutex_lock(&pool->lock);
    pool->quit = TRUE;
    g_cond_broadcast(&pool->wake);
    g_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->n_started; i++)
        g_thread_join(pool->threads[i]);
    g_mutex_clear(&pool->turn);
    g_mutex_clear(&pool->lock);
    g_cond_clear(&pool->wake);
    g_cond_clear(&pool->done);
    g_free(pool);
}

int fastvlm_pool_get_n_threads(const FastvlmPool *pool)
{
    return pool->n_threads;
}

static void wake_workers(FastvlmPool *pool)
{
    g_mutex_lock(&pool->lock);
    pool->n_busy = pool->n_started;
    pool->generation++;
    g_cond_broadcast(&pool->wake);
    g_mutex_unlock(&pool->lock);
}

static void wait_for_workers(FastvlmPool *pool)
{
    g_mutex_lock(&pool->lock);
    while (pool->n_busy > 0)
        g_cond_wait(&pool->done, &pool->lock);
    g_mutex_unlock(&pool->lock);
}

gboolean fastvlm_pool_run(FastvlmPool *pool, int n_items, FastvlmPoolFunc func, void *data,
                          const gint *cancel)
{
    const gboolean shared = n_items > 1 && pool->n_started > 0;
    gboolean complete;

    g_mutex_lock(&pool->turn);
    pool->n_items = n_items;
    pool->func = func;
    pool->data = data;
    pool->cancel = cancel;
    g_atomic_int_set(&pool->next, 0);
    if (shared)
        wake_workers(pool);
    take_items(pool, pool->n_threads - 1);
    if (shared)
        wait_for_workers(pool);
    complete = !is_cancelled(pool);
    g_mutex_unlock(&pool->turn);
    return complete;
}
