/*
 * The table of each tier.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"

#define SCALAR_ENTRY(result, name, parameters) .name = fastvlm_##name##_scalar,
static const FastvlmKernels scalar_kernels = {.tier = FASTVLM_TIER_SCALAR,
                                              FASTVLM_KERNEL_LIST(SCALAR_ENTRY)};

#if defined(__x86_64__)
#define AVX2_ENTRY(result, name, parameters) .name = fastvlm_##name##_avx2,
static const FastvlmKernels avx2_kernels = {.tier = FASTVLM_TIER_AVX2,
                                            FASTVLM_KERNEL_LIST(AVX2_ENTRY)};
#endif

const FastvlmKernels *fastvlm_kernels_get(FastvlmTier tier)
{
#if defined(__x86_64__)
    if (tier >= FASTVLM_TIER_AVX2)
        return &avx2_kernels;
#endif
    return &scalar_kernels;
}
