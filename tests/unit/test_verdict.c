/*
 * Which stages may be int8: an even checkpoint keeps all of them, one with a few channels far above the
 * others gives the stages up that they spoil, and what is kept is as close as it is said to be. The
 * verdict is kept in a file, which is believed only if it is whole and of this checkpoint.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>
#include <jansson.h>
#include <string.h>

#include "api/inspect.h"
#include "test_checkpoint.h"
#include "test_directory.h"
#include "vision/verdict.h"

/* The patch embeddings before the last two stages. */
#define EMBEDDINGS "model.vision_tower.vision_tower.model.network.%d.proj.1.reparam_conv.weight"

static char *directory;

/** Multiplies the first `n_rows` rows of an F32 tensor of model.safetensors by `factor`. */
static void scale_rows(const char *name, int n_rows, float factor)
{
    g_autofree char *path = g_build_filename(directory, "model.safetensors", NULL);
    g_autofree char *bytes = NULL;
    gsize size;
    guint64 header_size;
    json_t *header, *entry;
    json_int_t begin, n_out, n_in;

    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    memcpy(&header_size, bytes, 8);
    header = json_loadb(bytes + 8, header_size, 0, NULL);
    entry = json_object_get(header, name);
    g_assert_nonnull(entry);
    begin = json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
    n_out = json_integer_value(json_array_get(json_object_get(entry, "shape"), 0));
    n_in = json_integer_value(json_array_get(json_object_get(entry, "shape"), 1));
    g_assert_cmpint(n_rows, <=, n_out);
    for (json_int_t i = 0; i < n_rows * n_in; i++) {
        char *at = bytes + 8 + header_size + begin + i * 4;
        float value;

        memcpy(&value, at, sizeof value);
        value *= factor;
        memcpy(at, &value, sizeof value);
    }
    g_assert_true(g_file_set_contents(path, bytes, (gssize)size, NULL));
    json_decref(header);
}

typedef struct {
    int n_told;    /* while pictures are encoded: nothing is read then */
    int last_told; /* where it is cancelled; 0: nowhere */
} Told;

static gboolean note_progress(double fraction, gpointer data)
{
    Told *told = data;

    told->n_told += fraction == 0.0;
    return told->last_told == 0 || told->n_told < told->last_told;
}

/* FALSE where it was cancelled. */
static gboolean measure_told(int n_threads, FastvlmVisionVerdict *verdict, Told *told)
{
    GError *error = NULL;
    FastvlmCheckpoint *checkpoint = fastvlm_checkpoint_open(directory, &error);
    FastvlmCompute compute = {
        .pool = fastvlm_pool_new(n_threads, 0, NULL),
        .kernels = fastvlm_kernels_get(fastvlm_tier_in_use()),
    };
    FastvlmReader reader = {.checkpoint = checkpoint,
                            .pool = compute.pool,
                            .progress = told ? note_progress : NULL,
                            .progress_data = told};
    const FastvlmVisionPlan safe = {FASTVLM_MATRIX_F32, {FASTVLM_MATRIX_F32}};
    gboolean ok;

    g_assert_no_error(error);
    fastvlm_compute_init(&compute);
    fastvlm_vision_layout_detect(checkpoint, &reader.layout, &error);
    g_assert_no_error(error);
    ok = fastvlm_vision_measure(&reader, &compute, &safe, verdict, &error);
    if (told && told->last_told)
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    else
        g_assert_no_error(error);
    g_clear_error(&error);
    fastvlm_compute_clear(&compute);
    fastvlm_pool_free(compute.pool);
    fastvlm_checkpoint_free(checkpoint);
    return ok;
}

static FastvlmVisionVerdict measure(int n_threads)
{
    FastvlmVisionVerdict verdict;

    measure_told(n_threads, &verdict, NULL);
    return verdict;
}

static int count_int8(const FastvlmVisionVerdict *verdict)
{
    int n = 0;

    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        n += verdict->is_int8[s] != 0;
    return n;
}

static void test_even(void)
{
    FastvlmVisionVerdict verdict, again;

    test_checkpoint_write(directory, "F32");
    verdict = measure(1);
    again = measure(3);
    g_assert_cmpint(count_int8(&verdict), ==, FASTVLM_VISION_STAGES);
    g_assert_cmpfloat(verdict.cosine, >=, FASTVLM_VERDICT_LEAST_COSINE);
    g_assert_cmpfloat(verdict.cosine, <, 1.0);
    g_assert_cmpfloat(verdict.cosine, ==, again.cosine);
}

