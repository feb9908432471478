/*
 * Joins the weight files of a directory.
 *
 *     model.safetensors ------------------------> file ---> views -> set of tensors
 *     model.safetensors.index.json -> shard names -> files -^        (each in the shard it says)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/checkpoint.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text_file.h"
#include "load/layout.h"
#include "load/shard_index.h"

#define SINGLE_NAME "model.safetensors"
#define INDEX_NAME "model.safetensors.index.json"
#define REMEDY                                                                              \
    "put config.json and " SINGLE_NAME " of a released checkpoint there, or use the model " \
    "\"demo\""

/** The weight files of one directory. */
typedef struct {
    char *path;
    GPtrArray *files; /* FastvlmSafetensors */
    GPtrArray *views; /* const FastvlmTensorView, file by file */
    FastvlmTensorSet *set;
} Weights;

struct _FastvlmCheckpoint {
    FastvlmConfig *config;
    Weights own;
    Weights vision; /* from elsewhere; path NULL: none */
};

static void clear_weights(Weights *weights)
{
    fastvlm_tensor_set_free(weights->set);
    g_clear_pointer(&weights->views, g_ptr_array_unref);
    g_clear_pointer(&weights->files, g_ptr_array_unref);
    g_free(weights->path);
}

void fastvlm_checkpoint_free(FastvlmCheckpoint *checkpoint)
{
    if (!checkpoint)
        return;
    clear_weights(&checkpoint->own);
    clear_weights(&checkpoint->vision);
    fastvlm_config_free(checkpoint->config);
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

    checkpoint->config = fastvlm_config_load(checkpoint->own.path, &problem);
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
static gboolean open_file(Weights *weights, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(weights->path, name, NULL);
    FastvlmSafetensors *file = fastvlm_safetensors_open(path, error);

    if (file)
        g_ptr_array_add(weights->files, file);
    return file != NULL;
}

static void add_views(Weights *weights, GHashTable *by_name, const FastvlmSafetensors *file)
{
    const guint n = fastvlm_safetensors_get_n_tensors(file);

    for (guint i = 0; i < n; i++) {
        const FastvlmTensorView *view = fastvlm_safetensors_get_tensor(file, i);

        g_ptr_array_add(weights->views, (gpointer)view);
        g_hash_table_insert(by_name, (gpointer)view->name, (gpointer)view);
    }
}

/** Checks the shards of `index`, which are open, and takes their tensors. */
static gboolean add_shards(Weights *weights, const FastvlmShardIndex *index, GError **error)
{
    GHashTable *by_name = g_hash_table_new(g_str_hash, g_str_equal);
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < weights->files->len; i++) {
        const FastvlmSafetensors *file = weights->files->pdata[i];

        ok = fastvlm_shard_index_check(index, i, file, by_name, error);
        if (ok)
            add_views(weights, by_name, file);
    }
    ok = ok && fastvlm_shard_index_check_all(index, by_name, error);
    g_hash_table_destroy(by_name);
    return ok;
}

static gboolean open_shards(Weights *weights, const char *path, GError **error)
{
    FastvlmShardIndex *index = fastvlm_shard_index_load(path, error);
    guint n_shards;
    gboolean ok = TRUE;

    if (!index)
        return FALSE;
    n_shards = fastvlm_shard_index_get_n_shards(index);
    for (guint i = 0; ok && i < n_shards; i++) {
        ok = open_file(weights, fastvlm_shard_index_get_shard(index, i), error);
        if (!ok)
            g_prefix_error(error, "%s names ", INDEX_NAME);
    }
    ok = ok && add_shards(weights, index, error);
    fastvlm_shard_index_free(index);
    return ok;
}

static gboolean open_single(Weights *weights, GError **error)
{
    GHashTable *by_name = g_hash_table_new(g_str_hash, g_str_equal);
    const gboolean ok = open_file(weights, SINGLE_NAME, error);

    if (ok)
        add_views(weights, by_name, weights->files->pdata[0]);
    g_hash_table_destroy(by_name);
    return ok;
}

/** One file goes before an index, as it does in transformers. */
static gboolean open_weights(Weights *weights, GError **error)
{
    g_autofree char *single = g_build_filename(weights->path, SINGLE_NAME, NULL);
    g_autofree char *index = g_build_filename(weights->path, INDEX_NAME, NULL);

    weights->files = g_ptr_array_new_with_free_func((GDestroyNotify)fastvlm_safetensors_free);
    weights->views = g_ptr_array_new();
    if (fastvlm_file_is_there(single))
        return open_single(weights, error);
    if (fastvlm_file_is_there(index))
        return open_shards(weights, index, error);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
                "%s: neither " SINGLE_NAME " nor " INDEX_NAME ": " REMEDY, weights->path);
    return FALSE;
}

