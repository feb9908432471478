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
#include "nn/norm.h"

#define QUERY_TILE_ROWS 16

void fastvlm_decoder_state_clear(FastvlmDecoderState *state)
{
    g_clear_pointer(&state->x, fastvlm_free_tensor);
    g_clear_pointer(&state->normed, fastvlm_free_tensor);
    g_clear_pointer(&state->qkv, fastvlm_free_tensor);
    g_clear_pointer(&state->attended, fastvlm_free_tensor);
    g_clear_pointer(&state->gate_up, fastvlm_free_tensor);
    g_clear_pointer(&state->gated, fastvlm_free_tensor);
    g_clear_pointer(&state->logits, fastvlm_free_tensor);
    g_clear_pointer(&state->inverse_frequency, fastvlm_free_tensor);
    state->capacity = 0;
}

static void fill_frequencies(const FastvlmLanguageWeights *weights, float *inverse_frequency)
{
    for (int i = 0; i < weights->head_dim / 2; i++)
        inverse_frequency[i] =
            1.0f / powf(weights->rope_theta, (float)(2 * i) / (float)weights->head_dim);
}

static gboolean alloc_state(const FastvlmLanguageWeights *weights, int n_rows,
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
        {&state->gate_up, n_padded, (gsize)weights->layers[0].gate_up.matrix.n_out},
        {&state->gated, n_padded, (gsize)weights->intermediate},
        {&state->logits, (gsize)fastvlm_pad_rows(1), (gsize)weights->vocab_size},
        {&state->inverse_frequency, 1, (gsize)weights->head_dim},
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
                                 int n_rows, int n_positions, FastvlmDecoderState *state,
                                 GError **error)
{
    const FastvlmLanguageLayer *layer = &weights->layers[0];

    if (!fastvlm_compute_reserve(compute, (gsize)n_positions, error) ||
        !fastvlm_linear_reserve(compute, &layer->qkv, n_rows, error) ||
        !fastvlm_linear_reserve(compute, &layer->out, n_rows, error) ||
        !fastvlm_linear_reserve(compute, &layer->gate_up, n_rows, error) ||
        !fastvlm_linear_reserve(compute, &layer->down, n_rows, error))
        return FALSE;
    if (n_rows <= state->capacity)
        return TRUE;
    fastvlm_decoder_state_clear(state);
    if (!alloc_state(weights, n_rows, state, error))
        return FALSE;
    fill_frequencies(weights, state->inverse_frequency);
    state->capacity = n_rows;
    return TRUE;
}

typedef struct {
    const FastvlmLanguageWeights *weights;
    const FastvlmCompute *compute;
    FastvlmKvCache *cache;
    FastvlmDecoderState *state;
    int layer;
    int n_rows;
} DecoderRun;

/** Rotates one head [head_dim] to `position`. */
static void rotate(float *head, int head_dim, const float *inverse_frequency, int position)
{
    const int half = head_dim / 2;

    for (int i = 0; i < half; i++) {
        const float angle = (float)position * inverse_frequency[i];
        const float c = cosf(angle), s = sinf(angle);
        const float a = head[i], b = head[i + half];

        head[i] = a * c - b * s;
        head[i + half] = b * c + a * s;
    }
}

/** Rotates the queries and keys of one row and puts its keys and values into the cache. */
static void place_row(int row, int worker, void *data)
{
    const DecoderRun *run = data;
    const FastvlmLanguageWeights *weights = run->weights;
    const int position = run->cache->n_positions + row;
    const int head_dim = weights->head_dim;
    float *q = run->state->qkv + (gsize)row * (gsize)weights->layers[0].qkv.matrix.n_out;
    float *k = q + (gsize)weights->n_heads * (gsize)head_dim;
    const float *v = k + (gsize)weights->n_kv_heads * (gsize)head_dim;

    for (int head = 0; head < weights->n_heads + weights->n_kv_heads; head++)
        rotate(q + (gsize)head * (gsize)head_dim, head_dim, run->state->inverse_frequency,
               position);
    for (int head = 0; head < weights->n_kv_heads; head++) {
        const gsize from = (gsize)head * (gsize)head_dim;
        const gsize to = fastvlm_kv_cache_offset(run->cache, weights, run->layer, head) +
                         (gsize)position * (gsize)head_dim;

        memcpy(run->cache->keys + to, k + from, (gsize)head_dim * sizeof *k);
        memcpy(run->cache->values + to, v + from, (gsize)head_dim * sizeof *v);
    }
}

/** One query head at one position: out [head_dim] = softmax(q * keys / sqrt(head_dim)) * values. */
static void attend(const DecoderRun *run, const float *q, const float *keys, const float *values,
                   int n_keys, float *scores, float *out)
{
    const FastvlmKernels *kernels = run->compute->kernels;
    const gsize head_dim = (gsize)run->weights->head_dim;
    const float scale = 1.0f / sqrtf((float)head_dim);

    for (int i = 0; i < n_keys; i++)
        scores[i] = kernels->dot_f32(q, keys + (gsize)i * head_dim, head_dim) * scale;
    kernels->softmax_f32(scores, (size_t)n_keys);
    memset(out, 0, head_dim * sizeof *out);
    for (int i = 0; i < n_keys; i++)
        kernels->axpy_f32(scores[i], values + (gsize)i * head_dim, out, head_dim);
}

