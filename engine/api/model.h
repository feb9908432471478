/*
 * What a model is inside: shared by model.c, session.c and answer.c.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_MODEL_H
#define FASTVLM_API_MODEL_H

#include <fastvlm/model.h>

#include "base/pool.h"
#include "kernels/kernels.h"
#include "language/batcher.h"
#include "load/packed.h"
#include "vision/weights.h"

struct _FastvlmModel {
    gatomicrefcount references;
    FastvlmModelInfo *info;
    FastvlmPrecision precision;
    char *precision_note;        /* for people: where AUTO kept a stage from int8 */
    FastvlmTokenizer *tokenizer; /* NULL: the checkpoint has no tokenizer files */
    FastvlmPool *pool;
    const FastvlmKernels *kernels;
    gboolean use_blas;
    FastvlmCheckpoint *checkpoint; /* embeddings are read from it */
    FastvlmPacked *packed;         /* the file that they are in; NULL: in memory alone */
    FastvlmStore *store;           /* all numbers of the two */
    char *cache_note;
    FastvlmVisionWeights vision;
    FastvlmLanguageWeights language;
    FastvlmBatcher *batcher; /* of the sessions' decoding */
    int stop_ids[2];         /* <|im_end|> and <|endoftext|>; -1: there is none */
};

#endif
