/*
 * Models and sessions as a program uses them: the same bytes on any number of threads, tiers that
 * agree, cancellation, two sessions at once, long prompts, and what is said of wrong arguments.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>
#include <math.h>
#include <string.h>

#include "test_checkpoint.h"
#include "test_directory.h"
#include "test_picture.h"

#define SIDE 256
#define MAX_TOKENS 12

static const gint32 prefix[] = {5, 17, 300, 42};
static const gint32 suffix[] = {7, 99, 12};
static char *directory; /* of the checkpoint all tests use */

static guint8 *make_pixels(int side)
{
    guint8 *rgb = g_malloc((gsize)side * (gsize)side * 3);
    guint8 *p = rgb;

    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            *p++ = (guint8)(x * 255 / (side - 1));
            *p++ = (guint8)(y * 255 / (side - 1));
            *p++ = (guint8)((x ^ y) & 255);
        }
    return rgb;
}

static void set_picture(FastvlmSession *session, int side)
{
    guint8 *rgb = make_pixels(side);

    test_set_picture(session, rgb, side, side, FASTVLM_FIT_PAD);
    g_free(rgb);
}

static FastvlmModel *load(FastvlmPrecision precision, int n_threads)
{
    const FastvlmModelParams params = {.precision = precision, .n_threads = n_threads};
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load(directory, &params, &error);

    g_assert_no_error(error);
    g_assert_cmpint(fastvlm_model_get_n_threads(model), ==, n_threads);
    return model;
}

static FastvlmGenerateParams ids_params(void)
{
    return (FastvlmGenerateParams){
        .max_tokens = MAX_TOKENS,
        .prefix_ids = prefix,
        .n_prefix_ids = G_N_ELEMENTS(prefix),
        .suffix_ids = suffix,
        .n_suffix_ids = G_N_ELEMENTS(suffix),
        .use_ids = TRUE,
        .ignore_stop = TRUE,
    };
}

static void generate(FastvlmSession *session, const FastvlmGenerateParams *params,
                     FastvlmResult *result)
{
    GError *error = NULL;

    fastvlm_session_generate(session, params, result, &error);
    g_assert_no_error(error);
}

/* What one run gives: picture, projection, logits and tokens, one behind the other. */
static GByteArray *run(FastvlmPrecision precision, int n_threads)
{
    const FastvlmGenerateParams params = ids_params();
    FastvlmModel *model = load(precision, n_threads);
    FastvlmSession *session = fastvlm_session_new(model);
    GByteArray *bytes = g_byte_array_new();
    FastvlmResult result;

    set_picture(session, SIDE);
    generate(session, &params, &result);
    for (int tensor = FASTVLM_TENSOR_VISION; tensor <= FASTVLM_TENSOR_LOGITS; tensor++) {
        int n_rows, n_columns;
        const float *data = fastvlm_session_get_tensor(session, tensor, &n_rows, &n_columns);

        g_byte_array_append(bytes, (const guint8 *)data,
                            (guint)(n_rows * n_columns) * (guint)sizeof *data);
    }
    g_byte_array_append(bytes, (const guint8 *)result.ids, MAX_TOKENS * sizeof(gint32));
    g_assert_cmpint(result.n_tokens, ==, MAX_TOKENS);
    g_assert_cmpint(result.n_prompt_tokens, ==, 4 + 16 + 3);
    g_assert_cmpint(result.finish_reason, ==, FASTVLM_FINISH_LENGTH);
    g_assert_cmpfloat(result.confidence, >, 0.0);
    g_assert_cmpfloat(result.confidence, <=, 1.0);
    g_assert_cmpfloat(result.total_ms, >=, result.ttft_ms);
    fastvlm_result_clear(&result);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
    return bytes;
}

/* The number of threads changes no byte, in any precision. */
static void test_threads(gconstpointer data)
{
    const FastvlmPrecision precision = (FastvlmPrecision)GPOINTER_TO_INT(data);
    GByteArray *one = run(precision, 1);

    for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
        GByteArray *more = run(precision, n_threads);

        g_assert_cmpmem(one->data, one->len, more->data, more->len);
        g_byte_array_unref(more);
    }
    g_byte_array_unref(one);
}

