/*
 * Reads tensors as f32, in slices of rows, so that progress is smooth and a cancellation quick.
 *
 *     slice: [want the next one] -> items of some rows, on all threads -> progress
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/reader.h"

#include <math.h>

#include "base/alloc.h"

#define SLICE_ELEMENTS ((gint64)4 << 20) /* some ten milliseconds */
#define ITEM_ELEMENTS ((gint64)64 << 10) /* as f32 a quarter of a megabyte */

gboolean fastvlm_reader_tell(const FastvlmReader *reader, GError **error)
{
    const guint64 total = fastvlm_checkpoint_file_size(reader->checkpoint);

    if (!reader->progress ||
        reader->progress(MIN(1.0, (double)reader->n_bytes_read / (double)MAX(total, 1)),
                         reader->progress_data))
        return TRUE;
    g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "loading was cancelled");
    return FALSE;
}

static gboolean tell_progress(FastvlmReader *reader, guint64 n_bytes, GError **error)
{
    reader->n_bytes_read += n_bytes;
    return fastvlm_reader_tell(reader, error);
}

static gboolean read_view(FastvlmReader *reader, const FastvlmTensorView *view, float *out,
                          GError **error)
{
    return fastvlm_checkpoint_read_f32(reader->checkpoint, view, out, error) &&
           tell_progress(reader, view->n_bytes, error);
}

gboolean fastvlm_reader_read_to(FastvlmReader *reader, const char *name, int n_dims,
                                const gint64 *shape, float *out, GError **error)
{
    const FastvlmTensorView *view =
        fastvlm_checkpoint_require(reader->checkpoint, name, n_dims, shape, error);

    return view && read_view(reader, view, out, error);
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
    if (tensor && !read_view(reader, view, tensor, error))
        g_clear_pointer(&tensor, fastvlm_free_tensor);
    return tensor;
}

gboolean fastvlm_reader_take_floats(FastvlmReader *reader, const char *name, int n, float **vector,
                                    GError **error)
{
    if (!fastvlm_store_take_floats(reader->store, name, 1, (gsize)n, vector, error))
        return FALSE;
    for (int i = 0; fastvlm_store_get_state(reader->store) == FASTVLM_STORE_FILLED && i < n; i++)
        if (!isfinite((*vector)[i])) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                        "%s: element %d of the packed copy is not finite", name, i);
            return FALSE;
        }
    return TRUE;
}

gboolean fastvlm_reader_take_vector(FastvlmReader *reader, const char *name, int n, float **vector,
                                    GError **error)
{
    const gint64 shape[1] = {n};

    return fastvlm_reader_take_floats(reader, name, n, vector, error) &&
           (fastvlm_store_get_state(reader->store) != FASTVLM_STORE_FILLING ||
            fastvlm_reader_read_to(reader, name, 1, shape, *vector, error));
}

/** A slice of a tensor on its way through the threads. */
typedef struct {
    const FastvlmCheckpoint *checkpoint;
    const FastvlmTensorView *view;
    FastvlmRowsFunc func;
    void *data;
    float *rows; /* [threads, item_rows, elements of a row] */
    gint64 first;
    gint64 n_rows;
    gint64 item_rows;
    gint n_failed; /* atomic */
} Slice;

static gboolean read_rows(const Slice *slice, gint64 offset, gint64 n_rows, float *rows,
                          GError **error)
{
    return fastvlm_checkpoint_read_f32_rows(slice->checkpoint, slice->view, slice->first + offset,
                                            n_rows, rows, error);
}

static void read_item(int item, int worker, void *data)
{
    Slice *slice = data;
    const gsize row_size = (gsize)slice->view->n_elements / (gsize)slice->view->shape[0];
    const gint64 offset = item * slice->item_rows;
    const gint64 n_rows = MIN(slice->item_rows, slice->n_rows - offset);
    float *rows = slice->rows + (gsize)worker * (gsize)slice->item_rows * row_size;

    if (read_rows(slice, offset, n_rows, rows, NULL))
        slice->func(rows, (int)(slice->first + offset), (int)n_rows, slice->data);
    else
        g_atomic_int_inc(&slice->n_failed);
}

/** The first bad element of a slice in which there is one, in the order of the file. */
static gboolean fail_slice(const Slice *slice, GError **error)
{
    for (gint64 row = 0; row < slice->n_rows; row += slice->item_rows)
        if (!read_rows(slice, row, MIN(slice->item_rows, slice->n_rows - row), slice->rows, error))
            return FALSE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                "%s: tensor %s: it could not be read, and now it can: load again",
                slice->view->file, slice->view->name);
    return FALSE;
}

/** Rows that are whole groups and have about `n_elements` elements, no more groups than there are. */
static gint64 choose_rows(const FastvlmTensorView *view, gint64 n_elements)
{
    const gint64 row_size = (gint64)view->n_elements / view->shape[0];

    const gint64 n_groups = (view->shape[0] - 1) / FASTVLM_READER_ROWS + 1;

    return CLAMP(n_elements / row_size / FASTVLM_READER_ROWS, 1, n_groups) * FASTVLM_READER_ROWS;
}

static gboolean stream_slices(FastvlmReader *reader, Slice *slice, GError **error)
{
    const FastvlmTensorView *view = slice->view;
    const gint64 n_all = view->shape[0];
    const gint64 slice_rows = choose_rows(view, SLICE_ELEMENTS);
    const guint64 row_bytes = view->n_bytes / (guint64)n_all;

    fastvlm_checkpoint_expect_rows(view, 0, MIN(slice_rows, n_all));
    for (gint64 first = 0; first < n_all; first += slice_rows) {
        const gint64 next = MIN(first + slice_rows, n_all);

        slice->first = first;
        slice->n_rows = next - first;
        fastvlm_checkpoint_expect_rows(view, next, MIN(slice_rows, n_all - next));
        fastvlm_pool_run(reader->pool,
                         (int)((slice->n_rows + slice->item_rows - 1) / slice->item_rows),
                         read_item, slice, NULL);
        if (g_atomic_int_get(&slice->n_failed) > 0)
            return fail_slice(slice, error);
        if (!tell_progress(reader, row_bytes * (guint64)slice->n_rows, error))
            return FALSE;
    }
    return TRUE;
}

gboolean fastvlm_reader_stream(FastvlmReader *reader, const char *name, int n_dims,
                               const gint64 *shape, FastvlmRowsFunc func, void *data,
                               GError **error)
{
    Slice slice = {.checkpoint = reader->checkpoint, .func = func, .data = data};
    gboolean ok;

    slice.view = fastvlm_checkpoint_require(reader->checkpoint, name, n_dims, shape, error);
    if (!slice.view)
        return FALSE;
    slice.item_rows = choose_rows(slice.view, ITEM_ELEMENTS);
    slice.rows = fastvlm_alloc_tensor(
        (gsize)fastvlm_pool_get_n_threads(reader->pool) * (gsize)slice.item_rows,
        (gsize)slice.view->n_elements / (gsize)slice.view->shape[0], name, error);
    ok = slice.rows && stream_slices(reader, &slice, error);
    fastvlm_free_tensor(slice.rows);
    return ok;
}
