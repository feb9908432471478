/*
 * One timeline of the decoder: a prompt, then token by token.
 *
 *     prompt -> logits -> [choose -> advance -> logits] ... -> end
 *
 * What the KV cache holds is remembered. A prompt that begins like the sequence before it, as one does
 * whose prefix or picture has not changed, costs only its other positions. A step may run several rows:
 * guesses of the next tokens (draft.h), whose logits are then there already if they were right.
 * Neither changes a byte of any logits.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_TIMELINE_H
#define FASTVLM_LANGUAGE_TIMELINE_H

#include "language/batcher.h"
#include "language/draft.h"

typedef struct {
    const FastvlmLanguageWeights *weights;
    FastvlmBatcher *batcher;
    FastvlmCompute *compute;
    gboolean is_exact; /* a row's bytes do not depend on those beside it: positions may be reused */
    FastvlmKvCache cache;
    GArray *held;              /* of gint32: what the cache holds, as in a sequence */
    FastvlmDecoderState state; /* of prompts */
    FastvlmSeat seat;
    gboolean has_joined;
    gboolean may_guess; /* in this answer */
    FastvlmDraft draft;
    gint32 inputs[FASTVLM_STEP_MAX_ROWS]; /* of the last step: a token and guesses */
    int n_rows;                           /* of the last step */
    int row;                              /* whose logits are current */
    float *x;                             /* [FASTVLM_STEP_MAX_ROWS, hidden] */
    float *logits;                        /* [n_logits, vocab_size] */
    int n_logits;
    int n_computed; /* positions that the last prompt cost */
} FastvlmTimeline;

/** `weights`, `batcher` and `compute` must outlive it. */
void fastvlm_timeline_init(FastvlmTimeline *timeline, const FastvlmLanguageWeights *weights,
                           FastvlmBatcher *batcher, FastvlmCompute *compute, FastvlmKvType type);

/** Frees what `timeline` points to. */
void fastvlm_timeline_clear(FastvlmTimeline *timeline);

/** Forgets the picture and what stands behind it: the next one is another. */
void fastvlm_timeline_forget_picture(FastvlmTimeline *timeline);

/**
 * Computes a prompt, as far as it is not held already, up to the logits behind it.
 *
 * @param sequence    [n_prompt]: token ids, and -1 - i for row i of the picture; 1 position or more
 * @param picture     [rows, hidden]
 * @param max_tokens  how far the answer may go
 * @param may_guess   steps may run guesses
 * Errors: LIMIT (memory), CANCELLED, FORMAT (an embedding that is not finite).
 */
gboolean fastvlm_timeline_prompt(FastvlmTimeline *timeline, const gint32 *sequence, int n_prompt,
                                 const float *picture, int max_tokens, gboolean may_guess,
                                 GError **error);

/** The current logits [vocab_size]; they may be overwritten. */
float *fastvlm_timeline_get_logits(FastvlmTimeline *timeline);

/**
 * The next token is `id`: computes the logits behind it.
 *
 * @param n_more  how many tokens the answer may have behind `id`, 1 or more
 * Errors: as fastvlm_batcher_step(), FORMAT.
 */
gboolean fastvlm_timeline_advance(FastvlmTimeline *timeline, int id, int n_more, GError **error);

/**
 * Tries what an answer could be: keeps the first `n_kept` positions, puts `ids` behind them and computes
 * the logits behind each.
 *
 * @param n_kept  the whole prompt at least
 * @param n_ids   1 .. FASTVLM_STEP_MAX_ROWS
 * Errors: as fastvlm_timeline_advance().
 */
gboolean fastvlm_timeline_branch(FastvlmTimeline *timeline, int n_kept, const gint32 *ids,
                                 int n_ids, GError **error);

/** The logits [vocab_size] behind the branch's id `i`. */
const float *fastvlm_timeline_get_row(const FastvlmTimeline *timeline, int i);

/**
 * Ends the answer, also one that failed.
 *
 * @param is_whole  it is a draft for the next one
 */
void fastvlm_timeline_end(FastvlmTimeline *timeline, gboolean is_whole);

#endif
