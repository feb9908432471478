/*
 * CPU tiers: which sets of kernels this processor can run.
 *
 * Tiers are found by CPUID and XGETBV alone, on ARM by what the kernel says of the processor, so that
 * an emulator which hides a feature is believed.
 * No GLib here: kernels and their checker build without it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_CPU_H
#define FASTVLM_BASE_CPU_H

/**
 * From the plainest to the fastest. Not a ladder: a processor may lack a tier below its highest one
 * (Zen 4 and Skylake-X have no AVX-VNNI). Every AVX-512 tier has those AVX-512 tiers before it, every
 * NEON tier those NEON tiers before it.
 */
typedef enum {
    FASTVLM_TIER_SCALAR,       /* plain C: the reference of all others */
    FASTVLM_TIER_AVX2,         /* AVX2 and FMA */
    FASTVLM_TIER_AVX_VNNI,     /* AVX2 and byte dot products of 256 bits */
    FASTVLM_TIER_AVX512,       /* AVX-512 F, CD, BW, DQ, VL: Skylake-X on */
    FASTVLM_TIER_AVX512_VNNI,  /* and byte dot products */
    FASTVLM_TIER_AVX512_BF16,  /* and both byte and bf16 dot products: Zen 4, Sapphire Rapids on */
    FASTVLM_TIER_NEON,         /* every 64-bit ARM processor */
    FASTVLM_TIER_NEON_DOTPROD, /* and byte dot products: Cortex-A76, Apple M1 on */
    FASTVLM_TIER_NEON_BF16,    /* and bf16 matrix products: Neoverse N2 and V1, Apple M2 on */
    FASTVLM_N_TIERS,
} FastvlmTier;

/**
 * "scalar", "avx2", "avx_vnni", "avx512", "avx512_vnni", "avx512_bf16", "neon", "neon_dotprod",
 * "neon_bf16".
 */
const char *fastvlm_tier_to_string(FastvlmTier tier);

/** The tier of that name, -1 where there is none. */
int fastvlm_tier_from_string(const char *name);

/** Whether this processor and its operating system can run `tier`. Thread-safe. */
int fastvlm_tier_is_supported(FastvlmTier tier);

/** The highest supported tier. Thread-safe. */
FastvlmTier fastvlm_tier_detect(void);

/**
 * The highest supported tier that is not above the one that the environment variable FASTVLM_TIER
 * names. Who loads a model is told of a name that no tier has; here it counts as none.
 */
FastvlmTier fastvlm_tier_in_use(void);

#endif
