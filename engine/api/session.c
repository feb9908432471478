/*
 * A session: picture -> encoder -> prompt -> prefill -> tokens -> text.
 *
 * The sequence is prefix ids, the picture's rows, suffix ids; it goes through the decoder in chunks,
 * so that a long prompt needs no more memory than a picture's.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/session.h>

#include <math.h>
#include <string.h>

#include "api/model.h"
#include "image/preprocess.h"
#include "language/decoder.h"
#include "language/sampler.h"
#include "text/prompt.h"
#include "text/utf8_stream.h"
#include "vision/encoder.h"

#define MAX_RESOLUTION 4096
#define MAX_CHUNK_ROWS 576

struct _FastvlmSession {
    FastvlmModel *model;
    gint cancel; /* atomic */
    FastvlmCompute compute;
    FastvlmVisionState vision;
    FastvlmKvCache cache;
    FastvlmDecoderState decoder;
    guint8 *rgb; /* [rgb_side, rgb_side, 3] */
    int rgb_side;
    gboolean has_image;
    float *first_logits; /* [vocab_size]; NULL before the first answer */
    double preprocess_ms;
    double encode_ms;
};

const char *fastvlm_finish_reason_to_string(FastvlmFinishReason reason)
{
    return reason == FASTVLM_FINISH_STOP ? "stop" : "length";
}

void fastvlm_result_clear(FastvlmResult *result)
{
    g_free(result->text);
    g_free(result->ids);
    *result = (FastvlmResult){0};
}

FastvlmSession *fastvlm_session_new(FastvlmModel *model)
{
    FastvlmSession *session = g_new0(FastvlmSession, 1);

    session->model = fastvlm_model_ref(model);
    session->compute.pool = model->pool;
    session->compute.kernels = model->kernels;
    session->compute.use_blas = model->use_blas;
    session->compute.cancel = &session->cancel;
    fastvlm_compute_init(&session->compute);
    return session;
}

void fastvlm_session_free(FastvlmSession *session)
{
    if (!session)
        return;
    fastvlm_vision_state_clear(&session->vision);
    fastvlm_kv_cache_clear(&session->cache);
    fastvlm_decoder_state_clear(&session->decoder);
    fastvlm_compute_clear(&session->compute);
    g_free(session->rgb);
    g_free(session->first_logits);
    fastvlm_model_unref(session->model);
    g_free(session);
}

void fastvlm_session_cancel(FastvlmSession *session)
{
    g_atomic_int_set(&session->cancel, 1);
}

void fastvlm_session_reset_cancel(FastvlmSession *session)
{
    g_atomic_int_set(&session->cancel, 0);
}

static double ms_since(gint64 start_us)
{
    return (double)(g_get_monotonic_time() - start_us) / 1000.0;
}

void fastvlm_session_clear_image(FastvlmSession *session)
{
    session->has_image = FALSE;
    session->preprocess_ms = session->encode_ms = 0.0;
}

static gboolean preprocess(FastvlmSession *session, const FastvlmImage *image, int resolution,
                           FastvlmFit fit, GError **error)
{
    const gint64 start_us = g_get_monotonic_time();

    if (session->rgb_side != resolution) {
        g_free(session->rgb);
        session->rgb = g_malloc((gsize)resolution * (gsize)resolution * 3);
        session->rgb_side = resolution;
    }
    if (!fastvlm_preprocess_run(image, resolution, fit, session->model->pool, &session->cancel,
                                session->rgb, error))
        return FALSE;
    session->preprocess_ms = ms_since(start_us);
    return TRUE;
}

gboolean fastvlm_session_set_image(FastvlmSession *session, const FastvlmImage *image,
                                   int resolution, FastvlmFit fit, GError **error)
{
    gint64 start_us;

    fastvlm_session_clear_image(session);
    if (resolution == 0)
        resolution = session->model->info->resolution;
    if (resolution < FASTVLM_VISION_STRIDE || resolution > MAX_RESOLUTION ||
        resolution % FASTVLM_VISION_STRIDE != 0) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "resolution %d: expected a multiple of %d, at most %d", resolution,
                    FASTVLM_VISION_STRIDE, MAX_RESOLUTION);
        return FALSE;
    }
    if (!preprocess(session, image, resolution, fit, error))
        return FALSE;
    start_us = g_get_monotonic_time();
    if (!fastvlm_vision_encode(&session->model->vision, &session->compute, session->rgb, resolution,
                               &session->vision, error))
        return FALSE;
    session->encode_ms = ms_since(start_us);
    session->has_image = TRUE;
    return TRUE;
}

