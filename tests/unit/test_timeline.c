/*
 * What sessions keep and share changes no byte of what they say: reused positions, drafts, joint steps
 * of several sessions, turns, cancellation of one among others. In every precision.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <string.h>

#include "api/session.h"
#include "test_checkpoint.h"
#include "test_directory.h"
#include "test_picture.h"

#define SIDE 256
#define N_IMAGE_ROWS 16
#define N_PREFIX 20
#define N_SUFFIX 9
#define MAX_TOKENS 40
#define VOCAB 512

static char *directory; /* of the checkpoint all tests use */

static FastvlmModel *load(gconstpointer precision)
{
    const FastvlmModelParams params = {.precision = (FastvlmPrecision)GPOINTER_TO_INT(precision),
                                       .n_threads = 2};
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load(directory, &params, &error);

    g_assert_no_error(error);
    return model;
}

static void set_picture(FastvlmSession *session, int seed, int side)
{
    guint8 *rgb = g_malloc((gsize)side * (gsize)side * 3);

    for (int i = 0; i < side * side * 3; i++)
        rgb[i] = (guint8)((i * (seed + 3)) ^ (i / (side * (seed + 1))));
    test_set_picture(session, rgb, side, side, FASTVLM_FIT_PAD);
    g_free(rgb);
}

/* A question: the same prefix always, a suffix of its own. */
typedef struct {
    gint32 prefix[N_PREFIX];
    gint32 suffix[N_SUFFIX];
    FastvlmGenerateParams params;
} Question;

static Question *make_question(int number)
{
    Question *question = g_new0(Question, 1);

    for (int i = 0; i < N_PREFIX; i++)
        question->prefix[i] = (i * 7919 + 11) % VOCAB;
    for (int i = 0; i < N_SUFFIX; i++)
        question->suffix[i] = ((i + 1) * (number + 2) * 104729 + number) % VOCAB;
    question->params = (FastvlmGenerateParams){
        .max_tokens = MAX_TOKENS,
        .prefix_ids = question->prefix,
        .n_prefix_ids = N_PREFIX,
        .suffix_ids = question->suffix,
        .n_suffix_ids = N_SUFFIX,
        .use_ids = TRUE,
        .ignore_stop = TRUE,
    };
    return question;
}

/* All that an answer consists of, as bytes. */
static GBytes *answer(FastvlmSession *session, const Question *question, int *n_reused)
{
    GByteArray *bytes = g_byte_array_new();
    FastvlmResult result;
    GError *error = NULL;
    int n_rows, n_columns;
    const float *logits;

    fastvlm_session_generate(session, &question->params, &result, &error);
    g_assert_no_error(error);
    g_assert_cmpint(result.n_tokens, ==, question->params.max_tokens);
    logits = fastvlm_session_get_tensor(session, FASTVLM_TENSOR_LOGITS, &n_rows, &n_columns);
    g_assert_cmpint(n_columns, ==, VOCAB);
    g_byte_array_append(bytes, (const guint8 *)logits, VOCAB * sizeof *logits);
    g_byte_array_append(bytes, (const guint8 *)result.ids,
                        (guint)result.n_tokens * (guint)sizeof *result.ids);
    g_byte_array_append(bytes, (const guint8 *)&result.confidence, sizeof result.confidence);
    if (n_reused)
        *n_reused = result.n_reused_tokens;
    fastvlm_result_clear(&result);
    return g_byte_array_free_to_bytes(bytes);
}

/* The answer of a session that has done nothing before, without a draft. picture < 0: none. */
static GBytes *answer_from_nothing(FastvlmModel *model, int picture, const Question *question)
{
    FastvlmSession *session = fastvlm_session_new(model);
    Question plain = *question;
    GBytes *bytes;
    int n_reused;

    plain.params.no_draft = TRUE;
    if (picture >= 0)
        set_picture(session, picture, SIDE);
    bytes = answer(session, &plain, &n_reused);
    g_assert_cmpint(n_reused, ==, 0);
    fastvlm_session_free(session);
    return bytes;
}

static void assert_same(GBytes *found, GBytes *expected)
{
    g_assert_true(g_bytes_equal(found, expected));
    g_bytes_unref(found);
}

