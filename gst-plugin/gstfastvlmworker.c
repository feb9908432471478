/*
 * The inference thread; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmworker.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gstfastvlmmodels.h"

#define PARTIAL_INTERVAL_US (200 * G_TIME_SPAN_MILLISECOND)

/* Loads that take no longer are told of when they are over. gst-launch-1.0 keeps a pipeline paused
 * from the first news of a load to its end, which video of mode live must not suffer. */
#define LOAD_GRACE_US (300 * G_TIME_SPAN_MILLISECOND)
#define LOAD_NEWS_INTERVAL_US (250 * G_TIME_SPAN_MILLISECOND)
#define LOAD_NEWS_STEP 0.01

/* While the model loads nothing can begin; a frame in the mailbox this old makes way. */
#define STALE_SAMPLE_US (200 * G_TIME_SPAN_MILLISECOND)

/* Longest wait for an answer that is being published: its handlers may wait for who waits here. */
#define SETTLE_US (1 * G_TIME_SPAN_SECOND)

struct _GstFastvlmWorker {
    const GstFastvlmWorkerFuncs *funcs;
    gpointer user_data;
    GstFastvlmStats *stats;
    GThread *thread;

    /* Of the worker's thread alone. */
    GstFastvlmViewer *viewer;
    char *model_path;
    gint nice;
    guint64 sequence; /* of the last answer published */
    gint64 last_partial_us;
    double last_total_ms;

    GMutex lock;
    GCond changed;
    /* Under the lock. */
    gboolean quits;
    gboolean ended;    /* the thread has nothing left to do */
    gboolean orphaned; /* the element may be gone: never call it */
    gboolean flushing;
    gboolean failed;
    gboolean busy;    /* a sample is with the model */
    gboolean calling; /* the thread is in one of the element's funcs */
    guint64 epoch;    /* answers to samples of an earlier one are dropped */
    GstFastvlmSample *mailbox;
    guint n_replaced;        /* in the mailbox since the sample that is with the model */
    guint64 submitted;       /* last ticket given */
    guint64 finished;        /* last ticket done */
    FastvlmSession *session; /* NULL before the model is loaded */
    GstFastvlmModelUse *use; /* NULL once the thread is done with it */
};

/* One sample's way through the model. */
typedef struct {
    GstFastvlmWorker *worker;
    const GstFastvlmSample *sample;
    GstFastvlmSettings settings;
    guint64 epoch;
    guint64 sequence;
    gint64 start_us;
    double prepare_ms; /* from the start to the engine's own clock */
    double ttft_ms;
    GString *text;
    guint n_tokens;
} Caption;

static double ms_since(gint64 start_us)
{
    return (double)(g_get_monotonic_time() - start_us) / 1000.0;
}

static void free_sample(GstFastvlmWorker *worker, GstFastvlmSample *sample)
{
    if (sample == NULL) {
        return;
    }
    if (!sample->captioned) {
        gst_fastvlm_stats_add_skipped(worker->stats, 1);
    }
    gst_fastvlm_frame_clear(&sample->frame);
    g_free(sample);
}

/* ---- calls into the element: never with the lock held, never once it may be gone ---- */

static gboolean begin_call(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->calling = !worker->orphaned;
    const gboolean ok = worker->calling;
    g_mutex_unlock(&worker->lock);
    return ok;
}

/* The same for what belongs to a sample: not if that is of an epoch that is over. */
static gboolean begin_publish(GstFastvlmWorker *worker, guint64 epoch)
{
    g_mutex_lock(&worker->lock);
    worker->calling = epoch == worker->epoch && !worker->flushing && !worker->quits;
    const gboolean ok = worker->calling;
    g_mutex_unlock(&worker->lock);
    return ok;
}

static void end_call(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->calling = FALSE;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
}

static GstFastvlmAnswer *make_answer(const Caption *caption, const char *type, const char *text)
{
    const GstFastvlmSample *sample = caption->sample;
    GstFastvlmAnswer *answer = gst_fastvlm_answer_new();

    answer->type = type;
    answer->text = g_strstrip(g_strdup(text));
    answer->prompt = g_strdup(caption->settings.prompt);
    answer->pts = sample->pts;
    answer->running_time = sample->running_time;
    answer->stream_time = sample->stream_time;
    answer->sequence = caption->sequence;
    return answer;
}

