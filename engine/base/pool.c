/*
 * A worker pool: fork-join over items.
 *
 * A run is one word, `state`: its generation, whether it is open, and how many workers are inside. The
 * caller writes the run's fields while it is closed and nobody is inside, then opens it. A worker enters
 * an open run by adding itself to the word, takes items until none is left, and leaves. When the items
 * are out the caller closes the run, after which nobody enters, and waits until nobody is inside: so no
 * worker ever sees the fields of another run, and none that sleeps is waited for.
 *
 *     worker: run -> spin -> sleep      caller: run -> close -> spin -> sleep until the last is out
 *
 * Who sleeps says so in a counter before it looks at `state` a last time; who changes `state` looks at
 * the counter afterwards. Both are sequentially consistent, so one of the two sees the other.
 *
 * POSIX locks and threads, not GLib's: ThreadSanitizer sees into them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/pool.h"

#include <fastvlm/error.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cancel.h"
#include "base/turn.h"

#define INSIDE_MASK 0x1ffu /* more than the most workers */
#define OPEN 0x200u
#define GENERATION 0x400u /* one more; wraps, which a sleeper of 4 million runs may miss a run by */

#define IDLE_NICE 19 /* stands for idle CPUs only */

/* A pause between two layers is shorter than this, a sleep and a waking up longer. */
#define SPIN_US 80
#define N_PAUSES 64 /* between two looks at the clock: one to three microseconds */

#define CACHE_LINE 64 /* bytes: what threads wait for each other's writes by */

/* A thread's share of a run's items: the first that is left, and in the upper half the end. */
typedef struct {
    _Alignas(CACHE_LINE) atomic_ullong left;
} Share;

typedef struct {
    FastvlmPool *pool;
    pthread_t thread;
    int worker;
} Worker;

struct _FastvlmPool {
    FastvlmTurn turn; /* held for the length of a run, or longer */
    gint64 slice_us;  /* of the turn, 0: not shared; whose turn it is */

    /* In one line, so that who has seen `state` has the others. They and the shares are written by the
     * caller while the run is closed. */
    _Alignas(CACHE_LINE) atomic_uint state;
    int n_items;
    FastvlmPoolFunc func;
    void *data;
    const gint *cancel;
    Share shares[FASTVLM_POOL_MAX_THREADS];

    pthread_mutex_t lock; /* for sleeping only */
    pthread_cond_t wake;
    pthread_cond_t done;
    atomic_int n_sleeping; /* workers */
    atomic_int caller_sleeps;
    atomic_int quit;

    int nice;
    int n_threads;
    int n_cpus;
    int n_started;
    Worker workers[FASTVLM_POOL_MAX_THREADS];
};

/**
 * Threads of all pools that compute or spin, and those whose turn it is: a CPU each, or spinning does
 * harm. Not written for each run, since who spins reads it.
 */
static atomic_int n_awake;

int fastvlm_pool_count_cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return (int)g_get_num_processors();
    return CLAMP(CPU_COUNT(&set), 1, FASTVLM_POOL_MAX_THREADS);
}

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static gboolean may_spin(const FastvlmPool *pool)
{
    return pool->n_threads <= pool->n_cpus && atomic_load(&n_awake) <= pool->n_cpus;
}

/** The items in equal shares of neighbours. */
static void share_items(FastvlmPool *pool)
{
    const guint64 n_items = (guint64)pool->n_items, n_threads = (guint64)pool->n_threads;

    for (guint64 i = 0; i < n_threads; i++)
        atomic_store_explicit(&pool->shares[i].left,
                              i * n_items / n_threads | (i + 1) * n_items / n_threads << 32,
                              memory_order_relaxed); /* opening the run tells of it */
}

/** The first item of a share or, for another thread than its own, the last; -1 where none is left. */
static int take_item(Share *share, gboolean is_own)
{
    unsigned long long left = atomic_load(&share->left);

    for (;;) {
        const unsigned long long first = left & G_MAXUINT32, end = left >> 32;
        const unsigned long long then = is_own ? first + 1 + (end << 32) : first | (end - 1) << 32;

        if (first >= end)
            return -1;
        if (atomic_compare_exchange_weak(&share->left, &left, then))
            return (int)(is_own ? first : end - 1);
    }
}

