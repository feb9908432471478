/*
 * Memory for tensors and weights.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/alloc.h"

#include <fastvlm/error.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "base/cgroup.h"

#define HUGE_PAGE_BYTES ((gsize)2 << 20)

guint64 fastvlm_memory_limit(void)
{
    guint64 limit = G_MAXUINT64;
    struct sysinfo system;
    struct rlimit space;

    if (sysinfo(&system) == 0) {
        const guint64 swap_bytes = (guint64)system.totalswap * system.mem_unit;
        const guint64 group_limit = fastvlm_cgroup_memory_limit("", swap_bytes);

        limit = MIN((guint64)system.totalram * system.mem_unit + swap_bytes, group_limit);
    }
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
        limit = MIN(limit, (guint64)space.rlim_cur);
    return limit;
}

static float *try_alloc(gsize n_rows, gsize n_columns)
{
    gsize alignment = FASTVLM_TENSOR_ALIGNMENT;
    gsize n_floats, n_bytes;
    float *tensor;

    if (!g_size_checked_mul(&n_floats, n_rows, n_columns) ||
        !g_size_checked_mul(&n_bytes, MAX(n_floats, 1), sizeof(float)))
        return NULL;
    /* Columns of a tensor are read a row apart, which on small pages is a page apart. */
    if (n_bytes >= HUGE_PAGE_BYTES / 2)
        alignment = HUGE_PAGE_BYTES;
    if (!g_size_checked_add(&n_bytes, n_bytes, alignment - 1))
        return NULL;
    n_bytes &= ~(alignment - 1);
    tensor = aligned_alloc(alignment, n_bytes);
    if (tensor && alignment == HUGE_PAGE_BYTES)
        madvise(tensor, n_bytes, MADV_HUGEPAGE);
    /*
     * Pages given back read as zeros when they are touched again, by the threads that compute: a
     * memset() of gigabytes here would be deaf to a cancellation for seconds.
     */
    if (tensor && !(alignment == HUGE_PAGE_BYTES && madvise(tensor, n_bytes, MADV_DONTNEED) == 0))
        memset(tensor, 0, n_bytes);
    return tensor;
}

float *fastvlm_alloc_tensor(gsize n_rows, gsize n_columns, const char *what, GError **error)
{
    float *tensor = try_alloc(n_rows, n_columns);

    if (!tensor)
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "no memory for %s: %" G_GSIZE_FORMAT " x %" G_GSIZE_FORMAT " floats; use a "
                    "smaller model or resolution",
                    what, n_rows, n_columns);
    return tensor;
}

void fastvlm_free_tensor(float *tensor)
{
    free(tensor);
}

gboolean fastvlm_pages_map(FastvlmPages *pages, gsize n_bytes)
{
    const gsize map_bytes = MAX(n_bytes, 1) + HUGE_PAGE_BYTES;
    char *map = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (map == MAP_FAILED)
        return FALSE;
    *pages = (FastvlmPages){
        .memory = map + (HUGE_PAGE_BYTES - (gsize)map % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES,
        .map = map,
        .map_bytes = map_bytes,
    };
    /* Weights are gigabytes: huge pages spare half a million page faults and most TLB misses. */
    if (n_bytes >= HUGE_PAGE_BYTES)
        madvise(pages->memory, n_bytes, MADV_HUGEPAGE);
    return TRUE;
}

void fastvlm_pages_seal(const FastvlmPages *pages)
{
    mprotect(pages->map, pages->map_bytes, PROT_READ);
}

void fastvlm_pages_unmap(FastvlmPages *pages)
{
    if (pages->map)
        munmap(pages->map, pages->map_bytes);
    *pages = (FastvlmPages){0};
}
