/*
 * A worker's model: waiting for it, and news of the load.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmworkerprivate.h"

/* Loads that take no longer are told of when they are over. gst-launch-1.0 keeps a pipeline paused
 * from the first news of a load to its end, which video of mode live must not suffer. */
#define LOAD_GRACE_US (300 * G_TIME_SPAN_MILLISECOND)
#define LOAD_NEWS_INTERVAL_US (225 * G_TIME_SPAN_MILLISECOND)
#define LOAD_NEWS_STEP 0.01
/* News without a step, so that somebody is told at least every half second that the load goes on. */
#define LOAD_NEWS_SILENCE_US (450 * G_TIME_SPAN_MILLISECOND)

static void tell_progress(GstFastvlmWorker *worker, GstProgressType type, double fraction)
{
    char *text;

    switch (type) {
    case GST_PROGRESS_TYPE_START:
        text = g_strdup_printf("Loading model %s", worker->model_path);
        break;
    case GST_PROGRESS_TYPE_COMPLETE:
        text = g_strdup_printf("Loaded model %s", worker->model_path);
        break;
    case GST_PROGRESS_TYPE_CANCELED:
        text = g_strdup_printf("Loading model %s was canceled", worker->model_path);
        break;
    case GST_PROGRESS_TYPE_ERROR:
        text = g_strdup_printf("Loading model %s failed", worker->model_path);
        break;
    default:
        text =
            g_strdup_printf("Loading model %s: %d %%", worker->model_path, (int)(100 * fraction));
    }
    if (gst_fastvlm_worker_begin_call(worker)) {
        worker->funcs->progress(worker->user_data, type, text);
        gst_fastvlm_worker_end_call(worker);
    }
    g_free(text);
}

/* Waits for the model, telling how far it is; FALSE without one. */
static GstFastvlmLoadState await_model(GstFastvlmWorker *worker, FastvlmModel **model,
                                       GError **error)
{
    GstFastvlmLoadState state;
    gboolean told = FALSE;
    double fraction = 0, told_fraction = 0;
    gint64 next_news_us = g_get_monotonic_time() + LOAD_GRACE_US, told_us = 0;

    while ((state = gst_fastvlm_model_use_wait(worker->use, next_news_us, &fraction, model,
                                               error)) == GST_FASTVLM_LOAD_GOES_ON) {
        const gint64 now_us = g_get_monotonic_time();
        if (now_us < next_news_us) {
            continue;
        }
        if (!told || fraction - told_fraction >= LOAD_NEWS_STEP ||
            now_us - told_us >= LOAD_NEWS_SILENCE_US) {
            tell_progress(worker, told ? GST_PROGRESS_TYPE_CONTINUE : GST_PROGRESS_TYPE_START,
                          fraction);
            told = TRUE;
            told_fraction = fraction;
            told_us = now_us;
        }
        next_news_us = now_us + LOAD_NEWS_INTERVAL_US;
    }
    if (state == GST_FASTVLM_LOAD_INTERRUPTED) {
        if (told) {
            tell_progress(worker, GST_PROGRESS_TYPE_CANCELED, fraction);
        }
        return state;
    }
    if (!told) {
        tell_progress(worker, GST_PROGRESS_TYPE_START, 0);
    }
    tell_progress(
        worker,
        state == GST_FASTVLM_LOAD_DONE ? GST_PROGRESS_TYPE_COMPLETE : GST_PROGRESS_TYPE_ERROR, 1);
    return state;
}

gboolean gst_fastvlm_worker_load(GstFastvlmWorker *worker)
{
    FastvlmModel *model = NULL;
    GError *error = NULL;
    const GstFastvlmLoadState state = await_model(worker, &model, &error);

    if (state == GST_FASTVLM_LOAD_FAILED && gst_fastvlm_worker_begin_call(worker)) {
        worker->funcs->failed(worker->user_data, error, TRUE, TRUE);
        gst_fastvlm_worker_end_call(worker);
    }
    g_clear_error(&error);
    if (state != GST_FASTVLM_LOAD_DONE) {
        return FALSE;
    }
    if (gst_fastvlm_worker_begin_call(worker)) {
        worker->funcs->loaded(worker->user_data, model);
        gst_fastvlm_worker_end_call(worker);
    }
    worker->own_resolution = (guint)fastvlm_model_get_info(model)->resolution;
    FastvlmSession *session = fastvlm_session_new(model);
    fastvlm_model_unref(model);
    g_mutex_lock(&worker->lock);
    worker->session = session;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
    return TRUE;
}