/** Opens the weight files of `directory` and puts their tensors in order. */
static gboolean read_weights(Weights *weights, const char *directory, int group_size,
                             GError **error)
{
    g_free(weights->path);
    weights->path = g_strdup(directory);
    if (!open_weights(weights, error))
        return FALSE;
    weights->set = fastvlm_tensor_set_new(weights->views, group_size, error);
    return weights->set != NULL;
}

/** An encoder from elsewhere: all of it, and nothing but it. */
static gboolean replace_vision(FastvlmCheckpoint *checkpoint, const char *directory, GError **error)
{
    Weights *vision = &checkpoint->vision;

    if (!directory)
        return TRUE;
    if (!check_directory(directory, error) ||
        !read_weights(vision, directory, checkpoint->config->group_size, error)) {
        g_prefix_error(error, "the directory for the vision part: ");
        return FALSE;
    }
    if (!fastvlm_tensor_set_has(vision->set, FASTVLM_VISION_PREFIX)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: no vision part in it (tensors " FASTVLM_VISION_PREFIX
                    "*), expected a checkpoint that has one",
                    directory);
        return FALSE;
    }
    fastvlm_tensor_set_replace(checkpoint->own.set, FASTVLM_VISION_PREFIX, vision->set);
    return TRUE;
}

/** Whichever was asked for, or the file says; where it says nothing, the embedding if it is the only one. */
static void settle_head(FastvlmCheckpoint *checkpoint, FastvlmHead head)
{
    FastvlmConfig *config = checkpoint->config;

    if (head != FASTVLM_HEAD_AUTO)
        config->tied_head = head == FASTVLM_HEAD_TIED;
    else if (!config->says_head)
        config->tied_head = !fastvlm_tensor_set_find(checkpoint->own.set, "lm_head.weight");
}

/** Embeddings are padded for the sake of speed: rows beyond the vocabulary are harmless. */
static void settle_vocab_size(FastvlmCheckpoint *checkpoint)
{
    FastvlmConfig *config = checkpoint->config;
    const FastvlmTensorView *embedding =
        fastvlm_tensor_set_find(checkpoint->own.set, "model.embed_tokens.weight");

    if (embedding && embedding->n_dims == 2 && embedding->shape[0] > config->vocab_size &&
        embedding->shape[0] <= FASTVLM_CONFIG_MAX_VOCAB)
        config->vocab_size = (int)embedding->shape[0];
}

FastvlmCheckpoint *fastvlm_checkpoint_open_with(const char *directory, const char *vision,
                                                FastvlmHead head, GError **error)
{
    FastvlmCheckpoint *checkpoint;

    if (!check_directory(directory, error))
        return NULL;
    checkpoint = g_new0(FastvlmCheckpoint, 1);
    checkpoint->own.path = g_strdup(directory);
    if (!read_config(checkpoint, error) ||
        !read_weights(&checkpoint->own, directory, checkpoint->config->group_size, error) ||
        !replace_vision(checkpoint, vision, error)) {
        fastvlm_checkpoint_free(checkpoint);
        return NULL;
    }
    settle_head(checkpoint, head);
    settle_vocab_size(checkpoint);
    return checkpoint;
}

FastvlmCheckpoint *fastvlm_checkpoint_open(const char *directory, GError **error)
{
    return fastvlm_checkpoint_open_with(directory, NULL, FASTVLM_HEAD_AUTO, error);
}

const char *fastvlm_checkpoint_get_path(const FastvlmCheckpoint *checkpoint)
{
    return checkpoint->own.path;
}

const FastvlmConfig *fastvlm_checkpoint_get_config(const FastvlmCheckpoint *checkpoint)
{
    return checkpoint->config;
}

const char *fastvlm_checkpoint_get_layout(const FastvlmCheckpoint *checkpoint)
{
    return checkpoint->own.set->naming->name;
}

char *fastvlm_checkpoint_describe_layout(const FastvlmCheckpoint *checkpoint)
{
    const FastvlmTensorSet *set = checkpoint->own.set;
    GString *text = g_string_new(set->naming->about);

    if (set->is_folded)
        g_string_append(text, ", with the branches of training, which are folded as it is loaded");
    if (checkpoint->vision.path)
        g_string_append_printf(text, "; vision part from %s, %s", checkpoint->vision.path,
                               checkpoint->vision.set->naming->about);
    return g_string_free(text, FALSE);
}

