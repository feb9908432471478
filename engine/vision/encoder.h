/*
 * FastViTHD and the projector: a picture's bytes to rows in the decoder's space.
 *
 *     rgb [R, R, 3] -> stem -> 5 stages -> expansion, SE, GELU -> vision [(R / 64)^2, 2C]
 *                                                              -> projected [(R / 64)^2, hidden]
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_VISION_ENCODER_H
#define FASTVLM_VISION_ENCODER_H

#include "vision/weights.h"

/** One side of the encoder's input is this many times the side of its output. */
#define FASTVLM_VISION_STRIDE 64

/** Activations of one session's encoder; all zero is an empty one. */
typedef struct {
    int resolution; /* what the buffers were made for */
    float *a;       /* activations go back and forth between these two */
    float *b;
    float *wide;      /* hidden layers, qkv */
    float *vision;    /* [padded (R / 64)^2, 2C] */
    float *projected; /* [padded (R / 64)^2, hidden] */
    int n_tokens;     /* (R / 64)^2 */
} FastvlmVisionState;

/** Frees what `state` points to. */
void fastvlm_vision_state_clear(FastvlmVisionState *state);

/**
 * Encodes and projects.
 *
 * @param rgb         [resolution, resolution, 3]
 * @param resolution  a positive multiple of 64
 * @param state       `vision`, `projected` and `n_tokens` hold the result
 * Errors: CANCELLED, LIMIT (memory).
 */
gboolean fastvlm_vision_encode(const FastvlmVisionWeights *weights, FastvlmCompute *compute,
                               const guint8 *rgb, int resolution, FastvlmVisionState *state,
                               GError **error);

#endif
