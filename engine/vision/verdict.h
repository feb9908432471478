/*
 * Which stages of an encoder may compute in int8: measured, on the checkpoint at hand.
 *
 *     built-in pictures -> encoder as it is safe   -> vision, projected
 *                       -> encoder with int8 stages -> the same; keep what stays close enough
 *
 * Late activations of trained encoders are known to be uneven, which int8 rows take badly, and how
 * uneven is not known before the weights are seen.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_VISION_VERDICT_H
#define FASTVLM_VISION_VERDICT_H

#include "vision/encoder.h"

/** What the cosine between safe and int8 features must reach, on every built-in picture. */
#define FASTVLM_VERDICT_LEAST_COSINE 0.999

typedef struct {
    gboolean is_int8[FASTVLM_VISION_STAGES]; /* stages that may be int8 */
    double cosine; /* the lowest of `vision` and `projected` with these; 1 where there are none */
} FastvlmVisionVerdict;

/**
 * Measures. Weights are read twice, at `safe` and in int8, and let go of again.
 *
 * @param source   where to read from; its store is not touched
 * @param compute  threads and kernels; its memory grows
 * @param safe     what int8 is held against, and what replaces it
 * @param verdict  out
 * Errors: as fastvlm_vision_weights_read() and fastvlm_vision_encode().
 */
gboolean fastvlm_vision_measure(const FastvlmReader *source, FastvlmCompute *compute,
                                const FastvlmVisionPlan *safe, FastvlmVisionVerdict *verdict,
                                GError **error);

#endif
