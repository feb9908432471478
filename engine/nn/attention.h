/*
 * Multi-head self-attention over all pixels, as FastViTHD's last two stages have it:
 *
 *     out [n, C] = concat over heads of softmax(q * transpose(k)) * v
 *
 * q, k and v come side by side from one linear layer, the scale 1 / sqrt(head_dim) already in q. Beside
 * layers that round, both products round too: q, k, v and the probabilities to bf16, sums in f32, on every
 * processor. The softmax is f32.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_ATTENTION_H
#define FASTVLM_NN_ATTENTION_H

#include "nn/compute.h"

typedef struct {
    int n_rows; /* pixels */
    int n_heads;
    int head_dim;
    gboolean is_bf16; /* else f32 */
} FastvlmAttention;

/** Floats of scratch memory fastvlm_attention_run() needs of each thread. */
gsize fastvlm_attention_scratch_size(const FastvlmAttention *attention);

/** Floats of the memory for packed keys and values, which all threads share. */
gsize fastvlm_attention_packed_size(const FastvlmAttention *attention);

/**
 * @param qkv       [padded rows, 3 * n_heads * head_dim]: q, k, v, each [n_heads, head_dim]
 * @param packed    fastvlm_attention_packed_size(), aligned to 64 bytes
 * @param out       [padded rows, n_heads * head_dim]
 * Errors: CANCELLED.
 */
gboolean fastvlm_attention_run(const FastvlmCompute *compute, const FastvlmAttention *attention,
                               const float *qkv, float *packed, float *out, GError **error);

#endif
