/*
 * The tensors of a FastVLM checkpoint by name and shape, as Apple's release lays them out; other layouts
 * have become that one when a checkpoint is open (load/tensor_set.h).
 *
 * Block counts and widths of the encoder come from the tensors. For each tensor of the encoder,
 * of the projector and of the decoder one walk here says its name and shape.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_LAYOUT_H
#define FASTVLM_LOAD_LAYOUT_H

#include "load/checkpoint.h"

#define FASTVLM_VISION_PREFIX "model.vision_tower.vision_tower.model."

#define FASTVLM_VISION_STAGES 5

/** Stages from this one on mix pixels by attention, the ones before by convolution. */
#define FASTVLM_VISION_FIRST_ATTENTION_STAGE 3

/** Width of an attention head of the encoder. */
#define FASTVLM_VISION_HEAD_DIM 32

/** The encoder's sizes. */
typedef struct {
    int blocks[FASTVLM_VISION_STAGES]; /* 1 .. 256 */
    int dims[FASTVLM_VISION_STAGES];   /* channels, 1 .. 65536, each a multiple of the one before */
    int se_dim;                        /* of the squeeze-and-excitation's narrow layer */
    int vision_width;                  /* 2 * dims[4]: channels of the encoder's output */
} FastvlmVisionLayout;

/** Which part of the model a tensor belongs to. */
typedef enum {
    FASTVLM_PART_VISION,
    FASTVLM_PART_PROJECTOR,
    FASTVLM_PART_LANGUAGE,
    FASTVLM_N_PARTS,
} FastvlmPart;

/** What a checkpoint holds of each part; the head counts where it is not tied. */
typedef struct {
    guint64 n_elements[FASTVLM_N_PARTS]; /* that the engine reads */
    /* That were trained, as published counts have it: BatchNorm's statistics are none, the
     * encoder's classifier, which stands in the file unused, is one. */
    guint64 n_parameters[FASTVLM_N_PARTS];
} FastvlmTensorTotals;

/** Where stage `stage` stands in the encoder's `network`: network.0, .2, .4, .7, .10. */
int fastvlm_vision_stage_index(int stage);

/**
 * Finds the encoder's sizes and verifies each of its tensors.
 *
 * Errors: FORMAT (a tensor is missing or has another shape), NOT_FOUND (there is no encoder), UNSUPPORTED
 * (tensors of another model).
 */
gboolean fastvlm_vision_layout_detect(const FastvlmCheckpoint *checkpoint,
                                      FastvlmVisionLayout *layout, GError **error);

/**
 * Verifies name, shape and dtype of every tensor that the engine reads: encoder, projector, decoder.
 *
 * @param totals  out; may be NULL
 * Errors: FORMAT.
 */
gboolean fastvlm_layout_verify(const FastvlmCheckpoint *checkpoint,
                               const FastvlmVisionLayout *layout, FastvlmTensorTotals *totals,
                               GError **error);

#endif
