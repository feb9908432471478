/*
 * What forking and joining costs: runs one behind the other as a decoder's layers are, and with pauses
 * between them, after which the workers sleep; items that do nothing, and items of about a
 * microsecond.
 *
 *     threads, work, pause -> microseconds a run, and the CPU time that this process took meanwhile
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>
#include <time.h>

#include "base/pool.h"

#define N_ITEMS 16

/** `data`: how many dependent steps of arithmetic, a nanosecond or so each. */
static void work(int item, int worker, void *data)
{
    volatile int sum = 0;

    for (int i = 0; i < GPOINTER_TO_INT(data); i++)
        sum = sum + i;
}

static gint64 cpu_time_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (gint64)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void measure(int n_threads, int n_steps, int n_runs, gulong pause_us)
{
    FastvlmPool *pool = fastvlm_pool_new(n_threads, 0, NULL);
    gint64 wall_us = 0;
    gint64 cpu_us;

    fastvlm_pool_run(pool, N_ITEMS, work, GINT_TO_POINTER(n_steps), NULL);
    cpu_us = cpu_time_us();
    for (int i = 0; i < n_runs; i++) {
        const gint64 start_us = g_get_monotonic_time();

        fastvlm_pool_run(pool, N_ITEMS, work, GINT_TO_POINTER(n_steps), NULL);
        wall_us += g_get_monotonic_time() - start_us;
        if (pause_us > 0)
            g_usleep(pause_us);
    }
    cpu_us = cpu_time_us() - cpu_us;
    printf("# %d threads, %d items of %3d, %5lu us between: %7.2f us a run, %7.2f us of CPU\n",
           n_threads, N_ITEMS, n_steps, pause_us, (double)wall_us / n_runs,
           (double)cpu_us / n_runs);
    fastvlm_pool_free(pool);
}

int main(void)
{
    const int n_cpus = fastvlm_pool_count_cpus();

    printf("1..1\n");
    for (int n_threads = 1; n_threads <= 2 * n_cpus; n_threads *= 2) {
        measure(n_threads, 0, 20000, 0);
        measure(n_threads, 500, 20000, 0);
        measure(n_threads, 500, 500, 1000);
        measure(n_threads, 500, 20, 50000);
    }
    printf("ok 1 - measured\n");
    return 0;
}
