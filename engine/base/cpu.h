/*
 * CPU tiers: which set of kernels this processor can run.
 *
 * Tiers are found by CPUID and XGETBV alone, so that an emulator which hides a feature is believed.
 * No GLib here: kernels and their checker build without it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_CPU_H
#define FASTVLM_BASE_CPU_H

/** In rising order; a processor of one tier runs all the tiers below it. */
typedef enum {
    FASTVLM_TIER_SCALAR, /* plain C: the reference of all others */
    FASTVLM_TIER_AVX2,   /* AVX2 and FMA */
    FASTVLM_N_TIERS,
} FastvlmTier;

/** "scalar", "avx2". */
const char *fastvlm_tier_to_string(FastvlmTier tier);

/** The highest tier this processor and its operating system can run. Thread-safe. */
FastvlmTier fastvlm_tier_detect(void);

/**
 * The detected tier, held down by the environment variable FASTVLM_TIER (a tier's name) if that
 * names a lower one; other values are ignored.
 */
FastvlmTier fastvlm_tier_in_use(void);

#endif
