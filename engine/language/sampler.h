/*
 * Chooses the next token from logits.
 *
 *     greedy: the largest logit, the lowest id among equals
 *     else:   softmax(logits / temperature) -> the k most probable -> the smallest set of
 *             probability top_p -> drawn by the seed
 *
 * That is the order of transformers' logits warpers.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_SAMPLER_H
#define FASTVLM_LANGUAGE_SAMPLER_H

#include <glib.h>

#include "nn/compute.h"

typedef struct {
    const FastvlmKernels *kernels;
    double temperature; /* 0: greedy */
    double top_p;       /* 0 or 1: off */
    int top_k;          /* 0: off */
    guint64 state;      /* of the random numbers; the seed to begin with */
} FastvlmSampler;

/**
 * @param logits       [n]
 * @param n            ids that may be chosen: 0 .. n - 1
 * @param log_probability  of the chosen token at temperature 1, out
 * @return the id, or -1 where a logit is not finite
 */
int fastvlm_sampler_choose(FastvlmSampler *sampler, const float *logits, int n,
                           double *log_probability);

/**
 * log of the sum of exp(logit): a logit less this is the log-probability of its token.
 *
 * @param logits  [n]
 * @return FALSE where a logit is not finite
 */
gboolean fastvlm_sampler_log_total(const FastvlmKernels *kernels, const float *logits, int n,
                                   double *log_total);

#endif
