/*
 * The Qwen2 decoder.
 *
 * RoPE turns pairs (i, i + head_dim / 2), by angles computed in f32 as the reference does. Attention
 * is grouped: a key-value head serves n_heads / n_kv_heads query heads.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/decoder.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "language/attend.h"
#include "nn/norm.h"

void fastvlm_decoder_state_clear(FastvlmDecoderState *state)
{
    g_clear_pointer(&state->x, fastvlm_free_tensor);
    g_clear_pointer(&state->normed, fastvlm_free_tensor);
    g_clear_pointer(&state->qkv, fastvlm_free_tensor);
    g_clear_pointer(&state->attended, fastvlm_free_tensor);
    g_clear_pointer(&state->gated, fastvlm_free_tensor);
    g_clear_pointer(&state->logits, fastvlm_free_tensor);
    g_clear_pointer(&state->inverse_frequency, fastvlm_free_tensor);
    g_clear_pointer(&state->rotation, fastvlm_free_tensor);
    state->row_capacity = state->logits_capacity = 0;
}

static void fill_frequencies(const FastvlmLanguageWeights *weights, float *inverse_frequency)
{
    for (int i = 0; i < weights->head_dim / 2; i++)
        inverse_frequency[i] =
            1.0f / powf(weights->rope_theta, (float)(2 * i) / (float)weights->head_dim);
}

static gboolean alloc_state(const FastvlmLanguageWeights *weights, int n_rows, int n_logits,
                            FastvlmDecoderState *state, GError **error)
{
    const gsize n_padded = (gsize)fastvlm_pad_rows(n_rows);
    const struct {
        float **tensor;
        gsize n_rows, n_columns;
    } tensors[] = {
        {&state->x, n_padded, (gsize)weights->hidden},
        {&state->normed, n_padded, (gsize)weights->hidden},
        {&state->qkv, n_padded, (gsize)weights->layers[0].qkv.matrix.n_out},
        {&state->attended, n_padded, (gsize)weights->layers[0].out.matrix.n_in},
        {&state->gated, n_padded, (gsize)weights->intermediate},
        {&state->logits, (gsize)fastvlm_pad_rows(n_logits), (gsize)weights->vocab_size},
        {&state->inverse_frequency, 1, (gsize)weights->head_dim},
        {&state->rotation, (gsize)n_rows, (gsize)weights->head_dim},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(tensors); i++) {
        *tensors[i].tensor = fastvlm_alloc_tensor(tensors[i].n_rows, tensors[i].n_columns,
                                                  "the decoder's activations", error);
        if (!*tensors[i].tensor)
            return FALSE;
    }
    return TRUE;
}

gboolean fastvlm_decoder_prepare(const FastvlmLanguageWeights *weights, FastvlmCompute *compute,
                                 int n_rows, int n_logits, int n_positions,
                                 FastvlmDecoderState *state, GError **error)
{
    const FastvlmLanguageLayer *layer = &weights->layers[0];

    if (!fastvlm_compute_reserve(compute, fastvlm_attend_scratch_size(weights, n_positions),
                                 error) ||
        !fastvlm_linear_reserve(compute, &layer->qkv, n_rows, error) ||
        !fastvlm_linear_reserve(compute, &layer->out, n_rows, error) ||
        !fastvlm_linear_reserve_gated(compute, &layer->gate, n_rows, error) ||
        !fastvlm_linear_reserve(compute, &layer->down, n_rows, error))
        return FALSE;
    if (n_rows <= state->row_capacity && n_logits <= state->logits_capacity)
        return TRUE;
    n_rows = MAX(n_rows, state->row_capacity);
    n_logits = MAX(n_logits, state->logits_capacity);
    fastvlm_decoder_state_clear(state);
    if (!alloc_state(weights, n_rows, n_logits, state, error))
        return FALSE;
    fill_frequencies(weights, state->inverse_frequency);
    state->row_capacity = n_rows;
    state->logits_capacity = n_logits;
    return TRUE;
}

typedef struct {
    const FastvlmLanguageWeights *weights;
    const FastvlmCompute *compute;
    const FastvlmDecoderPart *parts;
    int n_parts;
    FastvlmDecoderState *state;
    int layer;
    int n_rows; /* of all parts */
} DecoderRun;

