/*
 * Synthetic checkpoints for the tests of numbers: what a file of vectors says about its case, as
 * tests/synth writes it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "synth.h"
#include "vectors.h"

/* Room for the demo's tokenizer of some 600 tokens. */
static const SynthSpec speaking = {
    .blocks = {1, 1, 1, 1, 1},
    .dims = {8, 16, 32, 64, 128},
    .n_classes = 64,
    .hidden = 64,
    .n_layers = 2,
    .n_heads = 4,
    .n_kv_heads = 2,
    .intermediate = 96,
    .vocab_size = 1024,
    .tied = TRUE,
    .resolution = 256,
    .seed = 1,
    .dtype = "BF16",
    .n_shards = 1,
};

static int get_number(json_t *object, const char *key)
{
    return (int)json_integer_value(json_object_get(object, key));
}

static void get_numbers(json_t *object, const char *key, int numbers[5])
{
    json_t *array = json_object_get(object, key);
    for (size_t i = 0; i < 5; i++)
        numbers[i] = (int)json_integer_value(json_array_get(array, i));
}

/* What reference.py wrote of its case, in `spec`. */
static void read_case(json_t *object, SynthSpec *spec)
{
    const char *dtype = json_string_value(json_object_get(object, "dtype"));
    *spec = speaking;
    get_numbers(object, "blocks", spec->blocks);
    get_numbers(object, "dims", spec->dims);
    spec->hidden = get_number(object, "hidden");
    spec->n_layers = get_number(object, "layers");
    spec->n_heads = get_number(object, "heads");
    spec->n_kv_heads = get_number(object, "kv_heads");
    spec->intermediate = get_number(object, "ffn");
    spec->vocab_size = get_number(object, "vocab");
    spec->tied = json_is_true(json_object_get(object, "tied"));
    spec->seed = (guint64)get_number(object, "seed");
    spec->dtype = g_str_equal(dtype, "F32") ? "F32" : g_str_equal(dtype, "F16") ? "F16" : "BF16";
}

static gboolean find_case(const char *path, SynthSpec *spec)
{
    Vectors *vectors = vectors_open(path);
    json_t *metadata = vectors ? json_object_get(vectors->header, "__metadata__") : NULL;
    const char *text = json_string_value(json_object_get(metadata, "case"));
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;
    gboolean found = json_is_string(json_object_get(object, "dtype"));
    if (found)
        read_case(object, spec);
    json_decref(object);
    vectors_free(vectors);
    return found;
}

gboolean checkpoint_write(const char *name, const char *directory, const char *tokenizer,
                          GError **error)
{
    SynthSpec spec = speaking;
    if (!g_str_equal(name, "speaking") && !fastvlm_synth_spec(name, &spec) &&
        !find_case(name, &spec)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: neither the name of a checkpoint nor vectors with a case", name);
        return FALSE;
    }
    spec.tokenizer = tokenizer;
    return fastvlm_synth_write(directory, &spec, NULL, NULL, error);
}