static gboolean publish(const Caption *caption, GstFastvlmAnswer *answer,
                        const FastvlmResult *result)
{
    GstFastvlmWorker *worker = caption->worker;

    if (!begin_publish(worker, caption->epoch)) {
        gst_fastvlm_answer_unref(answer);
        return FALSE;
    }
    worker->sequence = caption->sequence;
    worker->funcs->publish(worker->user_data, answer, caption->sample, result);
    end_call(worker);
    return TRUE;
}

static void on_text(const char *piece, int id, gpointer user_data)
{
    Caption *caption = user_data;
    GstFastvlmWorker *worker = caption->worker;
    const gint64 now_us = g_get_monotonic_time();

    g_string_append(caption->text, piece);
    if (caption->n_tokens++ == 0) {
        caption->ttft_ms = ms_since(caption->start_us);
    }
    if (now_us - worker->last_partial_us < PARTIAL_INTERVAL_US) {
        return;
    }
    GstFastvlmAnswer *answer = make_answer(caption, "partial", caption->text->str);
    if (*answer->text == '\0') {
        gst_fastvlm_answer_unref(answer);
        return;
    }
    worker->last_partial_us = now_us;
    answer->tokens = caption->n_tokens;
    answer->ttft_ms = caption->ttft_ms;
    answer->total_ms = ms_since(caption->start_us);
    publish(caption, answer, NULL);
}

static gboolean publish_final(const Caption *caption, const FastvlmResult *result)
{
    GstFastvlmAnswer *answer = make_answer(caption, "final", result->text);

    answer->confidence = result->confidence;
    answer->tokens = (guint)result->n_tokens;
    answer->ttft_ms = caption->prepare_ms + result->ttft_ms;
    answer->total_ms = caption->prepare_ms + result->total_ms;
    caption->worker->last_total_ms = answer->total_ms;
    return publish(caption, answer, result);
}

/* ---- one caption ---- */

static gboolean show_frame(Caption *caption, GError **error)
{
    GstFastvlmWorker *worker = caption->worker;
    const GstFastvlmFrame *frame = &caption->sample->frame;
    FastvlmImage image;

    if (!gst_fastvlm_viewer_open(worker->viewer, frame, &image)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "a frame of %dx%d %s at %" GST_TIME_FORMAT
                    " cannot be read as pixels: convert it upstream",
                    frame->width, frame->height,
                    gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&frame->info)),
                    GST_TIME_ARGS(caption->sample->pts));
        return FALSE;
    }
    caption->prepare_ms = ms_since(caption->start_us);
    const gboolean ok = fastvlm_session_set_image(
        worker->session, &image, (int)caption->settings.resolution, caption->settings.fit, error);
    gst_fastvlm_viewer_close(worker->viewer);
    return ok;
}

static gboolean answer_prompt(Caption *caption, FastvlmResult *result, GError **error)
{
    const GstFastvlmSettings *settings = &caption->settings;
    const FastvlmGenerateParams params = {
        .prompt = settings->prompt,
        .system_prompt = settings->system_prompt,
        .max_tokens = (int)settings->max_tokens,
        .temperature = settings->temperature,
        .top_p = settings->top_p,
        .top_k = (int)settings->top_k,
        .seed = settings->seed,
        .on_text = on_text,
        .on_text_data = caption,
    };

    return fastvlm_session_generate(caption->worker->session, &params, result, error);
}

/* Whether a failure ends the worker: what a changed property could mend does not, in mode live. */
static gboolean is_fatal(const GError *error, const GstFastvlmSample *sample)
{
    return sample->complete || !(g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT) ||
                                 g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT));
}

/* Returns FALSE where the worker must end. */
static gboolean tell_failure(const Caption *caption, const GError *error)
{
    GstFastvlmWorker *worker = caption->worker;
    const gboolean fatal = is_fatal(error, caption->sample);

    /* Cancelled, or of no interest any more. */
    if (g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED) ||
        !begin_publish(worker, caption->epoch)) {
        return TRUE;
    }
    worker->funcs->failed(worker->user_data, error, FALSE, fatal);
    end_call(worker);
    return !fatal;
}

