/*
 * Answers that are one of a few choices: names -> spellings -> token ids -> weights -> the answer.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_CHOICES_H
#define FASTVLM_API_CHOICES_H

#include <fastvlm/session.h>

#include "api/model.h"
#include "language/choices.h"
#include "language/sampler.h"

/** The choices of one answer. */
typedef struct {
    const char *const *names; /* [n], the caller's */
    int n;
    GArray *spellings; /* of FastvlmSpelling */
} FastvlmChoices;

/**
 * Cuts the choices into tokens; they may be followed by no more than the model's positions.
 *
 * @param names  NULL-terminated; must outlive `choices`
 * Errors: ARGUMENT, LIMIT (a name too long), UNSUPPORTED (a model without tokenizer).
 */
gboolean fastvlm_choices_init(FastvlmChoices *choices, const FastvlmModel *model,
                              const char *const *names, GError **error);

/** Frees what `choices` points to; all zero is fine. */
void fastvlm_choices_clear(FastvlmChoices *choices);

/** Tokens of the longest spelling. */
int fastvlm_choices_count_ids(const FastvlmChoices *choices);

/**
 * Weighs them in a timeline that the prompt was computed in, and chooses.
 *
 * @param result  text, ids, n_tokens, choice, choice_probabilities, confidence and finish_reason are set
 * Errors: as fastvlm_spellings_weigh().
 */
gboolean fastvlm_choices_answer(FastvlmChoices *choices, const FastvlmModel *model,
                                FastvlmTimeline *timeline, FastvlmSampler *sampler, int n_known,
                                FastvlmResult *result, GError **error);

#endif
