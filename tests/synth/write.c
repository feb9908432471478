/*
 * Writes the files of a checkpoint.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "private.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 65536

static gsize size_of(const char *dtype)
{
    if (strcmp(dtype, "I64") == 0)
        return 8;
    return strcmp(dtype, "F32") == 0 || strcmp(dtype, "U32") == 0 ? 4 : 2;
}

/** {"dtype":"BF16","shape":[4,3],"data_offsets":[0,24]}, with no blank, as Python's json dumps. */
static void append_entry(GString *header, const SynthTensor *tensor, guint64 *offset)
{
    const guint64 end = *offset + fastvlm_synth_count_elements(tensor) * size_of(tensor->dtype);

    g_string_append_printf(header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name,
                           tensor->dtype);
    for (int i = 0; i < tensor->n_dims; i++)
        g_string_append_printf(header, "%s%" G_GINT64_FORMAT, i > 0 ? "," : "", tensor->shape[i]);
    g_string_append_printf(
        header, "],\"data_offsets\":[%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "]}", *offset, end);
    *offset = end;
}

static void write_header(FILE *file, SynthTensor *const *tensors, guint n_tensors)
{
    GString *header = g_string_new("{\"__metadata__\":{\"format\":\"pt\"}");
    guint64 offset = 0;
    guint64 length;

    for (guint i = 0; i < n_tensors; i++)
        append_entry(header, tensors[i], &offset);
    g_string_append_c(header, '}');
    while (header->len % 8 != 0)
        g_string_append_c(header, ' ');
    length = GUINT64_TO_LE(header->len);
    fwrite(&length, sizeof length, 1, file);
    fwrite(header->str, 1, header->len, file);
    g_string_free(header, TRUE);
}

static void write_tensor(FILE *file, const SynthSpec *spec, const SynthTensor *tensor)
{
    const guint64 n = fastvlm_synth_count_elements(tensor);
    g_autofree float *weights = g_new(float, CHUNK);
    g_autofree guint8 *bytes = g_new0(guint8, CHUNK * 8);

    for (guint64 first = 0; first < n; first += CHUNK) {
        const gsize n_chunk = (gsize)MIN(CHUNK, n - first);
        guint8 *at = bytes;

        if (tensor->words) {
            memcpy(bytes, tensor->words + first, n_chunk * sizeof *tensor->words);
        } else if (strcmp(tensor->dtype, "I64") != 0) {
            if (tensor->values)
                memcpy(weights, tensor->values + first, n_chunk * sizeof *weights);
            else
                fastvlm_synth_weights(spec, tensor, first, n_chunk, weights);
            for (gsize i = 0; i < n_chunk; i++)
                at += fastvlm_synth_store(tensor->dtype, weights[i], at);
        }
        fwrite(bytes, size_of(tensor->dtype), n_chunk, file);
    }
}

/** Closes `file`, which may be NULL: it could not be opened; FALSE where anything went wrong. */
static gboolean finish(FILE *file, const char *path, GError **error)
{
    gboolean failed = !file || ferror(file);

    if (file && fclose(file) != 0)
        failed = TRUE;
    if (failed)
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: cannot write: %s",
                    path, g_strerror(errno));
    return !failed;
}

/** Not by g_file_set_contents(), which waits for the disk. */
static gboolean write_bytes(const char *directory, const char *name, const char *bytes, gsize n,
                            GError **error)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    FILE *file = fopen(path, "wb");

    if (file)
        fwrite(bytes, 1, n, file);
    return finish(file, path, error);
}

static gboolean write_weights(const char *directory, const char *name, const SynthSpec *spec,
                              SynthTensor *const *tensors, guint n_tensors, GError **error)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    FILE *file = fopen(path, "wb");

    if (file)
        write_header(file, tensors, n_tensors);
    for (guint i = 0; file && i < n_tensors; i++)
        write_tensor(file, spec, tensors[i]);
    return finish(file, path, error);
}

static gboolean write_json(const char *directory, const char *name, const json_t *object,
                           GError **error)
{
    char *text = json_dumps(object, JSON_INDENT(2));
    const gboolean ok = write_bytes(directory, name, text, strlen(text), error);

    free(text);
    return ok;
}

/** Shards get runs of tensors of the same length, in the order of the list. */
static gboolean write_shards(const char *directory, const SynthSpec *spec, const GPtrArray *tensors,
                             GError **error)
{
    const guint n_each = (tensors->len + (guint)spec->n_shards - 1) / (guint)spec->n_shards;
    json_t *map = json_object();
    json_t *index = json_pack("{s:{}, s:o}", "metadata", "weight_map", map);
    gboolean ok = TRUE;

    for (guint shard = 0; ok && shard * n_each < tensors->len; shard++) {
        const guint n = MIN(n_each, tensors->len - shard * n_each);
        SynthTensor *const *first = (SynthTensor **)tensors->pdata + shard * n_each;
        g_autofree char *name =
            g_strdup_printf("model-%05u-of-%05d.safetensors", shard + 1, spec->n_shards);

        for (guint i = 0; i < n; i++)
            json_object_set_new(map, first[i]->name, json_string(name));
        ok = write_weights(directory, name, spec, first, n, error);
    }
    ok = ok && write_json(directory, "model.safetensors.index.json", index, error);
    json_decref(index);
    return ok;
}

static gboolean copy_tokenizer(const char *from, const char *to, GError **error)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                        "tokenizer_config.json", "special_tokens_map.json"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *source = g_build_filename(from, names[i], NULL);
        g_autofree char *bytes = NULL;
        gsize n_bytes;

        if (!g_file_test(source, G_FILE_TEST_EXISTS))
            continue;
        if (!g_file_get_contents(source, &bytes, &n_bytes, error) ||
            !write_bytes(to, names[i], bytes, n_bytes, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean write_all(const char *directory, const SynthSpec *spec, const GPtrArray *tensors,
                          const json_t *config, GError **error)
{
    if (!write_json(directory, "config.json", config, error) ||
        (spec->tokenizer && !copy_tokenizer(spec->tokenizer, directory, error)))
        return FALSE;
    if (spec->n_shards > 1)
        return write_shards(directory, spec, tensors, error);
    return write_weights(directory, "model.safetensors", spec, (SynthTensor *const *)tensors->pdata,
                         tensors->len, error);
}

gboolean fastvlm_synth_write(const char *directory, const SynthSpec *spec, const GPtrArray *tensors,
                             const json_t *config, GError **error)
{
    GPtrArray *own_tensors = tensors ? NULL : fastvlm_synth_tensors(spec);
    json_t *own_config = config ? NULL : fastvlm_synth_config(spec);
    gboolean ok;

    if (g_mkdir_with_parents(directory, 0777) != 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "%s: cannot make: %s",
                    directory, g_strerror(errno));
        ok = FALSE;
    } else {
        ok = write_all(directory, spec, tensors ? tensors : own_tensors,
                       config ? config : own_config, error);
    }
    g_clear_pointer(&own_tensors, g_ptr_array_unref);
    json_decref(own_config);
    return ok;
}
