/*
 * Which tiers a checker checks.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_KERNELS_TIERS_H
#define FASTVLM_TESTS_KERNELS_TIERS_H

#include "kernels/kernels.h"

/** Whether this build has kernels for `tier`; it has none for other architectures. */
static inline int tier_is_built(FastvlmTier tier)
{
    return fastvlm_kernels_get(tier)->tier == tier;
}

/**
 * Whether `tier` runs here. Built with FASTVLM_EMULATE, as are the kernels, every x86 tier does on any
 * processor with AVX2.
 */
static inline int tier_is_run(FastvlmTier tier)
{
#ifdef FASTVLM_EMULATE
    return tier == FASTVLM_TIER_SCALAR || fastvlm_tier_is_supported(FASTVLM_TIER_AVX2);
#else
    return fastvlm_tier_is_supported(tier);
#endif
}

#endif