/** The items of this thread's share, then what others have left. */
static void take_items(FastvlmPool *pool, int worker)
{
    for (int i = 0; i < pool->n_threads; i++) {
        Share *share = &pool->shares[(worker + i) % pool->n_threads];
        int item;

        while (!fastvlm_is_cancelled(pool->cancel) && (item = take_item(share, i == 0)) >= 0)
            pool->func(item, worker, pool->data);
    }
}

static gboolean is_new(unsigned state, unsigned seen)
{
    return (state & OPEN) && state / GENERATION != seen;
}

/** Enters the open run unless it is the one of generation `*seen`, which it becomes. */
static gboolean enter_run(FastvlmPool *pool, unsigned *seen)
{
    unsigned state = atomic_load(&pool->state);

    while (is_new(state, *seen))
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
            *seen = state / GENERATION;
            return TRUE;
        }
    return FALSE;
}

static void leave_run(FastvlmPool *pool)
{
    const unsigned before = atomic_fetch_sub(&pool->state, 1);

    if ((before & (OPEN | INSIDE_MASK)) != 1 || !atomic_load(&pool->caller_sleeps))
        return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->lock);
}

/** Spins until a run that is not `seen` is open; FALSE where it took too long. */
static gboolean spin_for_run(const FastvlmPool *pool, unsigned seen)
{
    const gint64 end_us = g_get_monotonic_time() + SPIN_US;

    while (may_spin(pool) && g_get_monotonic_time() < end_us)
        for (int i = 0; i < N_PAUSES; i++) {
            if (is_new(atomic_load(&pool->state), seen))
                return TRUE;
            pause_cpu();
        }
    return FALSE;
}

static void sleep_until_run(FastvlmPool *pool, unsigned seen)
{
    atomic_fetch_sub(&n_awake, 1);
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->n_sleeping, 1);
    while (!atomic_load(&pool->quit) && !is_new(atomic_load(&pool->state), seen))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->n_sleeping, 1);
    pthread_mutex_unlock(&pool->lock);
    atomic_fetch_add(&n_awake, 1);
}

/** Of this thread. A batch thread that wakes up waits for its turn: one of the usual kind, however nice,
 * may take the CPU from whoever runs there, and keep it for a tick of 4 ms. */
static void lower_priority(int nice)
{
    const struct sched_param none = {.sched_priority = 0};

    if (nice <= 0)
        return;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
    if (sched_getscheduler(0) == SCHED_OTHER)
        sched_setscheduler(0, nice < IDLE_NICE ? SCHED_BATCH : SCHED_IDLE, &none);
}

static void *run_worker(void *data)
{
    Worker *self = data;
    FastvlmPool *pool = self->pool;
    unsigned seen = 0;

    lower_priority(pool->nice);
    atomic_fetch_add(&n_awake, 1);
    while (!atomic_load(&pool->quit)) {
        if (enter_run(pool, &seen)) {
            take_items(pool, self->worker);
            leave_run(pool);
            if (spin_for_run(pool, seen))
                continue;
        }
        sleep_until_run(pool, seen);
    }
    atomic_fetch_sub(&n_awake, 1);
    return NULL;
}

static gboolean start_workers(FastvlmPool *pool, GError **error)
{
    for (int i = 0; i < pool->n_threads - 1; i++) {
        Worker *worker = &pool->workers[i];
        int problem;

        worker->pool = pool;
        worker->worker = i;
        problem = pthread_create(&worker->thread, NULL, run_worker, worker);
        if (problem != 0) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                        "cannot start worker thread %d of %d: %s; ask for fewer threads", i + 1,
                        pool->n_threads, g_strerror(problem));
            return FALSE;
        }
        pthread_setname_np(worker->thread, "fastvlm");
        pool->n_started++;
    }
    return TRUE;
}

FastvlmPool *fastvlm_pool_new(int n_threads, int nice, GError **error)
{
    FastvlmPool *pool = g_aligned_alloc0(1, sizeof *pool, CACHE_LINE);

    fastvlm_turn_init(&pool->turn);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->nice = nice;
    pool->n_threads = CLAMP(n_threads, 1, FASTVLM_POOL_MAX_THREADS);
    pool->n_cpus = fastvlm_pool_count_cpus();
    if (!start_workers(pool, error))
        g_clear_pointer(&pool, fastvlm_pool_free);
    return pool;
}

