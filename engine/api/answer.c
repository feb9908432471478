/*
 * Answers: prompt -> ids -> prefill -> tokens, one by one -> text.
 *
 * The sequence is prefix ids, the picture's rows, suffix ids; the timeline (language/timeline.h) knows
 * how much of it is computed already.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <string.h>

#include "api/choices.h"
#include "api/repetition.h"
#include "api/session.h"
#include "language/sampler.h"
#include "text/prompt.h"
#include "text/utf8_stream.h"

/** One answer under way. */
typedef struct {
    FastvlmSession *session;
    const FastvlmGenerateParams *params;
    GArray *prefix; /* of gint32 */
    GArray *suffix;
    int n_image_rows;
    GArray *sequence;       /* of gint32: the prompt for the timeline */
    FastvlmChoices choices; /* without spellings: any answer */
    int max_tokens;
    FastvlmSampler sampler;
    FastvlmUtf8Stream utf8;
    GString *text;
    GArray *ids;
    GArray *text_ends; /* of gsize: where the text of each id ends */
    double sum_log_probability;
    int n_weighed; /* tokens in it, where that is not the answer's number */
    FastvlmFinishReason finish_reason;
} Answer;

static void clear_answer(Answer *answer)
{
    fastvlm_choices_clear(&answer->choices);
    g_array_unref(answer->prefix);
    g_array_unref(answer->suffix);
    g_array_unref(answer->sequence);
    g_array_unref(answer->ids);
    g_array_unref(answer->text_ends);
    g_string_free(answer->text, TRUE);
}

/** Ids that may be chosen: those the tokenizer knows, or all where there is none. */
static int count_known_ids(const FastvlmModel *model)
{
    const int vocab_size = model->language.vocab_size;

    return model->tokenizer ? MIN(model->info->tokenizer_size, vocab_size) : vocab_size;
}

static gboolean check_params(const FastvlmGenerateParams *params, GError **error)
{
    const struct {
        const char *name;
        double value;
        double most;
    } numbers[] = {
        {"max_tokens", params->max_tokens, G_MAXINT},
        {"temperature", params->temperature, G_MAXDOUBLE},
        {"top_p", params->top_p, 1.0},
        {"top_k", params->top_k, G_MAXINT},
        {"n_prefix_ids", params->n_prefix_ids, G_MAXINT},
        {"n_suffix_ids", params->n_suffix_ids, G_MAXINT},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        /* A NaN is neither more nor less than anything. */
        if (numbers[i].value >= 0.0 && numbers[i].value <= numbers[i].most)
            continue;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, "%s is %g, expected a number %s",
                    numbers[i].name, numbers[i].value,
                    numbers[i].most == 1.0 ? "from 0 to 1" : "of 0 or more");
        return FALSE;
    }
    return TRUE;
}

static gboolean take_ids(const FastvlmModel *model, const gint32 *ids, int n, GArray *out,
                         GError **error)
{
    for (int i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= model->language.vocab_size) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                        "token id %d: expected 0 to %d", ids[i], model->language.vocab_size - 1);
            return FALSE;
        }
    }
    g_array_append_vals(out, ids, (guint)n);
    return TRUE;
}

static gboolean take_prompt(Answer *answer, GError **error)
{
    const FastvlmGenerateParams *params = answer->params;
    const FastvlmModel *model = answer->session->model;
    GArray *const ids[2] = {answer->prefix, answer->suffix};

    if (params->use_ids)
        return take_ids(model, params->prefix_ids, params->n_prefix_ids, ids[0], error) &&
               take_ids(model, params->suffix_ids, params->n_suffix_ids, ids[1], error);
    if (!model->tokenizer) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "%s has no tokenizer files, so no prompt can be read: put vocab.json, "
                    "merges.txt and added_tokens.json there",
                    model->info->path);
        return FALSE;
    }
    if (!fastvlm_prompt_build(model->tokenizer,
                              params->system_prompt ? params->system_prompt
                                                    : FASTVLM_DEFAULT_SYSTEM_PROMPT,
                              params->prompt ? params->prompt : FASTVLM_DEFAULT_PROMPT,
                              answer->n_image_rows > 0, ids[0], ids[1], error))
        return FALSE;
    for (guint i = 0; i < ids[0]->len + ids[1]->len; i++) {
        const gint32 id = i < ids[0]->len ? g_array_index(ids[0], gint32, i)
                                          : g_array_index(ids[1], gint32, i - ids[0]->len);

        if (id >= model->language.vocab_size) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                        "%s: the tokenizer made id %d, but the embedding has %d rows; its "
                        "files do not belong together",
                        model->info->path, id, model->language.vocab_size);
            return FALSE;
        }
    }
    return TRUE;
}

