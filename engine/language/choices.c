/*
 * Weighing spellings; see the header.
 *
 * The sorted spellings are walked like a tree: those that begin alike stand beside each other, so what
 * one has run is the stem of the next. The logits behind a stem go to all spellings that begin with it
 * at once, for the next run overwrites them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/choices.h"

#include <fastvlm/error.h>

#include <math.h>
#include <stdlib.h>

#include "language/sampler.h"

typedef struct {
    FastvlmTimeline *timeline;
    FastvlmSpelling *spellings; /* sorted */
    int n;
    int n_known;
    const int *stop_ids; /* [2] */
    int n_prompt;        /* positions before every stem */
    const gint32 *path;  /* the stem that the cache holds */
    int path_length;
} Weighing;

static int compare(const void *a, const void *b)
{
    const FastvlmSpelling *x = a, *y = b;

    for (int i = 0; i < MIN(x->n_ids, y->n_ids); i++)
        if (x->ids[i] != y->ids[i])
            return x->ids[i] < y->ids[i] ? -1 : 1;
    return x->n_ids - y->n_ids;
}

static int count_common(const gint32 *a, int n_a, const gint32 *b, int n_b)
{
    int n = 0;

    while (n < MIN(n_a, n_b) && a[n] == b[n])
        n++;
    return n;
}

/** How much of a spelling must be run to have the logits of what follows. */
static int count_stem(const FastvlmSpelling *spelling)
{
    return spelling->must_end ? spelling->n_ids : spelling->n_ids - 1;
}

/** The log-probability that the answer ends: by whichever stop token, -1 being none. */
static double weigh_end(const int stop_ids[2], const float *logits, double log_total)
{
    double sum = 0.0;

    for (int i = 0; i < 2; i++)
        if (stop_ids[i] >= 0 && (i == 0 || stop_ids[1] != stop_ids[0]))
            sum += exp((double)logits[stop_ids[i]] - log_total);
    return log(MAX(sum, G_MINDOUBLE));
}

/** Gives the logits behind `stem` to every spelling that begins with it. */
static gboolean spread(Weighing *weighing, const gint32 *stem, int length, const float *logits,
                       GError **error)
{
    double log_total;

    if (!fastvlm_sampler_log_total(weighing->timeline->compute->kernels, logits, weighing->n_known,
                                   &log_total)) {
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                            "the model computed logits that are not finite");
        return FALSE;
    }
    for (int i = 0; i < weighing->n; i++) {
        FastvlmSpelling *spelling = &weighing->spellings[i];

        if (count_common(stem, length, spelling->ids, spelling->n_ids) < length)
            continue;
        if (spelling->n_ids > length) {
            spelling->log_probability += (double)logits[spelling->ids[length]] - log_total;
        } else if (spelling->must_end) {
            spelling->log_probability += weigh_end(weighing->stop_ids, logits, log_total);
        }
    }
    return TRUE;
}

/** Runs what the cache does not hold of a spelling's stem. */
static gboolean run_stem(Weighing *weighing, const FastvlmSpelling *spelling, GError **error)
{
    FastvlmTimeline *timeline = weighing->timeline;
    const int n_stem = count_stem(spelling);
    int at = count_common(weighing->path, weighing->path_length, spelling->ids, n_stem);

    if (at == n_stem)
        return TRUE;
    while (at < n_stem) {
        const int n = MIN(n_stem - at, FASTVLM_STEP_MAX_ROWS);

        if (!fastvlm_timeline_branch(timeline, weighing->n_prompt + at, spelling->ids + at, n,
                                     error))
            return FALSE;
        for (int i = 0; i < n; i++)
            if (!spread(weighing, spelling->ids, at + i + 1, fastvlm_timeline_get_row(timeline, i),
                        error))
                return FALSE;
        at += n;
    }
    weighing->path = spelling->ids;
    weighing->path_length = n_stem;
    return TRUE;
}

gboolean fastvlm_spellings_weigh(FastvlmTimeline *timeline, FastvlmSpelling *spellings, int n,
                                 int n_known, const int stop_ids[2], GError **error)
{
    Weighing weighing = {.timeline = timeline,
                         .spellings = spellings,
                         .n = n,
                         .n_known = n_known,
                         .stop_ids = stop_ids,
                         .n_prompt = (int)timeline->held->len};

    qsort(spellings, (gsize)n, sizeof *spellings, compare);
    for (int i = 0; i < n; i++) {
        spellings[i].log_probability = 0.0;
        spellings[i].must_end =
            i + 1 < n && count_common(spellings[i].ids, spellings[i].n_ids, spellings[i + 1].ids,
                                      spellings[i + 1].n_ids) == spellings[i].n_ids;
    }
    if (!spread(&weighing, NULL, 0, fastvlm_timeline_get_logits(timeline), error))
        return FALSE;
    for (int i = 0; i < n; i++)
        if (!run_stem(&weighing, &spellings[i], error))
            return FALSE;
    return TRUE;
}