void fastvlm_pool_free(FastvlmPool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->quit, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    fastvlm_turn_clear(&pool->turn);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    g_aligned_free(pool);
}

int fastvlm_pool_get_n_threads(const FastvlmPool *pool)
{
    return pool->n_threads;
}

static void open_run(FastvlmPool *pool)
{
    const unsigned generation = atomic_load(&pool->state) & ~(OPEN | INSIDE_MASK);
    int n_wanted = pool->n_items - 1;

    atomic_store(&pool->state, generation + GENERATION + OPEN);
    if (atomic_load(&pool->n_sleeping) == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    if (n_wanted >= pool->n_started)
        pthread_cond_broadcast(&pool->wake);
    else
        while (n_wanted-- > 0)
            pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static gboolean is_empty(const FastvlmPool *pool)
{
    return (atomic_load(&pool->state) & INSIDE_MASK) == 0;
}

/** After it no worker is inside the run, nor will one be. */
static void close_run(FastvlmPool *pool)
{
    gint64 end_us;

    if ((atomic_fetch_and(&pool->state, ~OPEN) & INSIDE_MASK) == 0)
        return;
    end_us = g_get_monotonic_time() + SPIN_US;
    while (may_spin(pool) && g_get_monotonic_time() < end_us)
        for (int i = 0; i < N_PAUSES; i++) {
            if (is_empty(pool))
                return;
            pause_cpu();
        }
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, 1);
    while (!is_empty(pool))
        pthread_cond_wait(&pool->done, &pool->lock);
    atomic_store(&pool->caller_sleeps, 0);
    pthread_mutex_unlock(&pool->lock);
}

/** This thread's turn it is. A single item is nobody else's business. */
static gboolean run_items(FastvlmPool *pool, int n_items, FastvlmPoolFunc func, void *data,
                          const gint *cancel)
{
    if (n_items == 1) {
        if (!fastvlm_is_cancelled(cancel))
            func(0, pool->n_threads - 1, data);
        return !fastvlm_is_cancelled(cancel);
    }
    pool->n_items = n_items;
    pool->func = func;
    pool->data = data;
    pool->cancel = cancel;
    share_items(pool);
    open_run(pool);
    take_items(pool, pool->n_threads - 1);
    close_run(pool);
    return !fastvlm_is_cancelled(cancel);
}

static gboolean take_turn(FastvlmPool *pool, gint64 slice_us, const gint *cancel)
{
    if (!fastvlm_turn_take(&pool->turn, cancel))
        return FALSE;
    pool->slice_us = slice_us;
    atomic_fetch_add(&n_awake, 1);
    return TRUE;
}

static void give_turn(FastvlmPool *pool)
{
    atomic_fetch_sub(&n_awake, 1);
    fastvlm_turn_give(&pool->turn);
}

/** Others may hold the pool meanwhile, in slices of their own. */
static gboolean share_turn(FastvlmPool *pool, const gint *cancel)
{
    const gint64 slice_us = pool->slice_us;

    if (slice_us == 0 || !fastvlm_turn_is_over(&pool->turn, slice_us))
        return TRUE;
    give_turn(pool);
    return take_turn(pool, slice_us, cancel);
}

gboolean fastvlm_pool_run(FastvlmPool *pool, int n_items, FastvlmPoolFunc func, void *data,
                          const gint *cancel)
{
    gboolean complete;

    if (fastvlm_turn_is_mine(&pool->turn))
        return share_turn(pool, cancel) && run_items(pool, n_items, func, data, cancel);
    if (!take_turn(pool, 0, cancel))
        return FALSE;
    complete = run_items(pool, n_items, func, data, cancel);
    give_turn(pool);
    return complete;
}

gboolean fastvlm_pool_hold(FastvlmPool *pool, int slice_us, const gint *cancel)
{
    return take_turn(pool, slice_us, cancel);
}

void fastvlm_pool_release(FastvlmPool *pool)
{
    if (fastvlm_turn_is_mine(&pool->turn))
        give_turn(pool);
}

void fastvlm_pool_wake(FastvlmPool *pool)
{
    fastvlm_turn_wake(&pool->turn);
}
