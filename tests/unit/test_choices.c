/*
 * Choices: how they are read, and that the demo model's weights of them are the products of the
 * probabilities that single steps give.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>
#include <math.h>
#include <string.h>

#include "api/session.h"
#include "test_picture.h"
#include "text/prompt.h"

#define PROMPT "What color is the background?"

static FastvlmModel *model;

/* A circle on a ground of one colour. */
static FastvlmSession *new_session(void)
{
    enum { SIDE = 128 };
    FastvlmSession *session = fastvlm_session_new(model);
    guint8 *rgb = g_malloc(SIDE * SIDE * 3);

    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const int inside = (x - 64) * (x - 64) + (y - 64) * (y - 64) < 900;

            memcpy(rgb + 3 * (y * SIDE + x), inside ? "\xd0\x20\x20" : "\x20\x40\xc0", 3);
        }
    test_set_picture(session, rgb, SIDE, 256, FASTVLM_FIT_PAD);
    g_free(rgb);
    return session;
}

static FastvlmResult ask(FastvlmSession *session, const FastvlmGenerateParams *params)
{
    FastvlmResult result = {0};
    GError *error = NULL;

    fastvlm_session_generate(session, params, &result, &error);
    g_assert_no_error(error);
    return result;
}

static FastvlmResult choose(FastvlmSession *session, const char *const *choices)
{
    const FastvlmGenerateParams params = {.prompt = PROMPT, .choices = choices};

    return ask(session, &params);
}

/* ---- reading ---- */

static void test_parse(void)
{
    char **names = fastvlm_choices_parse(" yes,no ,a red  car,\xc3\xa9t\xc3\xa9", NULL);

    g_assert_cmpuint(g_strv_length(names), ==, 4);
    g_assert_cmpstr(names[0], ==, "yes");
    g_assert_cmpstr(names[1], ==, "no");
    g_assert_cmpstr(names[2], ==, "a red  car");
    g_strfreev(names);
}

static void test_parse_refuses(void)
{
    static const char *const bad[][2] = {{"", "0 choices"},
                                         {"yes", "1 choice:"},
                                         {"yes,", "empty"},
                                         {",,", "empty"},
                                         {"yes,no, yes", "choice \"yes\": there twice"},
                                         {"yes,n\xff", "not UTF-8"},
                                         {"yes,n\no", "control"}};
    GString *many = g_string_new("0");

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;

        g_assert_null(fastvlm_choices_parse(bad[i][0], &error));
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT);
        if (!strstr(error->message, bad[i][1]))
            g_error("\"%s\" says: %s", bad[i][0], error->message);
        g_clear_error(&error);
    }
    for (int i = 1; i <= FASTVLM_MAX_CHOICES; i++)
        g_string_append_printf(many, ",%d", i);
    g_assert_null(fastvlm_choices_parse(many->str, NULL));
    g_string_free(many, TRUE);
}

/* ---- weighing ---- */

/* The log-probability of `next` behind the prompt and `ids`, computed from nothing. */
static double weigh_step(const gint32 *ids, int n_ids, const int *next, int n_next)
{
    GArray *prefix = g_array_new(FALSE, FALSE, sizeof(gint32));
    GArray *suffix = g_array_new(FALSE, FALSE, sizeof(gint32));
    FastvlmSession *session = new_session();
    double total = 0.0, sum = 0.0;
    int n_rows, n_columns;

    g_assert_true(fastvlm_prompt_build(model->tokenizer, FASTVLM_DEFAULT_SYSTEM_PROMPT, PROMPT,
                                       TRUE, prefix, suffix, NULL));
    g_array_append_vals(suffix, ids, (guint)n_ids);
    const FastvlmGenerateParams params = {.max_tokens = 1,
                                          .use_ids = TRUE,
                                          .prefix_ids = (gint32 *)(void *)prefix->data,
                                          .n_prefix_ids = (int)prefix->len,
                                          .suffix_ids = (gint32 *)(void *)suffix->data,
                                          .n_suffix_ids = (int)suffix->len};
    FastvlmResult result = ask(session, &params);
    const float *logits =
        fastvlm_session_get_tensor(session, FASTVLM_TENSOR_LOGITS, &n_rows, &n_columns);

    for (int i = 0; i < MIN(n_columns, fastvlm_tokenizer_get_size(model->tokenizer)); i++)
        total += exp((double)logits[i]);
    for (int i = 0; i < n_next; i++)
        sum += exp((double)logits[next[i]]) / total;
    fastvlm_result_clear(&result);
    fastvlm_session_free(session);
    g_array_unref(prefix);
    g_array_unref(suffix);
    return log(sum);
}

