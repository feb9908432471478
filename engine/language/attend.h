/*
 * Attention of a few rows over a KV cache, all query heads of one key-value head at once:
 *
 *     out = softmax(q * transpose(keys) / sqrt(head_dim)) * values, each row over the positions up to its own
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_ATTEND_H
#define FASTVLM_LANGUAGE_ATTEND_H

#include "language/kv_cache.h"

typedef struct {
    const FastvlmKernels *kernels;
    const FastvlmLanguageWeights *weights;
    const FastvlmKvCache *cache;
    int layer;
    int kv_head;
    int first_position; /* of the first row; keys and values of all rows are placed */
    int n_rows;         /* at most fastvlm_attend_tile_rows() */
    const float *q;     /* [n_rows, heads of the group, head_dim], rotated, rows ldq floats apart */
    gsize ldq;
    float *out; /* the same shape, rows ldo floats apart */
    gsize ldo;
    float *scratch; /* fastvlm_attend_scratch_size() */
} FastvlmAttend;

/** Most rows of one call. */
int fastvlm_attend_tile_rows(const FastvlmLanguageWeights *weights);

/** Floats of scratch for caches of up to `n_positions`. */
gsize fastvlm_attend_scratch_size(const FastvlmLanguageWeights *weights, int n_positions);

/** On this thread. What a row becomes depends on nothing but itself and the cache. */
void fastvlm_attend(const FastvlmAttend *attend);

#endif
