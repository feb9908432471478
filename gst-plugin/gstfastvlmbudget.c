/*
 * The choice of a resolution; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmbudget.h"

#define STEP 64 /* pixels: resolutions are multiples */

#define N_OVER 2         /* samples in a row over the budget lead down, */
#define FAR_OVER 1.5     /* or one that is so many times over it */
#define SHARE_DOWN 0.9   /* of the budget that the rung below may be expected to take, */
#define SHARE_FIRST 0.8  /* the one after the first measurement, */
#define SHARE_UP 0.7     /* and the one above */
#define PATIENCE 5       /* samples in a row that lead up */
#define MAX_PATIENCE 160 /* the same after some that were too much */
#define SETTLED 20       /* samples on a rung after which it is not too much */

static void set_ladder(GstFastvlmBudget *budget, guint own)
{
    static const guint eighths[] = {2, 3, 4, 6, 8};

    budget->n_rungs = 0;
    for (guint i = 0; i < G_N_ELEMENTS(eighths); i++) {
        const guint side = MAX((own * eighths[i] / 8 + STEP / 2) / STEP * STEP, STEP);

        if (budget->n_rungs == 0 || side > budget->rungs[budget->n_rungs - 1]) {
            budget->rungs[budget->n_rungs++] = side;
        }
    }
}

guint gst_fastvlm_budget_choose(GstFastvlmBudget *budget, guint budget_ms, guint own)
{
    if (budget->budget_ms != budget_ms || budget->own != own) {
        *budget = (GstFastvlmBudget){.budget_ms = budget_ms, .own = own, .patience = PATIENCE};
        set_ladder(budget, own);
    }
    return budget->rungs[budget->rung];
}

/* What the sample's age would have been on `rung`. */
static double predict(const GstFastvlmBudget *budget, guint rung, double age_ms, double picture_ms)
{
    const double ratio = (double)budget->rungs[rung] / budget->rungs[budget->rung];

    return age_ms + picture_ms * (ratio * ratio - 1);
}

/* The highest rung, `highest` at most, that takes that share of the budget at most; or the lowest. */
static guint find_rung(const GstFastvlmBudget *budget, guint highest, double share, double age_ms,
                       double picture_ms)
{
    guint rung = highest;

    while (rung > 0 && predict(budget, rung, age_ms, picture_ms) > share * budget->budget_ms) {
        rung--;
    }
    return rung;
}

static void go_to(GstFastvlmBudget *budget, guint rung)
{
    if (budget->climbed && rung < budget->rung && budget->n_on_rung < SETTLED) {
        budget->patience = MIN(2 * budget->patience, MAX_PATIENCE);
    }
    budget->climbed = rung > budget->rung;
    budget->rung = rung;
    budget->n_over = budget->n_room = budget->n_on_rung = 0;
}

/* Counts the sample for one side or the other. */
static void count(GstFastvlmBudget *budget, double age_ms, double picture_ms)
{
    const guint next = budget->rung + 1;
    const gboolean has_room = next < budget->n_rungs && predict(budget, next, age_ms, picture_ms) <=
                                                            SHARE_UP * budget->budget_ms;

    budget->n_over = age_ms > budget->budget_ms ? budget->n_over + 1 : 0;
    budget->n_room = has_room ? budget->n_room + 1 : 0;
    if (++budget->n_on_rung == SETTLED && budget->climbed) {
        budget->patience = PATIENCE;
    }
}

gboolean gst_fastvlm_budget_note(GstFastvlmBudget *budget, double age_ms, double picture_ms)
{
    /* Of two clocks: what is left for the rest is never less than nothing. */
    picture_ms = CLAMP(picture_ms, 0, age_ms);
    if (!budget->is_measured) {
        budget->is_measured = TRUE;
        go_to(budget, find_rung(budget, budget->n_rungs - 1, SHARE_FIRST, age_ms, picture_ms));
        budget->climbed = FALSE;
        return TRUE;
    }
    count(budget, age_ms, picture_ms);
    const gboolean is_over = budget->n_over >= N_OVER || age_ms > FAR_OVER * budget->budget_ms;
    if (is_over && budget->rung > 0) {
        go_to(budget, find_rung(budget, budget->rung - 1, SHARE_DOWN, age_ms, picture_ms));
    } else if (budget->n_room >= budget->patience) {
        go_to(budget, budget->rung + 1);
    }
    return budget->n_over < N_OVER || budget->rung > 0;
}
