/*
 * Greedy and random choice of a token.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/sampler.h"

#include <math.h>
#include <stdlib.h>

#define BLOCK 4096 /* so many are summed in single precision, and searched at once */

typedef struct {
    int id;
    float logit;
    double weight; /* not normalised */
} Candidate;

/** SplitMix64 (Steele, Lea and Flood 2014): a number in [0, 1) with 53 random bits. */
static double draw(guint64 *state)
{
    guint64 z = (*state += G_GUINT64_CONSTANT(0x9E3779B97F4A7C15));

    z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94D049BB133111EB);
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/** The id of the first of the largest; -1 where one is not finite. */
static int find_best(const FastvlmKernels *kernels, const float *logits, int n)
{
    float largest = -INFINITY;
    int best = -1;

    for (int i = 0; i < n; i += BLOCK) {
        const float candidate = kernels->largest_f32(logits + i, (size_t)MIN(BLOCK, n - i));

        if (isnan(candidate))
            return -1;
        if (candidate > largest) {
            largest = candidate;
            best = i;
        }
    }
    while (best >= 0 && logits[best] != largest)
        best++;
    return best;
}

/** log of the sum of exp(logit - largest). */
static double log_sum(const FastvlmKernels *kernels, const float *logits, int n, float largest)
{
    double sum = 0.0;

    for (int i = 0; i < n; i += BLOCK)
        sum += (double)kernels->sum_exp_f32(logits + i, largest, (size_t)MIN(BLOCK, n - i));
    return log(sum);
}

static int compare(const void *a, const void *b)
{
    const Candidate *x = a, *y = b;

    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/** How many of the sorted candidates stay, and their weight in all. */
static int cut(const FastvlmSampler *sampler, const Candidate *candidates, int n, double *total)
{
    const gboolean by_probability = sampler->top_p > 0.0 && sampler->top_p < 1.0;
    double all = 0.0, kept = 0.0;
    int n_kept = 0;

    if (sampler->top_k > 0)
        n = MIN(n, sampler->top_k);
    for (int i = 0; i < n; i++)
        all += candidates[i].weight;
    while (n_kept < n && (!by_probability || n_kept == 0 || kept < sampler->top_p * all))
        kept += candidates[n_kept++].weight;
    *total = kept;
    return n_kept;
}

static int choose_randomly(FastvlmSampler *sampler, const float *logits, int n, float largest)
{
    g_autofree Candidate *candidates = g_new(Candidate, (gsize)n);
    double total, target;
    int n_kept;

    for (int i = 0; i < n; i++)
        candidates[i] =
            (Candidate){i, logits[i], exp((double)(logits[i] - largest) / sampler->temperature)};
    qsort(candidates, (size_t)n, sizeof *candidates, compare);
    n_kept = cut(sampler, candidates, n, &total);
    target = draw(&sampler->state) * total;
    for (int i = 0; i < n_kept - 1; i++) {
        target -= candidates[i].weight;
        if (target < 0.0)
            return candidates[i].id;
    }
    return candidates[n_kept - 1].id;
}

int fastvlm_sampler_choose(FastvlmSampler *sampler, const float *logits, int n,
                           double *log_probability)
{
    const int best = find_best(sampler->kernels, logits, n);
    int chosen = best;

    if (best < 0)
        return -1;
    if (sampler->temperature > 0.0)
        chosen = choose_randomly(sampler, logits, n, logits[best]);
    *log_probability = (double)(logits[chosen] - logits[best]) -
                       log_sum(sampler->kernels, logits, n, logits[best]);
    return chosen;
}

gboolean fastvlm_sampler_log_total(const FastvlmKernels *kernels, const float *logits, int n,
                                   double *log_total)
{
    const int best = find_best(kernels, logits, n);

    if (best < 0)
        return FALSE;
    *log_total = (double)logits[best] + log_sum(kernels, logits, n, logits[best]);
    return TRUE;
}