static void test_reuse(gconstpointer precision)
{
    FastvlmModel *model = load(precision);
    FastvlmSession *session = fastvlm_session_new(model);
    Question *questions[2] = {make_question(0), make_question(1)};
    GBytes *expected[2][2]; /* by picture, question */
    GBytes *blind = answer_from_nothing(model, -1, questions[1]);
    int n_reused;

    for (int i = 0; i < 4; i++)
        expected[i / 2][i % 2] = answer_from_nothing(model, i / 2, questions[i % 2]);

    set_picture(session, 0, SIDE);
    assert_same(answer(session, questions[0], &n_reused), expected[0][0]);
    g_assert_cmpint(n_reused, ==, 0);
    /* Another question about the same picture. */
    assert_same(answer(session, questions[1], &n_reused), expected[0][1]);
    g_assert_cmpint(n_reused, ==, N_PREFIX + N_IMAGE_ROWS);
    /* The same again: only the last position. */
    assert_same(answer(session, questions[1], &n_reused), expected[0][1]);
    g_assert_cmpint(n_reused, ==, N_PREFIX + N_IMAGE_ROWS + N_SUFFIX - 1);
    /* Another picture: the prefix. */
    set_picture(session, 1, SIDE);
    assert_same(answer(session, questions[1], &n_reused), expected[1][1]);
    g_assert_cmpint(n_reused, ==, N_PREFIX);
    assert_same(answer(session, questions[0], &n_reused), expected[1][0]);
    g_assert_cmpint(n_reused, ==, N_PREFIX + N_IMAGE_ROWS);
    /* The same picture set anew is taken for another one, of another size it is. */
    set_picture(session, 0, 2 * SIDE);
    g_bytes_unref(answer(session, questions[0], &n_reused));
    g_assert_cmpint(n_reused, ==, N_PREFIX);
    set_picture(session, 0, SIDE);
    assert_same(answer(session, questions[0], &n_reused), expected[0][0]);
    g_assert_cmpint(n_reused, ==, N_PREFIX);
    fastvlm_session_clear_image(session);
    assert_same(answer(session, questions[1], &n_reused), blind);
    g_assert_cmpint(n_reused, ==, N_PREFIX);
    /* Another prefix. */
    questions[0]->prefix[2]++;
    g_bytes_unref(answer(session, questions[0], &n_reused));
    g_assert_cmpint(n_reused, ==, 2);

    for (int i = 0; i < 4; i++)
        g_bytes_unref(expected[i / 2][i % 2]);
    for (int i = 0; i < 2; i++)
        g_free(questions[i]);
    g_bytes_unref(blind);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

/* One by one, or many at once: the same logits behind 1 to 33 rows of a prompt. */
static void test_rows(gconstpointer precision)
{
    FastvlmModel *model = load(precision);
    FastvlmSession *session = fastvlm_session_new(model);
    Question *question = make_question(3);
    gint32 ids[34];

    for (int i = 0; i < 34; i++)
        ids[i] = (i * i * 31 + 5) % VOCAB;
    question->params.max_tokens = 1;
    question->params.prefix_ids = ids;
    question->params.n_suffix_ids = 0;
    for (int n = 2; n <= 34; n++) {
        GBytes *expected;
        int n_reused;

        question->params.n_prefix_ids = n;
        expected = answer_from_nothing(model, -1, question); /* n rows */
        for (int n_before = n - 1; n_before > 0; n_before -= 7) {
            question->params.n_prefix_ids = n_before;
            g_bytes_unref(answer(session, question, NULL));
            question->params.n_prefix_ids = n; /* n - n_before rows */
            assert_same(answer(session, question, &n_reused), expected);
            g_assert_cmpint(n_reused, ==, n_before);
            ids[0]++; /* nothing can be reused */
            question->params.n_prefix_ids = 2;
            g_bytes_unref(answer(session, question, &n_reused));
            g_assert_cmpint(n_reused, ==, 0);
            ids[0]--;
        }
        g_bytes_unref(expected);
    }
    g_free(question);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

static void count_rows(const char *piece, int id, gpointer data)
{
    FastvlmSession *session = data;

    g_assert_cmpint(session->timeline.row, <, MAX(session->timeline.n_rows, 1));
}

static guint64 count_runs(const FastvlmModel *model)
{
    guint64 n_runs, n_steps;

    fastvlm_batcher_count(model->batcher, &n_runs, &n_steps);
    return n_runs;
}

static void test_draft(gconstpointer precision)
{
    FastvlmModel *model = load(precision);
    FastvlmSession *session = fastvlm_session_new(model);
    Question *questions[3];
    GBytes *expected[3];
    guint64 n_runs;

    for (int i = 0; i < 3; i++) {
        questions[i] = make_question(i);
        questions[i]->params.on_text = count_rows;
        questions[i]->params.on_text_data = session;
        expected[i] = answer_from_nothing(model, 0, questions[i]);
    }
    set_picture(session, 0, SIDE);
    fastvlm_batcher_fix_row_cost(model->batcher, 0.1);
    /* Drafts that are right: fewer runs than tokens. */
    assert_same(answer(session, questions[0], NULL), expected[0]);
    n_runs = count_runs(model);
    for (int i = 0; i < 5; i++)
        assert_same(answer(session, questions[0], NULL), expected[0]);
    g_assert_cmpint(count_runs(model) - n_runs, <, 5 * MAX_TOKENS / 2);
    /* Wrong ones, right ones, long and short answers. */
    for (int i = 0; i < 12; i++) {
        const int q = (i * i + i / 3) % 3;

        assert_same(answer(session, questions[q], NULL), expected[q]);
    }
    /* Not where tokens are drawn, nor where it does not pay, nor where it is not wanted. */
    questions[1]->params.temperature = 2.0;
    n_runs = count_runs(model);
    g_bytes_unref(answer(session, questions[1], NULL));
    g_bytes_unref(answer(session, questions[1], NULL));
    g_assert_cmpint(count_runs(model) - n_runs, ==, 2 * (MAX_TOKENS - 1));
    fastvlm_batcher_fix_row_cost(model->batcher, 1.0);
    n_runs = count_runs(model);
    assert_same(answer(session, questions[0], NULL), expected[0]);
    assert_same(answer(session, questions[0], NULL), expected[0]);
    g_assert_cmpint(count_runs(model) - n_runs, ==, 2 * (MAX_TOKENS - 1));
    fastvlm_batcher_fix_row_cost(model->batcher, 0.1);
    questions[0]->params.no_draft = TRUE;
    n_runs = count_runs(model);
    assert_same(answer(session, questions[0], NULL), expected[0]);
    g_assert_cmpint(count_runs(model) - n_runs, ==, MAX_TOKENS - 1);
    for (int i = 0; i < 3; i++) {
        g_bytes_unref(expected[i]);
        g_free(questions[i]);
    }
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

typedef struct {
    FastvlmModel *model;
    Question *question;
    GBytes *expected;
    int picture;
    int n_answers;
} Speaker;

static gpointer speak(gpointer data)
{
    const Speaker *speaker = data;
    FastvlmSession *session = fastvlm_session_new(speaker->model);

    for (int i = 0; i < speaker->n_answers; i++) {
        if (i % 3 == 0)
            set_picture(session, speaker->picture, SIDE);
        assert_same(answer(session, speaker->question, NULL), speaker->expected);
    }
    fastvlm_session_free(session);
    return NULL;
}

/* Several sessions at once say what each says alone, in fewer runs. */
static void test_together(gconstpointer precision)
{
    enum { N = 6 };
    FastvlmModel *model = load(precision);
    Speaker speakers[N];
    GThread *threads[N];
    guint64 runs_before, runs, steps_before, steps;

    for (int i = 0; i < N; i++) {
        speakers[i] = (Speaker){model, make_question(i), NULL, i, 8};
        speakers[i].question->params.max_tokens = MAX_TOKENS - 3 * i;
        speakers[i].question->params.no_draft = i % 2;
        speakers[i].expected = answer_from_nothing(model, i, speakers[i].question);
    }
    fastvlm_batcher_fix_row_cost(model->batcher, 0.1); /* half of them guess */
    fastvlm_batcher_count(model->batcher, &runs_before, &steps_before);
    for (int i = 0; i < N; i++)
        threads[i] = g_thread_new("speaker", speak, &speakers[i]);
    for (int i = 0; i < N; i++) {
        g_thread_join(threads[i]);
        g_bytes_unref(speakers[i].expected);
        g_free(speakers[i].question);
    }
    fastvlm_batcher_count(model->batcher, &runs, &steps);
    g_test_message("%" G_GUINT64_FORMAT " steps in %" G_GUINT64_FORMAT " runs",
                   steps - steps_before, runs - runs_before);
    g_assert_cmpint(runs - runs_before, <, steps - steps_before);
    fastvlm_model_unref(model);
}

typedef struct {
    FastvlmSession *session;
    gint end; /* atomic */
} Victim;

static gpointer speak_until_cancelled(gpointer data)
{
    Victim *victim = data;
    Question *question = make_question(9);

    question->params.max_tokens = 20000;
    while (!g_atomic_int_get(&victim->end)) {
        FastvlmResult result;
        GError *error = NULL;

        g_assert_false(
            fastvlm_session_generate(victim->session, &question->params, &result, &error));
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
        g_clear_error(&error);
        fastvlm_session_reset_cancel(victim->session);
    }
    g_free(question);
    return NULL;
}

/* One of several is cancelled over and over; the others notice nothing. */
static void test_cancel(gconstpointer precision)
{
    enum { N = 3 };
    FastvlmModel *model = load(precision);
    Victim victim = {fastvlm_session_new(model), 0};
    GThread *victim_thread = g_thread_new("victim", speak_until_cancelled, &victim);
    Speaker speakers[N];
    GThread *threads[N];

    for (int i = 0; i < N; i++) {
        speakers[i] = (Speaker){model, make_question(i), NULL, i, 6};
        speakers[i].expected = answer_from_nothing(model, i, speakers[i].question);
        threads[i] = g_thread_new("speaker", speak, &speakers[i]);
    }
    for (int i = 0; i < 40; i++) {
        g_usleep((gulong)(500 + i * 137 % 4000));
        fastvlm_session_cancel(victim.session);
    }
    for (int i = 0; i < N; i++) {
        g_thread_join(threads[i]);
        g_bytes_unref(speakers[i].expected);
        g_free(speakers[i].question);
    }
    g_atomic_int_set(&victim.end, 1);
    fastvlm_session_cancel(victim.session);
    g_thread_join(victim_thread);
    fastvlm_session_free(victim.session);
    fastvlm_model_unref(model);
}

static void count_token(const char *piece, int id, gpointer n)
{
    g_atomic_int_inc((gint *)n);
}

typedef struct {
    FastvlmSession *session;
    gint n_tokens; /* atomic */
} Talker;

static gpointer talk(gpointer data)
{
    Talker *talker = data;
    Question *question = make_question(4);
    FastvlmResult result;
    GError *error = NULL;

    question->params.max_tokens = 20000;
    question->params.on_text = count_token;
    question->params.on_text_data = &talker->n_tokens;
    g_assert_false(fastvlm_session_generate(talker->session, &question->params, &result, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    g_clear_error(&error);
    g_free(question);
    return NULL;
}

/* While one session encodes another goes on speaking, and the other way round. */
static void test_turns(gconstpointer precision)
{
    FastvlmModel *model = load(precision);
    FastvlmSession *session = fastvlm_session_new(model);
    Talker talker = {fastvlm_session_new(model), 0};
    GThread *thread = g_thread_new("talker", talk, &talker);
    int n_before, n_after;

    while (g_atomic_int_get(&talker.n_tokens) < 3)
        g_usleep(1000);
    n_before = g_atomic_int_get(&talker.n_tokens);
    set_picture(session, 1, 2048);
    n_after = g_atomic_int_get(&talker.n_tokens);
    g_test_message("%d tokens while another session encoded, %.0f ms", n_after - n_before,
                   session->encode_ms);
    g_assert_cmpint(n_after - n_before, >=, 3);
    fastvlm_session_cancel(talker.session);
    g_thread_join(thread);
    fastvlm_session_free(talker.session);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
}

static void add_tests(const char *name, GTestDataFunc func)
{
    static const FastvlmPrecision precisions[] = {FASTVLM_PRECISION_F32, FASTVLM_PRECISION_BF16,
                                                  FASTVLM_PRECISION_INT8, FASTVLM_PRECISION_INT4};

    for (gsize i = 0; i < G_N_ELEMENTS(precisions); i++) {
        char *path =
            g_strdup_printf("/timeline/%s/%s", name, fastvlm_precision_to_string(precisions[i]));

        g_test_add_data_func(path, GINT_TO_POINTER(precisions[i]), func);
        g_free(path);
    }
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    if (g_strcmp0(g_getenv("FASTVLM_BLAS"), "openblas") == 0) {
        g_print("1..0 # SKIP with OpenBLAS nothing is reused\n");
        return 0;
    }
    directory = test_directory_make();
    test_checkpoint_write(directory, "BF16");
    add_tests("reuse", test_reuse);
    add_tests("rows", test_rows);
    add_tests("draft", test_draft);
    add_tests("together", test_together);
    add_tests("cancel", test_cancel);
    add_tests("turns", test_turns);
    status = g_test_run();
    test_directory_remove(directory);
    return status;
}
