/*
 * A session: its life, its picture, its cancellation. Answers are in answer.c.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/session.h"

#include "image/preprocess.h"

#define MAX_RESOLUTION 4096

const char *fastvlm_finish_reason_to_string(FastvlmFinishReason reason)
{
    static const char *const names[] = {"stop", "length", "choice", "repetition", "not_finite"};

    return names[reason];
}

void fastvlm_result_clear(FastvlmResult *result)
{
    g_free(result->text);
    g_free(result->ids);
    g_free(result->choice_probabilities);
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
    fastvlm_timeline_init(&session->timeline, &model->language, model->batcher, &session->compute,
                          model->precision == FASTVLM_PRECISION_F32 ? FASTVLM_KV_F32
                                                                    : FASTVLM_KV_BF16);
    return session;
}

void fastvlm_session_free(FastvlmSession *session)
{
    if (!session)
        return;
    fastvlm_vision_state_clear(&session->vision);
    fastvlm_timeline_clear(&session->timeline);
    fastvlm_compute_clear(&session->compute);
    g_free(session->rgb);
    g_free(session->first_logits);
    fastvlm_model_unref(session->model);
    g_free(session);
}

void fastvlm_session_cancel(FastvlmSession *session)
{
    g_atomic_int_set(&session->cancel, 1);
    fastvlm_pool_wake(session->model->pool);
    fastvlm_batcher_wake(session->model->batcher);
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
    fastvlm_timeline_forget_picture(&session->timeline);
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
    if (fit == FASTVLM_FIT_AUTO)
        fit = session->model->info->fit;
    if (!fastvlm_preprocess_run(image, resolution, fit, session->model->pool, &session->cancel,
                                session->rgb, error))
        return FALSE;
    session->preprocess_ms = ms_since(start_us);
    return TRUE;
}

static gboolean encode(FastvlmSession *session, int resolution, GError **error)
{
    const gint64 start_us = g_get_monotonic_time();

    if (!fastvlm_vision_encode(&session->model->vision, &session->compute, session->rgb, resolution,
                               &session->vision, error))
        return FALSE;
    session->encode_ms = ms_since(start_us);
    session->has_image = TRUE;
    return TRUE;
}

gboolean fastvlm_session_set_image(FastvlmSession *session, const FastvlmImage *image,
                                   int resolution, FastvlmFit fit, GError **error)
{
    FastvlmPool *pool = session->model->pool;
    gboolean ok;

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
    if (!fastvlm_pool_hold(pool, FASTVLM_POOL_SLICE_US, &session->cancel)) {
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    ok = preprocess(session, image, resolution, fit, error) && encode(session, resolution, error);
    fastvlm_pool_release(pool);
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