/** The part that `row` of all belongs to; in `row` its row there. */
static const FastvlmDecoderPart *find_part(const DecoderRun *run, int *row)
{
    const FastvlmDecoderPart *part = run->parts;

    for (; *row >= part->n_rows; part++)
        *row -= part->n_rows;
    return part;
}

/** Cosines, then sines, of a row's position: the same for all layers and heads. */
static void fill_rotation(int row, int worker, void *data)
{
    const DecoderRun *run = data;
    const int half = run->weights->head_dim / 2;
    float *cosine = run->state->rotation + (gsize)row * 2 * (gsize)half;
    const FastvlmDecoderPart *part = find_part(run, &row);

    for (int i = 0; i < half; i++) {
        const float angle =
            (float)(part->cache->n_positions + row) * run->state->inverse_frequency[i];

        cosine[i] = cosf(angle);
        cosine[half + i] = sinf(angle);
    }
}

/** Rotates heads [n_heads, head_dim] by `cosine` [head_dim / 2] and the sines behind it. */
static void rotate_heads(float *heads, int n_heads, int head_dim, const float *cosine)
{
    const int half = head_dim / 2;
    const float *sine = cosine + half;

    for (float *head = heads; head < heads + (gsize)n_heads * (gsize)head_dim; head += head_dim)
        for (int i = 0; i < half; i++) {
            const float a = head[i], b = head[i + half];

            head[i] = a * cosine[i] - b * sine[i];
            head[i + half] = b * cosine[i] + a * sine[i];
        }
}

/** Rotates the queries and keys of one row and puts its keys and values into the cache. */
static void place_row(int row, int worker, void *data)
{
    const DecoderRun *run = data;
    const FastvlmLanguageWeights *weights = run->weights;
    const int head_dim = weights->head_dim;
    float *q = run->state->qkv + (gsize)row * (gsize)weights->layers[0].qkv.matrix.n_out;
    float *k = q + (gsize)weights->n_heads * (gsize)head_dim;
    const float *v = k + (gsize)weights->n_kv_heads * (gsize)head_dim;
    const float *cosine = run->state->rotation + (gsize)row * (gsize)head_dim;
    const FastvlmDecoderPart *part = find_part(run, &row);
    const int position = part->cache->n_positions + row;

    rotate_heads(q, weights->n_heads + weights->n_kv_heads, head_dim, cosine);
    for (int head = 0; head < weights->n_kv_heads; head++) {
        const gsize from = (gsize)head * (gsize)head_dim;

        fastvlm_kv_cache_place(part->cache, weights, run->layer, head, position,
                               row == part->n_rows - 1, k + from, v + from);
    }
}

static int count_tiles(const FastvlmDecoderPart *part, int tile_rows)
{
    return (part->n_rows + tile_rows - 1) / tile_rows;
}

/** An item is one key-value head and a tile of one part's rows. */
static void attend_tile(int item, int worker, void *data)
{
    const DecoderRun *run = data;
    const FastvlmLanguageWeights *weights = run->weights;
    const FastvlmDecoderPart *part = run->parts;
    const int tile_rows = fastvlm_attend_tile_rows(weights);
    const int kv_head = item % weights->n_kv_heads;
    const gsize group_floats =
        (gsize)(weights->n_heads / weights->n_kv_heads) * (gsize)weights->head_dim;
    int tile = item / weights->n_kv_heads;
    int row = 0; /* the part's first, then the tile's */
    FastvlmAttend attend = {
        .kernels = run->compute->kernels,
        .weights = weights,
        .layer = run->layer,
        .kv_head = kv_head,
        .ldq = (gsize)weights->layers[0].qkv.matrix.n_out,
        .ldo = (gsize)weights->layers[0].out.matrix.n_in,
        .scratch = run->compute->scratch[worker],
    };

    for (; tile >= count_tiles(part, tile_rows); part++) {
        tile -= count_tiles(part, tile_rows);
        row += part->n_rows;
    }
    row += tile * tile_rows;
    attend.cache = part->cache;
    attend.first_position = part->cache->n_positions + tile * tile_rows;
    attend.n_rows = MIN(tile_rows, part->n_rows - tile * tile_rows);
    attend.q = run->state->qkv + (gsize)row * attend.ldq + (gsize)kv_head * group_floats;
    attend.out = run->state->attended + (gsize)row * attend.ldo + (gsize)kv_head * group_floats;
    fastvlm_attend(&attend);
}

