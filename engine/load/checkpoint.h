/*
 * A checkpoint directory: its config and all its weight files as one set of named tensors.
 *
 *     config.json
 *     model.safetensors, or model.safetensors.index.json and the shards that it names
 *
 * Tensors have the names that Apple's release gives them, whatever layout the files are in
 * (load/tensor_set.h).
 *
 * Opening reads and checks the headers; weights are read when they are asked for. Immutable once open:
 * all functions may be called from any thread at once.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_CHECKPOINT_H
#define FASTVLM_LOAD_CHECKPOINT_H

#include <fastvlm/model.h>

#include "load/config.h"
#include "load/tensor_set.h"

typedef struct _FastvlmCheckpoint FastvlmCheckpoint;

/**
 * Opens the checkpoint in `directory`.
 *
 * @return a checkpoint to free with fastvlm_checkpoint_free(), or NULL
 * Errors: as fastvlm_config_load() and fastvlm_safetensors_open(); FORMAT where index and shards
 * contradict each other.
 */
FastvlmCheckpoint *fastvlm_checkpoint_open(const char *directory, GError **error);

/**
 * The same, with an encoder from elsewhere and another head than config.json says.
 *
 * @param vision  directory of a checkpoint whose encoder takes the place of this one's; NULL: none
 */
FastvlmCheckpoint *fastvlm_checkpoint_open_with(const char *directory, const char *vision,
                                                FastvlmHead head, GError **error);

/** Closes it; its views end. NULL is fine. */
void fastvlm_checkpoint_free(FastvlmCheckpoint *checkpoint);

/** The directory, as it was given. */
const char *fastvlm_checkpoint_get_path(const FastvlmCheckpoint *checkpoint);

const FastvlmConfig *fastvlm_checkpoint_get_config(const FastvlmCheckpoint *checkpoint);

/** Size of all weight files, in bytes. */
guint64 fastvlm_checkpoint_file_size(const FastvlmCheckpoint *checkpoint);

/**
 * A text of 64 hexadecimal digits that is another one as soon as the weight files, or the files `names`
 * beside them (NULL-terminated; they may be missing), are others or were changed. Free with g_free().
 */
char *fastvlm_checkpoint_fingerprint(const FastvlmCheckpoint *checkpoint, const char *const *names);

/** "llava_qwen2", "fast_vlm" or "mlx". */
const char *fastvlm_checkpoint_get_layout(const FastvlmCheckpoint *checkpoint);

/** Whose layout that is, for people, and where its encoder is from; free with g_free(). */
char *fastvlm_checkpoint_describe_layout(const FastvlmCheckpoint *checkpoint);

/** Dtypes of weights, as "BF16" or "F16, 4-bit words in groups of 64"; free with g_free(). */
char *fastvlm_checkpoint_dtypes(const FastvlmCheckpoint *checkpoint);

/** A text of the weight files' metadata, or NULL; owned by the checkpoint. */
const char *fastvlm_checkpoint_get_metadata(const FastvlmCheckpoint *checkpoint, const char *key);

/** Number of tensors in all files. */
guint fastvlm_checkpoint_get_n_tensors(const FastvlmCheckpoint *checkpoint);

/** Tensor 0 .. n_tensors - 1: file by file, in the order of their data. */
const FastvlmTensorView *fastvlm_checkpoint_get_tensor(const FastvlmCheckpoint *checkpoint,
                                                       guint index);

/** The tensor `name`, or NULL where no file has it. */
const FastvlmTensorView *fastvlm_checkpoint_find(const FastvlmCheckpoint *checkpoint,
                                                 const char *name);

/**
 * The tensor `name`, which must be there, have the shape `shape` [n_dims] and a weight's dtype.
 *
 * @param shape  -1: any size
 * Errors: FORMAT; the message names file, tensor, what was found and what was expected.
 */
const FastvlmTensorView *fastvlm_checkpoint_require(const FastvlmCheckpoint *checkpoint,
                                                    const char *name, int n_dims,
                                                    const gint64 *shape, GError **error);

/** Tells the system that rows first_row .. first_row + n_rows - 1 will be read soon. */
void fastvlm_checkpoint_expect_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows);

/**
 * Reads a whole tensor as f32.
 *
 * @param view  of this checkpoint, from fastvlm_checkpoint_require()
 * @param out   [view->n_elements]
 * Errors: FORMAT (an element is not finite), READ (the file was cut short meanwhile, I/O).
 */
gboolean fastvlm_checkpoint_read_f32(const FastvlmCheckpoint *checkpoint,
                                     const FastvlmTensorView *view, float *out, GError **error);

/**
 * The same for rows first_row .. first_row + n_rows - 1 of the tensor's first dimension, which must
 * be there. Rows that do not overlap may be read from several threads.
 *
 * @param out  [n_rows, elements of a row]
 */
gboolean fastvlm_checkpoint_read_f32_rows(const FastvlmCheckpoint *checkpoint,
                                          const FastvlmTensorView *view, gint64 first_row,
                                          gint64 n_rows, float *out, GError **error);

#endif