static gboolean caption_sample(GstFastvlmWorker *worker, GstFastvlmSample *sample, guint64 epoch)
{
    Caption caption = {.worker = worker, .sample = sample, .epoch = epoch};
    FastvlmResult result;
    GError *error = NULL;
    gboolean go_on = TRUE;

    if (!begin_publish(worker, epoch)) {
        return TRUE;
    }
    worker->funcs->get_settings(worker->user_data, &caption.settings);
    end_call(worker);
    caption.start_us = g_get_monotonic_time();
    /* A number is used up when it is first published, so that finals count without holes. */
    caption.sequence = worker->sequence + 1;
    caption.text = g_string_new(NULL);
    if (show_frame(&caption, &error) && answer_prompt(&caption, &result, &error)) {
        sample->captioned = publish_final(&caption, &result);
        fastvlm_result_clear(&result);
    } else {
        go_on = tell_failure(&caption, error);
        g_clear_error(&error);
    }
    gst_fastvlm_settings_clear(&caption.settings);
    g_string_free(caption.text, TRUE);
    return go_on;
}

/* ---- the thread ---- */

static GstFastvlmSample *take_sample(GstFastvlmWorker *worker, guint64 *epoch, guint *n_replaced)
{
    GstFastvlmSample *sample = NULL;

    g_mutex_lock(&worker->lock);
    while (!worker->quits && (worker->flushing || worker->mailbox == NULL)) {
        g_cond_wait(&worker->changed, &worker->lock);
    }
    if (!worker->quits) {
        sample = g_steal_pointer(&worker->mailbox);
        *epoch = worker->epoch;
        *n_replaced = worker->n_replaced;
        worker->n_replaced = 0;
        worker->busy = TRUE;
        /* Here alone: the sample that was cancelled has come back. */
        fastvlm_session_reset_cancel(worker->session);
    }
    g_mutex_unlock(&worker->lock);
    return sample;
}

static void finish_sample(GstFastvlmWorker *worker, GstFastvlmSample *sample, gboolean go_on)
{
    g_mutex_lock(&worker->lock);
    worker->busy = FALSE;
    worker->finished = MAX(worker->finished, sample->ticket);
    worker->failed |= !go_on;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
    free_sample(worker, sample);
}