static void test_tiers(void)
{
    GByteArray *best = run(FASTVLM_PRECISION_F32, 2);
    GByteArray *scalar;
    const gsize n = (best->len - MAX_TOKENS * sizeof(gint32)) / sizeof(float);

    g_setenv("FASTVLM_TIER", "scalar", TRUE);
    g_assert_cmpstr(fastvlm_cpu_tier(), ==, "scalar");
    scalar = run(FASTVLM_PRECISION_F32, 2);
    g_unsetenv("FASTVLM_TIER");
    for (gsize i = 0; i < n; i++)
        g_assert_cmpfloat_with_epsilon(((const float *)(const void *)best->data)[i],
                                       ((const float *)(const void *)scalar->data)[i], 1e-4);
    g_assert_cmpmem(best->data + n * sizeof(float), MAX_TOKENS * sizeof(gint32),
                    scalar->data + n * sizeof(float), MAX_TOKENS * sizeof(gint32));
    g_byte_array_unref(best);
    g_byte_array_unref(scalar);
}

/* What decoding made step by step, a prefill of it all agrees with: across its chunks too. */
static void test_long_prompt(void)
{
    FastvlmModel *model = load(FASTVLM_PRECISION_AUTO, 2);
    FastvlmSession *session = fastvlm_session_new(model);
    FastvlmGenerateParams params = ids_params();
    gint32 ids[700];
    FastvlmResult whole, last;

    for (gsize i = 0; i < G_N_ELEMENTS(ids); i++)
        ids[i] = (gint32)((i * 7919 + i * i * 31) % 512);
    params.prefix_ids = ids;
    params.n_prefix_ids = 570; /* one chunk; the answer goes past its end */
    params.n_suffix_ids = 0;
    generate(session, &params, &whole);
    memcpy(ids + 570, whole.ids, (MAX_TOKENS - 1) * sizeof *ids);
    params.n_prefix_ids = 570 + MAX_TOKENS - 1; /* two chunks */
    params.max_tokens = 1;
    generate(session, &params, &last);
    g_assert_cmpint(last.ids[0], ==, whole.ids[MAX_TOKENS - 1]);
    fastvlm_result_clear(&whole);
    fastvlm_result_clear(&last);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

static void test_seed(void)
{
    FastvlmModel *model = load(FASTVLM_PRECISION_AUTO, 1);
    FastvlmSession *session = fastvlm_session_new(model);
    FastvlmGenerateParams params = ids_params();
    FastvlmResult a, b, c;

    params.temperature = 1.5;
    params.seed = 11;
    generate(session, &params, &a);
    generate(session, &params, &b);
    params.seed = 12;
    generate(session, &params, &c);
    g_assert_cmpmem(a.ids, MAX_TOKENS * sizeof *a.ids, b.ids, MAX_TOKENS * sizeof *b.ids);
    g_assert_true(memcmp(a.ids, c.ids, MAX_TOKENS * sizeof *a.ids) != 0);
    fastvlm_result_clear(&a);
    fastvlm_result_clear(&b);
    fastvlm_result_clear(&c);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

typedef struct {
    FastvlmModel *model;
    gint32 ids[MAX_TOKENS];
} Runner;

static gpointer run_session(gpointer data)
{
    Runner *runner = data;
    FastvlmSession *session = fastvlm_session_new(runner->model);
    const FastvlmGenerateParams params = ids_params();

    for (int i = 0; i < 5; i++) {
        FastvlmResult result;

        set_picture(session, SIDE);
        generate(session, &params, &result);
        memcpy(runner->ids, result.ids, sizeof runner->ids);
        fastvlm_result_clear(&result);
    }
    fastvlm_session_free(session);
    return NULL;
}

static void test_two_sessions(void)
{
    Runner runners[3];
    GThread *threads[3];
    FastvlmModel *model = load(FASTVLM_PRECISION_AUTO, 2);

    for (int i = 0; i < 3; i++) {
        runners[i] = (Runner){.model = model};
        threads[i] = g_thread_new("session", run_session, &runners[i]);
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpmem(runners[0].ids, sizeof runners[0].ids, runners[i].ids,
                        sizeof runners[i].ids);
    }
    fastvlm_model_unref(model);
}

static gpointer cancel_soon(gpointer session)
{
    g_usleep(30000);
    fastvlm_session_cancel(session);
    return GINT_TO_POINTER(1);
}

/* A cancelled session is whole: after a reset it answers as a new one does. */
static void test_cancel(void)
{
    FastvlmModel *model = load(FASTVLM_PRECISION_AUTO, 2);
    FastvlmSession *session = fastvlm_session_new(model);
    FastvlmGenerateParams params = ids_params();
    guint8 *rgb = make_pixels(2048);
    const FastvlmImage image = {.format = FASTVLM_PIXEL_RGB,
                                .width = 2048,
                                .height = 2048,
                                .stride = 2048 * 3,
                                .data = rgb};
    FastvlmResult before, after;
    GError *error = NULL;
    GThread *thread;

    set_picture(session, SIDE);
    generate(session, &params, &before);

    thread = g_thread_new("cancel", cancel_soon, session);
    g_assert_false(fastvlm_session_set_image(session, &image, 2048, FASTVLM_FIT_PAD, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    g_clear_error(&error);
    g_thread_join(thread);

    /* In force until it is reset. */
    after = (FastvlmResult){.n_tokens = -7};
    g_assert_false(fastvlm_session_generate(session, &params, &after, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_cmpint(after.n_tokens, ==, -7);

    fastvlm_session_reset_cancel(session);
    thread = g_thread_new("cancel", cancel_soon, session);
    params.max_tokens = 30000;
    g_assert_false(fastvlm_session_generate(session, &params, &after, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    g_clear_error(&error);
    g_thread_join(thread);

    fastvlm_session_reset_cancel(session);
    params.max_tokens = MAX_TOKENS;
    set_picture(session, SIDE);
    generate(session, &params, &after);
    g_assert_cmpmem(before.ids, sizeof(gint32) * MAX_TOKENS, after.ids,
                    sizeof(gint32) * MAX_TOKENS);
    fastvlm_result_clear(&before);
    fastvlm_result_clear(&after);
    g_free(rgb);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

static gboolean note_progress(double fraction, gpointer last)
{
    g_assert_cmpfloat(fraction, >=, *(double *)last);
    g_assert_cmpfloat(fraction, <=, 1.0);
    *(double *)last = fraction;
    return TRUE;
}

static gboolean stop_halfway(double fraction, gpointer last)
{
    *(double *)last = fraction;
    return fraction < 0.5;
}

static void test_progress(void)
{
    double last = 0.0;
    FastvlmModelParams params = {.progress = note_progress, .progress_data = &last};
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load(directory, &params, &error);

    g_assert_no_error(error);
    g_assert_cmpfloat(last, >, 0.8);
    fastvlm_model_unref(model);
    params.progress = stop_halfway;
    g_assert_null(fastvlm_model_load(directory, &params, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    g_assert_cmpfloat(last, <, 0.9);
    g_clear_error(&error);
}

static void assert_message(GError **error, FastvlmError code, const char *part)
{
    g_assert_error(*error, FASTVLM_ERROR, (int)code);
    if (strstr((*error)->message, part) == NULL)
        g_error("'%s' does not say '%s'", (*error)->message, part);
    g_assert_null(strchr((*error)->message, '\n'));
    g_clear_error(error);
}

static void test_bad_params(void)
{
    static const struct {
        FastvlmModelParams params;
        FastvlmError code;
        const char *message;
    } cases[] = {
        {{.n_threads = -1}, FASTVLM_ERROR_ARGUMENT, "-1 threads"},
        {{.n_threads = 1000}, FASTVLM_ERROR_ARGUMENT, "1000 threads"},
        {{.worker_nice = 20}, FASTVLM_ERROR_ARGUMENT, "nice value 20: expected 0 to 19"},
        {{.precision = 17}, FASTVLM_ERROR_UNSUPPORTED, "precision 17: expected FASTVLM_PRECISION_"},
        {{.head = 3}, FASTVLM_ERROR_ARGUMENT, "head 3: expected FASTVLM_HEAD_"},
    };
    GError *error = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_null(fastvlm_model_load(directory, &cases[i].params, &error));
        assert_message(&error, cases[i].code, cases[i].message);
    }
    g_assert_null(fastvlm_model_load("/nowhere/at/all", NULL, &error));
    assert_message(&error, FASTVLM_ERROR_NOT_FOUND, "/nowhere/at/all");
}

static void expect(FastvlmSession *session, FastvlmGenerateParams params, FastvlmError code,
                   const char *message)
{
    FastvlmResult result;
    GError *error = NULL;

    g_assert_false(fastvlm_session_generate(session, &params, &result, &error));
    assert_message(&error, code, message);
}

/* With one number of `params` changed. */
#define expect_of(params, field, value, message)                      \
    G_STMT_START                                                      \
    {                                                                 \
        FastvlmGenerateParams changed_ = (params);                    \
        changed_.field = (value);                                     \
        expect(session, changed_, FASTVLM_ERROR_ARGUMENT, (message)); \
    }                                                                 \
    G_STMT_END

static void test_bad_arguments(void)
{
    static const gint32 wild[] = {512};
    FastvlmModel *model = load(FASTVLM_PRECISION_AUTO, 1);
    FastvlmSession *session = fastvlm_session_new(model);
    FastvlmGenerateParams params = {.use_ids = TRUE};
    gint32 *many = g_new0(gint32, 40000);
    guint8 pixel[3] = {0};
    FastvlmImage image = {
        .format = FASTVLM_PIXEL_RGB, .width = 1, .height = 1, .stride = 3, .data = pixel};
    GError *error = NULL;
    int n_rows, n_columns;

    g_assert_null(fastvlm_session_get_tensor(session, FASTVLM_TENSOR_VISION, &n_rows, &n_columns));
    expect(session, params, FASTVLM_ERROR_ARGUMENT,
           "neither a prompt nor a picture: give token ids");
    params.prefix_ids = wild;
    params.n_prefix_ids = 1;
    expect(session, params, FASTVLM_ERROR_ARGUMENT, "token id 512");
    params.prefix_ids = many;
    params.n_prefix_ids = 40000;
    expect(session, params, FASTVLM_ERROR_LIMIT, "40000 positions");
    params.n_prefix_ids = 4;
    expect_of(params, temperature, -1.0, "temperature is -1, expected a number of 0 or more");
    expect_of(params, temperature, NAN, "temperature is nan, expected");
    expect_of(params, temperature, INFINITY, "temperature is inf, expected");
    expect_of(params, top_p, 1.5, "top_p is 1.5, expected a number from 0 to 1");
    expect_of(params, top_k, -2, "top_k is -2, expected a number of 0 or more");
    expect_of(params, max_tokens, -3, "max_tokens is -3, expected a number of 0 or more");
    expect_of(params, n_prefix_ids, -1, "n_prefix_ids is -1, expected a number of 0 or more");
    expect_of(params, n_suffix_ids, -1, "n_suffix_ids is -1, expected a number of 0 or more");
    params.use_ids = FALSE;
    expect(session, params, FASTVLM_ERROR_UNSUPPORTED, "no tokenizer files");

    g_assert_false(fastvlm_session_set_image(session, &image, 100, FASTVLM_FIT_PAD, &error));
    assert_message(&error, FASTVLM_ERROR_ARGUMENT, "resolution 100");
    g_assert_false(fastvlm_session_set_image(session, &image, 8192, FASTVLM_FIT_PAD, &error));
    assert_message(&error, FASTVLM_ERROR_ARGUMENT, "resolution 8192");
    image.width = 0;
    g_assert_false(fastvlm_session_set_image(session, &image, 64, FASTVLM_FIT_PAD, &error));
    assert_message(&error, FASTVLM_ERROR_ARGUMENT, "0");
    g_free(many);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    directory = test_directory_make();
    test_checkpoint_write(directory, "BF16");
    for (int p = FASTVLM_PRECISION_AUTO; p <= FASTVLM_PRECISION_INT4; p++) {
        g_autofree char *path =
            g_strdup_printf("/session/threads/%s", fastvlm_precision_to_string(p));

        g_test_add_data_func(path, GINT_TO_POINTER(p), test_threads);
    }
    g_test_add_func("/session/tiers", test_tiers);
    g_test_add_func("/session/long-prompt", test_long_prompt);
    g_test_add_func("/session/seed", test_seed);
    g_test_add_func("/session/two-sessions", test_two_sessions);
    g_test_add_func("/session/cancel", test_cancel);
    g_test_add_func("/session/bad-arguments", test_bad_arguments);
    g_test_add_func("/model/progress", test_progress);
    g_test_add_func("/model/bad-params", test_bad_params);
    status = g_test_run();
    test_directory_remove(directory);
    return status;
}
