/*
 * What the files of the generator share.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_SYNTH_PRIVATE_H
#define FASTVLM_TESTS_SYNTH_PRIVATE_H

#include "synth.h"

/** Stores `value` as `dtype` at `out`; returns the bytes that it took. */
gsize fastvlm_synth_store(const char *dtype, float value, guint8 *out);

/** A copy of a list of tensors, values and all. */
GPtrArray *fastvlm_synth_copy_tensors(const GPtrArray *tensors);

/** All weights of a tensor in f32, rounded to its dtype; free with g_free(). */
float *fastvlm_synth_read(const SynthSpec *spec, const SynthTensor *tensor);

/**
 * Puts branches of training in the place of the convolutions of `branches` that come of them, and the
 * numbers these then have into `released`, which has the same tensors.
 */
void fastvlm_synth_add_branches(const SynthSpec *spec, GPtrArray *branches, GPtrArray *released);

#endif
