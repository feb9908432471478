/*
 * A timeline: what the cache holds, prompts in chunks, steps with guesses.
 *
 *     cache.n_positions >= held->len: the positions between are guesses not yet known to be right
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/timeline.h"

#include <fastvlm/error.h>

#include <string.h>

#include "base/alloc.h"

#define MAX_CHUNK_ROWS 576 /* a long prompt needs no more memory than a picture's */

void fastvlm_timeline_init(FastvlmTimeline *timeline, const FastvlmLanguageWeights *weights,
                           FastvlmBatcher *batcher, FastvlmCompute *compute, FastvlmKvType type)
{
    *timeline = (FastvlmTimeline){
        .weights = weights,
        .batcher = batcher,
        .compute = compute,
        .is_exact = !compute->use_blas,
        .cache = {.type = type},
        .held = g_array_new(FALSE, FALSE, sizeof(gint32)),
    };
    fastvlm_draft_init(&timeline->draft);
}

void fastvlm_timeline_clear(FastvlmTimeline *timeline)
{
    fastvlm_kv_cache_clear(&timeline->cache);
    fastvlm_decoder_state_clear(&timeline->state);
    fastvlm_draft_clear(&timeline->draft);
    g_clear_pointer(&timeline->held, g_array_unref);
    g_clear_pointer(&timeline->x, fastvlm_free_tensor);
    g_clear_pointer(&timeline->logits, fastvlm_free_tensor);
}

static gint32 get_held(const FastvlmTimeline *timeline, int position)
{
    return g_array_index(timeline->held, gint32, position);
}

static void keep_positions(FastvlmTimeline *timeline, int n)
{
    g_array_set_size(timeline->held, (guint)n);
    timeline->cache.n_positions = n;
}

void fastvlm_timeline_forget_picture(FastvlmTimeline *timeline)
{
    for (int i = 0; i < (int)timeline->held->len; i++)
        if (get_held(timeline, i) < 0) {
            keep_positions(timeline, i);
            return;
        }
}

/** The last position is computed in any case: its logits are wanted. */
static int count_reusable(const FastvlmTimeline *timeline, const gint32 *sequence, int n_prompt)
{
    const int max = MIN((int)timeline->held->len, n_prompt - 1);
    int n = 0;

    while (timeline->is_exact && n < max && sequence[n] == get_held(timeline, n))
        n++;
    return n;
}

/** Room for the logits of `n_rows`; those that are there are lost where it grows. */
static gboolean reserve_logits(FastvlmTimeline *timeline, int n_rows, GError **error)
{
    const FastvlmLanguageWeights *weights = timeline->weights;

    n_rows = timeline->is_exact ? n_rows : fastvlm_pad_rows(n_rows);
    if (n_rows > timeline->n_logits) {
        fastvlm_free_tensor(timeline->logits);
        timeline->n_logits = 0;
        timeline->logits =
            fastvlm_alloc_tensor((gsize)n_rows, (gsize)weights->vocab_size, "the logits", error);
        if (!timeline->logits)
            return FALSE;
        timeline->n_logits = n_rows;
    }
    if (!timeline->x)
        timeline->x = fastvlm_alloc_tensor(FASTVLM_STEP_MAX_ROWS, (gsize)weights->hidden,
                                           "the decoder's input", error);
    return timeline->x != NULL;
}

static gboolean prepare(FastvlmTimeline *timeline, int n_kept, int n_prompt, int max_tokens,
                        GError **error)
{
    const FastvlmLanguageWeights *weights = timeline->weights;

    return fastvlm_kv_cache_reserve(&timeline->cache, weights, n_kept, n_prompt + max_tokens,
                                    error) &&
           fastvlm_decoder_prepare(weights, timeline->compute,
                                   MIN(n_prompt - n_kept, MAX_CHUNK_ROWS), 0,
                                   timeline->cache.capacity, &timeline->state, error) &&
           reserve_logits(timeline, 1, error);
}

static gboolean fill_row(const FastvlmTimeline *timeline, gint32 what, const float *picture,
                         float *row, GError **error)
{
    const gsize hidden = (gsize)timeline->weights->hidden;

    if (what >= 0)
        return fastvlm_embedding_read(&timeline->weights->embedding, what, row, error);
    memcpy(row, picture + (gsize)(-1 - what) * hidden, hidden * sizeof *row);
    return TRUE;
}

/** The pool's turn is this thread's. */
static gboolean run_prompt(FastvlmTimeline *timeline, const gint32 *sequence, int n_prompt,
                           const float *picture, GError **error)
{
    const gsize hidden = (gsize)timeline->weights->hidden;
    FastvlmDecoderState state = timeline->state;

    state.logits = timeline->logits;
    for (int first = timeline->cache.n_positions; first < n_prompt;) {
        const int n = MIN(MAX_CHUNK_ROWS, n_prompt - first);
        const FastvlmDecoderPart part = {&timeline->cache, n, first + n == n_prompt ? 1 : 0};

        for (int i = 0; i < n; i++)
            if (!fill_row(timeline, sequence[first + i], picture, state.x + (gsize)i * hidden,
                          error))
                return FALSE;
        if (!fastvlm_decoder_run(timeline->weights, timeline->compute, &part, 1, &state, error))
            return FALSE;
        g_array_append_vals(timeline->held, sequence + first, (guint)n);
        first += n;
    }
    return TRUE;
}

