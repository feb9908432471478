/*
 * Every layout that checkpoints come in computes what the same weights do in Apple's release.
 *
 *     tests/synth -> a model in another layout and in the release's -> load both -> same numbers
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <string.h>

#include <fastvlm/fastvlm.h>
#include <jansson.h>

#include "synth.h"
#include "test_data.h"
#include "test_directory.h"
#include "test_picture.h"

#define SIZE 128
#define N_TOKENS 4

/* All that a model computes for one picture and prompt. */
typedef struct {
    float *tensors[3]; /* vision, projected, logits */
    int sizes[3];
    gint32 ids[N_TOKENS];
} Numbers;

static void clear_numbers(Numbers *numbers)
{
    for (int i = 0; i < 3; i++)
        g_free(numbers->tensors[i]);
}

static void set_picture(FastvlmSession *session)
{
    guint8 *pixels = g_new(guint8, SIZE * SIZE * 3);

    for (int i = 0; i < SIZE * SIZE * 3; i++)
        pixels[i] = (guint8)(i * 7 + i / SIZE * 3);
    test_set_picture(session, pixels, SIZE, SIZE, FASTVLM_FIT_AUTO);
    g_free(pixels);
}

static Numbers compute(FastvlmModel *model)
{
    static const gint32 prefix[3] = {5, 17, 60}, suffix[4] = {1, 33, 2, 90};
    const FastvlmGenerateParams params = {.prefix_ids = prefix,
                                          .n_prefix_ids = 3,
                                          .suffix_ids = suffix,
                                          .n_suffix_ids = 4,
                                          .use_ids = TRUE,
                                          .ignore_stop = TRUE,
                                          .max_tokens = N_TOKENS};
    FastvlmSession *session = fastvlm_session_new(model);
    Numbers numbers = {0};
    FastvlmResult result;
    GError *error = NULL;

    set_picture(session);
    fastvlm_session_generate(session, &params, &result, &error);
    g_assert_no_error(error);
    g_assert_cmpint(result.n_tokens, ==, N_TOKENS);
    memcpy(numbers.ids, result.ids, sizeof numbers.ids);
    for (int i = 0; i < 3; i++) {
        int n_rows, n_columns;
        const float *data =
            fastvlm_session_get_tensor(session, (FastvlmTensor)i, &n_rows, &n_columns);

        numbers.sizes[i] = n_rows * n_columns;
        numbers.tensors[i] = g_memdup2(data, (gsize)numbers.sizes[i] * sizeof(float));
    }
    fastvlm_result_clear(&result);
    fastvlm_session_free(session);
    return numbers;
}

static FastvlmModel *load(const char *directory, const char *vision, FastvlmHead head)
{
    const FastvlmModelParams params = {.precision = FASTVLM_PRECISION_F32,
                                       .n_threads = 2,
                                       .no_cache = TRUE,
                                       .vision_path = vision,
                                       .head = head};
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load(directory, &params, &error);

    g_assert_no_error(error);
    return model;
}

static Numbers load_and_compute(const char *directory, const char *vision)
{
    FastvlmModel *model = load(directory, vision, FASTVLM_HEAD_AUTO);
    Numbers numbers = compute(model);

    fastvlm_model_unref(model);
    return numbers;
}

/* The largest difference, as a share of the largest number. Further logits, of padding, do not count. */
static double compare(const Numbers *found, const Numbers *expected, int tensor)
{
    const int n = expected->sizes[tensor];
    double most = 0.0, worst = 0.0;

    g_assert_cmpint(found->sizes[tensor], >=, n);
    for (int i = 0; i < n; i++) {
        const double x = expected->tensors[tensor][i];

        most = MAX(most, fabs(x));
        worst = MAX(worst, fabs(found->tensors[tensor][i] - x));
    }
    g_assert_cmpfloat(most, >, 0.0);
    return worst / most;
}

typedef struct {
    const char *layout;
    gboolean is_untied;
    double tolerance;
    const char *name; /* what it is said to be */
    const char *note;
    const char *dtypes;
    FastvlmFit fit;
} Case;

static const Case cases[] = {
    {"hub", FALSE, 0.0, "fast_vlm", "transformers", "BF16", FASTVLM_FIT_CROP},
    {"hub", TRUE, 0.0, "fast_vlm", "transformers", "BF16", FASTVLM_FIT_CROP},
    {"mlx4", FALSE, 0.0, "mlx", "vision part from", "4-bit words in groups of 64", FASTVLM_FIT_PAD},
    {"mlx8", FALSE, 0.0, "mlx", "for MLX", "8-bit words in groups of 64", FASTVLM_FIT_PAD},
    {"mlx4", TRUE, 0.0, "mlx", "for MLX", "4-bit words in groups of 64", FASTVLM_FIT_PAD},
    {"branches", FALSE, 2e-5, "llava_qwen2", "branches of training", "BF16, F32", FASTVLM_FIT_PAD},
};

