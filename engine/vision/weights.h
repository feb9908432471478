/*
 * The weights of FastViTHD and of the projector, folded and laid out for computing.
 *
 * Folds, all exact since each comes after the operation it is folded into:
 *     BatchNorm -> the depthwise 7x7 before it          layer_scale   -> fc2
 *     layer_scale_1 -> the attention's projection       LayerNorm's affine part -> qkv
 *     1 / sqrt(head_dim) -> the q rows of qkv
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_VISION_WEIGHTS_H
#define FASTVLM_VISION_WEIGHTS_H

#include "load/reader.h"
#include "nn/conv_ffn.h"

/** A block mixes pixels by a 3x3 convolution (RepMixer) or by attention, then runs its ConvFFN. */
typedef struct {
    FastvlmConv mixer;  /* RepMixer alone: depthwise 3x3 */
    FastvlmLinear qkv;  /* attention alone: C -> 3C */
    FastvlmLinear proj; /* attention alone: C -> C */
    FastvlmConvFfn ffn;
} FastvlmVisionBlock;

typedef struct {
    int n_channels;
    int n_blocks;
    gboolean has_attention; /* of the blocks; such a stage begins with a positional convolution */
    FastvlmConv position;   /* depthwise 7x7 */
    FastvlmVisionBlock *blocks; /* [n_blocks] */
    FastvlmConv down;           /* grouped 7x7 stride 2, C -> C'; but in the last stage */
    FastvlmLinear down_mix;     /* C' -> C', GELU */
} FastvlmVisionStage;

typedef struct {
    FastvlmLinear stem; /* 3x3 stride 2 as a linear layer on 27 inputs (y, x, rgb), GELU */
    FastvlmConv stem_down;
    FastvlmLinear stem_mix;
    FastvlmVisionStage stages[FASTVLM_VISION_STAGES];
    FastvlmConv expand;          /* grouped 3x3, C -> 2C */
    FastvlmLinear squeeze;       /* squeeze-and-excitation: 2C -> 2C / 16 */
    FastvlmLinear excite;        /* and back */
    FastvlmLinear projector_in;  /* 2C -> hidden, GELU */
    FastvlmLinear projector_out; /* hidden -> hidden */
} FastvlmVisionWeights;

/**
 * At what precision the linear layers compute, by stage. The stem's 3x3 convolution and the
 * squeeze-and-excitation are f32 in any case, the rest of the stem goes with the first stage, a patch
 * embedding with the stage behind it, the projector with the last stage.
 */
typedef struct {
    FastvlmMatrixType plain; /* F32 or BLAS */
    FastvlmMatrixType stages[FASTVLM_VISION_STAGES];
} FastvlmVisionPlan;

/**
 * Takes all of it from the reader's store; reads, folds and packs it from the checkpoint, whose
 * structure has been inspected, where that is to be filled.
 *
 * @param weights  zeroed; fastvlm_vision_weights_clear() frees it, also after a failure. The numbers
 *                 are the store's.
 * Errors: as fastvlm_reader_read(); FORMAT where a filled store does not hold them.
 */
gboolean fastvlm_vision_weights_read(FastvlmVisionWeights *weights, FastvlmReader *reader,
                                     const FastvlmVisionPlan *plan, GError **error);

void fastvlm_vision_weights_clear(FastvlmVisionWeights *weights);

#endif