/** One answer under way. */
typedef struct {
    FastvlmSession *session;
    const FastvlmGenerateParams *params;
    GArray *prefix; /* of gint32 */
    GArray *suffix;
    int n_image_rows;
    int n_prompt;
    int max_tokens;
    FastvlmSampler sampler;
    FastvlmUtf8Stream utf8;
    GString *text;
    GArray *ids;
    double sum_log_probability;
    FastvlmFinishReason finish_reason;
} Answer;

static void clear_answer(Answer *answer)
{
    g_array_unref(answer->prefix);
    g_array_unref(answer->suffix);
    g_array_unref(answer->ids);
    g_string_free(answer->text, TRUE);
}

/** Ids that may be chosen: those the tokenizer knows, or all where there is none. */
static int count_choices(const FastvlmModel *model)
{
    const int vocab_size = model->language.vocab_size;

    return model->tokenizer ? MIN(model->info->tokenizer_size, vocab_size) : vocab_size;
}

static gboolean check_params(const FastvlmGenerateParams *params, GError **error)
{
    const char *problem = NULL;

    if (params->max_tokens < 0)
        problem = "max_tokens is negative";
    else if (!(params->temperature >= 0.0) || !isfinite(params->temperature))
        problem = "temperature is not a number of 0 or more";
    else if (!(params->top_p >= 0.0 && params->top_p <= 1.0))
        problem = "top_p is not between 0 and 1";
    else if (params->top_k < 0)
        problem = "top_k is negative";
    else if (params->n_prefix_ids < 0 || params->n_suffix_ids < 0)
        problem = "a number of ids is negative";
    if (!problem)
        return TRUE;
    g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, problem);
    return FALSE;
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

/** How long the sequence is and may become, and memory for it. */
static gboolean plan(Answer *answer, GError **error)
{
    FastvlmSession *session = answer->session;
    const FastvlmLanguageWeights *weights = &session->model->language;
    const int wanted =
        answer->params->max_tokens > 0 ? answer->params->max_tokens : FASTVLM_DEFAULT_MAX_TOKENS;
    const gint64 n_prompt =
        (gint64)answer->prefix->len + answer->n_image_rows + (gint64)answer->suffix->len;

    if (n_prompt == 0) {
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                            "there is neither a prompt nor a picture");
        return FALSE;
    }
    if (n_prompt >= weights->max_positions) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "prompt and picture take %" G_GINT64_FORMAT " positions, the model has %d; "
                    "use a shorter prompt or a lower resolution",
                    n_prompt, weights->max_positions);
        return FALSE;
    }
    answer->n_prompt = (int)n_prompt;
    answer->max_tokens = MIN(wanted, weights->max_positions - answer->n_prompt);
    return fastvlm_kv_cache_reset(&session->cache, weights, answer->n_prompt + answer->max_tokens,
                                  error) &&
           fastvlm_decoder_prepare(weights, &session->compute,
                                   MIN(answer->n_prompt, MAX_CHUNK_ROWS),
                                   answer->n_prompt + answer->max_tokens, &session->decoder, error);
}

/** Row `position` of the prompt's sequence: row [hidden]. */
static gboolean fill_row(const Answer *answer, int position, float *row, GError **error)
{
    const FastvlmLanguageWeights *weights = &answer->session->model->language;
    const int n_prefix = (int)answer->prefix->len;
    const gsize hidden = (gsize)weights->hidden;
    gint32 id;

    if (position >= n_prefix && position < n_prefix + answer->n_image_rows) {
        memcpy(row, answer->session->vision.projected + (gsize)(position - n_prefix) * hidden,
               hidden * sizeof *row);
        return TRUE;
    }
    id = position < n_prefix
             ? g_array_index(answer->prefix, gint32, position)
             : g_array_index(answer->suffix, gint32, position - n_prefix - answer->n_image_rows);
    return fastvlm_embedding_read(&weights->embedding, id, row, error);
}

static gboolean prefill(Answer *answer, GError **error)
{
    FastvlmSession *session = answer->session;
    const FastvlmLanguageWeights *weights = &session->model->language;

    for (int first = 0; first < answer->n_prompt; first += MAX_CHUNK_ROWS) {
        const int n = MIN(MAX_CHUNK_ROWS, answer->n_prompt - first);

        for (int i = 0; i < n; i++)
            if (!fill_row(answer, first + i, session->decoder.x + (gsize)i * (gsize)weights->hidden,
                          error))
                return FALSE;
        if (!fastvlm_decoder_run(weights, &session->compute, &session->cache, &session->decoder, n,
                                 error))
            return FALSE;
    }
    if (!session->first_logits)
        session->first_logits = g_new(float, weights->vocab_size);
    memcpy(session->first_logits, session->decoder.logits,
           (gsize)weights->vocab_size * sizeof(float));
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
    if (answer->params->on_text)
        answer->params->on_text(answer->text->str + from, id, answer->params->on_text_data);
}

