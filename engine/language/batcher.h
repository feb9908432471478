/*
 * Joins the next steps of all timelines that decode at that moment into one decoder run, so that the
 * weights, which a step reads whole, are read once for all of them.
 *
 *     join -> step, step, ... -> leave        (each timeline in its own thread)
 *
 * There is no thread of its own: of those who wait for a step one leads. It waits a little for the
 * others that have joined, takes the pool's turn, and runs the rows of all. A timeline that is alone
 * waits for nobody. One that is cancelled makes the run under way start anew without it: the others
 * get the same bytes a little later.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_BATCHER_H
#define FASTVLM_LANGUAGE_BATCHER_H

#include "language/decoder.h"

/** Most rows of one timeline's step. */
#define FASTVLM_STEP_MAX_ROWS 8

typedef struct _FastvlmBatcher FastvlmBatcher;
typedef struct _FastvlmSeat FastvlmSeat;

/** A timeline's place; all zero, its fields are the batcher's. */
struct _FastvlmSeat {
    FastvlmSeat *next;
    int state;
    gboolean is_late; /* was not there when the others had waited for it */
    FastvlmDecoderPart part;
    const float *x;
    float *logits;
    const gint *cancel;
    GError *error;
};

/** `weights`, `pool` and `kernels` must outlive it. */
FastvlmBatcher *fastvlm_batcher_new(const FastvlmLanguageWeights *weights, FastvlmPool *pool,
                                    const FastvlmKernels *kernels, gboolean use_blas);

/** Nobody may have joined. NULL is fine. */
void fastvlm_batcher_free(FastvlmBatcher *batcher);

/** From now on others wait for this timeline's steps, as long as it hurries. */
void fastvlm_batcher_join(FastvlmBatcher *batcher, FastvlmSeat *seat);

void fastvlm_batcher_leave(FastvlmBatcher *batcher, FastvlmSeat *seat);

/**
 * Runs rows behind the positions of `cache`, as fastvlm_decoder_run() does.
 *
 * @param seat    joined
 * @param cache   with room for the rows
 * @param x       [n_rows, hidden]
 * @param n_rows  1 .. FASTVLM_STEP_MAX_ROWS
 * @param cancel  atomic; who sets it calls fastvlm_batcher_wake()
 * @param logits  [fastvlm_pad_rows(n_rows), vocab_size], those of all rows, out
 * Errors: CANCELLED, LIMIT (memory); `cache` then holds what it held.
 */
gboolean fastvlm_batcher_step(FastvlmBatcher *batcher, FastvlmSeat *seat, FastvlmKvCache *cache,
                              const float *x, int n_rows, const gint *cancel, float *logits,
                              GError **error);

/** Makes steps look at their `cancel`. Any thread. */
void fastvlm_batcher_wake(FastvlmBatcher *batcher);

/** What a further row adds to a step, as a share of a step of one row, as measured of late. */
double fastvlm_batcher_get_row_cost(FastvlmBatcher *batcher);

/** Takes `cost` for it from now on, whatever is measured: for tests. */
void fastvlm_batcher_fix_row_cost(FastvlmBatcher *batcher, double cost);

/** How many decoder runs there were, and how many steps of timelines they were made of. */
void fastvlm_batcher_count(FastvlmBatcher *batcher, guint64 *n_runs, guint64 *n_steps);

#endif
