/*
 * The checkpoint of tests that need any one.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_SYNTH_TEST_CHECKPOINT_H
#define FASTVLM_TESTS_SYNTH_TEST_CHECKPOINT_H

#include "synth.h"

/* Writes the "tiny" one to `directory`, its numbers stored as `dtype`. */
static inline void test_checkpoint_write(const char *directory, const char *dtype)
{
    SynthSpec spec;
    GError *error = NULL;

    g_assert_true(fastvlm_synth_spec("tiny", &spec));
    spec.dtype = dtype;
    fastvlm_synth_write(directory, &spec, NULL, NULL, &error);
    g_assert_no_error(error);
}

#endif