static guint64 sum_sizes(const GPtrArray *files)
{
    guint64 size = 0;

    for (guint i = 0; files && i < files->len; i++)
        size += fastvlm_safetensors_get_size(files->pdata[i]);
    return size;
}

guint64 fastvlm_checkpoint_file_size(const FastvlmCheckpoint *checkpoint)
{
    return sum_sizes(checkpoint->own.files) + sum_sizes(checkpoint->vision.files);
}

static void add_fingerprints(const GPtrArray *files, GChecksum *sum)
{
    for (guint i = 0; files && i < files->len; i++)
        fastvlm_safetensors_fingerprint(files->pdata[i], sum);
}

char *fastvlm_checkpoint_fingerprint(const FastvlmCheckpoint *checkpoint, const char *const *names)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    char *digits;

    add_fingerprints(checkpoint->own.files, sum);
    add_fingerprints(checkpoint->vision.files, sum);
    for (; *names; names++) {
        g_autofree char *path = g_build_filename(checkpoint->own.path, *names, NULL);
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

static void note_dtypes(const GPtrArray *views, gboolean *has)
{
    for (guint i = 0; views && i < views->len; i++)
        has[((const FastvlmTensorView *)views->pdata[i])->dtype] = TRUE;
}

char *fastvlm_checkpoint_dtypes(const FastvlmCheckpoint *checkpoint)
{
    static const FastvlmDtype order[] = {FASTVLM_DTYPE_BF16, FASTVLM_DTYPE_F16, FASTVLM_DTYPE_F32};
    const FastvlmTensorSet *set = checkpoint->own.set;
    gboolean has[FASTVLM_N_DTYPES] = {FALSE};
    GString *text = g_string_new(NULL);

    note_dtypes(checkpoint->own.views, has);
    note_dtypes(checkpoint->vision.views, has);
    for (guint i = 0; i < G_N_ELEMENTS(order); i++)
        if (has[order[i]])
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "",
                                   fastvlm_dtype_to_string(order[i]));
    for (int bits = 2; bits <= 8; bits++)
        if (set->bits & 1u << bits)
            g_string_append_printf(text, "%s%d-bit words in groups of %d",
                                   text->len > 0 ? ", " : "", bits, set->group_size);
    return g_string_free(text, FALSE);
}

const char *fastvlm_checkpoint_get_metadata(const FastvlmCheckpoint *checkpoint, const char *key)
{
    const GPtrArray *files = checkpoint->own.files;
    const char *text = NULL;

    for (guint i = 0; !text && i < files->len; i++)
        text = fastvlm_safetensors_get_metadata(files->pdata[i], key);
    return text;
}

guint fastvlm_checkpoint_get_n_tensors(const FastvlmCheckpoint *checkpoint)
{
    return checkpoint->own.set->views->len;
}

const FastvlmTensorView *fastvlm_checkpoint_get_tensor(const FastvlmCheckpoint *checkpoint,
                                                       guint index)
{
    return checkpoint->own.set->views->pdata[index];
}

const FastvlmTensorView *fastvlm_checkpoint_find(const FastvlmCheckpoint *checkpoint,
                                                 const char *name)
{
    return fastvlm_tensor_set_find(checkpoint->own.set, name);
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
                    "%s: no tensor %s%s, expected one of shape %s", checkpoint->own.path, name,
                    checkpoint->own.set->naming == &fastvlm_naming_released
                        ? ""
                        : " (as Apple's release names it)",
                    expected);
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

void fastvlm_checkpoint_expect_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows)
{
    fastvlm_view_expect_rows(view, first_row, n_rows);
}

gboolean fastvlm_checkpoint_read_f32(const FastvlmCheckpoint *checkpoint,
                                     const FastvlmTensorView *view, float *out, GError **error)
{
    const gint64 n_rows = view->n_dims > 0 ? view->shape[0] : 1;

    fastvlm_view_expect_rows(view, 0, n_rows);
    return fastvlm_view_read_rows(view, 0, n_rows, out, error);
}

gboolean fastvlm_checkpoint_read_f32_rows(const FastvlmCheckpoint *checkpoint,
                                          const FastvlmTensorView *view, gint64 first_row,
                                          gint64 n_rows, float *out, GError **error)
{
    const gint64 n_all = view->n_dims > 0 ? view->shape[0] : 1;

    if (first_row < 0 || n_rows < 0 || first_row > n_all || n_rows > n_all - first_row) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "tensor %s: %" G_GINT64_FORMAT " rows from row %" G_GINT64_FORMAT
                    " on, expected some of its %" G_GINT64_FORMAT,
                    view->name, n_rows, first_row, n_all);
        return FALSE;
    }
    return fastvlm_view_read_rows(view, first_row, n_rows, out, error);
}
