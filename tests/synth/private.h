/*
 * What the files of the generator share.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_SYNTH_PRIVATE_H
#define FASTVLM_TESTS_SYNTH_PRIVATE_H

#include "synth.h"

/** Elements first .. first + n - 1 of a tensor. */
void fastvlm_synth_weights(const SynthSpec *spec, const SynthTensor *tensor, guint64 first, gsize n,
                           float *out);

/** Stores `value` as `dtype` at `out`; returns the bytes that it took. */
gsize fastvlm_synth_store(const char *dtype, float value, guint8 *out);

#endif
