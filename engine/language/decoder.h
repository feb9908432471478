/*
 * The Qwen2 decoder: rows of embeddings in, logits out. Rows of several timelines, each with its own
 * KV cache, go through it together, so that weights are read once for all.
 *
 *     x += out(attention(RoPE(qkv(RMSNorm(x)))));  x += down(silu(gate(n)) * up(n)), n = RMSNorm(x)
 *     logits = head(RMSNorm(x)) of the rows that want them
 *
 * What becomes of a row depends on its own timeline alone, not on the rows beside it, if the weights
 * are packed (nn/matrix.h); with OpenBLAS it also depends on their number.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_DECODER_H
#define FASTVLM_LANGUAGE_DECODER_H

#include "language/kv_cache.h"

/** Activations of a decoder run; all zero is an empty one. */
typedef struct {
    int row_capacity;         /* rows there is memory for */
    int logits_capacity;      /* rows of logits */
    float *x;                 /* [padded rows, hidden]: in, and the residual stream */
    float *normed;            /* [padded rows, hidden] */
    float *qkv;               /* [padded rows, qkv width] */
    float *attended;          /* [padded rows, n_heads * head_dim] */
    float *gated;             /* [padded rows, intermediate] */
    float *logits;            /* [padded rows of logits, vocab_size] */
    float *inverse_frequency; /* [head_dim / 2] of RoPE */
    float *rotation;          /* [rows, head_dim]: cosines and sines of their positions */
} FastvlmDecoderState;

/** Rows of one timeline. */
typedef struct {
    FastvlmKvCache *cache; /* with room for them; they stand behind its positions */
    int n_rows;            /* 1 or more */
    int n_logits;          /* of so many last rows */
} FastvlmDecoderPart;

/** Frees what `state` points to. */
void fastvlm_decoder_state_clear(FastvlmDecoderState *state);

/**
 * Sees to it that `state` has room for `n_rows` rows at once and `n_logits` rows of logits, and
 * `compute` scratch for caches of `n_positions`.
 *
 * Errors: LIMIT (memory).
 */
gboolean fastvlm_decoder_prepare(const FastvlmLanguageWeights *weights, FastvlmCompute *compute,
                                 int n_rows, int n_logits, int n_positions,
                                 FastvlmDecoderState *state, GError **error);

/**
 * Runs the rows of `state->x`, those of one part behind those of the part before, and adds their keys
 * and values to the parts' caches. `state->logits` gets what the parts want, in their order.
 *
 * @param parts  [n_parts], each with another cache
 * Errors: CANCELLED (the caches then hold what they held before).
 */
gboolean fastvlm_decoder_run(const FastvlmLanguageWeights *weights, const FastvlmCompute *compute,
                             const FastvlmDecoderPart *parts, int n_parts,
                             FastvlmDecoderState *state, GError **error);

#endif