static void test_uneven(void)
{
    FastvlmVisionVerdict verdict;

    test_checkpoint_write(directory, "F32");
    for (int index = 5; index <= 8; index += 3) {
        g_autofree char *name = g_strdup_printf(EMBEDDINGS, index);

        scale_rows(name, 4, 50.0f);
    }
    verdict = measure(2);
    g_test_message("cosine %.6f, int8: %d %d %d %d %d", verdict.cosine, verdict.is_int8[0],
                   verdict.is_int8[1], verdict.is_int8[2], verdict.is_int8[3], verdict.is_int8[4]);
    g_assert_cmpint(count_int8(&verdict), <, FASTVLM_VISION_STAGES);
    g_assert_cmpint(count_int8(&verdict), >, 0);
    g_assert_false(verdict.is_int8[FASTVLM_VISION_STAGES - 1]);
    g_assert_cmpfloat(verdict.cosine, >=, FASTVLM_VERDICT_LEAST_COSINE);
}

/* Progress is told before each picture, and each time the load can be cancelled. */
static void test_told(void)
{
    FastvlmVisionVerdict verdict;
    Told told = {0};

    test_checkpoint_write(directory, "F32");
    g_assert_true(measure_told(2, &verdict, &told));
    g_assert_cmpint(told.n_told, >=, 6); /* three pictures by the safe encoder, three by int8 */
    for (int i = told.n_told; i > 0; i--) {
        Told cancelled = {.last_told = i};

        g_assert_false(measure_told(2, &verdict, &cancelled));
        g_assert_cmpint(cancelled.n_told, ==, i);
    }
}

/* The file a verdict is kept in; free with g_free(). */
static char *find_kept(const char *cache)
{
    GDir *dir = g_dir_open(cache, 0, NULL);
    const char *name;
    char *path = NULL;

    while (dir && !path && (name = g_dir_read_name(dir)))
        if (g_str_has_suffix(name, ".verdict"))
            path = g_build_filename(cache, name, NULL);
    g_dir_close(dir);
    return path;
}

/* What is said of it without a load. */
static void expect_auto(const char *words)
{
    FastvlmModelInfo *info = fastvlm_model_inspect(directory, NULL);
    g_autofree char *text = fastvlm_model_info_describe_auto(info, NULL);

    g_test_message("%s", text);
    g_assert_true(g_str_has_prefix(text, words));
    fastvlm_model_info_free(info);
}

static void expect_note(const char *note)
{
    g_autofree char *words = g_strconcat(note, ", as measured at an earlier load", NULL);
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load(directory, NULL, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(fastvlm_model_get_precision_note(model), ==, note);
    fastvlm_model_unref(model);
    expect_auto(words);
}

/* Replaces the first `from` in the kept verdict. */
static void edit_kept(const char *path, const char *from, const char *to)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) parts = NULL;
    g_autofree char *edited = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    parts = g_strsplit(text, from, 2);
    g_assert_cmpuint(g_strv_length(parts), ==, 2);
    edited = g_strjoinv(to, parts);
    g_assert_true(g_file_set_contents(path, edited, -1, NULL));
}

/* A kept verdict is used as it stands; a damaged one, or one on another checkpoint, is measured anew. */
static void test_kept(void)
{
    char *cache = test_directory_make();
    g_autofree char *path = NULL;

    if (fastvlm_tier_in_use() == FASTVLM_TIER_SCALAR) {
        g_test_skip("auto is f32 on plain kernels");
        test_directory_remove(cache);
        return;
    }
    g_setenv("FASTVLM_CACHE", cache, TRUE);
    g_setenv("FASTVLM_CACHE_MIN_SIZE", "0", TRUE);
    test_checkpoint_write(directory, "F32");
    expect_auto("int8 where that is close enough, which the first load will measure");
    expect_note("int8");
    path = find_kept(cache);
    g_assert_nonnull(path);
    edit_kept(path, "iiiii", "ii-i-");
    expect_note(g_str_has_suffix(path, "-bf16.verdict") ? "int8 (encoder stages 3, 5 in bf16)"
                                                        : "int8 (encoder stages 3, 5 in f32)");
    edit_kept(path, "ii-i-", "ii-x-");
    expect_note("int8");
    edit_kept(path, "iiiii", "-----");
    test_checkpoint_write(directory, "BF16");
    expect_note("int8");
    g_setenv("FASTVLM_CACHE", "off", TRUE);
    expect_auto("int8 where that is close enough, which each load measures");
    g_unsetenv("FASTVLM_CACHE_MIN_SIZE");
    test_directory_remove(cache);
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    directory = test_directory_make();
    g_test_add_func("/verdict/even", test_even);
    g_test_add_func("/verdict/uneven", test_uneven);
    g_test_add_func("/verdict/told", test_told);
    g_test_add_func("/verdict/kept", test_kept);
    status = g_test_run();
    test_directory_remove(directory);
    return status;
}
