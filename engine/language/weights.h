/*
 * The weights of the Qwen2 decoder.
 *
 * q, k and v are one linear layer, and so are gate and up: rows of the one, then of the other.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_WEIGHTS_H
#define FASTVLM_LANGUAGE_WEIGHTS_H

#include "load/reader.h"
#include "nn/linear.h"

typedef struct {
    float *input_norm;     /* [hidden] */
    FastvlmLinear qkv;     /* hidden -> (n_heads + 2 n_kv_heads) * head_dim */
    FastvlmLinear out;     /* n_heads * head_dim -> hidden, no bias */
    float *post_norm;      /* [hidden] */
    FastvlmLinear gate_up; /* hidden -> 2 * intermediate, no bias */
    FastvlmLinear down;    /* intermediate -> hidden, no bias */
} FastvlmLanguageLayer;

typedef struct {
    int hidden;
    int n_layers;
    int n_heads;
    int n_kv_heads;
    int head_dim;
    int intermediate;
    int vocab_size;
    int max_positions;
    float rope_theta;
    float epsilon;                /* of RMSNorm */
    float *embedding;             /* [vocab_size, hidden] */
    FastvlmLanguageLayer *layers; /* [n_layers] */
    float *final_norm;            /* [hidden] */
    FastvlmLinear head; /* hidden -> vocab_size, no bias; its weight is `embedding` where tied */
} FastvlmLanguageWeights;

/**
 * Reads all of it from a checkpoint whose structure has been inspected.
 *
 * @param weights  zeroed; fastvlm_language_weights_clear() frees it, also after a failure
 * Errors: as fastvlm_reader_read().
 */
gboolean fastvlm_language_weights_read(FastvlmLanguageWeights *weights, FastvlmReader *reader,
                                       GError **error);

void fastvlm_language_weights_clear(FastvlmLanguageWeights *weights);

#endif
