/*
 * The inference thread; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmworkerprivate.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

/* The nice value that stands for idle CPUs only. */
#define MAX_NICE 19

/* While the model loads nothing can begin; a frame in the mailbox this old makes way. */
#define STALE_SAMPLE_US (200 * G_TIME_SPAN_MILLISECOND)

/* Longest wait for an answer that is being published: its handlers may wait for who waits here. */
#define SETTLE_US (1 * G_TIME_SPAN_SECOND)

void gst_fastvlm_request_free(GstFastvlmRequest *request)
{
    if (request != NULL) {
        g_free(request->prompt);
        g_free(request);
    }
}

static void free_sample(GstFastvlmWorker *worker, GstFastvlmSample *sample)
{
    if (sample == NULL) {
        return;
    }
    if (!sample->captioned) {
        gst_fastvlm_stats_add_skipped(worker->stats, 1);
        if (sample->look != NULL) {
            g_atomic_int_set(&sample->look->is_lost, 1);
        }
    }
    gst_fastvlm_grid_unref(sample->look);
    gst_fastvlm_frame_clear(&sample->frame);
    g_clear_pointer(&sample->requests, g_ptr_array_unref);
    g_clear_pointer(&sample->regions, g_array_unref);
    g_free(sample);
}

/* Frees what end_epoch() returned. */
static void free_samples(GstFastvlmWorker *worker, GList *samples)
{
    for (GList *item = samples; item != NULL; item = item->next) {
        free_sample(worker, item->data);
    }
    g_list_free(samples);
}

/* With the lock held. */
static gboolean has_sample(GstFastvlmWorker *worker)
{
    return worker->mailbox != NULL || !g_queue_is_empty(&worker->requested);
}

guint64 gst_fastvlm_worker_reserve(GstFastvlmWorker *worker, guint n)
{
    guint64 first = 0;

    g_mutex_lock(&worker->lock);
    if (!worker->failed) {
        first = worker->sequence + 1;
        worker->sequence += n;
    }
    g_mutex_unlock(&worker->lock);
    return first;
}

gboolean gst_fastvlm_worker_begin_call(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->calling = !worker->orphaned;
    const gboolean ok = worker->calling;
    g_mutex_unlock(&worker->lock);
    return ok;
}

gboolean gst_fastvlm_worker_begin_publish(GstFastvlmWorker *worker, guint64 epoch)
{
    g_mutex_lock(&worker->lock);
    worker->calling = epoch == worker->epoch && !worker->flushing && !worker->quits;
    const gboolean ok = worker->calling;
    g_mutex_unlock(&worker->lock);
    return ok;
}

void gst_fastvlm_worker_end_call(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->calling = FALSE;
    g_cond_broadcast(&worker->changed);
    g_mutex_unlock(&worker->lock);
}

/* ---- the thread ---- */

static GstFastvlmSample *take_sample(GstFastvlmWorker *worker, guint64 *epoch, guint *n_replaced)
{
    GstFastvlmSample *sample = NULL;

    g_mutex_lock(&worker->lock);
    while (!worker->quits && (worker->flushing || !has_sample(worker))) {
        g_cond_wait(&worker->changed, &worker->lock);
    }
    if (!worker->quits) {
        sample = g_queue_pop_head(&worker->requested);
        if (sample == NULL) {
            sample = g_steal_pointer(&worker->mailbox);
        }
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
        if (n_replaced > 0 && gst_fastvlm_worker_begin_publish(worker, epoch)) {
            worker->funcs->behind(worker->user_data, n_replaced, worker->last_total_ms);
            gst_fastvlm_worker_end_call(worker);
        }
        go_on = gst_fastvlm_worker_answer(worker, sample, epoch);
        finish_sample(worker, sample, go_on);
    }
}

/* Of this thread alone, as the engine's own do: a batch thread that a frame wakes up does not take the
 * CPU from the streaming thread that brought it. */
static void lower_priority(gint nice_value)
{
    const struct sched_param none = {.sched_priority = 0};
    const id_t self = (id_t)gettid();

    if (nice_value <= 0) {
        return;
    }
    if (getpriority(PRIO_PROCESS, self) < nice_value) {
        setpriority(PRIO_PROCESS, self, nice_value);
    }
    if (sched_getscheduler(0) == SCHED_OTHER) {
        sched_setscheduler(0, nice_value < MAX_NICE ? SCHED_BATCH : SCHED_IDLE, &none);
    }
}

/* With the lock held: all samples that wait, to be freed without it. */
static GList *take_waiting(GstFastvlmWorker *worker)
{
    GList *waiting = worker->requested.head;

    g_queue_init(&worker->requested);
    if (worker->mailbox != NULL) {
        waiting = g_list_prepend(waiting, g_steal_pointer(&worker->mailbox));
    }
    return waiting;
}

/* Frees what the thread has, the model's use last; then says that it has ended. */
static void wind_up(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    FastvlmSession *session = g_steal_pointer(&worker->session);
    GstFastvlmModelUse *use = NULL;
    GList *waiting = take_waiting(worker);
    worker->failed = TRUE;
    g_cond_broadcast(&worker->changed);
    /* A worker that failed keeps its use, and with it the model shared, until it is stopped. */
    while (!worker->quits) {
        g_cond_wait(&worker->changed, &worker->lock);
    }
    use = g_steal_pointer(&worker->use);
    g_mutex_unlock(&worker->lock);

    fastvlm_session_free(session);
    free_samples(worker, waiting);
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
    if (gst_fastvlm_worker_load(worker)) {
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
    const FastvlmModelParams params = gst_fastvlm_settings_get_params(settings);
    worker->use = gst_fastvlm_models_join(settings->model_path, &params);
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

/* With the lock held; returns the samples to free without it. */
static GList *end_epoch(GstFastvlmWorker *worker)
{
    worker->epoch++;
    worker->n_replaced = 0;
    if (worker->session != NULL) {
        fastvlm_session_cancel(worker->session);
    }
    g_cond_broadcast(&worker->changed);
    return take_waiting(worker);
}

void gst_fastvlm_worker_cancel(GstFastvlmWorker *worker)
{
    g_mutex_lock(&worker->lock);
    worker->flushing = TRUE;
    GList *dropped = end_epoch(worker);
    g_mutex_unlock(&worker->lock);
    free_samples(worker, dropped);
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
    gboolean idle = !worker->failed && !worker->flushing && !worker->busy &&
                    g_queue_is_empty(&worker->requested);
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
    if (sample->requests != NULL) {
        g_queue_push_tail(&worker->requested, sample);
        g_cond_broadcast(&worker->changed);
        return NULL;
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
    GList *dropped = NULL;

    g_mutex_lock(&worker->lock);
    while ((worker->busy || has_sample(worker)) && !worker->flushing && !worker->failed) {
        if (!g_cond_wait_until(&worker->changed, &worker->lock, deadline)) {
            dropped = end_epoch(worker);
            break;
        }
    }
    g_mutex_unlock(&worker->lock);
    free_samples(worker, dropped);
    gst_fastvlm_worker_settle(worker);
}
