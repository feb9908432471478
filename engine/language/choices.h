/*
 * How probable each of a few answers is: the model's own probabilities of their tokens, one behind the
 * other, in a timeline that a prompt was computed in.
 *
 *     prompt's logits -> first token of every spelling
 *     a run of rows for each stem that longer spellings share -> their further tokens
 *
 * Spellings of one token cost nothing but the prompt; others cost a row for each token but their last,
 * once for all that begin alike.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_CHOICES_H
#define FASTVLM_LANGUAGE_CHOICES_H

#include "language/timeline.h"

/** One way to write an answer. */
typedef struct {
    gint32 *ids;
    int n_ids;              /* 1 or more */
    int choice;             /* whose spelling it is; the caller's */
    gboolean must_end;      /* another one begins with it: the end of the answer belongs to it */
    double log_probability; /* of all its tokens, out */
} FastvlmSpelling;

/**
 * Fills in `must_end` and `log_probability`, and brings the spellings into another order.
 *
 * @param timeline   just behind fastvlm_timeline_prompt(), with room for the longest spelling
 * @param spellings  [n], no two of them alike
 * @param n_known    ids that may be chosen: 0 .. n_known - 1
 * @param stop_ids   what ends an answer
 * Errors: as fastvlm_timeline_advance(); FORMAT (a logit that is not finite).
 */
gboolean fastvlm_spellings_weigh(FastvlmTimeline *timeline, FastvlmSpelling *spellings, int n,
                                 int n_known, const int stop_ids[2], GError **error);

#endif