static void run_captions(GstFastvlmWorker *worker)
{
    GstFastvlmSample *sample;
    guint64 epoch;
    guint n_replaced;
    gboolean go_on = TRUE;

    while (go_on && (sample = take_sample(worker, &epoch, &n_replaced)) != NULL) {
        if (n_replaced > 0 && begin_publish(worker, epoch)) {
            worker->funcs->behind(worker->user_data, n_replaced, worker->last_total_ms);
            end_call(worker);
        }
        go_on = caption_sample(worker, sample, epoch);
        finish_sample(worker, sample, go_on);
    }
}

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
    if (begin_call(worker)) {
        worker->funcs->progress(worker->user_data, type, text);
        end_call(worker);
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
    gint64 next_news_us = g_get_monotonic_time() + LOAD_GRACE_US;

    while ((state = gst_fastvlm_model_use_wait(worker->use, next_news_us, &fraction, model,
                                               error)) == GST_FASTVLM_LOAD_GOES_ON) {
        if (g_get_monotonic_time() < next_news_us) {
            continue;
        }
        if (!told || fraction - told_fraction >= LOAD_NEWS_STEP) {
            tell_progress(worker, told ? GST_PROGRESS_TYPE_CONTINUE : GST_PROGRESS_TYPE_START,
                          fraction);
            told = TRUE;
            told_fraction = fraction;
        }
        next_news_us = g_get_monotonic_time() + LOAD_NEWS_INTERVAL_US;
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

static gboolean load(GstFastvlmWorker *worker)
{
    FastvlmModel *model = NULL;
    GError *error = NULL;
    const GstFastvlmLoadState state = await_model(worker, &model, &error);

    if (state == GST_FASTVLM_LOAD_FAILED && begin_call(worker)) {
        worker->funcs->failed(worker->user_data, error, TRUE, TRUE);
        end_call(worker);
    }
    g_clear_error(&error);
    if (state != GST_FASTVLM_LOAD_DONE) {
        return FALSE;
    }
    if (begin_call(worker)) {
        worker->funcs->loaded(worker->user_data, model);
        end_call(worker);
    }
    FastvlmSession *session = fastvlm_session_new(model);
    fastvlm_model_unref(model);
    g_mutex_lock(&worker->lock);
    worker->session = session;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
    return TRUE;
}

/* Raises the nice value of this thread alone, which on Linux has one of its own. */
static void lower_priority(gint nice_value)
{
    const id_t self = (id_t)gettid();

    if (getpriority(PRIO_PROCESS, self) < nice_value) {
        setpriority(PRIO_PROCESS, self, nice_value);
    }
}

/* Frees what the thread has, the model's use last; then says that it has ended. */
static void wind_up(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    FastvlmSession *session = g_steal_pointer(&worker->session);
    GstFastvlmModelUse *use = NULL;
    GstFastvlmSample *waiting = g_steal_pointer(&worker->mailbox);
    worker->failed = TRUE;
    g_cond_broadcast(&worker->changed);
    /* A worker that failed keeps its use, and with it the model shared, until it is stopped. */
    while (!worker->quits) {
        g_cond_wait(&worker->changed, &worker->lock);
    }
    use = g_steal_pointer(&worker->use);
    g_mutex_unlock(&worker->lock);

    fastvlm_session_free(session);
    free_sample(worker, waiting);
    gst_fastvlm_models_leave(use);
    g_clear_pointer(&worker->viewer, gst_fastvlm_viewer_free);
    g_mutex_lock(&worker->lock);
    worker->ended = TRUE;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
}

static gpointer run_worker(gpointer data)
{
    GstFastvlmWorker *worker = data;

    lower_priority(worker->nice);
    worker->viewer = gst_fastvlm_viewer_new();
    if (load(worker)) {
        run_captions(worker);
    }
    wind_up(worker);
    gst_fastvlm_worker_unref(worker);
    return NULL;
}

/* ---- the element's side ---- */

GstFastvlmWorker *gst_fastvlm_worker_new(const GstFastvlmWorkerFuncs *funcs, gpointer user_data,
                                         GstFastvlmStats *stats, const GstFastvlmSettings *settings)
{
    GstFastvlmWorker *worker = g_atomic_rc_box_new0(GstFastvlmWorker);

    worker->funcs = funcs;
    worker->user_data = user_data;
    worker->stats = gst_fastvlm_stats_ref(stats);
    worker->model_path = g_strdup(settings->model_path);
    worker->nice = settings->nice;
    g_mutex_init(&worker->lock);
    g_cond_init(&worker->changed);
    worker->use = gst_fastvlm_models_join(settings->model_path, settings->precision,
                                          (int)settings->threads, settings->nice);
    /* Under the lock: the thread's first look at it comes after. */
    g_mutex_lock(&worker->lock);
    worker->thread = g_thread_new("fastvlm-worker", run_worker, gst_fastvlm_worker_ref(worker));
    g_mutex_unlock(&worker->lock);
    return worker;
}

GstFastvlmWorker *gst_fastvlm_worker_ref(GstFastvlmWorker *worker)
{
    return g_atomic_rc_box_acquire(worker);
}

static void clear_worker(gpointer data)
{
    GstFastvlmWorker *worker = data;

    gst_fastvlm_stats_unref(worker->stats);
    g_free(worker->model_path);
    g_mutex_clear(&worker->lock);
    g_cond_clear(&worker->changed);
}

void gst_fastvlm_worker_unref(GstFastvlmWorker *worker)
{
    if (worker != NULL) {
        g_atomic_rc_box_release_full(worker, clear_worker);
    }
}

void gst_fastvlm_worker_stop(GstFastvlmWorker *worker)
{
    const gint64 deadline = g_get_monotonic_time() + GST_FASTVLM_WORKER_STOP_US;
    const gboolean is_self = g_thread_self() == worker->thread;

    gst_fastvlm_worker_cancel(worker);
    g_mutex_lock(&worker->lock);
    worker->quits = TRUE;
    if (worker->use != NULL) {
        gst_fastvlm_model_use_interrupt(worker->use);
    }
    g_cond_broadcast(&worker->changed);
    while (!worker->ended && !is_self && (worker->calling || g_get_monotonic_time() < deadline)) {
        if (worker->calling) {
            g_cond_wait(&worker->changed, &worker->lock);
        } else {
            g_cond_wait_until(&worker->changed, &worker->lock, deadline);
        }
    }
    worker->orphaned = TRUE;
    g_mutex_unlock(&worker->lock);
    g_thread_unref(worker->thread);
}

/* With the lock held; returns a sample to free without it, or NULL. */
static GstFastvlmSample *end_epoch(GstFastvlmWorker *worker)
{
    worker->epoch++;
    worker->n_replaced = 0;
    if (worker->session != NULL) {
        fastvlm_session_cancel(worker->session);
    }
    g_cond_broadcast(&worker->changed);
    return g_steal_pointer(&worker->mailbox);
}

void gst_fastvlm_worker_cancel(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->flushing = TRUE;
    GstFastvlmSample *dropped = end_epoch(worker);
    g_mutex_unlock(&worker->lock);
    free_sample(worker, dropped);
}

void gst_fastvlm_worker_settle(GstFastvlmWorker *worker)
{
    const gint64 deadline = g_get_monotonic_time() + SETTLE_US;

    if (g_thread_self() == worker->thread) {
        return;
    }
    g_mutex_lock(&worker->lock);
    while (worker->calling && g_cond_wait_until(&worker->changed, &worker->lock, deadline)) {
    }
    g_mutex_unlock(&worker->lock);
}

void gst_fastvlm_worker_resume(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->flushing = FALSE;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
}

gboolean gst_fastvlm_worker_is_idle(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    gboolean idle = !worker->failed && !worker->flushing && !worker->busy;
    if (idle && worker->mailbox != NULL) {
        idle = worker->session == NULL &&
               g_get_monotonic_time() - worker->mailbox->arrival_us > STALE_SAMPLE_US;
    }
    g_mutex_unlock(&worker->lock);
    return idle;
}

/* With the lock held; returns a sample to free without it, or NULL. */
static GstFastvlmSample *put_sample(GstFastvlmWorker *worker, GstFastvlmSample *sample)
{
    if (worker->flushing || worker->failed) {
        return sample;
    }
    GstFastvlmSample *replaced = worker->mailbox;
    worker->mailbox = sample;
    if (replaced != NULL && worker->busy) {
        worker->n_replaced++;
    }
    g_cond_broadcast(&worker->changed);
    return replaced;
}

void gst_fastvlm_worker_offer(GstFastvlmWorker *worker, GstFastvlmSample *sample)
{
    sample->arrival_us = g_get_monotonic_time();
    g_mutex_lock(&worker->lock);
    GstFastvlmSample *dropped = put_sample(worker, sample);
    g_mutex_unlock(&worker->lock);
    free_sample(worker, dropped);
}

GstFlowReturn gst_fastvlm_worker_caption(GstFastvlmWorker *worker, GstFastvlmSample *sample)
{
    GstFlowReturn flow = GST_FLOW_OK;

    sample->arrival_us = g_get_monotonic_time();
    g_mutex_lock(&worker->lock);
    const guint64 epoch = worker->epoch;
    const guint64 ticket = sample->ticket = ++worker->submitted;
    GstFastvlmSample *dropped = put_sample(worker, sample);
    while (worker->finished < ticket && epoch == worker->epoch && !worker->flushing &&
           !worker->failed) {
        g_cond_wait(&worker->changed, &worker->lock);
    }
    if (worker->flushing || epoch != worker->epoch) {
        flow = GST_FLOW_FLUSHING;
    } else if (worker->failed) {
        flow = GST_FLOW_ERROR;
    }
    g_mutex_unlock(&worker->lock);
    free_sample(worker, dropped);
    return flow;
}

void gst_fastvlm_worker_drain(GstFastvlmWorker *worker, gint64 timeout_us)
{
    const gint64 deadline = g_get_monotonic_time() + timeout_us;
    GstFastvlmSample *dropped = NULL;

    g_mutex_lock(&worker->lock);
    while ((worker->busy || worker->mailbox != NULL) && !worker->flushing && !worker->failed) {
        if (!g_cond_wait_until(&worker->changed, &worker->lock, deadline)) {
            dropped = end_epoch(worker);
            break;
        }
    }
    g_mutex_unlock(&worker->lock);
    free_sample(worker, dropped);
    gst_fastvlm_worker_settle(worker);
}
