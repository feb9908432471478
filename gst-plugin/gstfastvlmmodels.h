/*
 * Models shared by the elements of a process.
 *
 *     element joins (directory, precision, threads, encoder, head) -> one loader thread a model -> FastvlmModel
 *
 * The first to join starts the load in a thread of its own; the others share what comes of it. When
 * the last one leaves, a load under way is cancelled and the model is freed. Nobody is called back:
 * users wait, each in a thread of its own. All functions are thread-safe.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_MODELS_H
#define GST_FASTVLM_MODELS_H

#include <gst/gst.h>
#include <fastvlm/fastvlm.h>

G_BEGIN_DECLS

/** One element's use of a model. */
typedef struct _GstFastvlmModelUse GstFastvlmModelUse;

typedef enum {
    GST_FASTVLM_LOAD_GOES_ON,
    GST_FASTVLM_LOAD_DONE,
    GST_FASTVLM_LOAD_FAILED,
    GST_FASTVLM_LOAD_INTERRUPTED, /* gst_fastvlm_model_use_interrupt() was called */
} GstFastvlmLoadState;

/**
 * Joins a model and has it loaded if nobody has. Returns at once; never NULL.
 *
 * @param name    a directory or a model's name, as for fastvlm_model_load()
 * @param params  without callbacks; of worker_nice, the one who joins first decides
 */
GstFastvlmModelUse *gst_fastvlm_models_join(const char *name, const FastvlmModelParams *params);

/** Leaves and frees `use`; the last user's leaving frees the model. NULL is fine. */
void gst_fastvlm_models_leave(GstFastvlmModelUse *use);

/**
 * Waits until the load is over, has moved on from `*fraction`, is interrupted, or `deadline` comes.
 *
 * @param deadline  of the monotonic clock, us
 * @param fraction  in and out: how far it is, 0 to 1
 * @param model     out, on DONE: a reference of the caller's
 * @param error     on FAILED: a copy of the caller's
 */
GstFastvlmLoadState gst_fastvlm_model_use_wait(GstFastvlmModelUse *use, gint64 deadline,
                                               double *fraction, FastvlmModel **model,
                                               GError **error);

/** Ends this user's waiting, now and from now on. */
void gst_fastvlm_model_use_interrupt(GstFastvlmModelUse *use);

/** Models loaded or being loaded in this process, for tests. */
guint gst_fastvlm_models_count(void);

G_END_DECLS

#endif
