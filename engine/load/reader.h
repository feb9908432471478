/*
 * Reads tensors out of a checkpoint into memory of their own, as f32, telling of progress.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_READER_H
#define FASTVLM_LOAD_READER_H

#include <fastvlm/model.h>

#include "load/checkpoint.h"
#include "load/layout.h"

typedef struct {
    FastvlmCheckpoint *checkpoint;
    FastvlmVisionLayout layout;
    FastvlmProgressFunc progress; /* may be NULL */
    gpointer progress_data;
    guint64 n_bytes_read;
} FastvlmReader;

/**
 * Reads the tensor `name`, whose shape must be `shape` [n_dims].
 *
 * @return memory to free with fastvlm_free_tensor(), or NULL
 * Errors: FORMAT (absent, misshapen, not finite), LIMIT (memory), CANCELLED.
 */
float *fastvlm_reader_read(FastvlmReader *reader, const char *name, int n_dims, const gint64 *shape,
                           GError **error);

/**
 * Reads rows first .. first + n_rows - 1 of it.
 *
 * @param out  [n_rows, elements of a row]
 * Errors: as fastvlm_reader_read(), but for LIMIT.
 */
gboolean fastvlm_reader_read_rows(FastvlmReader *reader, const char *name, int n_dims,
                                  const gint64 *shape, gint64 first, gint64 n_rows, float *out,
                                  GError **error);

#endif