/** How long the sequence is and may become. */
static gboolean plan(Answer *answer, GError **error)
{
    const FastvlmLanguageWeights *weights = &answer->session->model->language;
    const int wanted = answer->choices.spellings ? fastvlm_choices_count_ids(&answer->choices)
                       : answer->params->max_tokens > 0 ? answer->params->max_tokens
                                                        : FASTVLM_DEFAULT_MAX_TOKENS;
    const gint64 n_prompt =
        (gint64)answer->prefix->len + answer->n_image_rows + (gint64)answer->suffix->len;

    if (n_prompt == 0) {
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                            "there is neither a prompt nor a picture: give token ids, or set a "
                            "picture first");
        return FALSE;
    }
    if (n_prompt >= weights->max_positions) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "prompt and picture take %" G_GINT64_FORMAT " positions, the model has %d; "
                    "use a shorter prompt or a lower resolution",
                    n_prompt, weights->max_positions);
        return FALSE;
    }
    answer->max_tokens = MIN(wanted, weights->max_positions - (int)n_prompt);
    if (answer->choices.spellings && answer->max_tokens < wanted) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "the longest choice has %d tokens, and behind prompt and picture the model has "
                    "%d positions left; use shorter choices",
                    wanted, answer->max_tokens);
        return FALSE;
    }
    return TRUE;
}

static gboolean prefill(Answer *answer, GError **error)
{
    FastvlmSession *session = answer->session;
    const FastvlmGenerateParams *params = answer->params;
    const gsize n_logits = (gsize)session->model->language.vocab_size;

    g_array_append_vals(answer->sequence, answer->prefix->data, answer->prefix->len);
    for (int i = 0; i < answer->n_image_rows; i++) {
        const gint32 row = -1 - i;

        g_array_append_val(answer->sequence, row);
    }
    g_array_append_vals(answer->sequence, answer->suffix->data, answer->suffix->len);
    if (!fastvlm_timeline_prompt(
            &session->timeline, (const gint32 *)(void *)answer->sequence->data,
            (int)answer->sequence->len, session->vision.projected, answer->max_tokens,
            params->temperature == 0.0 && !params->no_draft && !answer->choices.spellings, error))
        return FALSE;
    if (!session->first_logits)
        session->first_logits = g_new(float, n_logits);
    memcpy(session->first_logits, fastvlm_timeline_get_logits(&session->timeline),
           n_logits * sizeof(float));
    return TRUE;
}

/** A C string cannot hold NUL: such a character is dropped. */
static void drop_nul(GString *text, gsize from)
{
    gsize end = from;

    for (gsize i = from; i < text->len; i++)
        if (text->str[i] != '\0')
            text->str[end++] = text->str[i];
    g_string_truncate(text, end);
}

static void add_text(Answer *answer, int id)
{
    const FastvlmTokenizer *tokenizer = answer->session->model->tokenizer;
    const gsize from = answer->text->len;
    gsize n_bytes = 0;
    const char *bytes = tokenizer ? fastvlm_tokenizer_decode(tokenizer, id, &n_bytes) : "";

    fastvlm_utf8_stream_feed(&answer->utf8, bytes, n_bytes, answer->text);
    drop_nul(answer->text, from);
    g_array_append_val(answer->text_ends, answer->text->len);
    if (answer->params->on_text)
        answer->params->on_text(answer->text->str + from, id, answer->params->on_text_data);
}

/** Chooses a token from the logits that are there. */
static gboolean choose(Answer *answer, int *id, GError **error)
{
    const FastvlmModel *model = answer->session->model;
    double log_probability = 0.0;

    *id = fastvlm_sampler_choose(&answer->sampler,
                                 fastvlm_timeline_get_logits(&answer->session->timeline),
                                 count_known_ids(model), &log_probability);
    if (*id < 0) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: the model computed logits that are not finite; its weights are damaged "
                    "or not FastVLM's",
                    model->info->path);
        return FALSE;
    }
    answer->sum_log_probability += log_probability;
    return TRUE;
}

static gboolean is_stop(const Answer *answer, int id)
{
    const int *stop_ids = answer->session->model->stop_ids;

    return !answer->params->ignore_stop && (id == stop_ids[0] || id == stop_ids[1]);
}

/** Whether the answer goes round in circles; then it is cut to the first round. */
static gboolean cut_repetition(Answer *answer)
{
    const int n = answer->params->ignore_stop
                      ? 0
                      : fastvlm_repetition_find((const gint32 *)(void *)answer->ids->data,
                                                (int)answer->ids->len);

    if (n == 0)
        return FALSE;
    answer->n_weighed = (int)answer->ids->len;
    g_array_set_size(answer->ids, (guint)n);
    g_string_truncate(answer->text, g_array_index(answer->text_ends, gsize, n - 1));
    answer->utf8 = (FastvlmUtf8Stream){0};
    answer->finish_reason = FASTVLM_FINISH_REPETITION;
    return TRUE;
}

/** Numbers that are none end an answer, with what there is of it; takes `problem`. */
static gboolean end_badly(Answer *answer, GError *problem, GError **error)
{
    if (!g_error_matches(problem, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT)) {
        g_propagate_error(error, problem);
        return FALSE;
    }
    g_error_free(problem);
    answer->finish_reason = FASTVLM_FINISH_NOT_FINITE;
    return TRUE;
}

