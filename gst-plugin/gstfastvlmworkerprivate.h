/*
 * What a worker is inside: shared by its own files.
 *
 *     gstfastvlmworker.c     the thread, its mailbox, and the element's side
 *     gstfastvlmloading.c    waits for the model and tells how far it is
 *     gstfastvlmquestions.c  what is asked about a sample
 *     gstfastvlmanswering.c  one sample: picture, questions, answers
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_WORKER_PRIVATE_H
#define GST_FASTVLM_WORKER_PRIVATE_H

#include "gstfastvlmbudget.h"
#include "gstfastvlmmodels.h"
#include "gstfastvlmworker.h"

G_BEGIN_DECLS

struct _GstFastvlmWorker {
    const GstFastvlmWorkerFuncs *funcs;
    gpointer user_data;
    GstFastvlmStats *stats;
    GThread *thread;

    /* Of the worker's thread alone. */
    GstFastvlmViewer *viewer;
    char *model_path;
    gint nice;
    gint64 last_partial_us;
    double last_total_ms;
    guint own_resolution; /* the model's, pixels */
    GstFastvlmBudget budget;

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
    guint64 sequence; /* the last number given to an answer */
    guint64 epoch;    /* answers to samples of an earlier one are dropped */
    GstFastvlmSample *mailbox;
    GQueue requested;        /* samples with requests */
    guint n_replaced;        /* in the mailbox since the sample that is with the model */
    guint64 submitted;       /* last ticket given */
    guint64 finished;        /* last ticket done */
    FastvlmSession *session; /* NULL before the model is loaded */
    GstFastvlmModelUse *use; /* NULL once the thread is done with it */
};

/* gstfastvlmworker.c: calls into the element, never with the lock held, never once it may be gone. */

/** Before a call; FALSE: the element may be gone, do not. */
gboolean gst_fastvlm_worker_begin_call(GstFastvlmWorker *worker);

/** The same for what belongs to a sample: FALSE, too, if that is of an epoch that is over. */
gboolean gst_fastvlm_worker_begin_publish(GstFastvlmWorker *worker, guint64 epoch);

/** After a call. */
void gst_fastvlm_worker_end_call(GstFastvlmWorker *worker);

/* gstfastvlmloading.c */

/** Waits for the model and makes the session; FALSE without a model, which has been told of. */
gboolean gst_fastvlm_worker_load(GstFastvlmWorker *worker);

/* gstfastvlmquestions.c */

typedef struct {
    const char *prompt;
    guint index;                    /* among the settings' prompts */
    const GstFastvlmRegion *region; /* the sample's; NULL: the picture as a whole */
    guint region_index;
    guint64 sequence; /* 0: not yet numbered */
    gboolean is_one_off;
    gboolean is_reserved;  /* its number was promised to somebody */
    gboolean is_published; /* an answer to it, a partial one too */
} GstFastvlmQuestion;

/** A GArray of GstFastvlmQuestion, region by region; prompts stay the sample's and `prompts`'. */
GArray *gst_fastvlm_questions_list(const GstFastvlmSample *sample, char **prompts);

/** Numbers those that have none, before the work begins: numbers promised meanwhile are later. */
void gst_fastvlm_worker_number(GstFastvlmWorker *worker, GArray *questions);

/** Numbers that were not used are free again, so that finals count without holes. */
void gst_fastvlm_worker_give_back(GstFastvlmWorker *worker, const GArray *questions);

/* gstfastvlmanswering.c */

/** Answers all questions about `sample`, taken in `epoch`. FALSE: the worker must end. */
gboolean gst_fastvlm_worker_answer(GstFastvlmWorker *worker, GstFastvlmSample *sample,
                                   guint64 epoch);

G_END_DECLS

#endif
