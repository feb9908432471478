/*
 * Reads rows of tensors, in chunks that stay in the cache.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/view.h"

/* What is in memory twice while a tensor is read: it stays in the cache. */
#define CHUNK_BYTES ((gsize)32 << 10)

static gboolean fail_not_finite(const FastvlmTensorView *view, gsize first, const guint8 *data,
                                gsize n, GError **error)
{
    const gsize size = fastvlm_dtype_size(view->dtype);
    float value;
    gsize i = 0;

    while (i + 1 < n && fastvlm_dtype_to_f32(view->dtype, data + i * size, 1, &value))
        i++;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "%s: tensor %s: element %" G_GSIZE_FORMAT
                " is not finite, expected a number: the file is damaged",
                view->file, view->name, first + i);
    return FALSE;
}

/** Elements from `first` on, chunk by chunk. */
static gboolean read_elements(const FastvlmTensorView *view, gsize first, gsize n, float *out,
                              GError **error)
{
    const gsize size = fastvlm_dtype_size(view->dtype);
    guint8 bytes[CHUNK_BYTES];

    while (n > 0) {
        const gsize n_chunk = MIN(sizeof bytes / size, n);

        if (!fastvlm_tensor_view_read(view, first * size, n_chunk * size, bytes, error))
            return FALSE;
        if (!fastvlm_dtype_to_f32(view->dtype, bytes, n_chunk, out))
            return fail_not_finite(view, first, bytes, n_chunk, error);
        first += n_chunk;
        out += n_chunk;
        n -= n_chunk;
    }
    return TRUE;
}

gsize fastvlm_view_count_row_elements(const FastvlmTensorView *view)
{
    return (gsize)view->n_elements / (gsize)(view->n_dims > 0 ? view->shape[0] : 1);
}

void fastvlm_view_expect_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows)
{
    const gsize row_bytes = fastvlm_view_count_row_elements(view) * fastvlm_dtype_size(view->dtype);

    if (n_rows <= 0)
        return;
    if (!view->derived)
        fastvlm_tensor_view_expect(view, (gsize)first_row * row_bytes, (gsize)n_rows * row_bytes);
    else if (view->derived->expect_rows)
        view->derived->expect_rows(view, first_row, n_rows);
}

gboolean fastvlm_view_read_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows,
                                float *out, GError **error)
{
    const gsize row_size = fastvlm_view_count_row_elements(view);

    if (view->derived)
        return view->derived->read_rows(view, first_row, n_rows, out, error);
    return read_elements(view, (gsize)first_row * row_size, (gsize)n_rows * row_size, out, error);
}

char *fastvlm_view_spell(const FastvlmTensorView *view)
{
    GString *text;

    if (!view)
        return g_strdup("nothing");
    text = g_string_new(fastvlm_dtype_to_string(view->dtype));
    for (int i = 0; i < view->n_dims; i++)
        g_string_append_printf(text, "%s%" G_GINT64_FORMAT, i ? ", " : " [", view->shape[i]);
    g_string_append(text, view->n_dims ? "]" : " []");
    return g_string_free(text, FALSE);
}
