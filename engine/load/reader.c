/*
 * Reads tensors as f32, in slices of rows, so that progress is smooth and a cancellation quick.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/reader.h"

#include "base/alloc.h"

#define SLICE_ELEMENTS ((gint64)4 << 20) /* some ten milliseconds */

static gboolean tell_progress(FastvlmReader *reader, guint64 n_bytes, GError **error)
{
    const guint64 total = fastvlm_checkpoint_file_size(reader->checkpoint);

    reader->n_bytes_read += n_bytes;
    if (!reader->progress ||
        reader->progress(MIN(1.0, (double)reader->n_bytes_read / (double)MAX(total, 1)),
                         reader->progress_data))
        return TRUE;
    g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "loading was cancelled");
    return FALSE;
}

static gboolean read_slices(FastvlmReader *reader, const FastvlmTensorView *view, gint64 first,
                            gint64 n_rows, float *out, GError **error)
{
    const gint64 row_size = (gint64)view->n_elements / view->shape[0];
    const gint64 slice_rows = MAX(SLICE_ELEMENTS / row_size, 1);

    for (gint64 row = 0; row < n_rows; row += slice_rows) {
        const gint64 n = MIN(slice_rows, n_rows - row);

        if (!fastvlm_checkpoint_read_f32_rows(reader->checkpoint, view, first + row, n,
                                              out + row * row_size, error) ||
            !tell_progress(reader, view->n_bytes / (guint64)view->shape[0] * (guint64)n, error))
            return FALSE;
    }
    return TRUE;
}

gboolean fastvlm_reader_read_rows(FastvlmReader *reader, const char *name, int n_dims,
                                  const gint64 *shape, gint64 first, gint64 n_rows, float *out,
                                  GError **error)
{
    const FastvlmTensorView *view =
        fastvlm_checkpoint_require(reader->checkpoint, name, n_dims, shape, error);

    return view && read_slices(reader, view, first, n_rows, out, error);
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
    if (tensor && !read_slices(reader, view, 0, view->shape[0], tensor, error))
        g_clear_pointer(&tensor, fastvlm_free_tensor);
    return tensor;
}