static void make_spec(const Case *test, SynthSpec *spec)
{
    g_assert_true(fastvlm_synth_spec("tiny", spec));
    spec->resolution = SIZE;
    if (test->is_untied)
        spec->tied = FALSE;
    if (g_str_has_prefix(test->layout, "mlx"))
        spec->dtype = "F16";
}

static void check_info(const Case *test, const SynthSpec *spec, const char *directory,
                       const char *vision)
{
    const FastvlmModelParams params = {.vision_path = vision};
    GError *error = NULL;
    FastvlmModelInfo *info = fastvlm_model_inspect_for(directory, &params, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(info->layout, ==, test->name);
    g_assert_nonnull(strstr(info->layout_note, test->note));
    g_assert_nonnull(strstr(info->stored_dtypes, test->dtypes));
    g_assert_cmpint(info->fit, ==, test->fit);
    g_assert_cmpint(info->resolution, ==, SIZE);
    g_assert_cmpint(info->tied_head, ==, spec->tied);
    g_assert_null(info->head_note);
    g_assert_cmpint(info->vocab_size, >=, spec->vocab_size);
    fastvlm_model_info_free(info);
}

static void test_case(gconstpointer data)
{
    static const char *const names[] = {"vision", "projected", "logits"};
    const Case *test = data;
    const gboolean is_mlx = g_str_has_prefix(test->layout, "mlx");
    char *directory = test_directory_make(), *released = test_directory_make();
    const char *vision = is_mlx ? released : NULL;
    GError *error = NULL;
    SynthSpec spec;
    Numbers found, expected;

    make_spec(test, &spec);
    fastvlm_synth_write_layout(test->layout, &spec, directory, released, &error);
    g_assert_no_error(error);
    check_info(test, &spec, directory, vision);
    found = load_and_compute(directory, vision);
    expected = load_and_compute(released, NULL);
    for (int i = 0; i < 3; i++) {
        const double difference = compare(&found, &expected, i);

        if (difference > test->tolerance)
            g_error("%s: %s differs by %g of the largest", test->layout, names[i], difference);
    }
    g_assert_cmpmem(found.ids, sizeof found.ids, expected.ids, sizeof expected.ids);
    clear_numbers(&found);
    clear_numbers(&expected);
    test_directory_remove(directory);
    test_directory_remove(released);
}

/* --- what else an encoder, a head and a quantization can be ------------------------------------- */

typedef struct {
    SynthSpec spec;
    char *directory;
    char *released;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer layout)
{
    GError *error = NULL;

    g_assert_true(fastvlm_synth_spec("tiny", &fixture->spec));
    fixture->directory = test_directory_make();
    fixture->released = test_directory_make();
    fixture->spec.resolution = SIZE;
    fastvlm_synth_write_layout(layout, &fixture->spec, fixture->directory, fixture->released,
                               &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *fixture, gconstpointer layout)
{
    test_directory_remove(fixture->directory);
    test_directory_remove(fixture->released);
}

static void assert_fails(const Fixture *fixture, const char *vision, FastvlmError code,
                         const char *first, const char *second)
{
    const FastvlmModelParams params = {.vision_path = vision};
    GError *error = NULL;

    g_assert_null(fastvlm_model_inspect_for(fixture->directory, &params, &error));
    test_assert_error(error, code, first, second, NULL);
}

static void test_no_vision(Fixture *fixture, gconstpointer layout)
{
    assert_fails(fixture, NULL, FASTVLM_ERROR_NOT_FOUND, fixture->directory, "--vision");
    assert_fails(fixture, fixture->directory, FASTVLM_ERROR_FORMAT, "no vision part",
                 fixture->directory);
    assert_fails(fixture, "/none/such", FASTVLM_ERROR_NOT_FOUND, "/none/such", "vision part");
}

/* An encoder of other sizes than the projector takes. */
static void test_other_vision(Fixture *fixture, gconstpointer layout)
{
    char *other = test_directory_make();
    GError *error = NULL;
    SynthSpec spec;

    g_assert_true(fastvlm_synth_spec("micro", &spec));
    fastvlm_synth_write(other, &spec, NULL, NULL, &error);
    g_assert_no_error(error);
    assert_fails(fixture, other, FASTVLM_ERROR_FORMAT, "mm_hidden_size: found 512", "expected 128");
    test_directory_remove(other);
}

/* Writes `to`, of the same length, over `from` where it first stands behind `behind`. */
static void damage_weights(const Fixture *fixture, const char *behind, const char *from,
                           const char *to)
{
    g_autofree char *path = g_build_filename(fixture->directory, "model.safetensors", NULL);
    char *bytes, *start, *at;
    gsize n_bytes;

    g_assert_true(g_file_get_contents(path, &bytes, &n_bytes, NULL));
    start = memmem(bytes, n_bytes, behind, strlen(behind));
    g_assert_nonnull(start);
    at = memmem(start, n_bytes - (gsize)(start - bytes), from, strlen(from));
    g_assert_nonnull(at);
    memcpy(at, to, strlen(from));
    test_put_file(path, bytes, n_bytes);
    g_free(bytes);
}

typedef struct {
    const char *behind; /* see damage_weights() */
    const char *from;
    const char *to;
    const char *found;
    const char *expected;
} Damage;

static const Damage damages[] = {
    {"U32", "U32", "I32", ".weight is I32 [", "expected U32 words of two dimensions"},
    {".biases", ".biases", ".biasez", "no .biases", "expected both"},
    {".scales", "F16", "I16", ".scales are I16 [", "expected both in BF16, F16 or F32"},
    {".biases", "F16", "I16", "its .biases I16 [", "expected both in BF16, F16 or F32"},
};

/* Of a quantized tensor's three parts each must be there and fit the others. */
static void test_quantized_parts(Fixture *fixture, gconstpointer layout)
{
    for (guint i = 0; i < G_N_ELEMENTS(damages); i++) {
        const Damage *damage = &damages[i];

        damage_weights(fixture, damage->behind, damage->from, damage->to);
        assert_fails(fixture, fixture->released, FASTVLM_ERROR_FORMAT,
                     "model.safetensors: quantized tensor \"", damage->found);
        assert_fails(fixture, fixture->released, FASTVLM_ERROR_FORMAT, "quantized tensor \"",
                     damage->expected);
        damage_weights(fixture,
                       strcmp(damage->behind, damage->from) == 0 ? damage->to : damage->behind,
                       damage->to, damage->from);
    }
}

/* The groups that config.json tells of must fit what the tensors are. */
static void test_quantized_groups(Fixture *fixture, gconstpointer layout)
{
    g_autofree char *path = g_build_filename(fixture->directory, "config.json", NULL);
    json_t *config = json_load_file(path, 0, NULL);

    g_assert_nonnull(config);
    json_object_set_new(json_object_get(config, "quantization"), "group_size", json_integer(32));
    g_assert_cmpint(json_dump_file(config, path, 0), ==, 0);
    json_decref(config);
    assert_fails(fixture, fixture->released, FASTVLM_ERROR_FORMAT,
                 "groups of 32 (quantization.group_size in config.json)",
                 "are 16 bits an integer, expected 2, 4 or 8");
}

/* The head that config.json denies can be asked for, and then it is another answer. */
static void test_head(void)
{
    char *directory = test_directory_make();
    GError *error = NULL;
    SynthSpec spec;
    GPtrArray *tensors;
    FastvlmModel *model;
    Numbers tied, own;

    g_assert_true(fastvlm_synth_spec("tiny", &spec));
    tensors = fastvlm_synth_tensors(&spec);
    for (guint i = 0; i < tensors->len; i++) {
        SynthTensor *tensor = tensors->pdata[i];

        if (strcmp(tensor->name, "lm_head.weight") == 0) {
            g_free(tensor->weight_name);
            tensor->weight_name = g_strdup("lm_head.weight");
        }
    }
    fastvlm_synth_write(directory, &spec, tensors, NULL, &error);
    g_assert_no_error(error);
    model = load(directory, NULL, FASTVLM_HEAD_AUTO);
    g_assert_nonnull(strstr(fastvlm_model_get_info(model)->head_note, "--head own"));
    tied = compute(model);
    fastvlm_model_unref(model);
    model = load(directory, NULL, FASTVLM_HEAD_OWN);
    g_assert_null(fastvlm_model_get_info(model)->head_note);
    g_assert_false(fastvlm_model_get_info(model)->tied_head);
    own = compute(model);
    fastvlm_model_unref(model);
    g_assert_cmpfloat(compare(&own, &tied, 1), ==, 0.0);
    g_assert_cmpfloat(compare(&own, &tied, 2), >, 0.1);
    clear_numbers(&tied);
    clear_numbers(&own);
    g_ptr_array_unref(tensors);
    test_directory_remove(directory);
}

#define ADD(name, layout, func) \
    g_test_add("/layouts/" name, Fixture, layout, set_up, func, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = g_strdup_printf("/layouts/%s/%s", cases[i].layout,
                                                cases[i].is_untied ? "untied" : "tied");

        g_test_add_data_func(name, &cases[i], test_case);
    }
    ADD("no-vision", "mlx4", test_no_vision);
    ADD("other-vision", "mlx4", test_other_vision);
    ADD("quantized-parts", "mlx4", test_quantized_parts);
    ADD("quantized-groups", "mlx8", test_quantized_groups);
    g_test_add_func("/layouts/head", test_head);
    return g_test_run();
}
