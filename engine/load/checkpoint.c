/*
 * Joins the weight files of a directory.
 *
 *     model.safetensors ------------------------> file ---> by_name
 *     model.safetensors.index.json -> shard names -> files -^  (each tensor in the shard it says)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/checkpoint.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text_file.h"
#include "load/shard_index.h"

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME "model.safetensors.index.json"
#define REMEDY                                                                              \
    "put config.json and " SINGLE_NAME " of a released checkpoint there, or use the model " \
    "\"demo\""

/* What is in memory twice while a tensor is read: it stays in the cache. */
#define CHUNK_BYTES ((gsize)32 << 10)

struct _FastvlmCheckpoint {
    char *path;
    FastvlmConfig *config;
    GPtrArray *files; /* FastvlmSafetensors */
    GPtrArray *views; /* const FastvlmTensorView, file by file */
    GHashTable *by_name;
};

void fastvlm_checkpoint_free(FastvlmCheckpoint *checkpoint)
{
    if (!checkpoint)
        return;
    g_hash_table_destroy(checkpoint->by_name);
    g_ptr_array_free(checkpoint->views, TRUE);
    g_ptr_array_free(checkpoint->files, TRUE);
    fastvlm_config_free(checkpoint->config);
    g_free(checkpoint->path);
    g_free(checkpoint);
}

static gboolean check_directory(const char *directory, GError **error)
{
    struct stat status;

    if (stat(directory, &status) == 0) {
        if (S_ISDIR(status.st_mode))
            return TRUE;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND, "%s: not a directory: " REMEDY,
                    directory);
    } else if (errno == ENOENT || errno == ENOTDIR) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND, "%s: no such directory: " REMEDY,
                    directory);
    } else {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "%s: cannot open: %s", directory,
                    g_strerror(errno));
    }
    return FALSE;
}

static gboolean read_config(FastvlmCheckpoint *checkpoint, GError **error)
{
    GError *problem = NULL;

    checkpoint->config = fastvlm_config_load(checkpoint->path, &problem);
    if (checkpoint->config)
        return TRUE;
    if (g_error_matches(problem, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND, "%s: " REMEDY, problem->message);
        g_error_free(problem);
    } else {
        g_propagate_error(error, problem);
    }
    return FALSE;
}

/** Opens NAME in the directory and adds it to the files. */
static gboolean open_file(FastvlmCheckpoint *checkpoint, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(checkpoint->path, name, NULL);
    FastvlmSafetensors *file = fastvlm_safetensors_open(path, error);

    if (file)
        g_ptr_array_add(checkpoint->files, file);
    return file != NULL;
}

static void add_views(FastvlmCheckpoint *checkpoint, const FastvlmSafetensors *file)
{
    const guint n = fastvlm_safetensors_get_n_tensors(file);

    for (guint i = 0; i < n; i++) {
        const FastvlmTensorView *view = fastvlm_safetensors_get_tensor(file, i);

        g_ptr_array_add(checkpoint->views, (gpointer)view);
        g_hash_table_insert(checkpoint->by_name, (gpointer)view->name, (gpointer)view);
    }
}

static gboolean open_shards(FastvlmCheckpoint *checkpoint, const char *path, GError **error)
{
    FastvlmShardIndex *index = fastvlm_shard_index_load(path, error);
    guint n_shards;
    gboolean ok = TRUE;

    if (!index)
        return FALSE;
    n_shards = fastvlm_shard_index_get_n_shards(index);
    for (guint i = 0; ok && i < n_shards; i++) {
        ok = open_file(checkpoint, fastvlm_shard_index_get_shard(index, i), error);
        if (!ok)
            g_prefix_error(error, "%s names ", INDEX_NAME);
    }
    for (guint i = 0; ok && i < n_shards; i++) {
        const FastvlmSafetensors *file = checkpoint->files->pdata[i];

        ok = fastvlm_shard_index_check(index, i, file, checkpoint->by_name, error);
        if (ok)
            add_views(checkpoint, file);
    }
    ok = ok && fastvlm_shard_index_check_all(index, checkpoint->by_name, error);
    fastvlm_shard_index_free(index);
    return ok;
}

