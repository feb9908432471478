/*
 * Puts a checkpoint's tensors in order; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/tensor_set.h"

#include <fastvlm/error.h>
#include <string.h>

#include "base/text_file.h"
#include "load/branches.h"
#include "load/quantized.h"

#define SCALE_MARK ".layer_scale"

static void free_made(gpointer data)
{
    FastvlmTensorView *view = data;

    if (view->derived)
        view->derived->free((FastvlmDerived *)view->derived);
    g_free(view);
}

void fastvlm_tensor_set_free(FastvlmTensorSet *set)
{
    if (!set)
        return;
    g_hash_table_destroy(set->by_name);
    g_ptr_array_free(set->views, TRUE);
    g_ptr_array_free(set->made, TRUE);
    g_string_chunk_free(set->names);
    g_free(set);
}

static gboolean insert(FastvlmTensorSet *set, const FastvlmTensorView *view, GError **error)
{
    g_autofree char *quoted = NULL;

    if (!g_hash_table_contains(set->by_name, view->name)) {
        g_ptr_array_add(set->views, (gpointer)view);
        g_hash_table_insert(set->by_name, (gpointer)view->name, (gpointer)view);
        return TRUE;
    }
    quoted = fastvlm_text_quote(view->name);
    g_set_error(
        error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
        "%s: tensor %s is there twice: under this name, and under another layout's or as the "
        "branches of training; expected one of them",
        view->file, quoted);
    return FALSE;
}

gboolean fastvlm_tensor_set_add(FastvlmTensorSet *set, const FastvlmTensorView *view,
                                FastvlmDerived *derived, GError **error)
{
    FastvlmTensorView *made = g_new(FastvlmTensorView, 1);

    *made = *view;
    made->name = g_string_chunk_insert(set->names, view->name);
    made->derived = derived;
    g_ptr_array_add(set->made, made);
    return insert(set, made, error);
}

/** Some layouts store a layer scale as [n], the release as [n, 1, 1]. */
static void reshape(FastvlmTensorView *view)
{
    if (view->n_dims != 1 || !strstr(view->name, SCALE_MARK))
        return;
    view->n_dims = 3;
    view->shape[1] = view->shape[2] = 1;
}

static gboolean add_file_view(FastvlmTensorSet *set, const FastvlmTensorView *view, GError **error)
{
    g_autofree char *name = fastvlm_naming_translate(set->naming, view->name);
    FastvlmTensorView renamed = *view;

    if (strcmp(name, view->name) == 0)
        return insert(set, view, error);
    renamed.name = name;
    reshape(&renamed);
    return fastvlm_tensor_set_add(set, &renamed, NULL, error);
}

static void detect(FastvlmTensorSet *set, const GPtrArray *views)
{
    GPtrArray *names = g_ptr_array_sized_new(views->len);

    for (guint i = 0; i < views->len; i++)
        g_ptr_array_add(names, (gpointer)((const FastvlmTensorView *)views->pdata[i])->name);
    set->naming = fastvlm_naming_detect(names);
    g_ptr_array_free(names, TRUE);
}

FastvlmTensorSet *fastvlm_tensor_set_new(const GPtrArray *views, int group_size, GError **error)
{
    FastvlmTensorSet *set = g_new0(FastvlmTensorSet, 1);
    gboolean ok = TRUE;

    set->views = g_ptr_array_new();
    set->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    set->made = g_ptr_array_new_with_free_func(free_made);
    set->names = g_string_chunk_new(4096);
    set->group_size = group_size;
    detect(set, views);
    for (guint i = 0; ok && i < views->len; i++)
        ok = add_file_view(set, views->pdata[i], error);
    if (ok && fastvlm_quantized_join(set, error) && fastvlm_branches_fold(set, error))
        return set;
    fastvlm_tensor_set_free(set);
    return NULL;
}

const FastvlmTensorView *fastvlm_tensor_set_find(const FastvlmTensorSet *set, const char *name)
{
    return g_hash_table_lookup(set->by_name, name);
}

const FastvlmTensorView *fastvlm_tensor_set_find_joined(const FastvlmTensorSet *set,
                                                        const char *prefix, const char *suffix)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);

    return fastvlm_tensor_set_find(set, name);
}

/** Keeps the views for which `keeps` says so. */
static void filter(FastvlmTensorSet *set,
                   gboolean (*keeps)(const FastvlmTensorView *view, const void *data),
                   const void *data)
{
    guint n = 0;

    for (guint i = 0; i < set->views->len; i++) {
        const FastvlmTensorView *view = set->views->pdata[i];

        if (keeps(view, data))
            set->views->pdata[n++] = (gpointer)view;
        else
            g_hash_table_remove(set->by_name, view->name);
    }
    g_ptr_array_set_size(set->views, (int)n);
}

static gboolean is_not_named(const FastvlmTensorView *view, const void *names)
{
    return !g_hash_table_contains((GHashTable *)names, view->name);
}

void fastvlm_tensor_set_remove(FastvlmTensorSet *set, GHashTable *names)
{
    filter(set, is_not_named, names);
}

static gboolean is_elsewhere(const FastvlmTensorView *view, const void *prefix)
{
    return !g_str_has_prefix(view->name, prefix);
}

void fastvlm_tensor_set_replace(FastvlmTensorSet *set, const char *prefix,
                                const FastvlmTensorSet *other)
{
    filter(set, is_elsewhere, prefix);
    for (guint i = 0; i < other->views->len; i++) {
        const FastvlmTensorView *view = other->views->pdata[i];

        if (g_str_has_prefix(view->name, prefix))
            insert(set, view, NULL);
    }
    if (other->is_folded)
        set->is_folded = TRUE;
}

gboolean fastvlm_tensor_set_has(const FastvlmTensorSet *set, const char *prefix)
{
    for (guint i = 0; i < set->views->len; i++)
        if (g_str_has_prefix(((const FastvlmTensorView *)set->views->pdata[i])->name, prefix))
            return TRUE;
    return FALSE;
}
