/*
 * Finding and inspecting a checkpoint: where it is, whether it is sound, and what it is.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_INSPECT_H
#define FASTVLM_API_INSPECT_H

#include <fastvlm/model.h>

#include "load/checkpoint.h"

/**
 * Opens the checkpoint that `name` stands for, as fastvlm_model_resolve() finds it.
 *
 * @return a checkpoint to free with fastvlm_checkpoint_free(), or NULL
 * Errors: as fastvlm_checkpoint_open(); where a name is not found the message says where it was
 * looked for.
 */
FastvlmCheckpoint *fastvlm_open_model(const char *name, GError **error);

/** The same for a load with `params`, of which `vision_path` and `head` count. */
FastvlmCheckpoint *fastvlm_open_model_for(const char *name, const FastvlmModelParams *params,
                                          GError **error);

/**
 * Verifies every tensor and fills `info`, all but `tokenizer_size`.
 *
 * @param info  zeroed; what it holds is freed by fastvlm_model_info_free(), also after a failure
 * Errors: FORMAT, UNSUPPORTED.
 */
gboolean fastvlm_inspect_checkpoint(const FastvlmCheckpoint *checkpoint, FastvlmModelInfo *info,
                                    GError **error);

/**
 * Looks at the tokenizer files in `directory`; what is wrong with vocab.json and merges.txt shows
 * when they are loaded.
 *
 * @param size  ids that the tokenizer knows, out; 0 where there is no vocab.json
 * Errors: NOT_FOUND (merges.txt alone is missing), READ, FORMAT, UNSUPPORTED.
 */
gboolean fastvlm_inspect_tokenizer(const char *directory, int *size, GError **error);

#endif
