/*
 * The Qwen2 decoder: rows of embeddings in, logits of the last one out.
 *
 *     x += out(attention(RoPE(qkv(RMSNorm(x)))));  x += down(silu(gate(n)) * up(n)), n = RMSNorm(x)
 *     logits = head(RMSNorm(last row of x))
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_DECODER_H
#define FASTVLM_LANGUAGE_DECODER_H

#include "language/kv_cache.h"

/** Activations of one session's decoder; all zero is an empty one. */
typedef struct {
    int capacity;             /* rows there is memory for */
    float *x;                 /* [padded rows, hidden]: in, and the residual stream */
    float *normed;            /* [padded rows, hidden] */
    float *qkv;               /* [padded rows, qkv width] */
    float *attended;          /* [padded rows, n_heads * head_dim] */
    float *gate_up;           /* [padded rows, 2 * intermediate] */
    float *gated;             /* [padded rows, intermediate] */
    float *logits;            /* [one padded group, vocab_size]; row 0 counts */
    float *inverse_frequency; /* [head_dim / 2] of RoPE */
} FastvlmDecoderState;

/** Frees what `state` points to. */
void fastvlm_decoder_state_clear(FastvlmDecoderState *state);

/**
 * Sees to it that `state` has room for `n_rows` rows at once and `compute` scratch for
 * `n_positions`.
 *
 * Errors: LIMIT (memory).
 */
gboolean fastvlm_decoder_prepare(const FastvlmLanguageWeights *weights, FastvlmCompute *compute,
                                 int n_rows, int n_positions, FastvlmDecoderState *state,
                                 GError **error);

/**
 * Runs `n_rows` rows of `state->x`, which stand behind the positions of `cache`, and adds their keys
 * and values to it. `state->logits` gets those of the last row.
 *
 * Errors: CANCELLED (`cache` then holds what it held before).
 */
gboolean fastvlm_decoder_run(const FastvlmLanguageWeights *weights, const FastvlmCompute *compute,
                             FastvlmKvCache *cache, FastvlmDecoderState *state, int n_rows,
                             GError **error);

#endif
