/*
 * Checkpoint directories: dtypes, shards, tensors as asked for, and what is wrong with an index.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <stdlib.h>

#include "load/checkpoint.h"
#include "synth.h"
#include "test_data.h"
#include "test_directory.h"

#define P "model.vision_tower.vision_tower.model."

static SynthSpec get_spec(const char *name)
{
    SynthSpec spec;

    g_assert_true(fastvlm_synth_spec(name, &spec));
    return spec;
}

static char *write_checkpoint(const SynthSpec *spec)
{
    char *directory = test_directory_make();
    GError *error = NULL;

    fastvlm_synth_write(directory, spec, NULL, NULL, &error);
    g_assert_no_error(error);
    return directory;
}

static FastvlmCheckpoint *open_good(const char *directory)
{
    GError *error = NULL;
    FastvlmCheckpoint *checkpoint = fastvlm_checkpoint_open(directory, &error);

    g_assert_no_error(error);
    return checkpoint;
}

/* The generator's bytes are those of ../shared/reference/synth_checkpoint.py, seed 1 and 77. */
static void test_generator(void)
{
    static const struct {
        guint64 seed;
        const char *sha256;
    } files[] = {
        {1, "319824bac6e886f53bd7e1d036a7c1be7c68fa854529e1f3aaf384ac5dc8f08d"},
        {77, "740295bc225b4ec0a8a6ddab0b15d323c684684a36e0c01dcad97871a5e24041"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        SynthSpec spec = get_spec("tiny");
        char *directory;
        g_autofree char *path = NULL;
        g_autofree char *bytes = NULL;
        g_autofree char *sum = NULL;
        gsize n_bytes;

        spec.seed = files[i].seed;
        directory = write_checkpoint(&spec);
        path = g_build_filename(directory, "model.safetensors", NULL);
        g_assert_true(g_file_get_contents(path, &bytes, &n_bytes, NULL));
        sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guint8 *)bytes, n_bytes);
        g_assert_cmpstr(sum, ==, files[i].sha256);
        test_directory_remove(directory);
    }
}

/* Every tensor of a checkpoint, read, is what the weight function says, rounded to the dtype. */
static void check_weights(const SynthSpec *spec, const FastvlmCheckpoint *checkpoint)
{
    GPtrArray *tensors = fastvlm_synth_tensors(spec);

    g_assert_cmpuint(fastvlm_checkpoint_get_n_tensors(checkpoint), ==, tensors->len);
    for (guint i = 0; i < tensors->len; i++) {
        const SynthTensor *tensor = tensors->pdata[i];
        const FastvlmTensorView *view = fastvlm_checkpoint_find(checkpoint, tensor->name);
        g_autofree float *weights = NULL;
        g_autofree float *expected = NULL;
        GError *error = NULL;

        g_assert_nonnull(view);
        if (!fastvlm_dtype_is_weight(view->dtype))
            continue;
        weights = g_new(float, view->n_elements);
        expected = g_new(float, view->n_elements);
        fastvlm_checkpoint_read_f32(checkpoint, view, weights, &error);
        g_assert_no_error(error);
        fastvlm_synth_weights(spec, tensor, 0, view->n_elements, expected);
        for (guint64 k = 0; k < view->n_elements; k++)
            g_assert_true(weights[k] == fastvlm_synth_round(spec->dtype, expected[k]));
    }
    g_ptr_array_unref(tensors);
}

static void test_dtypes(void)
{
    static const char *const dtypes[] = {"BF16", "F16", "F32"};

    for (guint i = 0; i < G_N_ELEMENTS(dtypes); i++) {
        SynthSpec spec = get_spec("micro");
        FastvlmCheckpoint *checkpoint;
        g_autofree char *found = NULL;
        char *directory;

        spec.dtype = dtypes[i];
        directory = write_checkpoint(&spec);
        checkpoint = open_good(directory);
        found = fastvlm_checkpoint_dtypes(checkpoint);
        g_assert_cmpstr(found, ==, dtypes[i]);
        g_assert_cmpstr(fastvlm_checkpoint_get_metadata(checkpoint, "format"), ==, "pt");
        g_assert_cmpstr(fastvlm_checkpoint_get_path(checkpoint), ==, directory);
        check_weights(&spec, checkpoint);
        fastvlm_checkpoint_free(checkpoint);
        test_directory_remove(directory);
    }
}