/** From the first token, already chosen, to the end. */
static gboolean decode(Answer *answer, int id, GError **error)
{
    FastvlmTimeline *timeline = &answer->session->timeline;
    GError *problem = NULL;

    while (!is_stop(answer, id)) {
        int n_more;

        g_array_append_val(answer->ids, id);
        add_text(answer, id);
        n_more = answer->max_tokens - (int)answer->ids->len;
        if (n_more == 0) {
            answer->finish_reason = FASTVLM_FINISH_LENGTH;
            return TRUE;
        }
        if (cut_repetition(answer))
            return TRUE;
        if (!fastvlm_timeline_advance(timeline, id, n_more, &problem) ||
            !choose(answer, &id, &problem))
            return end_badly(answer, problem, error);
    }
    answer->finish_reason = FASTVLM_FINISH_STOP;
    return TRUE;
}

static void fill_result(Answer *answer, FastvlmResult *result)
{
    const gboolean stopped = answer->finish_reason == FASTVLM_FINISH_STOP;
    const int n_chosen =
        answer->n_weighed > 0 ? answer->n_weighed : (int)answer->ids->len + (stopped ? 1 : 0);

    fastvlm_utf8_stream_flush(&answer->utf8, answer->text);
    result->n_tokens = (int)answer->ids->len;
    result->text = g_strstrip(g_strdup(answer->text->str));
    result->ids = g_memdup2(answer->ids->data, answer->ids->len * sizeof(gint32));
    result->finish_reason = answer->finish_reason;
    result->choice = -1;
    result->confidence = exp(answer->sum_log_probability / n_chosen);
}

/** Its prompt is computed: the answer is one of the choices. */
static gboolean choose_answer(Answer *answer, FastvlmResult *result, GError **error)
{
    const FastvlmGenerateParams *params = answer->params;
    const FastvlmModel *model = answer->session->model;

    if (!fastvlm_choices_answer(&answer->choices, model, &answer->session->timeline,
                                &answer->sampler, count_known_ids(model), result, error))
        return FALSE;
    if (params->on_text)
        params->on_text(result->text, result->ids[0], params->on_text_data);
    return TRUE;
}

/** Its prompt is computed: the answer is whatever the model says. */
static gboolean write_answer(Answer *answer, gint64 *first_us, FastvlmResult *result,
                             GError **error)
{
    int id;

    if (!choose(answer, &id, error))
        return FALSE;
    *first_us = g_get_monotonic_time();
    if (!decode(answer, id, error))
        return FALSE;
    fill_result(answer, result);
    return TRUE;
}

static double ms_since(gint64 start_us)
{
    return (double)(g_get_monotonic_time() - start_us) / 1000.0;
}

static gboolean run_answer(Answer *answer, FastvlmResult *result, GError **error)
{
    const gint64 start_us = g_get_monotonic_time();
    gint64 first_us;

    if (!take_prompt(answer, error) || !plan(answer, error) || !prefill(answer, error))
        return FALSE;
    first_us = g_get_monotonic_time();
    result->prefill_ms = (double)(first_us - start_us) / 1000.0;
    if (!(answer->choices.spellings ? choose_answer(answer, result, error)
                                    : write_answer(answer, &first_us, result, error)))
        return FALSE;
    result->decode_ms = ms_since(first_us);
    result->n_prompt_tokens = (int)answer->sequence->len;
    result->n_reused_tokens = result->n_prompt_tokens - answer->session->timeline.n_computed;
    result->preprocess_ms = answer->session->preprocess_ms;
    result->encode_ms = answer->session->encode_ms;
    result->ttft_ms =
        result->preprocess_ms + result->encode_ms + (double)(first_us - start_us) / 1000.0;
    result->total_ms = result->ttft_ms + result->decode_ms;
    return TRUE;
}

gboolean fastvlm_session_generate(FastvlmSession *session, const FastvlmGenerateParams *params,
                                  FastvlmResult *result, GError **error)
{
    static const FastvlmGenerateParams defaults = {0};
    FastvlmResult made = {0};
    Answer answer = {.session = session, .params = params ? params : &defaults};
    gboolean ok;

    if (!check_params(answer.params, error))
        return FALSE;
    answer.n_image_rows = session->has_image ? session->vision.n_tokens : 0;
    answer.sampler =
        (FastvlmSampler){session->model->kernels, answer.params->temperature, answer.params->top_p,
                         answer.params->top_k, answer.params->seed};
    answer.prefix = g_array_new(FALSE, FALSE, sizeof(gint32));
    answer.suffix = g_array_new(FALSE, FALSE, sizeof(gint32));
    answer.sequence = g_array_new(FALSE, FALSE, sizeof(gint32));
    answer.ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    answer.text_ends = g_array_new(FALSE, FALSE, sizeof(gsize));
    answer.text = g_string_new(NULL);
    ok = (!answer.params->choices ||
          fastvlm_choices_init(&answer.choices, session->model, answer.params->choices, error)) &&
         run_answer(&answer, &made, error);
    /* A choice is no draft of words. */
    fastvlm_timeline_end(&session->timeline, ok && !answer.params->choices);
    if (ok)
        *result = made;
    clear_answer(&answer);
    return ok;
}
