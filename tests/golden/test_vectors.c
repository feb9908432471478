/*
 * The engine against vectors of an independent reference (reference.py): several shapes, storage types
 * and sizes; every number of threads gives the same bytes.
 *
 *     CASE.safetensors -> the case's checkpoint -> model by 1, 2, 5 threads -> each size: compare
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdlib.h>
#include <string.h>

#include <glib/gstdio.h>

#include <fastvlm/fastvlm.h>

#include "checkpoint.h"
#include "vectors.h"

static const int thread_counts[] = {1, 2, 5};

static void remove_directory(const char *directory)
{
    GDir *entries = g_dir_open(directory, 0, NULL);
    for (const char *name; entries && (name = g_dir_read_name(entries));) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        g_unlink(path);
    }
    g_clear_pointer(&entries, g_dir_close);
    g_rmdir(directory);
}

/* Compares one tensor with the vectors, and adds its bytes to `seen`. */
static void check_tensor(const Vectors *golden, int size, const char *name, const Vector *found,
                         GByteArray *seen)
{
    char *wrong = vectors_compare(golden, size, name, found);
    if (wrong)
        g_error("%s: %s", golden->path, wrong);
    g_byte_array_append(seen, found->data,
                        (guint)found->n_rows * (guint)found->n_columns * sizeof(float));
}

static void check_tensors(FastvlmSession *session, const Vectors *golden, int size,
                          const FastvlmResult *result, GByteArray *seen)
{
    static const char *const names[] = {"vision", "projected", "logits"};
    for (int i = 0; i < 3; i++) {
        Vector found = {.floats = TRUE, .n_dims = 2};
        found.data =
            fastvlm_session_get_tensor(session, (FastvlmTensor)i, &found.n_rows, &found.n_columns);
        g_assert_nonnull(found.data);
        if (i == FASTVLM_TENSOR_LOGITS) {
            g_assert_cmpint(found.n_rows, ==, 1);
            found.n_rows = found.n_columns;
            found.n_columns = found.n_dims = 1;
        }
        check_tensor(golden, size, names[i], &found, seen);
    }
    Vector tokens = {result->ids, FALSE, 1, result->n_tokens, 1};
    check_tensor(golden, size, "tokens", &tokens, seen);
}

/* Everything that the session computes for one size, as bytes. */
static GBytes *run_size(FastvlmSession *session, const Vectors *golden, int size)
{
    Vector prefix, suffix, tokens;
    g_autofree char *tokens_name = g_strdup_printf("%d.tokens", size);
    g_assert_true(vectors_find(golden, "prefix_ids", &prefix));
    g_assert_true(vectors_find(golden, "suffix_ids", &suffix));
    g_assert_true(vectors_find(golden, tokens_name, &tokens));
    g_autofree guint8 *pixels = vectors_draw_picture(size);
    FastvlmImage picture = {.format = FASTVLM_PIXEL_RGB,
                            .width = size,
                            .height = size,
                            .stride = size * 3,
                            .data = pixels};
    GError *error = NULL;
    fastvlm_session_set_image(session, &picture, size, FASTVLM_FIT_PAD, &error);
    g_assert_no_error(error);
    FastvlmGenerateParams params = {
        .max_tokens = tokens.n_rows,
        .prefix_ids = prefix.data,
        .n_prefix_ids = prefix.n_rows,
        .suffix_ids = suffix.data,
        .n_suffix_ids = suffix.n_rows,
        .use_ids = TRUE,
        .ignore_stop = TRUE,
    };
    FastvlmResult result;
    fastvlm_session_generate(session, &params, &result, &error);
    g_assert_no_error(error);
    g_assert_cmpint(result.n_prompt_tokens, ==,
                    prefix.n_rows + suffix.n_rows + (size / 64) * (size / 64));
    GByteArray *seen = g_byte_array_new();
    check_tensors(session, golden, size, &result, seen);
    fastvlm_result_clear(&result);
    return g_byte_array_free_to_bytes(seen);
}

static void run_threads(const char *directory, int n_threads, const Vectors *golden,
                        GHashTable *seen)
{
    GError *error = NULL;
    FastvlmModelParams params = {.precision = FASTVLM_PRECISION_F32, .n_threads = n_threads};
    FastvlmModel *model = fastvlm_model_load(directory, &params, &error);
    g_assert_no_error(error);
    FastvlmSession *session = fastvlm_session_new(model);
    const char *key;
    json_t *value;
    json_object_foreach(golden->header, key, value)
    {
        int size = atoi(key);
        if (size == 0 || !g_str_has_suffix(key, ".tokens"))
            continue;
        GBytes *bytes = run_size(session, golden, size);
        GBytes *first = g_hash_table_lookup(seen, key);
        if (first && !g_bytes_equal(bytes, first))
            g_error("%s: %d threads give other bytes than %d at %d pixels", golden->path, n_threads,
                    thread_counts[0], size);
        g_hash_table_replace(seen, g_strdup(key), bytes);
    }
    g_assert_cmpuint(g_hash_table_size(seen), >=, 2);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

static void test_case(gconstpointer data)
{
    const char *name = data;
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, name, NULL);
    g_autofree char *directory = g_dir_make_tmp("fastvlm-golden-XXXXXX", NULL);
    Vectors *golden = vectors_open(path);
    g_assert_nonnull(golden);
    GError *error = NULL;
    checkpoint_write(path, directory, NULL, &error);
    g_assert_no_error(error);
    GHashTable *seen =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    for (gsize i = 0; i < G_N_ELEMENTS(thread_counts); i++)
        run_threads(directory, thread_counts[i], golden, seen);
    g_hash_table_unref(seen);
    vectors_free(golden);
    remove_directory(directory);
}

static gboolean can_run(const char *core)
{
#ifdef __x86_64__
    if (strcmp(core, "Haswell") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(core, "SkylakeX") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#endif
    return FALSE;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* Kernels that this processor lacks are not to be asked of OpenBLAS: it would not say no. */
    const char *core = g_getenv("OPENBLAS_CORETYPE");
    if (core && !can_run(core)) {
        g_print("1..0 # SKIP this processor cannot run OpenBLAS's %s kernels\n", core);
        return 0;
    }
    g_test_add_data_func("/golden/narrow", "narrow.safetensors", test_case);
    g_test_add_data_func("/golden/untied", "untied.safetensors", test_case);
    g_test_add_data_func("/golden/half", "half.safetensors", test_case);
    g_test_add_data_func("/golden/grouped", "grouped.safetensors", test_case);
    return g_test_run();
}
