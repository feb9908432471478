/*
 * Threads, scratch and tiles.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/compute.h"

#include <fastvlm/error.h>

#include "base/alloc.h"
#include "kernels/blas.h"

#define N_TILES_WANTED 16

G_STATIC_ASSERT(FASTVLM_ROW_GROUP % FASTVLM_BLAS_ROWS == 0);

void fastvlm_compute_init(FastvlmCompute *compute)
{
    compute->scratch = g_new0(float *, fastvlm_pool_get_n_threads(compute->pool));
    compute->scratch_size_floats = 0;
}

static void free_scratch(FastvlmCompute *compute)
{
    for (int i = 0; i < fastvlm_pool_get_n_threads(compute->pool); i++)
        g_clear_pointer(&compute->scratch[i], fastvlm_free_tensor);
    compute->scratch_size_floats = 0;
}

void fastvlm_compute_clear(FastvlmCompute *compute)
{
    free_scratch(compute);
    g_clear_pointer(&compute->scratch, g_free);
    fastvlm_free_tensor(compute->shared);
    compute->shared = NULL;
    compute->shared_size_bytes = 0;
}

gboolean fastvlm_compute_reserve(FastvlmCompute *compute, gsize n_floats, GError **error)
{
    if (n_floats <= compute->scratch_size_floats)
        return TRUE;
    free_scratch(compute);
    for (int i = 0; i < fastvlm_pool_get_n_threads(compute->pool); i++) {
        compute->scratch[i] = fastvlm_alloc_tensor(1, n_floats, "a thread's scratch", error);
        if (!compute->scratch[i])
            return FALSE;
    }
    compute->scratch_size_floats = n_floats;
    return TRUE;
}

gboolean fastvlm_compute_reserve_shared(FastvlmCompute *compute, gsize n_bytes, GError **error)
{
    if (n_bytes <= compute->shared_size_bytes)
        return TRUE;
    fastvlm_free_tensor(compute->shared);
    compute->shared_size_bytes = 0;
    compute->shared = fastvlm_alloc_tensor(1, n_bytes / sizeof(float) + 1, "rounded rows", error);
    if (compute->shared)
        compute->shared_size_bytes = n_bytes;
    return compute->shared != NULL;
}

gboolean fastvlm_compute_run(const FastvlmCompute *compute, int n_items, FastvlmPoolFunc func,
                             void *data, GError **error)
{
    if (fastvlm_pool_run(compute->pool, n_items, func, data, compute->cancel))
        return TRUE;
    g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
    return FALSE;
}

int fastvlm_pad_rows(int n_rows)
{
    return (n_rows + FASTVLM_ROW_GROUP - 1) / FASTVLM_ROW_GROUP * FASTVLM_ROW_GROUP;
}

int fastvlm_tile_rows(int n_rows, int max_rows)
{
    return MIN(fastvlm_pad_rows((n_rows + N_TILES_WANTED - 1) / N_TILES_WANTED), max_rows);
}