/** An item is one query head and a tile of rows. */
static void attend_tile(int item, int worker, void *data)
{
    const DecoderRun *run = data;
    const FastvlmLanguageWeights *weights = run->weights;
    const int head = item % weights->n_heads;
    const int first = item / weights->n_heads * QUERY_TILE_ROWS;
    const int end = MIN(first + QUERY_TILE_ROWS, run->n_rows);
    const int kv_head = head / (weights->n_heads / weights->n_kv_heads);
    const gsize offset = fastvlm_kv_cache_offset(run->cache, weights, run->layer, kv_head);
    const gsize from = (gsize)head * (gsize)weights->head_dim;

    for (int row = first; row < end; row++)
        attend(
            run, run->state->qkv + (gsize)row * (gsize)weights->layers[0].qkv.matrix.n_out + from,
            run->cache->keys + offset, run->cache->values + offset,
            run->cache->n_positions + row + 1, run->compute->scratch[worker],
            run->state->attended + (gsize)row * (gsize)weights->layers[0].out.matrix.n_in + from);
}

static void gate_row(int row, int worker, void *data)
{
    const DecoderRun *run = data;
    const gsize n = (gsize)run->weights->intermediate;
    float *gate = run->state->gate_up + (gsize)row * 2 * n;

    run->compute->kernels->silu_mul_f32(gate, gate + n, n);
    memcpy(run->state->gated + (gsize)row * n, gate, n * sizeof *gate);
}

static void add_to(float *x, const float *branch, gsize n)
{
    for (gsize i = 0; i < n; i++)
        x[i] += branch[i];
}

static gboolean run_attention(DecoderRun *run, const FastvlmLanguageLayer *layer, GError **error)
{
    FastvlmDecoderState *state = run->state;
    const FastvlmLanguageWeights *weights = run->weights;
    const int n_tiles = (run->n_rows + QUERY_TILE_ROWS - 1) / QUERY_TILE_ROWS;

    if (!fastvlm_norm_run(run->compute, state->x, layer->input_norm, weights->epsilon, run->n_rows,
                          weights->hidden, state->normed, error) ||
        !fastvlm_linear_run(run->compute, &layer->qkv, state->normed, run->n_rows, state->qkv,
                            error) ||
        !fastvlm_compute_run(run->compute, run->n_rows, place_row, run, error) ||
        !fastvlm_compute_run(run->compute, n_tiles * weights->n_heads, attend_tile, run, error) ||
        !fastvlm_linear_run(run->compute, &layer->out, state->attended, run->n_rows, state->normed,
                            error))
        return FALSE;
    add_to(state->x, state->normed, (gsize)run->n_rows * (gsize)weights->hidden);
    return TRUE;
}

static gboolean run_feed_forward(DecoderRun *run, const FastvlmLanguageLayer *layer, GError **error)
{
    FastvlmDecoderState *state = run->state;
    const FastvlmLanguageWeights *weights = run->weights;

    if (!fastvlm_norm_run(run->compute, state->x, layer->post_norm, weights->epsilon, run->n_rows,
                          weights->hidden, state->normed, error) ||
        !fastvlm_linear_run(run->compute, &layer->gate_up, state->normed, run->n_rows,
                            state->gate_up, error) ||
        !fastvlm_compute_run(run->compute, run->n_rows, gate_row, run, error) ||
        !fastvlm_linear_run(run->compute, &layer->down, state->gated, run->n_rows, state->normed,
                            error))
        return FALSE;
    add_to(state->x, state->normed, (gsize)run->n_rows * (gsize)weights->hidden);
    return TRUE;
}

gboolean fastvlm_decoder_run(const FastvlmLanguageWeights *weights, const FastvlmCompute *compute,
                             FastvlmKvCache *cache, FastvlmDecoderState *state, int n_rows,
                             GError **error)
{
    DecoderRun run = {weights, compute, cache, state, 0, n_rows};
    const float *last = state->x + (gsize)(n_rows - 1) * (gsize)weights->hidden;

    for (; run.layer < weights->n_layers; run.layer++)
        if (!run_attention(&run, &weights->layers[run.layer], error) ||
            !run_feed_forward(&run, &weights->layers[run.layer], error))
            return FALSE;
    compute->kernels->rms_norm_f32(last, weights->final_norm, weights->epsilon, state->normed,
                                   (size_t)weights->hidden);
    if (!fastvlm_linear_run(compute, &weights->head, state->normed, 1, state->logits, error))
        return FALSE;
    cache->n_positions += n_rows;
    return TRUE;
}