/** One file goes before an index, as it does in transformers. */
static gboolean open_weights(FastvlmCheckpoint *checkpoint, GError **error)
{
    g_autofree char *single = g_build_filename(checkpoint->path, SINGLE_NAME, NULL);
    g_autofree char *index = g_build_filename(checkpoint->path, INDEX_NAME, NULL);

    if (fastvlm_file_is_there(single)) {
        if (!open_file(checkpoint, SINGLE_NAME, error))
            return FALSE;
        add_views(checkpoint, checkpoint->files->pdata[0]);
        return TRUE;
    }
    if (fastvlm_file_is_there(index))
        return open_shards(checkpoint, index, error);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
                "%s: neither " SINGLE_NAME " nor " INDEX_NAME ": " REMEDY, checkpoint->path);
    return FALSE;
}

FastvlmCheckpoint *fastvlm_checkpoint_open(const char *directory, GError **error)
{
    FastvlmCheckpoint *checkpoint;

    if (!check_directory(directory, error))
        return NULL;
    checkpoint = g_new0(FastvlmCheckpoint, 1);
    checkpoint->path = g_strdup(directory);
    checkpoint->files = g_ptr_array_new_with_free_func((GDestroyNotify)fastvlm_safetensors_free);
    checkpoint->views = g_ptr_array_new();
    checkpoint->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    if (!read_config(checkpoint, error) || !open_weights(checkpoint, error))
        g_clear_pointer(&checkpoint, fastvlm_checkpoint_free);
    return checkpoint;
}

const char *fastvlm_checkpoint_get_path(const FastvlmCheckpoint *checkpoint)
{
    return checkpoint->path;
}

const FastvlmConfig *fastvlm_checkpoint_get_config(const FastvlmCheckpoint *checkpoint)
{
    return checkpoint->config;
}

guint64 fastvlm_checkpoint_file_size(const FastvlmCheckpoint *checkpoint)
{
    guint64 size = 0;

    for (guint i = 0; i < checkpoint->files->len; i++)
        size += fastvlm_safetensors_get_size(checkpoint->files->pdata[i]);
    return size;
}

char *fastvlm_checkpoint_fingerprint(const FastvlmCheckpoint *checkpoint, const char *const *names)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    char *digits;

    for (guint i = 0; i < checkpoint->files->len; i++)
        fastvlm_safetensors_fingerprint(checkpoint->files->pdata[i], sum);
    for (; *names; names++) {
        g_autofree char *path = g_build_filename(checkpoint->path, *names, NULL);
        struct stat status;

        if (stat(path, &status) == 0)
            fastvlm_file_add_status(&status, sum);
        else
            g_checksum_update(sum, (const guchar *)"-", 1);
    }
    digits = g_strdup(g_checksum_get_string(sum));
    g_checksum_free(sum);
    return digits;
}

char *fastvlm_checkpoint_dtypes(const FastvlmCheckpoint *checkpoint)
{
    static const FastvlmDtype order[] = {FASTVLM_DTYPE_BF16, FASTVLM_DTYPE_F16, FASTVLM_DTYPE_F32};
    gboolean has[FASTVLM_N_DTYPES] = {FALSE};
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < checkpoint->views->len; i++)
        has[fastvlm_checkpoint_get_tensor(checkpoint, i)->dtype] = TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(order); i++)
        if (has[order[i]])
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "",
                                   fastvlm_dtype_to_string(order[i]));
    return g_string_free(text, FALSE);
}

const char *fastvlm_checkpoint_get_metadata(const FastvlmCheckpoint *checkpoint, const char *key)
{
    const char *text = NULL;

    for (guint i = 0; !text && i < checkpoint->files->len; i++)
        text = fastvlm_safetensors_get_metadata(checkpoint->files->pdata[i], key);
    return text;
}