/* The probability of `text`, token by token; with the end of the answer where `ends`. */
static double weigh_text(const char *text, gboolean ends)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    double sum = 0.0;

    g_assert_true(fastvlm_tokenizer_encode(model->tokenizer, text, -1, FALSE, ids, NULL));
    for (guint i = 0; i < ids->len; i++) {
        const int next = g_array_index(ids, gint32, i);

        sum += weigh_step((gint32 *)(void *)ids->data, (int)i, &next, 1);
    }
    if (ends)
        sum += weigh_step((gint32 *)(void *)ids->data, (int)ids->len, model->stop_ids,
                          model->stop_ids[1] >= 0 ? 2 : 1);
    g_array_unref(ids);
    return exp(sum);
}

static void test_products(void)
{
    static const char *const choices[] = {"blue",  "a red circle", "a red", "Green square and more",
                                          "Blues", "\xe7\xba\xa2", NULL};
    static const char *const others[] = {
        "Blue", "A red circle", "A red", "green square and more", "blues", NULL};
    FastvlmSession *session = new_session();
    FastvlmResult result = choose(session, choices);
    double expected[6], total = 0.0;

    for (int i = 0; i < 6; i++) {
        /* "blue" begins "blues" and "a red" begins "a red circle", if their tokens do. */
        const gboolean ends = i == 2;

        expected[i] =
            weigh_text(choices[i], ends) + (others[i] ? weigh_text(others[i], ends) : 0.0);
        total += expected[i];
    }
    for (int i = 0; i < 6; i++) {
        g_test_message("%s: %.3g", choices[i], result.choice_probabilities[i]);
        g_assert_cmpfloat(fabs(result.choice_probabilities[i] - expected[i] / total), <,
                          1e-4 * expected[i] / total + 1e-12);
    }
    g_assert_cmpint(result.choice, ==, 0);
    g_assert_cmpstr(result.text, ==, "blue");
    g_assert_cmpint(result.finish_reason, ==, FASTVLM_FINISH_CHOICE);
    g_assert_cmpint(result.n_tokens, >=, 1);
    fastvlm_result_clear(&result);
    fastvlm_session_free(session);
}

/* Both cases are one choice, unless both are given; then each is itself. */
static void test_cases(void)
{
    static const char *const one[] = {"Yes", "no", NULL}, *const both[] = {"Yes", "yes", "no",
                                                                           NULL};
    FastvlmSession *session = new_session();
    FastvlmResult a = choose(session, one), b = choose(session, both);

    g_assert_cmpfloat_with_epsilon(a.choice_probabilities[0],
                                   b.choice_probabilities[0] + b.choice_probabilities[1], 1e-9);
    g_assert_cmpfloat_with_epsilon(a.choice_probabilities[1], b.choice_probabilities[2], 1e-9);
    fastvlm_result_clear(&a);
    fastvlm_result_clear(&b);
    fastvlm_session_free(session);
}

static guint64 count_steps(void)
{
    guint64 n_runs, n_steps;

    fastvlm_batcher_count(model->batcher, &n_runs, &n_steps);
    return n_steps;
}

/* Single tokens cost the prompt alone; the others a row a token, what they share once. */
static void test_cost(void)
{
    static const char *const single[] = {"yes", "no", NULL};
    static const char *const shared[] = {"a red circle", "a red square", "a red star", NULL};
    FastvlmSession *session = new_session();
    FastvlmResult result = choose(session, single);
    guint64 before = count_steps();

    fastvlm_result_clear(&result);
    result = choose(session, (const char *const[]){"yes", "no", "on", NULL});
    g_assert_cmpint(result.n_reused_tokens, ==, result.n_prompt_tokens - 1);
    fastvlm_result_clear(&result);
    before = count_steps();
    result = choose(session, shared);
    g_test_message("three choices of several tokens: %d steps", (int)(count_steps() - before));
    g_assert_cmpuint(count_steps() - before, <=, 6); /* three stems, in two cases */
    g_assert_cmpuint(count_steps() - before, >=, 2);
    g_assert_cmpint(result.n_reused_tokens, ==, result.n_prompt_tokens - 1);
    fastvlm_result_clear(&result);
    fastvlm_session_free(session);
}

