/*
 * Reads tensors out of a checkpoint as f32: small ones whole, large ones as a stream of rows over all
 * threads, telling of progress.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_READER_H
#define FASTVLM_LOAD_READER_H

#include <fastvlm/model.h>

#include "base/pool.h"
#include "base/store.h"
#include "load/checkpoint.h"
#include "load/layout.h"

typedef struct {
    const FastvlmCheckpoint *checkpoint;
    FastvlmVisionLayout layout;
    FastvlmStore *store;          /* where what is made of the tensors goes */
    FastvlmPool *pool;            /* may be NULL unless the store is to be filled */
    FastvlmProgressFunc progress; /* may be NULL */
    gpointer progress_data;
    guint64 n_bytes_read;
} FastvlmReader;

/** Tells of the progress so far, as reading does by itself. Errors: CANCELLED. */
gboolean fastvlm_reader_tell(const FastvlmReader *reader, GError **error);

/**
 * Reads the tensor `name`, whose shape must be `shape` [n_dims].
 *
 * @return memory to free with fastvlm_free_tensor(), or NULL
 * Errors: FORMAT (absent, misshapen, not finite), LIMIT (memory), CANCELLED.
 */
float *fastvlm_reader_read(FastvlmReader *reader, const char *name, int n_dims, const gint64 *shape,
                           GError **error);

/** The same into `out`, which has room for it. */
gboolean fastvlm_reader_read_to(FastvlmReader *reader, const char *name, int n_dims,
                                const gint64 *shape, float *out, GError **error);

/**
 * Takes a vector of `n` finite numbers from the store; zeros where that is to be filled.
 *
 * Errors: LIMIT, FORMAT (what the store holds is not finite).
 */
gboolean fastvlm_reader_take_floats(FastvlmReader *reader, const char *name, int n, float **vector,
                                    GError **error);

/** The same, filled with the tensor `name` [n] where that is to be done. */
gboolean fastvlm_reader_take_vector(FastvlmReader *reader, const char *name, int n, float **vector,
                                    GError **error);

/**
 * Takes rows first .. first + n_rows - 1 of a tensor; called from several threads at once, for
 * different rows.
 *
 * @param rows  [n_rows, elements of a row], the receiver's to change
 */
typedef void (*FastvlmRowsFunc)(float *rows, int first, int n_rows, void *data);

/**
 * Reads the tensor `name` and hands its rows, FASTVLM_READER_ROWS or a multiple at a time (the last
 * ones apart), to `func`.
 *
 * Errors: as fastvlm_reader_read().
 */
gboolean fastvlm_reader_stream(FastvlmReader *reader, const char *name, int n_dims,
                               const gint64 *shape, FastvlmRowsFunc func, void *data,
                               GError **error);

/** Rows come in multiples of so many: a packed panel. */
#define FASTVLM_READER_ROWS 16

#endif
