/*
 * Tensors under any names: other layouts' names translated, quantized words joined, branches of training
 * folded, and what comes of them read.
 *
 *     lines "NAME DTYPE SHAPE" -> views of one file of numbers -> tensor set -> every row of it
 *
 * A dtype is one letter (b, h, f: BF16, F16, F32; u: U32; i: I64), a shape digits with x between them:
 * "a.weight u 4x8". The first byte chooses the groups' size.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include <fcntl.h>

#include "load/tensor_set.h"

#define MAX_TENSORS 64
#define MAX_BYTES (1 << 16) /* of a tensor, and of the file of numbers */
#define MAX_READ_ELEMENTS (1 << 18)

static int open_numbers(void)
{
    static int fd = -1;
    guint8 bytes[MAX_BYTES];
    char *path;

    if (fd >= 0)
        return fd;
    memset(bytes, 0x3c, sizeof bytes); /* 0.0115, in F16 1.06 */
    fuzz_write("numbers", bytes, sizeof bytes);
    path = g_build_filename(fuzz_directory(), "numbers", NULL);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    fuzz_assert(fd >= 0);
    g_free(path);
    return fd;
}

static FastvlmDtype find_dtype(const char *letter)
{
    switch (*letter) {
    case 'b':
        return FASTVLM_DTYPE_BF16;
    case 'h':
        return FASTVLM_DTYPE_F16;
    case 'u':
        return FASTVLM_DTYPE_U32;
    case 'i':
        return FASTVLM_DTYPE_I64;
    default:
        return FASTVLM_DTYPE_F32;
    }
}

/* As safetensors.c hands them out: whole sizes, none of them 0, that fit the file. */
static gboolean read_shape(const char *text, FastvlmTensorView *view)
{
    g_auto(GStrv) sizes = g_strsplit(text, "x", FASTVLM_TENSOR_MAX_DIMS + 1);

    view->n_elements = 1;
    for (; sizes[view->n_dims]; view->n_dims++) {
        const guint64 size = g_ascii_strtoull(sizes[view->n_dims], NULL, 10);

        if (view->n_dims == FASTVLM_TENSOR_MAX_DIMS || size < 1 || size > MAX_BYTES)
            return FALSE;
        view->shape[view->n_dims] = (gint64)size;
        view->n_elements *= size;
        if (view->n_elements > MAX_BYTES)
            return FALSE;
    }
    view->n_bytes = view->n_elements * fastvlm_dtype_size(view->dtype);
    return view->n_bytes <= MAX_BYTES;
}

/* NULL where the line is none, or its name is there. */
static FastvlmTensorView *read_line(const char *line, GHashTable *names)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 3);
    FastvlmTensorView *view;

    if (g_strv_length(words) != 3 || !g_utf8_validate(words[0], -1, NULL) ||
        g_hash_table_contains(names, words[0]))
        return NULL;
    view = g_new0(FastvlmTensorView, 1);
    view->dtype = find_dtype(words[1]);
    view->file = "numbers";
    view->fd = open_numbers();
    if (!read_shape(words[2], view)) {
        g_free(view);
        return NULL;
    }
    view->name = g_strdup(words[0]);
    g_hash_table_add(names, (gpointer)view->name);
    return view;
}

static void free_view(gpointer data)
{
    FastvlmTensorView *view = data;

    g_free((gpointer)view->name);
    g_free(view);
}

static GPtrArray *read_views(const char *text)
{
    GPtrArray *views = g_ptr_array_new_with_free_func(free_view);
    GHashTable *names = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(GStrv) lines = g_strsplit(text, "\n", MAX_TENSORS + 1);

    for (guint i = 0; lines[i] && i < MAX_TENSORS; i++) {
        FastvlmTensorView *view = read_line(lines[i], names);

        if (view)
            g_ptr_array_add(views, view);
    }
    g_hash_table_destroy(names);
    return views;
}

/* All of it at once and its last row alone are the same numbers. */
static void read_rows(const FastvlmTensorView *view)
{
    gsize n_row;
    float *all, *last;
    GError *error = NULL;
    gboolean ok;

    if (view->n_dims == 0 || !fastvlm_dtype_is_weight(view->dtype) ||
        view->n_elements > MAX_READ_ELEMENTS)
        return;
    n_row = fastvlm_view_count_row_elements(view);
    fuzz_assert(n_row * (gsize)view->shape[0] == view->n_elements);
    all = g_new(float, view->n_elements);
    last = g_new(float, n_row);
    fastvlm_view_expect_rows(view, 0, view->shape[0]);
    ok = fastvlm_view_read_rows(view, 0, view->shape[0], all, &error);
    fuzz_check_result(ok, error);
    if (ok) {
        fuzz_assert(fastvlm_view_read_rows(view, view->shape[0] - 1, 1, last, NULL));
        fuzz_assert(memcmp(last, all + view->n_elements - n_row, n_row * sizeof *last) == 0);
    }
    g_free(all);
    g_free(last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static const int group_sizes[] = {64, 32, 128, 1, 48, 65536};
    const int group_size = group_sizes[n_bytes > 0 ? data[0] % G_N_ELEMENTS(group_sizes) : 0];
    char *text =
        g_strndup(n_bytes > 0 ? (const char *)data + 1 : "", n_bytes > 0 ? n_bytes - 1 : 0);
    GPtrArray *views = read_views(text);
    GError *error = NULL;
    FastvlmTensorSet *set =
        views->len > 0 ? fastvlm_tensor_set_new(views, group_size, &error) : NULL;

    fuzz_check_result(set || views->len == 0, error);
    for (guint i = 0; set && i < set->views->len; i++) {
        const FastvlmTensorView *view = set->views->pdata[i];

        fuzz_assert(fastvlm_tensor_set_find(set, view->name) == view);
        read_rows(view);
    }
    fastvlm_tensor_set_free(set);
    g_ptr_array_unref(views);
    g_free(text);
    return 0;
}
