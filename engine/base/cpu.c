/*
 * CPU tiers by CPUID leaves 1 and 7 and XGETBV (Intel SDM volume 1, 14.3 and 14.7.1).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/cpu.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

#define CPUID1_ECX_FMA (1u << 12)
#define CPUID1_ECX_OSXSAVE (1u << 27)
#define CPUID1_ECX_AVX (1u << 28)
#define CPUID7_EBX_AVX2 (1u << 5)
#define XCR0_SSE_AVX 0x6u

static uint32_t read_xcr0(void)
{
    uint32_t eax, edx;

    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

FastvlmTier fastvlm_tier_detect(void)
{
    const uint32_t needed = CPUID1_ECX_FMA | CPUID1_ECX_OSXSAVE | CPUID1_ECX_AVX;
    uint32_t eax, ebx, ecx, edx;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & needed) != needed)
        return FASTVLM_TIER_SCALAR;
    if ((read_xcr0() & XCR0_SSE_AVX) != XCR0_SSE_AVX)
        return FASTVLM_TIER_SCALAR;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & CPUID7_EBX_AVX2))
        return FASTVLM_TIER_SCALAR;
    return FASTVLM_TIER_AVX2;
}
#else
FastvlmTier fastvlm_tier_detect(void)
{
    return FASTVLM_TIER_SCALAR;
}
#endif

const char *fastvlm_tier_to_string(FastvlmTier tier)
{
    static const char *const names[FASTVLM_N_TIERS] = {"scalar", "avx2"};

    return names[tier];
}

FastvlmTier fastvlm_tier_in_use(void)
{
    const char *wanted = getenv("FASTVLM_TIER");
    const FastvlmTier detected = fastvlm_tier_detect();

    for (int tier = 0; wanted && tier < (int)detected; tier++)
        if (strcmp(wanted, fastvlm_tier_to_string(tier)) == 0)
            return tier;
    return detected;
}
