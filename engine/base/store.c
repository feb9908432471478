/*
 * Hands out memory blob by blob and keeps a line about each.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/store.h"

#include <fastvlm/error.h>

#include <errno.h>
#include <string.h>

#include "base/alloc.h"

struct _FastvlmStore {
    FastvlmStoreState state;
    GString *index;    /* lines, in the order of the blobs */
    gsize n_bytes;     /* of all blobs */
    char *memory;      /* [n_bytes]; NULL while measuring */
    FastvlmPages own;  /* none where `memory` is someone else's */
    gsize taken_bytes; /* offset of the next blob */
    gsize taken_lines; /* offset of its line */
};

FastvlmStore *fastvlm_store_new(void)
{
    FastvlmStore *store = g_new0(FastvlmStore, 1);

    store->index = g_string_new(NULL);
    return store;
}

void fastvlm_store_free(FastvlmStore *store)
{
    if (!store)
        return;
    fastvlm_pages_unmap(&store->own);
    g_string_free(store->index, TRUE);
    g_free(store);
}

FastvlmStoreState fastvlm_store_get_state(const FastvlmStore *store)
{
    return store->state;
}

/** The offset behind a blob of `n_bytes` bytes. */
static gboolean find_end(gsize offset, gsize n_bytes, gsize *end)
{
    if (!g_size_checked_add(end, offset, n_bytes) ||
        !g_size_checked_add(end, *end, FASTVLM_STORE_ALIGNMENT - 1))
        return FALSE;
    *end &= ~(gsize)(FASTVLM_STORE_ALIGNMENT - 1);
    return *end <= G_MAXSSIZE;
}

/** Whether the next line of the index is `line`, and takes it. */
static gboolean pass_line(FastvlmStore *store, const char *line, gsize length)
{
    if (length > store->index->len - store->taken_lines ||
        memcmp(store->index->str + store->taken_lines, line, length) != 0)
        return FALSE;
    store->taken_lines += length;
    return TRUE;
}

gboolean fastvlm_store_take(FastvlmStore *store, const char *name, const char *type, gsize n_rows,
                            gsize n_columns, gsize n_bytes, void **memory, GError **error)
{
    g_autofree char *line = g_strdup_printf(
        "%" G_GSIZE_FORMAT " %" G_GSIZE_FORMAT " %" G_GSIZE_FORMAT " %" G_GSIZE_FORMAT " %s %s\n",
        store->taken_bytes, n_bytes, n_rows, n_columns, type, name);
    gsize end;

    *memory = NULL;
    if (!find_end(store->taken_bytes, n_bytes, &end)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "no memory for %s: %" G_GSIZE_FORMAT " bytes; use a smaller model", name,
                    n_bytes);
        return FALSE;
    }
    if (store->state == FASTVLM_STORE_MEASURING) {
        g_string_append(store->index, line);
        store->n_bytes = end;
    } else if (!pass_line(store, line, strlen(line))) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: %s of %" G_GSIZE_FORMAT " x %" G_GSIZE_FORMAT
                    " was not measured: the checkpoint changed meanwhile, load it again",
                    name, type, n_rows, n_columns);
        return FALSE;
    } else {
        *memory = store->memory + store->taken_bytes;
    }
    store->taken_bytes = end;
    return TRUE;
}

gboolean fastvlm_store_take_floats(FastvlmStore *store, const char *name, gsize n_rows,
                                   gsize n_columns, float **memory, GError **error)
{
    void *blob;
    gboolean ok;

    ok = fastvlm_store_take(store, name, "f32", n_rows, n_columns,
                            n_rows * n_columns * sizeof(float), &blob, error);
    *memory = blob;
    return ok;
}

gsize fastvlm_store_get_size(const FastvlmStore *store)
{
    return store->n_bytes;
}

const GString *fastvlm_store_get_index(const FastvlmStore *store)
{
    return store->index;
}

void fastvlm_store_bind(FastvlmStore *store, void *memory, FastvlmStoreState state)
{
    store->memory = memory;
    store->state = state;
    store->taken_bytes = 0;
    store->taken_lines = 0;
}

gboolean fastvlm_store_bind_own(FastvlmStore *store, GError **error)
{
    if (!fastvlm_pages_map(&store->own, store->n_bytes)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "no memory for the weights: %" G_GSIZE_FORMAT
                    " bytes: %s; use a smaller model or precision",
                    store->n_bytes, g_strerror(errno));
        return FALSE;
    }
    fastvlm_store_bind(store, store->own.memory, FASTVLM_STORE_FILLING);
    return TRUE;
}
