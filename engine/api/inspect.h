/*
 * Inspecting a checkpoint that is open: whether it is sound, and what it is.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_INSPECT_H
#define FASTVLM_API_INSPECT_H

#include <fastvlm/model.h>

#include "load/checkpoint.h"

/**
 * Verifies every tensor and fills `info`, all but `tokenizer_size`.
 *
 * @param info  zeroed; what it holds is freed by fastvlm_model_info_free(), also after a failure
 * Errors: FORMAT, UNSUPPORTED.
 */
gboolean fastvlm_inspect_checkpoint(FastvlmCheckpoint *checkpoint, FastvlmModelInfo *info,
                                    GError **error);

#endif
