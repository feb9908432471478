/*
 * Reads tensors as f32.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/reader.h"

#include "base/alloc.h"

static gboolean tell_progress(FastvlmReader *reader, const FastvlmTensorView *view, GError **error)
{
    const guint64 total = fastvlm_checkpoint_file_size(reader->checkpoint);

    reader->n_bytes_read += view->n_bytes;
    if (!reader->progress ||
        reader->progress(MIN(1.0, (double)reader->n_bytes_read / (double)MAX(total, 1)),
                         reader->progress_data))
        return TRUE;
    g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "loading was cancelled");
    return FALSE;
}

float *fastvlm_reader_read(FastvlmReader *reader, const char *name, int n_dims, const gint64 *shape,
                           GError **error)
{
    const FastvlmTensorView *view =
        fastvlm_checkpoint_require(reader->checkpoint, name, n_dims, shape, error);
    float *tensor;

    if (!view)
        return NULL;
    tensor = fastvlm_alloc_tensor(1, (gsize)view->n_elements, name, error);
    if (tensor && (!fastvlm_checkpoint_read_f32(reader->checkpoint, view, tensor, error) ||
                   !tell_progress(reader, view, error)))
        g_clear_pointer(&tensor, fastvlm_free_tensor);
    return tensor;
}