/** x += linear(branch): `normed` takes the sum and the two change places. */
static gboolean add_branch(DecoderRun *run, const FastvlmLinear *linear, const float *branch,
                           GError **error)
{
    FastvlmDecoderState *state = run->state;
    float *x = state->x;

    if (!fastvlm_linear_run(run->compute, linear, branch, run->n_rows, x, state->normed, error))
        return FALSE;
    state->x = state->normed;
    state->normed = x;
    return TRUE;
}

static gboolean run_attention(DecoderRun *run, const FastvlmLanguageLayer *layer, GError **error)
{
    FastvlmDecoderState *state = run->state;
    const FastvlmLanguageWeights *weights = run->weights;
    int n_tiles = 0;

    for (int i = 0; i < run->n_parts; i++)
        n_tiles += count_tiles(&run->parts[i], fastvlm_attend_tile_rows(weights));
    return fastvlm_norm_run(run->compute, state->x, layer->input_norm, weights->epsilon,
                            run->n_rows, weights->hidden, state->normed, error) &&
           fastvlm_linear_run(run->compute, &layer->qkv, state->normed, run->n_rows, NULL,
                              state->qkv, error) &&
           fastvlm_compute_run(run->compute, run->n_rows, place_row, run, error) &&
           fastvlm_compute_run(run->compute, n_tiles * weights->n_kv_heads, attend_tile, run,
                               error) &&
           add_branch(run, &layer->out, state->attended, error);
}

static gboolean run_feed_forward(DecoderRun *run, const FastvlmLanguageLayer *layer, GError **error)
{
    FastvlmDecoderState *state = run->state;
    const FastvlmLanguageWeights *weights = run->weights;

    return fastvlm_norm_run(run->compute, state->x, layer->post_norm, weights->epsilon, run->n_rows,
                            weights->hidden, state->normed, error) &&
           fastvlm_linear_run_gated(run->compute, &layer->gate, &layer->up, state->normed,
                                    run->n_rows, state->gated, error) &&
           add_branch(run, &layer->down, state->gated, error);
}

/** Norms the rows that want logits, one behind the other. Returns how many they are. */
static int norm_last_rows(const DecoderRun *run)
{
    const FastvlmLanguageWeights *weights = run->weights;
    const gsize hidden = (gsize)weights->hidden;
    int row = 0, n = 0;

    for (int i = 0; i < run->n_parts; i++) {
        row += run->parts[i].n_rows;
        for (int j = run->parts[i].n_logits; j > 0; j--, n++)
            run->compute->kernels->rms_norm_f32(run->state->x + (gsize)(row - j) * hidden,
                                                weights->final_norm, weights->epsilon,
                                                run->state->normed + (gsize)n * hidden, hidden);
    }
    return n;
}

gboolean fastvlm_decoder_run(const FastvlmLanguageWeights *weights, const FastvlmCompute *compute,
                             const FastvlmDecoderPart *parts, int n_parts,
                             FastvlmDecoderState *state, GError **error)
{
    DecoderRun run = {weights, compute, parts, n_parts, state, 0, 0};
    int n_logits;

    for (int i = 0; i < n_parts; i++)
        run.n_rows += parts[i].n_rows;
    if (!fastvlm_compute_run(compute, run.n_rows, fill_rotation, &run, error))
        return FALSE;
    for (; run.layer < weights->n_layers; run.layer++)
        if (!run_attention(&run, &weights->layers[run.layer], error) ||
            !run_feed_forward(&run, &weights->layers[run.layer], error))
            return FALSE;
    n_logits = norm_last_rows(&run);
    if (n_logits > 0 && !fastvlm_linear_run(compute, &weights->head, state->normed, n_logits, NULL,
                                            state->logits, error))
        return FALSE;
    for (int i = 0; i < n_parts; i++)
        parts[i].cache->n_positions += parts[i].n_rows;
    return TRUE;
}
