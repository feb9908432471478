/*
 * CPU tiers by CPUID leaves 1 and 7 and XGETBV (Intel SDM volume 1, 14.3, 14.7.1 and 15.2 to 15.4),
 * on 64-bit ARM by the hardware capabilities that Linux hands each process (its documentation:
 * arch/arm64/elf_hwcaps).
 *
 *     CPUID, XGETBV or HWCAP -> a bit for each supported tier -> the highest, held down by FASTVLM_TIER
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/cpu.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BIT(tier) (1u << (tier))

#if defined(__x86_64__)
#include <cpuid.h>

#define CPUID1_ECX_FMA (1u << 12)
#define CPUID1_ECX_OSXSAVE (1u << 27)
#define CPUID1_ECX_AVX (1u << 28)
#define CPUID7_EBX_AVX2 (1u << 5)
#define CPUID7_EBX_AVX512F (1u << 16)
#define CPUID7_EBX_AVX512DQ (1u << 17)
#define CPUID7_EBX_AVX512CD (1u << 28)
#define CPUID7_EBX_AVX512BW (1u << 30)
#define CPUID7_EBX_AVX512VL (1u << 31)
#define CPUID7_ECX_AVX512_VNNI (1u << 11)
#define CPUID7_1_EAX_AVX_VNNI (1u << 4)
#define CPUID7_1_EAX_AVX512_BF16 (1u << 5)
#define XCR0_SSE_AVX 0x6u /* the system keeps xmm and ymm */
#define XCR0_AVX512 0xe0u /* and opmasks, the upper halves of zmm0-15, zmm16-31 */

static uint32_t read_xcr0(void)
{
    uint32_t eax, edx;

    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

static int has_all(uint32_t found, uint32_t wanted)
{
    return (found & wanted) == wanted;
}

static uint32_t find_tiers(void)
{
    uint32_t eax, ebx, ecx, edx, ebx7, ecx7, xcr0, eax7_1 = 0;
    uint32_t tiers = BIT(FASTVLM_TIER_SCALAR);

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) ||
        !has_all(ecx, CPUID1_ECX_FMA | CPUID1_ECX_OSXSAVE | CPUID1_ECX_AVX))
        return tiers;
    xcr0 = read_xcr0();
    if (!has_all(xcr0, XCR0_SSE_AVX) || !__get_cpuid_count(7, 0, &eax, &ebx7, &ecx7, &edx) ||
        !(ebx7 & CPUID7_EBX_AVX2))
        return tiers;
    tiers |= BIT(FASTVLM_TIER_AVX2);
    if (eax >= 1) /* subleaves of 7 beyond the first */
        __cpuid_count(7, 1, eax7_1, ebx, ecx, edx);
    if (eax7_1 & CPUID7_1_EAX_AVX_VNNI)
        tiers |= BIT(FASTVLM_TIER_AVX_VNNI);
    if (!has_all(xcr0, XCR0_AVX512) ||
        !has_all(ebx7, CPUID7_EBX_AVX512F | CPUID7_EBX_AVX512DQ | CPUID7_EBX_AVX512CD |
                           CPUID7_EBX_AVX512BW | CPUID7_EBX_AVX512VL))
        return tiers;
    tiers |= BIT(FASTVLM_TIER_AVX512);
    if (!(ecx7 & CPUID7_ECX_AVX512_VNNI))
        return tiers;
    tiers |= BIT(FASTVLM_TIER_AVX512_VNNI);
    if (eax7_1 & CPUID7_1_EAX_AVX512_BF16)
        tiers |= BIT(FASTVLM_TIER_AVX512_BF16);
    return tiers;
}
#elif defined(__aarch64__) && defined(__linux__) && !defined(__AARCH64EB__)
#include <sys/auxv.h>

/* asm/hwcap.h, older ones of which lack the last. */
#define ARM_HWCAP_ASIMD (1u << 1)
#define ARM_HWCAP_ASIMDDP (1u << 20)
#define ARM_HWCAP2_BF16 (1u << 14)

static uint32_t find_tiers(void)
{
    const unsigned long hwcap = getauxval(AT_HWCAP);
    uint32_t tiers = BIT(FASTVLM_TIER_SCALAR);

    if (!(hwcap & ARM_HWCAP_ASIMD))
        return tiers;
    tiers |= BIT(FASTVLM_TIER_NEON);
    if (!(hwcap & ARM_HWCAP_ASIMDDP))
        return tiers;
    tiers |= BIT(FASTVLM_TIER_NEON_DOTPROD);
    if (getauxval(AT_HWCAP2) & ARM_HWCAP2_BF16)
        tiers |= BIT(FASTVLM_TIER_NEON_BF16);
    return tiers;
}
#else
static uint32_t find_tiers(void)
{
    return BIT(FASTVLM_TIER_SCALAR);
}
#endif

const char *fastvlm_tier_to_string(FastvlmTier tier)
{
    static const char *const names[FASTVLM_N_TIERS] = {
        "scalar",      "avx2", "avx_vnni",     "avx512",    "avx512_vnni",
        "avx512_bf16", "neon", "neon_dotprod", "neon_bf16",
    };

    return names[tier];
}

int fastvlm_tier_is_supported(FastvlmTier tier)
{
    return (find_tiers() & BIT(tier)) != 0;
}

/** The highest supported tier up to `highest`; scalar is always there. */
static FastvlmTier find_highest(int highest)
{
    const uint32_t tiers = find_tiers();

    while (highest > FASTVLM_TIER_SCALAR && !(tiers & BIT(highest)))
        highest--;
    return (FastvlmTier)highest;
}

FastvlmTier fastvlm_tier_detect(void)
{
    return find_highest(FASTVLM_N_TIERS - 1);
}

int fastvlm_tier_from_string(const char *name)
{
    int tier = FASTVLM_N_TIERS - 1;

    while (tier >= 0 && strcmp(name, fastvlm_tier_to_string((FastvlmTier)tier)) != 0)
        tier--;
    return tier;
}

FastvlmTier fastvlm_tier_in_use(void)
{
    const char *wanted = getenv("FASTVLM_TIER");
    const int tier = wanted ? fastvlm_tier_from_string(wanted) : -1;

    return tier >= 0 ? find_highest(tier) : fastvlm_tier_detect();
}
