/*
 * What every layer computes with: threads, kernels, a way to stop, scratch memory.
 *
 * Rows come in tiles whose borders follow from the shapes alone, so no result depends on the number
 * of threads. Because OpenBLAS, where it is used, wants whole groups of rows (kernels/blas.h), every
 * activation tensor [n_rows, n] has memory for fastvlm_pad_rows(n_rows) rows; what the extra rows hold
 * is finite and never read by a real one.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_COMPUTE_H
#define FASTVLM_NN_COMPUTE_H

#include <glib.h>

#include "base/pool.h"
#include "kernels/kernels.h"

/** Rows of a group: tiles are whole groups. */
#define FASTVLM_ROW_GROUP 12

typedef struct {
    FastvlmPool *pool;
    const FastvlmKernels *kernels;
    gboolean use_blas;         /* products of activations by OpenBLAS */
    const gint *cancel;        /* atomic; may be NULL */
    float **scratch;           /* [n_threads], grown by fastvlm_compute_reserve() */
    gsize scratch_size_floats; /* of each */
    void *shared; /* rounded rows of a layer, grown by fastvlm_compute_reserve_shared() */
    gsize shared_size_bytes;
} FastvlmCompute;

/** All else of `compute` is set; makes its scratch. */
void fastvlm_compute_init(FastvlmCompute *compute);

/** Frees the scratch. */
void fastvlm_compute_clear(FastvlmCompute *compute);

/**
 * Sees to it that each thread has `n_floats` of scratch.
 *
 * Errors: LIMIT.
 */
gboolean fastvlm_compute_reserve(FastvlmCompute *compute, gsize n_floats, GError **error);

/** The same for the memory that all threads share. */
gboolean fastvlm_compute_reserve_shared(FastvlmCompute *compute, gsize n_bytes, GError **error);

/**
 * fastvlm_pool_run() with the fields of `compute`.
 *
 * Errors: CANCELLED.
 */
gboolean fastvlm_compute_run(const FastvlmCompute *compute, int n_items, FastvlmPoolFunc func,
                             void *data, GError **error);

/** `n_rows` rounded up to whole groups. */
int fastvlm_pad_rows(int n_rows);

/**
 * Rows of a tile: about a sixteenth of `n_rows`, whole groups, at most `max_rows` (a whole number of
 * groups).
 */
int fastvlm_tile_rows(int n_rows, int max_rows);

#endif