/* Weighing leaves no trace in what the session says next. */
static void test_leaves_no_trace(void)
{
    static const char *const choices[] = {"a red circle", "A blue background", NULL};
    const FastvlmGenerateParams free_params = {0};
    FastvlmSession *used = new_session(), *fresh = new_session();
    FastvlmResult first = ask(used, &free_params), expected, after;
    FastvlmResult weighed = choose(used, choices), again;

    after = ask(used, &free_params);
    expected = ask(fresh, &free_params);
    again = choose(fresh, choices);
    g_assert_cmpstr(after.text, ==, expected.text);
    g_assert_cmpfloat(after.confidence, ==, expected.confidence);
    g_assert_cmpmem(weighed.choice_probabilities, 2 * sizeof(double), again.choice_probabilities,
                    2 * sizeof(double));
    fastvlm_result_clear(&first);
    fastvlm_result_clear(&weighed);
    fastvlm_result_clear(&after);
    fastvlm_result_clear(&expected);
    fastvlm_result_clear(&again);
    fastvlm_session_free(used);
    fastvlm_session_free(fresh);
}

/* At temperature 1 the answers come as often as they are probable. */
static void test_draws(void)
{
    static const char *const choices[] = {"blues", "reds", "circle", NULL};
    FastvlmGenerateParams params = {.prompt = PROMPT, .choices = choices, .temperature = 1.0};
    FastvlmSession *session = new_session();
    int counts[3] = {0};
    double expected[3] = {0};

    for (params.seed = 1; params.seed <= 400; params.seed++) {
        FastvlmResult result = ask(session, &params);

        counts[result.choice]++;
        memcpy(expected, result.choice_probabilities, sizeof expected);
        g_assert_cmpstr(result.text, ==, choices[result.choice]);
        fastvlm_result_clear(&result);
    }
    for (int i = 0; i < 3; i++)
        g_assert_cmpfloat(fabs(counts[i] / 400.0 - expected[i]), <, 0.09);
    fastvlm_session_free(session);
}

static void note_text(const char *piece, int id, gpointer text)
{
    g_string_append(text, piece);
}

static void test_text_comes_whole(void)
{
    static const char *const choices[] = {"blue paint", "red", NULL};
    GString *text = g_string_new(NULL);
    const FastvlmGenerateParams params = {
        .prompt = PROMPT, .choices = choices, .on_text = note_text, .on_text_data = text};
    FastvlmSession *session = new_session();
    FastvlmResult result = ask(session, &params);

    g_assert_cmpstr(text->str, ==, result.text);
    fastvlm_result_clear(&result);
    fastvlm_session_free(session);
    g_string_free(text, TRUE);
}

static void test_refuses(void)
{
    /* One choice; twice the same; the same to the tokenizer (a letter and an accent make one). */
    static const char *const bad[][3] = {
        {"yes", NULL}, {"yes", "yes", NULL}, {"\xc3\xa9", "e\xcc\x81", NULL}};
    FastvlmSession *session = new_session();
    g_autofree char *word = g_strnfill(1 << 15, 'x');
    FastvlmResult result = {.n_tokens = -7};
    GError *error = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        const FastvlmGenerateParams params = {.choices = bad[i]};

        g_assert_false(fastvlm_session_generate(session, &params, &result, &error));
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT);
        g_clear_error(&error);
    }
    const FastvlmGenerateParams params = {.choices = (const char *const[]){word, "no", NULL}};
    g_assert_false(fastvlm_session_generate(session, &params, &result, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
    g_clear_error(&error);
    g_assert_cmpint(result.n_tokens, ==, -7);
    fastvlm_session_free(session);
}

int main(int argc, char **argv)
{
    const FastvlmModelParams params = {.precision = FASTVLM_PRECISION_F32, .n_threads = 1};
    GError *error = NULL;
    int code;

    g_test_init(&argc, &argv, NULL);
    model = fastvlm_model_load("demo", &params, &error);
    g_assert_no_error(error);
    g_test_add_func("/choices/parse", test_parse);
    g_test_add_func("/choices/parse-refuses", test_parse_refuses);
    g_test_add_func("/choices/products", test_products);
    g_test_add_func("/choices/cases", test_cases);
    g_test_add_func("/choices/cost", test_cost);
    g_test_add_func("/choices/leaves-no-trace", test_leaves_no_trace);
    g_test_add_func("/choices/draws", test_draws);
    g_test_add_func("/choices/text-comes-whole", test_text_comes_whole);
    g_test_add_func("/choices/refuses", test_refuses);
    code = g_test_run();
    fastvlm_model_unref(model);
    return code;
}