/** Chooses a token from the logits that are there. */
static gboolean choose(Answer *answer, int *id, GError **error)
{
    const FastvlmModel *model = answer->session->model;
    double log_probability = 0.0;

    *id = fastvlm_sampler_choose(&answer->sampler, answer->session->decoder.logits,
                                 count_choices(model), &log_probability);
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

static gboolean step(Answer *answer, int id, GError **error)
{
    FastvlmSession *session = answer->session;
    const FastvlmLanguageWeights *weights = &session->model->language;

    return fastvlm_embedding_read(&weights->embedding, id, session->decoder.x, error) &&
           fastvlm_decoder_run(weights, &session->compute, &session->cache, &session->decoder, 1,
                               error);
}

/** From the first token, already chosen, to the end. */
static gboolean decode(Answer *answer, int id, GError **error)
{
    while (!is_stop(answer, id)) {
        g_array_append_val(answer->ids, id);
        add_text(answer, id);
        if ((int)answer->ids->len == answer->max_tokens) {
            answer->finish_reason = FASTVLM_FINISH_LENGTH;
            return TRUE;
        }
        if (!step(answer, id, error) || !choose(answer, &id, error))
            return FALSE;
    }
    answer->finish_reason = FASTVLM_FINISH_STOP;
    return TRUE;
}

static void fill_result(Answer *answer, FastvlmResult *result)
{
    const gboolean stopped = answer->finish_reason == FASTVLM_FINISH_STOP;
    const guint n_chosen = answer->ids->len + (stopped ? 1 : 0);

    fastvlm_utf8_stream_flush(&answer->utf8, answer->text);
    result->n_tokens = (int)answer->ids->len;
    result->text = g_strstrip(g_strdup(answer->text->str));
    result->ids = g_memdup2(answer->ids->data, answer->ids->len * sizeof(gint32));
    result->n_prompt_tokens = answer->n_prompt;
    result->finish_reason = answer->finish_reason;
    result->confidence = exp(answer->sum_log_probability / n_chosen);
    result->preprocess_ms = answer->session->preprocess_ms;
    result->encode_ms = answer->session->encode_ms;
}

static gboolean run_answer(Answer *answer, FastvlmResult *result, GError **error)
{
    const gint64 start_us = g_get_monotonic_time();
    gint64 first_us;
    int id;

    if (!take_prompt(answer, error) || !plan(answer, error) || !prefill(answer, error))
        return FALSE;
    result->prefill_ms = ms_since(start_us);
    if (!choose(answer, &id, error))
        return FALSE;
    first_us = g_get_monotonic_time();
    if (!decode(answer, id, error))
        return FALSE;
    result->decode_ms = ms_since(first_us);
    fill_result(answer, result);
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
    answer.sampler = (FastvlmSampler){answer.params->temperature, answer.params->top_p,
                                      answer.params->top_k, answer.params->seed};
    answer.prefix = g_array_new(FALSE, FALSE, sizeof(gint32));
    answer.suffix = g_array_new(FALSE, FALSE, sizeof(gint32));
    answer.ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    answer.text = g_string_new(NULL);
    ok = run_answer(&answer, &made, error);
    if (ok)
        *result = made;
    clear_answer(&answer);
    return ok;
}

const float *fastvlm_session_get_tensor(const FastvlmSession *session, FastvlmTensor tensor,
                                        int *n_rows, int *n_columns)
{
    const FastvlmModel *model = session->model;

    switch (tensor) {
    case FASTVLM_TENSOR_VISION:
        *n_columns = model->vision.expand.n_channels;
        *n_rows = session->vision.n_tokens;
        return session->has_image ? session->vision.vision : NULL;
    case FASTVLM_TENSOR_PROJECTED:
        *n_columns = model->vision.projector_out.matrix.n_out;
        *n_rows = session->vision.n_tokens;
        return session->has_image ? session->vision.projected : NULL;
    case FASTVLM_TENSOR_LOGITS:
        *n_columns = model->language.vocab_size;
        *n_rows = 1;
        return session->first_logits;
    }
    return NULL;
}
