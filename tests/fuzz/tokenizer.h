/*
 * The small tokenizer of tests/data, for targets that need a good one.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_FUZZ_TOKENIZER_H
#define FASTVLM_TESTS_FUZZ_TOKENIZER_H

#include <fastvlm/tokenizer.h>

#include "fuzz.h"

static FastvlmTokenizer *fuzz_tokenizer_loaded;

static inline void fuzz_free_tokenizer(void)
{
    g_clear_pointer(&fuzz_tokenizer_loaded, fastvlm_tokenizer_free);
}

/* Loaded once, freed at exit. */
static inline const FastvlmTokenizer *fuzz_tokenizer(void)
{
    if (!fuzz_tokenizer_loaded) {
        fuzz_tokenizer_loaded = fastvlm_tokenizer_load(FASTVLM_TEST_DATA "/text/tiny", NULL);
        fuzz_assert(fuzz_tokenizer_loaded);
        atexit(fuzz_free_tokenizer);
    }
    return fuzz_tokenizer_loaded;
}

#endif
