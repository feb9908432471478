/*
 * Reads the index of a checkpoint in shards and holds the shards against it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/shard_index.h"

#include <string.h>

#include "base/text_file.h"

#define MAX_BYTES (16 << 20)
#define MAX_SHARDS 1000
#define MAX_NAME_BYTES 200
#define NAME_CHARACTERS G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "._-"

struct _FastvlmShardIndex {
    char *path;
    json_t *object;
    json_t *weight_map; /* tensor to shard; part of `object` */
    GPtrArray *shards;  /* names, part of `object` */
};

void fastvlm_shard_index_free(FastvlmShardIndex *index)
{
    if (!index)
        return;
    g_ptr_array_free(index->shards, TRUE);
    json_decref(index->object);
    g_free(index->path);
    g_free(index);
}

/** "PATH: tensor NAME: FOUND". */
static gboolean fail(const FastvlmShardIndex *index, GError **error, const char *name,
                     const char *found, ...) G_GNUC_PRINTF(4, 5);

static gboolean fail(const FastvlmShardIndex *index, GError **error, const char *name,
                     const char *found, ...)
{
    g_autofree char *quoted = fastvlm_text_quote(name);
    g_autofree char *text = NULL;
    va_list arguments;

    va_start(arguments, found);
    text = g_strdup_vprintf(found, arguments);
    va_end(arguments);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT, "%s: tensor %s: %s", index->path,
                quoted, text);
    return FALSE;
}

/** Nothing that could lead out of the directory or garble a message. */
static gboolean is_shard_name(const char *name)
{
    return *name != '.' && strlen(name) <= MAX_NAME_BYTES &&
           name[strspn(name, NAME_CHARACTERS)] == '\0' && g_str_has_suffix(name, ".safetensors");
}

static gboolean list_shards(FastvlmShardIndex *index, GError **error)
{
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    const char *tensor;
    json_t *value;

    json_object_foreach(index->weight_map, tensor, value)
    {
        const char *shard = json_string_value(value);

        if (!shard) {
            g_autofree char *found = fastvlm_text_spell(value);

            return fail(index, error, tensor, "found %s, expected the name of a file", found);
        }
        if (!is_shard_name(shard)) {
            g_autofree char *quoted = fastvlm_text_quote(shard);

            return fail(index, error, tensor,
                        "shard %s, expected the name of a .safetensors file in the same directory",
                        quoted);
        }
        if (!g_hash_table_add(known, (gpointer)shard))
            continue;
        if (index->shards->len == MAX_SHARDS)
            return fail(index, error, tensor, "its shard is one too many, expected at most %d",
                        MAX_SHARDS);
        g_ptr_array_add(index->shards, (gpointer)shard);
    }
    return TRUE;
}

static gboolean read_index(FastvlmShardIndex *index, GError **error)
{
    g_autofree char *found = NULL;

    index->object = fastvlm_text_file_read_small_object(index->path, MAX_BYTES, error);
    if (!index->object)
        return FALSE;
    index->weight_map = json_object_get(index->object, "weight_map");
    if (json_is_object(index->weight_map) && json_object_size(index->weight_map) > 0)
        return list_shards(index, error);
    found = json_is_object(index->weight_map) ? g_strdup("no tensor in it")
                                              : fastvlm_text_spell(index->weight_map);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "%s: weight_map: found %s, expected an object, tensor to file", index->path, found);
    return FALSE;
}

FastvlmShardIndex *fastvlm_shard_index_load(const char *path, GError **error)
{
    FastvlmShardIndex *index = g_new0(FastvlmShardIndex, 1);

    index->path = g_strdup(path);
    index->shards = g_ptr_array_new();
    if (!read_index(index, error))
        g_clear_pointer(&index, fastvlm_shard_index_free);
    return index;
}

guint fastvlm_shard_index_get_n_shards(const FastvlmShardIndex *index)
{
    return index->shards->len;
}

const char *fastvlm_shard_index_get_shard(const FastvlmShardIndex *index, guint shard)
{
    return index->shards->pdata[shard];
}

gboolean fastvlm_shard_index_check(const FastvlmShardIndex *index, guint shard,
                                   const FastvlmSafetensors *file, GHashTable *by_name,
                                   GError **error)
{
    const guint n = fastvlm_safetensors_get_n_tensors(file);

    for (guint i = 0; i < n; i++) {
        const FastvlmTensorView *view = fastvlm_safetensors_get_tensor(file, i);
        const FastvlmTensorView *other = g_hash_table_lookup(by_name, view->name);
        const char *named = json_string_value(json_object_get(index->weight_map, view->name));

        if (other)
            return fail(index, error, view->name, "it is in two shards, %s and %s, expected in one",
                        other->file, view->file);
        if (!named)
            return fail(index, error, view->name,
                        "it is in %s, but not in the index: fetch both again", view->file);
        if (strcmp(named, index->shards->pdata[shard]) != 0)
            return fail(index, error, view->name, "it is in %s, the index has it in %s", view->file,
                        named);
    }
    return TRUE;
}

gboolean fastvlm_shard_index_check_all(const FastvlmShardIndex *index, GHashTable *by_name,
                                       GError **error)
{
    const char *tensor;
    json_t *shard;

    json_object_foreach(index->weight_map, tensor, shard)
    {
        if (!g_hash_table_contains(by_name, tensor))
            return fail(index, error, tensor, "it is not in %s as the index says: fetch both again",
                        json_string_value(shard));
    }
    return TRUE;
}
