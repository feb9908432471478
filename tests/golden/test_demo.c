/*
 * Measures the demo model through the engine: held-out pictures with their true answers.
 *
 *     tests/data/demo/expected.jsonl: {"image", "prompt", "answer", "kind"} a line
 *
 * The answers are labels of the drawn scenes, not the model's words; an answer counts if it is the
 * same to the letter. The bounds are those of the model's card (models/demo/README.md), in each
 * precision. G_TEST_SRCDIR may name another directory with a demo/ of such pictures.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>
#include <jansson.h>
#include <string.h>

#include "tools/image_file.h"

#define LEAST_DESCRIBED 0.85
#define LEAST_ANSWERED 0.92

typedef struct {
    int n_asked;
    int n_right;
} Score;

typedef struct {
    FastvlmSession *session;
    char *image;        /* that the session holds */
    GHashTable *scores; /* kind -> Score */
} Exam;

static const char *get(const json_t *question, const char *key)
{
    const char *value = json_string_value(json_object_get(question, key));

    g_assert_nonnull(value);
    return value;
}

static void show(Exam *exam, const char *name)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "demo", name, NULL);
    RgbPicture picture = {0};
    GError *error = NULL;

    if (g_strcmp0(exam->image, name) == 0)
        return;
    image_file_read(path, &picture, &error);
    g_assert_no_error(error);
    const FastvlmImage image = rgb_picture_view(&picture);
    fastvlm_session_set_image(exam->session, &image, 0, FASTVLM_FIT_PAD, &error);
    g_assert_no_error(error);
    rgb_picture_clear(&picture);
    g_free(exam->image);
    exam->image = g_strdup(name);
}

static Score *find_score(Exam *exam, const char *kind)
{
    Score *score = g_hash_table_lookup(exam->scores, kind);

    if (!score) {
        score = g_new0(Score, 1);
        g_hash_table_insert(exam->scores, g_strdup(kind), score);
    }
    return score;
}

static void ask(Exam *exam, const json_t *question)
{
    const FastvlmGenerateParams params = {.prompt = get(question, "prompt")};
    const char *expected = get(question, "answer");
    Score *score = find_score(exam, get(question, "kind"));
    FastvlmResult result;
    GError *error = NULL;

    show(exam, get(question, "image"));
    fastvlm_session_generate(exam->session, &params, &result, &error);
    g_assert_no_error(error);
    score->n_asked++;
    if (strcmp(result.text, expected) == 0)
        score->n_right++;
    else
        g_test_message("%s, %s '%s' instead of '%s'", get(question, "image"), params.prompt,
                       result.text, expected);
    fastvlm_result_clear(&result);
}

static void ask_all(Exam *exam)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "demo", "expected.jsonl", NULL);
    g_autofree char *text = NULL;
    GError *error = NULL;

    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line && **line; line++) {
        json_t *question = json_loads(*line, JSON_REJECT_DUPLICATES, NULL);

        ask(exam, question);
        json_decref(question);
    }
}

/** Right answers to descriptions, or to all other kinds. */
static Score sum(const Exam *exam, gboolean described)
{
    GHashTableIter iter;
    gpointer kind, value;
    Score all = {0};

    g_hash_table_iter_init(&iter, exam->scores);
    while (g_hash_table_iter_next(&iter, &kind, &value)) {
        const Score *score = value;

        if ((strcmp(kind, "describe") == 0) != described)
            continue;
        g_test_message("%s: %d of %d", (const char *)kind, score->n_right, score->n_asked);
        all.n_asked += score->n_asked;
        all.n_right += score->n_right;
    }
    return all;
}

static void check_share(Score score, double least)
{
    g_assert_cmpint(score.n_asked, >=, 40);
    g_assert_cmpfloat((double)score.n_right / score.n_asked, >=, least);
}

static void test_held_out(gconstpointer data)
{
    const FastvlmPrecision precision = (FastvlmPrecision)GPOINTER_TO_INT(data);
    const FastvlmModelParams params = {.precision = precision};
    Exam exam = {.scores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load("demo", &params, &error);
    Score described, answered;

    g_assert_no_error(error);
    exam.session = fastvlm_session_new(model);
    ask_all(&exam);
    described = sum(&exam, TRUE);
    answered = sum(&exam, FALSE);
    g_test_message("%s: described %d of %d, answered %d of %d",
                   fastvlm_precision_to_string(precision), described.n_right, described.n_asked,
                   answered.n_right, answered.n_asked);
    check_share(described, LEAST_DESCRIBED);
    check_share(answered, LEAST_ANSWERED);
    g_hash_table_unref(exam.scores);
    g_free(exam.image);
    fastvlm_session_free(exam.session);
    fastvlm_model_unref(model);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    for (int p = FASTVLM_PRECISION_F32; p <= FASTVLM_PRECISION_INT4; p++) {
        g_autofree char *path =
            g_strdup_printf("/demo/held-out/%s", fastvlm_precision_to_string(p));

        g_test_add_data_func(path, GINT_TO_POINTER(p), test_held_out);
    }
    return g_test_run();
}
