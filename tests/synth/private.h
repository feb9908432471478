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

#endif
