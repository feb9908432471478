/*
 * Joins checkpoint, packed copy, tokenizer and weights.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_PACKING_H
#define FASTVLM_API_PACKING_H

#include "api/model.h"

/** What each matrix computes in. */
typedef struct {
    FastvlmVisionPlan vision;
    FastvlmMatrixType language;
} FastvlmPackingPlan;

/** All matrices in `type`, but for INT4: that is the decoder's alone, stages of the encoder are INT8. */
void fastvlm_packing_plan_fill(FastvlmPackingPlan *plan, FastvlmMatrixType type);

/**
 * Bytes that the weights take with a plan that is filled with `type`.
 *
 * @param n_bytes  out
 * Errors: FORMAT, LIMIT.
 */
gboolean fastvlm_packing_measure(const FastvlmCheckpoint *checkpoint,
                                 const FastvlmVisionLayout *layout, FastvlmMatrixType type,
                                 guint64 *n_bytes, GError **error);

/**
 * Loads tokenizer and weights of a model that has its checkpoint, info, precision and pool: from the
 * packed copy where there is a good one, otherwise from the checkpoint, and writes a copy where that is
 * worth it and can be done.
 *
 * Errors: as fastvlm_model_load(). What is wrong with a copy is no error: cache_note says it.
 */
gboolean fastvlm_packing_load(FastvlmModel *model, const FastvlmModelParams *params,
                              const FastvlmPackingPlan *plan, GError **error);

#endif