guint fastvlm_checkpoint_get_n_tensors(const FastvlmCheckpoint *checkpoint)
{
    return checkpoint->views->len;
}

const FastvlmTensorView *fastvlm_checkpoint_get_tensor(const FastvlmCheckpoint *checkpoint,
                                                       guint index)
{
    return checkpoint->views->pdata[index];
}

const FastvlmTensorView *fastvlm_checkpoint_find(const FastvlmCheckpoint *checkpoint,
                                                 const char *name)
{
    return g_hash_table_lookup(checkpoint->by_name, name);
}

/** "[4, 3]", with "any" for -1. */
static char *spell_shape(int n_dims, const gint64 *shape)
{
    GString *text = g_string_new("[");

    for (int i = 0; i < n_dims; i++) {
        g_string_append(text, i > 0 ? ", " : "");
        if (shape[i] < 0)
            g_string_append(text, "any");
        else
            g_string_append_printf(text, "%" G_GINT64_FORMAT, shape[i]);
    }
    g_string_append_c(text, ']');
    return g_string_free(text, FALSE);
}

static gboolean shape_fits(const FastvlmTensorView *view, int n_dims, const gint64 *shape)
{
    if (view->n_dims != n_dims)
        return FALSE;
    for (int i = 0; i < n_dims; i++)
        if (shape[i] >= 0 && view->shape[i] != shape[i])
            return FALSE;
    return TRUE;
}

const FastvlmTensorView *fastvlm_checkpoint_require(const FastvlmCheckpoint *checkpoint,
                                                    const char *name, int n_dims,
                                                    const gint64 *shape, GError **error)
{
    const FastvlmTensorView *view = fastvlm_checkpoint_find(checkpoint, name);
    g_autofree char *expected = spell_shape(n_dims, shape);
    g_autofree char *found = NULL;

    if (!view) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: no tensor %s, expected one of shape %s", checkpoint->path, name, expected);
        return NULL;
    }
    if (!shape_fits(view, n_dims, shape)) {
        found = spell_shape(view->n_dims, view->shape);
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: tensor %s: shape %s, expected %s", view->file, name, found, expected);
        return NULL;
    }
    if (!fastvlm_dtype_is_weight(view->dtype)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: tensor %s: dtype %s, expected BF16, F16 or F32", view->file, name,
                    fastvlm_dtype_to_string(view->dtype));
        return NULL;
    }
    return view;
}

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

static gsize count_row_elements(const FastvlmTensorView *view)
{
    return (gsize)view->n_elements / (gsize)(view->n_dims > 0 ? view->shape[0] : 1);
}

void fastvlm_checkpoint_expect_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows)
{
    const gsize row_bytes = count_row_elements(view) * fastvlm_dtype_size(view->dtype);

    if (n_rows > 0)
        fastvlm_tensor_view_expect(view, (gsize)first_row * row_bytes, (gsize)n_rows * row_bytes);
}

gboolean fastvlm_checkpoint_read_f32(const FastvlmCheckpoint *checkpoint,
                                     const FastvlmTensorView *view, float *out, GError **error)
{
    fastvlm_tensor_view_expect(view, 0, view->n_bytes);
    return read_elements(view, 0, (gsize)view->n_elements, out, error);
}

gboolean fastvlm_checkpoint_read_f32_rows(const FastvlmCheckpoint *checkpoint,
                                          const FastvlmTensorView *view, gint64 first_row,
                                          gint64 n_rows, float *out, GError **error)
{
    const gint64 n_all = view->n_dims > 0 ? view->shape[0] : 1;
    const gsize row_size = count_row_elements(view);

    if (first_row < 0 || n_rows < 0 || first_row > n_all || n_rows > n_all - first_row) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "tensor %s: %" G_GINT64_FORMAT " rows from row %" G_GINT64_FORMAT
                    " on, expected some of its %" G_GINT64_FORMAT,
                    view->name, n_rows, first_row, n_all);
        return FALSE;
    }
    return read_elements(view, (gsize)first_row * row_size, (gsize)n_rows * row_size, out, error);
}
