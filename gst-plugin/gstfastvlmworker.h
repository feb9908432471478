/*
 * The inference thread of one element.
 *
 *     streaming thread: sample -> mailbox of one
 *     worker thread: model (shared, loaded in the background) -> session
 *                    mailbox -> RGB -> engine -> partial and final answers -> the element's funcs
 *
 * Mode live offers samples: the newest takes the place of one that still waits. Mode complete hands
 * one over and waits for its caption. Samples that somebody asked for (requests) wait in a queue of
 * their own, which is answered first. An epoch, which each flush ends, keeps answers to earlier
 * frames from coming out. Neither functions of the engine that compute nor the element's funcs are
 * ever called with a lock held.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_WORKER_H
#define GST_FASTVLM_WORKER_H

#include <gst/gst.h>

#include "gstfastvlmchange.h"
#include "gstfastvlmframe.h"
#include "gstfastvlmmeta.h"
#include "gstfastvlmregions.h"
#include "gstfastvlmsettings.h"
#include "gstfastvlmstats.h"

G_BEGIN_DECLS

typedef struct _GstFastvlmWorker GstFastvlmWorker;

/** Longest wait for a cancelled engine, which promises 100 ms, of state changes, which do 200. */
#define GST_FASTVLM_WORKER_STOP_US (150 * G_TIME_SPAN_MILLISECOND)

/** Somebody asked about the next frame, beside what the sampling grid asks. */
typedef struct {
    char *prompt;     /* NULL: the settings' prompts */
    guint64 sequence; /* of its answer, or of the first of them */
    guint n_reserved; /* numbers from `sequence` on */
} GstFastvlmRequest;

/** NULL is fine. */
void gst_fastvlm_request_free(GstFastvlmRequest *request);

/** A frame that is to be captioned. */
typedef struct {
    GstFastvlmFrame frame;
    GstClockTime pts;
    GstClockTime running_time;
    GstClockTime stream_time;
    GstClockTime duration; /* to the next sample, in PTS's time; mode complete alone */
    gboolean complete;     /* mode complete */
    gboolean on_grid;      /* the settings' prompts are to be asked */
    GstFastvlmGrid *look;  /* a reference; told where no caption comes of it; NULL: none */
    GPtrArray *requests;   /* of GstFastvlmRequest, owned; NULL: none */
    GArray *regions;    /* of GstFastvlmRegion, owned: each is asked about; NULL: the picture is */
    gboolean captioned; /* set when its final answer is out */
    guint64 ticket;     /* the worker's, mode complete */
    gint64 arrival_us;  /* monotonic; the worker's */
} GstFastvlmSample;

/** What the worker asks and tells its element, always from the worker's thread. */
typedef struct {
    /** Fills `settings`, which the worker clears: a caption begins. */
    void (*get_settings)(gpointer user_data, GstFastvlmSettings *settings);

    /**
     * An answer is there.
     *
     * @param answer  transfer full; age_ms is still to be filled in
     * @param result  of a final one; NULL for a partial
     */
    void (*publish)(gpointer user_data, GstFastvlmAnswer *answer, const GstFastvlmSample *sample,
                    const FastvlmResult *result);

    /** All answers about the regions of a sample are out. */
    void (*regions_done)(gpointer user_data);

    /** The model loads; text is for people. */
    void (*progress)(gpointer user_data, GstProgressType type, const char *text);

    /** The model is there. */
    void (*loaded)(gpointer user_data, const FastvlmModel *model);

    /**
     * Something went wrong.
     *
     * @param loading  while the model loaded
     * @param fatal    the worker ends; otherwise this sample alone has no caption
     */
    void (*failed)(gpointer user_data, const GError *error, gboolean loading, gboolean fatal);

    /** `n_skipped` samples were replaced while the model made the last caption in `total_ms`. */
    void (*behind)(gpointer user_data, guint n_skipped, double total_ms);

    /** No resolution keeps the latency budget; at the lowest, `resolution`, it took `age_ms`. */
    void (*over_budget)(gpointer user_data, double age_ms, guint resolution);
} GstFastvlmWorkerFuncs;

/**
 * Starts a worker, which has the model of `settings` loaded.
 *
 * @param funcs      must outlive it
 * @param user_data  must live until gst_fastvlm_worker_stop() has returned
 * @param stats      it takes a reference
 * @return a worker with one reference of the caller's; its thread holds another
 */
GstFastvlmWorker *gst_fastvlm_worker_new(const GstFastvlmWorkerFuncs *funcs, gpointer user_data,
                                         GstFastvlmStats *stats,
                                         const GstFastvlmSettings *settings);
GstFastvlmWorker *gst_fastvlm_worker_ref(GstFastvlmWorker *worker);

/** NULL is fine. */
void gst_fastvlm_worker_unref(GstFastvlmWorker *worker);

/**
 * Ends a worker: cancels what is under way, lets a call into the element come back, and waits
 * GST_FASTVLM_WORKER_STOP_US at most for the engine. The element is never called again; an engine
 * that is later than that winds up by itself. Call it once.
 */
void gst_fastvlm_worker_stop(GstFastvlmWorker *worker);

/**
 * Drops what waits, cancels what is under way, wakes who waits, and takes nothing more until
 * gst_fastvlm_worker_resume(). Never waits.
 */
void gst_fastvlm_worker_cancel(GstFastvlmWorker *worker);

/**
 * Waits, after gst_fastvlm_worker_cancel(), until an answer that is just being published is out:
 * none follows. From within the publishing itself (a signal's handler that seeks) it returns at
 * once.
 */
void gst_fastvlm_worker_settle(GstFastvlmWorker *worker);
void gst_fastvlm_worker_resume(GstFastvlmWorker *worker);

/** Whether the model could begin with a frame now: for taking frames as often as it can. */
gboolean gst_fastvlm_worker_is_idle(GstFastvlmWorker *worker);

/**
 * Gives `n` numbers for answers, and returns the first of them; 0 where the worker has failed. Who
 * reserves them sees to it that a sample with a request for them comes.
 */
guint64 gst_fastvlm_worker_reserve(GstFastvlmWorker *worker, guint n);

/**
 * Mode live: leaves `sample` (transfer full) in the mailbox; one with requests waits behind the others
 * with requests, and no newer one takes its place. Never waits.
 */
void gst_fastvlm_worker_offer(GstFastvlmWorker *worker, GstFastvlmSample *sample);

/**
 * Mode complete: waits until `sample` (transfer full) has its caption.
 *
 * @return FLUSHING after gst_fastvlm_worker_cancel(); ERROR after a failure that was told of
 */
GstFlowReturn gst_fastvlm_worker_caption(GstFastvlmWorker *worker, GstFastvlmSample *sample);

/** The end of the stream: waits for what is under way, for `timeout_us`, then drops it. */
void gst_fastvlm_worker_drain(GstFastvlmWorker *worker, gint64 timeout_us);

G_END_DECLS

#endif
