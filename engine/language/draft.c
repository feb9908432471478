/*
 * Drafts from an earlier answer.
 *
 * With a hit rate p, a run of 1 + n rows is expected to give 1 + p + ... + p^n tokens and costs
 * 1 + n * row_cost steps; the best n is tried (Leviathan, Kalman and Matias 2023, section 3.3, with
 * guesses that cost nothing).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/draft.h"

#define FIRST_HIT_RATE 0.7
#define SMOOTHING (1.0 / 16)
#define LEAST_GAIN 1.02 /* what it takes to be worth the trouble */

void fastvlm_draft_init(FastvlmDraft *draft)
{
    draft->source = g_array_new(FALSE, FALSE, sizeof(gint32));
    draft->current = g_array_new(FALSE, FALSE, sizeof(gint32));
    draft->position = -1;
    draft->hit_rate = FIRST_HIT_RATE;
}

void fastvlm_draft_clear(FastvlmDraft *draft)
{
    g_clear_pointer(&draft->source, g_array_unref);
    g_clear_pointer(&draft->current, g_array_unref);
}

void fastvlm_draft_forget(FastvlmDraft *draft)
{
    g_array_set_size(draft->source, 0);
    draft->position = -1;
}

void fastvlm_draft_begin(FastvlmDraft *draft)
{
    g_array_set_size(draft->current, 0);
    draft->position = draft->source->len > 0 ? 0 : -1;
}

static gint32 get_id(const GArray *ids, int index)
{
    return g_array_index(ids, gint32, index);
}

/** How many tokens before source[end] and before current's end are the same, up to 3. */
static int count_same(const FastvlmDraft *draft, int end)
{
    int n = 0;

    while (n < 3 && n < end && n < (int)draft->current->len &&
           get_id(draft->source, end - 1 - n) ==
               get_id(draft->current, (int)draft->current->len - 1 - n))
        n++;
    return n;
}

/** Where the answer goes on in the source: behind the longest likeness, the nearest of equals. */
static int find_position(const FastvlmDraft *draft)
{
    const int expected = (int)draft->current->len;
    int best = -1, best_same = 0;

    for (int end = 1; end < (int)draft->source->len; end++) {
        const int same = count_same(draft, end);

        if (same > best_same ||
            (same > 0 && same == best_same && ABS(end - expected) < ABS(best - expected))) {
            best = end;
            best_same = same;
        }
    }
    return best;
}

void fastvlm_draft_advance(FastvlmDraft *draft, gint32 id)
{
    const int at = draft->position;
    const gboolean was_guessed = at >= 0 && at < (int)draft->source->len;
    const gboolean was_right = was_guessed && get_id(draft->source, at) == id;

    if (draft->source->len > 0)
        draft->hit_rate += ((was_right ? 1.0 : 0.0) - draft->hit_rate) * SMOOTHING;
    g_array_append_val(draft->current, id);
    draft->position = was_right ? at + 1 : find_position(draft);
}

void fastvlm_draft_end(FastvlmDraft *draft)
{
    GArray *source = draft->source;

    draft->source = draft->current;
    draft->current = source;
    g_array_set_size(draft->current, 0);
    draft->position = -1;
}

int fastvlm_draft_predict(const FastvlmDraft *draft, double row_cost, int max, gint32 *ids)
{
    double tokens = 1.0, power = 1.0, best_gain = LEAST_GAIN;
    int n_best = 0;

    if (draft->position < 0)
        return 0;
    max = MIN(max, (int)draft->source->len - draft->position);
    for (int n = 1; n <= max; n++) {
        power *= draft->hit_rate;
        tokens += power;
        if (tokens / (1.0 + n * row_cost) > best_gain) {
            best_gain = tokens / (1.0 + n * row_cost);
            n_best = n;
        }
        ids[n - 1] = get_id(draft->source, draft->position + n - 1);
    }
    return n_best;
}