static void test_mixed_dtypes(void)
{
    const SynthSpec spec = get_spec("micro");
    GPtrArray *tensors = fastvlm_synth_tensors(&spec);
    char *directory = test_directory_make();
    g_autofree char *found = NULL;
    FastvlmCheckpoint *checkpoint;
    GError *error = NULL;

    ((SynthTensor *)tensors->pdata[0])->dtype = "F32";
    fastvlm_synth_write(directory, &spec, tensors, NULL, &error);
    g_assert_no_error(error);
    checkpoint = open_good(directory);
    found = fastvlm_checkpoint_dtypes(checkpoint);
    g_assert_cmpstr(found, ==, "BF16, F32");
    fastvlm_checkpoint_free(checkpoint);
    g_ptr_array_unref(tensors);
    test_directory_remove(directory);
}

static void test_shards(void)
{
    SynthSpec spec = get_spec("micro");
    char *directory;
    FastvlmCheckpoint *checkpoint;

    spec.n_shards = 5;
    directory = write_checkpoint(&spec);
    checkpoint = open_good(directory);
    check_weights(&spec, checkpoint);
    g_assert_cmpuint(fastvlm_checkpoint_file_size(checkpoint), >, 250000);
    fastvlm_checkpoint_free(checkpoint);
    test_directory_remove(directory);
}

/* Rows read one by one, over the borders of chunks and pages, are those of the whole. */
static void test_rows(void)
{
    const SynthSpec spec = get_spec("tiny");
    char *directory = write_checkpoint(&spec);
    FastvlmCheckpoint *checkpoint = open_good(directory);
    const FastvlmTensorView *view =
        fastvlm_checkpoint_find(checkpoint, "model.embed_tokens.weight");
    g_autofree float *whole = g_new(float, view->n_elements);
    g_autofree float *rows = g_new(float, view->n_elements);
    GError *error = NULL;

    g_assert_true(fastvlm_checkpoint_read_f32(checkpoint, view, whole, NULL));
    for (gint64 row = 0; row < 512; row += 7)
        g_assert_true(fastvlm_checkpoint_read_f32_rows(checkpoint, view, row, MIN(7, 512 - row),
                                                       rows + row * 128, NULL));
    g_assert_cmpmem(rows, 512 * 128 * 4, whole, 512 * 128 * 4);
    g_assert_true(fastvlm_checkpoint_read_f32_rows(checkpoint, view, 512, 0, rows, NULL));
    g_assert_false(fastvlm_checkpoint_read_f32_rows(checkpoint, view, 510, 3, rows, &error));
    test_assert_error(error, FASTVLM_ERROR_ARGUMENT, "model.embed_tokens.weight",
                      "3 rows from row 510", NULL);
    g_assert_false(fastvlm_checkpoint_read_f32_rows(checkpoint, view, -1, 1, rows, NULL));
    g_assert_false(fastvlm_checkpoint_read_f32_rows(checkpoint, view, 1, G_MAXINT64, rows, NULL));
    fastvlm_checkpoint_free(checkpoint);
    test_directory_remove(directory);
}

