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
    float *input_norm;  /* [hidden] */
    FastvlmLinear qkv;  /* hidden -> (n_heads + 2 n_kv_heads) * head_dim */
    FastvlmLinear out;  /* n_heads * head_dim -> hidden, no bias */
    float *post_norm;   /* [hidden] */
    FastvlmLinear gate; /* hidden -> intermediate, no bias */
    FastvlmLinear up;   /* the same */
    FastvlmLinear down; /* intermediate -> hidden, no bias */
} FastvlmLanguageLayer;

/** The embedding [vocab_size, hidden]: rows are read from the checkpoint as they are needed. */
typedef struct {
    const FastvlmCheckpoint *checkpoint; /* not owned */
    const FastvlmTensorView *view;
} FastvlmEmbedding;

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
    float epsilon; /* of RMSNorm */
    FastvlmEmbedding embedding;
    FastvlmLanguageLayer *layers; /* [n_layers] */
    float *final_norm;            /* [hidden] */
    FastvlmLinear head;           /* hidden -> vocab_size, no bias */
} FastvlmLanguageWeights;

/**
 * The embedding of token `id`.
 *
 * @param id   0 .. vocab_size - 1
 * @param out  [hidden]
 * Errors: FORMAT (not finite).
 */
gboolean fastvlm_embedding_read(const FastvlmEmbedding *embedding, int id, float *out,
                                GError **error);

/**
 * Takes all of it from the reader's store; reads and packs it from the checkpoint, whose structure
 * has been inspected, where that is to be filled.
 *
 * @param weights  zeroed; fastvlm_language_weights_clear() frees it, also after a failure. The numbers
 *                 are the store's; embeddings are read from the reader's checkpoint. Both must
 *                 outlive it.
 * @param type     what the linear layers compute in; with INT4 the head is INT8
 * Errors: as fastvlm_reader_read(); FORMAT where a filled store does not hold them.
 */
gboolean fastvlm_language_weights_read(FastvlmLanguageWeights *weights, FastvlmReader *reader,
                                       FastvlmMatrixType type, GError **error);

void fastvlm_language_weights_clear(FastvlmLanguageWeights *weights);

#endif
