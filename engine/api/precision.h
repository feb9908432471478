/*
 * Which matrices of a model compute at what precision.
 *
 *     asked for one  -> all of them in it; INT4: the decoder, the encoder in INT8
 *     AUTO           -> by this processor's kernels, and by what was measured on the checkpoint
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_PRECISION_H
#define FASTVLM_API_PRECISION_H

#include "api/packing.h"

/**
 * Decides, and sets the model's `precision` and `precision_note`. For AUTO on a processor with kernels of
 * ours the decoder is int8, and each stage of the encoder is where that keeps its features
 * (vision/verdict.h); the verdict is kept in the directory of packed copies.
 *
 * @param model  has its checkpoint, info, kernels and pool
 * @param plan   out
 * Errors: as fastvlm_model_load().
 */
gboolean fastvlm_precision_plan(FastvlmModel *model, const FastvlmModelParams *params,
                                FastvlmPackingPlan *plan, GError **error);

#endif