static void test_require(void)
{
    const SynthSpec spec = get_spec("micro");
    const gint64 shape[4] = {16, -1, 1, 1};
    char *directory = write_checkpoint(&spec);
    FastvlmCheckpoint *checkpoint = open_good(directory);
    const char *name = P "network.1.proj.1.reparam_conv.weight";
    GError *error = NULL;

    g_assert_nonnull(fastvlm_checkpoint_require(checkpoint, name, 4, shape, &error));
    g_assert_no_error(error);
    g_assert_null(fastvlm_checkpoint_require(checkpoint, name, 3, shape, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, "model.safetensors", name,
                      "shape [16, 16, 1, 1], expected [16, any, 1]", NULL);
    error = NULL;
    g_assert_null(fastvlm_checkpoint_require(checkpoint, "model.none", 4, shape, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, directory, "no tensor model.none",
                      "shape [16, any, 1, 1]", NULL);
    error = NULL;
    g_assert_null(fastvlm_checkpoint_require(
        checkpoint, P "network.0.0.convffn.conv.bn.num_batches_tracked", 0, shape, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, "num_batches_tracked",
                      "dtype I64, expected BF16, F16 or F32", NULL);
    fastvlm_checkpoint_free(checkpoint);
    test_directory_remove(directory);
}

/* Damages element `index` of model.norm.weight: all its bits are set, which is not a number. */
static void damage_norm(const char *directory, gsize index)
{
    g_autofree char *path = g_build_filename(directory, "model.safetensors", NULL);
    g_autofree char *bytes = NULL;
    FastvlmCheckpoint *checkpoint = open_good(directory);
    const FastvlmTensorView *view = fastvlm_checkpoint_find(checkpoint, "model.norm.weight");
    gsize n_bytes;

    g_assert_true(g_file_get_contents(path, &bytes, &n_bytes, NULL));
    memset(bytes + view->offset + 2 * index, 0xff, 2);
    fastvlm_checkpoint_free(checkpoint);
    test_directory_write(directory, "model.safetensors", bytes, (gssize)n_bytes);
}

static void test_not_finite(void)
{
    const SynthSpec spec = get_spec("micro");
    char *directory = write_checkpoint(&spec);
    FastvlmCheckpoint *checkpoint;
    const FastvlmTensorView *view;
    float weights[32];
    GError *error = NULL;

    damage_norm(directory, 19);
    checkpoint = open_good(directory);
    view = fastvlm_checkpoint_find(checkpoint, "model.norm.weight");
    g_assert_false(fastvlm_checkpoint_read_f32(checkpoint, view, weights, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, "model.safetensors", "tensor model.norm.weight",
                      "element 19 is not finite", NULL);
    error = NULL;
    g_assert_false(fastvlm_checkpoint_read_f32_rows(checkpoint, view, 16, 8, weights, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, "element 19 is not finite", NULL);
    g_assert_true(fastvlm_checkpoint_read_f32_rows(checkpoint, view, 0, 19, weights, NULL));
    fastvlm_checkpoint_free(checkpoint);
    test_directory_remove(directory);
}

static void assert_fails(const char *directory, FastvlmError code, const char *item,
                         const char *found)
{
    GError *error = NULL;

    g_assert_null(fastvlm_checkpoint_open(directory, &error));
    test_assert_error(error, code, item, found, NULL);
}

/* What is not there is named, with what to do. */
static void test_missing(void)
{
    const SynthSpec spec = get_spec("micro");
    char *directory = write_checkpoint(&spec);
    g_autofree char *absent = g_build_filename(directory, "absent", NULL);
    g_autofree char *config = g_build_filename(directory, "config.json", NULL);
    g_autofree char *weights = g_build_filename(directory, "model.safetensors", NULL);

    assert_fails(absent, FASTVLM_ERROR_NOT_FOUND, absent,
                 "no such directory: put config.json and model.safetensors");
    assert_fails(config, FASTVLM_ERROR_NOT_FOUND, config, "not a directory");
    g_assert_cmpint(g_unlink(weights), ==, 0);
    assert_fails(directory, FASTVLM_ERROR_NOT_FOUND, directory,
                 "neither model.safetensors nor model.safetensors.index.json: put config.json");
    g_assert_cmpint(g_unlink(config), ==, 0);
    assert_fails(directory, FASTVLM_ERROR_NOT_FOUND, config, "put config.json");
    test_directory_remove(directory);
}

static void test_unreadable(void)
{
    const SynthSpec spec = get_spec("micro");
    char *directory = write_checkpoint(&spec);
    g_autofree char *weights = g_build_filename(directory, "model.safetensors", NULL);

    if (geteuid() == 0) {
        g_test_skip("root may read everything");
    } else {
        g_chmod(weights, 0);
        assert_fails(directory, FASTVLM_ERROR_READ, weights,
                     "Permission denied: make it readable for this user");
    }
    test_directory_remove(directory);
}

/* Writes two shards, a with x and b with y, four bytes each, and the index `text`. */
static char *write_index(const char *text)
{
    static const char names[2][2] = {"x", "y"};
    static const char *const files[2] = {"a.safetensors", "b.safetensors"};
    const SynthSpec spec = get_spec("micro");
    char *directory = test_directory_make();
    json_t *config = fastvlm_synth_config(&spec);
    char *config_text = json_dumps(config, 0);

    for (int i = 0; i < 2; i++) {
        g_autofree char *header = g_strdup_printf(
            "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", names[i]);
        GString *bytes = g_string_new_len("\0\0\0\0\0\0\0\0", 8);

        bytes->str[0] = (char)strlen(header);
        g_string_append(bytes, header);
        g_string_append_len(bytes, "\0\0\0\0", 4);
        test_directory_write(directory, files[i], bytes->str, (gssize)bytes->len);
        g_string_free(bytes, TRUE);
    }
    test_directory_write(directory, "config.json", config_text, -1);
    test_directory_write(directory, "model.safetensors.index.json", text, -1);
    free(config_text);
    json_decref(config);
    return directory;
}

typedef struct {
    const char *name;
    const char *index;
    FastvlmError code;
    const char *item;
    const char *found;
} BadIndex;

#define MAP(entries) "{\"weight_map\":{" entries "}}"

static const BadIndex bad_indices[] = {
    {"json", "{", FASTVLM_ERROR_FORMAT, "index.json", "not valid JSON"},
    {"no-map", "{\"metadata\":{}}", FASTVLM_ERROR_FORMAT, "index.json",
     "weight_map: found nothing, expected an object"},
    {"map-array", "{\"weight_map\":[]}", FASTVLM_ERROR_FORMAT, "index.json",
     "weight_map: found an array, expected an object"},
    {"empty-map", "{\"weight_map\":{}}", FASTVLM_ERROR_FORMAT, "index.json",
     "weight_map: found no tensor in it, expected"},
    {"number", MAP("\"x\":1"), FASTVLM_ERROR_FORMAT, "tensor \"x\"",
     "found 1, expected the name of a file"},
    {"absolute", MAP("\"x\":\"/etc/a.safetensors\""), FASTVLM_ERROR_FORMAT, "tensor \"x\"",
     "shard \"/etc/a.safetensors\", expected the name of a .safetensors file in the same"},
    {"above", MAP("\"x\":\"../a.safetensors\""), FASTVLM_ERROR_FORMAT, "tensor \"x\"",
     "shard \"../a.safetensors\""},
    {"hidden", MAP("\"x\":\"..safetensors\""), FASTVLM_ERROR_FORMAT, "tensor \"x\"",
     "shard \"..safetensors\""},
    {"control", MAP("\"x\":\"a\\u001b[31m.safetensors\""), FASTVLM_ERROR_FORMAT, "tensor \"x\"",
     "shard \"a\\033[31m.safetensors\""},
    {"other-kind", MAP("\"x\":\"config.json\""), FASTVLM_ERROR_FORMAT, "tensor \"x\"",
     "shard \"config.json\""},
    {"empty-name", MAP("\"x\":\"\""), FASTVLM_ERROR_FORMAT, "tensor \"x\"", "shard \"\""},
    {"missing-shard", MAP("\"x\":\"a.safetensors\",\"y\":\"c.safetensors\""),
     FASTVLM_ERROR_NOT_FOUND, "model.safetensors.index.json names ", "c.safetensors"},
    {"not-in-index", MAP("\"y\":\"b.safetensors\",\"z\":\"a.safetensors\""), FASTVLM_ERROR_FORMAT,
     "tensor \"x\"", "but not in the index: fetch both again"},
    {"other-shard", MAP("\"x\":\"b.safetensors\",\"y\":\"a.safetensors\""), FASTVLM_ERROR_FORMAT,
     "tensor \"", "the index has it in"},
    {"not-there", MAP("\"x\":\"a.safetensors\",\"y\":\"b.safetensors\",\"z\":\"b.safetensors\""),
     FASTVLM_ERROR_FORMAT, "tensor \"z\"",
     "not in b.safetensors as the index says: fetch both again"},
    {"twice", MAP("\"x\":\"a.safetensors\",\"y\":\"b.safetensors\",\"x\":\"b.safetensors\""),
     FASTVLM_ERROR_FORMAT, "index.json", "duplicate"},
};

static void test_bad_index(gconstpointer data)
{
    const BadIndex *bad = data;
    char *directory = write_index(bad->index);

    assert_fails(directory, bad->code, bad->item, bad->found);
    test_directory_remove(directory);
}

static void test_twin_shards(void)
{
    char *directory = write_index(MAP("\"x\":\"a.safetensors\",\"y\":\"b.safetensors\""));
    g_autofree char *a = g_build_filename(directory, "a.safetensors", NULL);
    g_autofree char *bytes = NULL;
    gsize n_bytes;

    fastvlm_checkpoint_free(open_good(directory));
    g_assert_true(g_file_get_contents(a, &bytes, &n_bytes, NULL));
    test_directory_write(directory, "b.safetensors", bytes, (gssize)n_bytes);
    assert_fails(directory, FASTVLM_ERROR_FORMAT, "tensor \"x\"", "it is in two shards, ");
    test_directory_remove(directory);
}

/* A single file goes before an index. */
static void test_single_first(void)
{
    const SynthSpec spec = get_spec("micro");
    char *directory = write_checkpoint(&spec);

    test_directory_write(directory, "model.safetensors.index.json", "{", -1);
    fastvlm_checkpoint_free(open_good(directory));
    test_directory_remove(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/checkpoint/generator", test_generator);
    g_test_add_func("/checkpoint/dtypes", test_dtypes);
    g_test_add_func("/checkpoint/mixed-dtypes", test_mixed_dtypes);
    g_test_add_func("/checkpoint/shards", test_shards);
    g_test_add_func("/checkpoint/rows", test_rows);
    g_test_add_func("/checkpoint/require", test_require);
    g_test_add_func("/checkpoint/not-finite", test_not_finite);
    g_test_add_func("/checkpoint/missing", test_missing);
    g_test_add_func("/checkpoint/unreadable", test_unreadable);
    for (guint i = 0; i < G_N_ELEMENTS(bad_indices); i++) {
        g_autofree char *name = g_strconcat("/checkpoint/index/", bad_indices[i].name, NULL);

        g_test_add_data_func(name, &bad_indices[i], test_bad_index);
    }
    g_test_add_func("/checkpoint/twin-shards", test_twin_shards);
    g_test_add_func("/checkpoint/single-first", test_single_first);
    return g_test_run();
}
