/*
 * The table of each tier: the one it builds upon, and what it has of its own.
 *
 *     scalar
 *     avx2 (whole) -> avx_vnni
 *                  -> avx512 -> avx512_vnni -> avx512_bf16
 *     neon (whole) -> neon_dotprod -> neon_bf16
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/kernels.h"

#if defined(__x86_64__) || defined(__aarch64__)
/* A later entry of a table takes the place of an earlier one. */
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

#define ENTRY(name_, tier_) .name_ = fastvlm_##name_##_##tier_,

#define SCALAR_ENTRY(result, name, parameters) ENTRY(name, scalar)
static const FastvlmKernels scalar_kernels = {.tier = FASTVLM_TIER_SCALAR,
                                              FASTVLM_KERNEL_LIST(SCALAR_ENTRY)};

#if defined(__x86_64__)
#define AVX2_ENTRY(result, name, parameters) ENTRY(name, avx2)
#define AVX2_ENTRIES FASTVLM_KERNEL_LIST(AVX2_ENTRY)
#define AVX_VNNI_ENTRIES AVX2_ENTRIES FASTVLM_KERNELS_AVX_VNNI(ENTRY)
#define AVX512_ENTRIES AVX2_ENTRIES FASTVLM_KERNELS_AVX512(ENTRY)
#define AVX512_VNNI_ENTRIES AVX512_ENTRIES FASTVLM_KERNELS_AVX512_VNNI(ENTRY)
#define AVX512_BF16_ENTRIES AVX512_VNNI_ENTRIES FASTVLM_KERNELS_AVX512_BF16(ENTRY)

static const FastvlmKernels avx2_kernels = {.tier = FASTVLM_TIER_AVX2, AVX2_ENTRIES};
static const FastvlmKernels avx_vnni_kernels = {.tier = FASTVLM_TIER_AVX_VNNI, AVX_VNNI_ENTRIES};
static const FastvlmKernels avx512_kernels = {.tier = FASTVLM_TIER_AVX512, AVX512_ENTRIES};
static const FastvlmKernels avx512_vnni_kernels = {.tier = FASTVLM_TIER_AVX512_VNNI,
                                                   AVX512_VNNI_ENTRIES};
static const FastvlmKernels avx512_bf16_kernels = {.tier = FASTVLM_TIER_AVX512_BF16,
                                                   AVX512_BF16_ENTRIES};
#elif defined(__aarch64__)
#define NEON_ENTRY(result, name, parameters) ENTRY(name, neon)
#define NEON_ENTRIES FASTVLM_KERNEL_LIST(NEON_ENTRY)
#define NEON_DOTPROD_ENTRIES NEON_ENTRIES FASTVLM_KERNELS_NEON_DOTPROD(ENTRY)
#define NEON_BF16_ENTRIES NEON_DOTPROD_ENTRIES FASTVLM_KERNELS_NEON_BF16(ENTRY)

static const FastvlmKernels neon_kernels = {.tier = FASTVLM_TIER_NEON, NEON_ENTRIES};
static const FastvlmKernels neon_dotprod_kernels = {.tier = FASTVLM_TIER_NEON_DOTPROD,
                                                    NEON_DOTPROD_ENTRIES};
static const FastvlmKernels neon_bf16_kernels = {.tier = FASTVLM_TIER_NEON_BF16, NEON_BF16_ENTRIES};
#endif

static const FastvlmKernels *const tables[FASTVLM_N_TIERS] = {
    [FASTVLM_TIER_SCALAR] = &scalar_kernels,
#if defined(__x86_64__)
    [FASTVLM_TIER_AVX2] = &avx2_kernels,
    [FASTVLM_TIER_AVX_VNNI] = &avx_vnni_kernels,
    [FASTVLM_TIER_AVX512] = &avx512_kernels,
    [FASTVLM_TIER_AVX512_VNNI] = &avx512_vnni_kernels,
    [FASTVLM_TIER_AVX512_BF16] = &avx512_bf16_kernels,
#elif defined(__aarch64__)
    [FASTVLM_TIER_NEON] = &neon_kernels,
    [FASTVLM_TIER_NEON_DOTPROD] = &neon_dotprod_kernels,
    [FASTVLM_TIER_NEON_BF16] = &neon_bf16_kernels,
#endif
};

const FastvlmKernels *fastvlm_kernels_get(FastvlmTier tier)
{
    return tables[tier] ? tables[tier] : &scalar_kernels;
}