gboolean fastvlm_timeline_prompt(FastvlmTimeline *timeline, const gint32 *sequence, int n_prompt,
                                 const float *picture, int max_tokens, gboolean may_guess,
                                 GError **error)
{
    FastvlmPool *pool = timeline->compute->pool;
    const int n_kept = count_reusable(timeline, sequence, n_prompt);
    gboolean ok;

    keep_positions(timeline, n_kept);
    if (!prepare(timeline, n_kept, n_prompt, max_tokens, error))
        return FALSE;
    timeline->n_computed = n_prompt - n_kept;
    timeline->may_guess = may_guess && timeline->is_exact;
    timeline->n_rows = timeline->row = 0;
    if (!fastvlm_pool_hold(pool, FASTVLM_POOL_SLICE_US, timeline->compute->cancel)) {
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    ok = run_prompt(timeline, sequence, n_prompt, picture, error);
    fastvlm_pool_release(pool);
    fastvlm_draft_begin(&timeline->draft);
    return ok;
}

float *fastvlm_timeline_get_logits(FastvlmTimeline *timeline)
{
    return timeline->logits + (gsize)timeline->row * (gsize)timeline->weights->vocab_size;
}

/** The rows of a step: `id` and what is guessed to follow. Returns their number. */
static int choose_inputs(FastvlmTimeline *timeline, int id, int n_more)
{
    int n_guesses = 0;

    timeline->inputs[0] = id;
    if (timeline->may_guess)
        n_guesses =
            fastvlm_draft_predict(&timeline->draft, fastvlm_batcher_get_row_cost(timeline->batcher),
                                  MIN(n_more, FASTVLM_STEP_MAX_ROWS) - 1, timeline->inputs + 1);
    return 1 + n_guesses;
}

static gboolean run_step(FastvlmTimeline *timeline, int n_rows, GError **error)
{
    const gsize hidden = (gsize)timeline->weights->hidden;

    if (!reserve_logits(timeline, n_rows, error))
        return FALSE;
    for (int i = 0; i < n_rows; i++)
        if (!fastvlm_embedding_read(&timeline->weights->embedding, timeline->inputs[i],
                                    timeline->x + (gsize)i * hidden, error))
            return FALSE;
    if (!timeline->has_joined)
        fastvlm_batcher_join(timeline->batcher, &timeline->seat);
    timeline->has_joined = TRUE;
    return fastvlm_batcher_step(timeline->batcher, &timeline->seat, &timeline->cache, timeline->x,
                                n_rows, timeline->compute->cancel, timeline->logits, error);
}

gboolean fastvlm_timeline_advance(FastvlmTimeline *timeline, int id, int n_more, GError **error)
{
    const gint32 token = id;

    fastvlm_draft_advance(&timeline->draft, token);
    if (timeline->row + 1 < timeline->n_rows && timeline->inputs[timeline->row + 1] == token) {
        timeline->row++; /* guessed right */
    } else {
        timeline->cache.n_positions = (int)timeline->held->len;
        timeline->n_rows = timeline->row = 0;
        timeline->inputs[0] = token;
        const int n_rows = choose_inputs(timeline, id, n_more);

        if (!run_step(timeline, n_rows, error))
            return FALSE;
        timeline->n_rows = n_rows;
    }
    g_array_append_val(timeline->held, token);
    return TRUE;
}

gboolean fastvlm_timeline_branch(FastvlmTimeline *timeline, int n_kept, const gint32 *ids,
                                 int n_ids, GError **error)
{
    keep_positions(timeline, n_kept);
    memcpy(timeline->inputs, ids, (gsize)n_ids * sizeof *ids);
    timeline->n_rows = timeline->row = 0;
    if (!run_step(timeline, n_ids, error))
        return FALSE;
    g_array_append_vals(timeline->held, ids, (guint)n_ids);
    return TRUE;
}

const float *fastvlm_timeline_get_row(const FastvlmTimeline *timeline, int i)
{
    return timeline->logits + (gsize)i * (gsize)timeline->weights->vocab_size;
}

void fastvlm_timeline_end(FastvlmTimeline *timeline, gboolean is_whole)
{
    if (timeline->has_joined)
        fastvlm_batcher_leave(timeline->batcher, &timeline->seat);
    timeline->has_joined = FALSE;
    keep_positions(timeline, MIN((int)timeline->held->len, timeline->cache.n_positions));
    if (is_whole)
        fastvlm_draft_end(&timeline->draft);
}
