/*
 * The AVX-VNNI and AVX-512 intrinsics that our kernels use, on processors with AVX2: two halves of
 * 256 bits, each by AVX2's own instruction where it has one.
 *
 *     kernel's source -> FASTVLM_EMULATE names this header -> the same results without AVX-512
 *
 * It shows that kernels compute the right thing, not that the compiler's instructions do. SIMDe would
 * do too, but Debian 12's lacks half of these and takes minutes to compile the unrolled blocks.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_KERNELS_EMULATE_H
#define FASTVLM_TESTS_KERNELS_EMULATE_H

#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    __m256 half[2];
} EmulatedPs;

typedef struct {
    __m256i half[2];
} EmulatedSi;

#define __m512 EmulatedPs
#define __m512i EmulatedSi
/* Calls, not inlined: kernels unroll them into blocks, which would take minutes to compile. */
#define EMULATED static __attribute__((noinline, unused))

EMULATED EmulatedPs emulate_castsi512_ps(EmulatedSi v)
{
    return (EmulatedPs){{_mm256_castsi256_ps(v.half[0]), _mm256_castsi256_ps(v.half[1])}};
}
#define _mm512_castsi512_ps emulate_castsi512_ps

EMULATED EmulatedSi emulate_castps_si512(EmulatedPs v)
{
    return (EmulatedSi){{_mm256_castps_si256(v.half[0]), _mm256_castps_si256(v.half[1])}};
}
#define _mm512_castps_si512 emulate_castps_si512

/* What AVX2 has for a half, by its name there. */
#define UNARY(type, name, name2)                             \
    EMULATED type emulate_##name(type a)                     \
    {                                                        \
        return (type){{name2(a.half[0]), name2(a.half[1])}}; \
    }
#define BINARY(type, name, name2)                                                  \
    EMULATED type emulate_##name(type a, type b)                                   \
    {                                                                              \
        return (type){{name2(a.half[0], b.half[0]), name2(a.half[1], b.half[1])}}; \
    }
#define TERNARY(type, name, name2)                                                             \
    EMULATED type emulate_##name(type a, type b, type c)                                       \
    {                                                                                          \
        return (type){                                                                         \
            {name2(a.half[0], b.half[0], c.half[0]), name2(a.half[1], b.half[1], c.half[1])}}; \
    }
#define SET(type, name, name2, value_type)           \
    EMULATED type emulate_##name(value_type value)   \
    {                                                \
        return (type){{name2(value), name2(value)}}; \
    }

BINARY(EmulatedPs, add_ps, _mm256_add_ps)
#define _mm512_add_ps emulate_add_ps

BINARY(EmulatedPs, sub_ps, _mm256_sub_ps)
#define _mm512_sub_ps emulate_sub_ps

BINARY(EmulatedPs, mul_ps, _mm256_mul_ps)
#define _mm512_mul_ps emulate_mul_ps

BINARY(EmulatedPs, div_ps, _mm256_div_ps)
#define _mm512_div_ps emulate_div_ps

BINARY(EmulatedPs, min_ps, _mm256_min_ps)
#define _mm512_min_ps emulate_min_ps

BINARY(EmulatedPs, max_ps, _mm256_max_ps)
#define _mm512_max_ps emulate_max_ps

BINARY(EmulatedPs, and_ps, _mm256_and_ps)
#define _mm512_and_ps emulate_and_ps

/** vrangeps as kernels use it: the lesser magnitude (10). Of NaN in `a` and a number it is the number. */
EMULATED EmulatedPs emulate_range_ps(EmulatedPs a, EmulatedPs b, int which)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);

    assert(which == 10);
    for (int i = 0; i < 2; i++)
        a.half[i] =
            _mm256_min_ps(_mm256_andnot_ps(sign, a.half[i]), _mm256_andnot_ps(sign, b.half[i]));
    return a;
}
#undef _mm512_range_ps
#define _mm512_range_ps emulate_range_ps

TERNARY(EmulatedPs, fmadd_ps, _mm256_fmadd_ps)
#define _mm512_fmadd_ps emulate_fmadd_ps

TERNARY(EmulatedPs, fnmadd_ps, _mm256_fnmadd_ps)
#define _mm512_fnmadd_ps emulate_fnmadd_ps

TERNARY(EmulatedPs, fmsub_ps, _mm256_fmsub_ps)
#define _mm512_fmsub_ps emulate_fmsub_ps

BINARY(EmulatedSi, add_epi32, _mm256_add_epi32)
#define _mm512_add_epi32 emulate_add_epi32

BINARY(EmulatedSi, sub_epi32, _mm256_sub_epi32)
#define _mm512_sub_epi32 emulate_sub_epi32

BINARY(EmulatedSi, max_epi32, _mm256_max_epi32)
#define _mm512_max_epi32 emulate_max_epi32

BINARY(EmulatedSi, and_si512, _mm256_and_si256)
#define _mm512_and_si512 emulate_and_si512

BINARY(EmulatedSi, xor_si512, _mm256_xor_si256)
#define _mm512_xor_si512 emulate_xor_si512

BINARY(EmulatedSi, madd_epi16, _mm256_madd_epi16)
#define _mm512_madd_epi16 emulate_madd_epi16

BINARY(EmulatedSi, maddubs_epi16, _mm256_maddubs_epi16)
#define _mm512_maddubs_epi16 emulate_maddubs_epi16

BINARY(EmulatedSi, add_epi16, _mm256_add_epi16)
#define _mm512_add_epi16 emulate_add_epi16

BINARY(EmulatedSi, packs_epi32, _mm256_packs_epi32)
#define _mm512_packs_epi32 emulate_packs_epi32

BINARY(EmulatedSi, packs_epi16, _mm256_packs_epi16)
#define _mm512_packs_epi16 emulate_packs_epi16

SET(EmulatedPs, set1_ps, _mm256_set1_ps, float)
#define _mm512_set1_ps emulate_set1_ps

SET(EmulatedSi, set1_epi32, _mm256_set1_epi32, int)
#define _mm512_set1_epi32 emulate_set1_epi32

SET(EmulatedSi, set1_epi64, _mm256_set1_epi64x, long long)
#define _mm512_set1_epi64 emulate_set1_epi64
#define _mm512_setzero_ps() emulate_set1_ps(0.0f)
#define _mm512_setzero_si512() emulate_set1_epi32(0)

EMULATED EmulatedSi emulate_slli_epi32(EmulatedSi v, int n)
{
    return (EmulatedSi){{_mm256_slli_epi32(v.half[0], n), _mm256_slli_epi32(v.half[1], n)}};
}
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 emulate_slli_epi32

EMULATED EmulatedSi emulate_srli_epi32(EmulatedSi v, int n)
{
    return (EmulatedSi){{_mm256_srli_epi32(v.half[0], n), _mm256_srli_epi32(v.half[1], n)}};
}
#undef _mm512_srli_epi32
#define _mm512_srli_epi32 emulate_srli_epi32

EMULATED EmulatedSi emulate_cvtps_epi32(EmulatedPs v)
{
    return (EmulatedSi){{_mm256_cvtps_epi32(v.half[0]), _mm256_cvtps_epi32(v.half[1])}};
}
#define _mm512_cvtps_epi32 emulate_cvtps_epi32

EMULATED EmulatedPs emulate_cvtepi32_ps(EmulatedSi v)
{
    return (EmulatedPs){{_mm256_cvtepi32_ps(v.half[0]), _mm256_cvtepi32_ps(v.half[1])}};
}
#define _mm512_cvtepi32_ps emulate_cvtepi32_ps

EMULATED EmulatedSi emulate_cvtepi8_epi16(__m256i v)
{
    return (EmulatedSi){{_mm256_cvtepi8_epi16(_mm256_castsi256_si128(v)),
                         _mm256_cvtepi8_epi16(_mm256_extracti128_si256(v, 1))}};
}
#define _mm512_cvtepi8_epi16 emulate_cvtepi8_epi16

EMULATED EmulatedSi emulate_cvtepu16_epi32(__m256i v)
{
    return (EmulatedSi){{_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),
                         _mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1))}};
}
#define _mm512_cvtepu16_epi32 emulate_cvtepu16_epi32

EMULATED EmulatedPs emulate_castps256_ps512(__m256 v)
{
    return (EmulatedPs){{v, _mm256_set1_ps(NAN)}};
}
#define _mm512_castps256_ps512 emulate_castps256_ps512

/* Memory. Lanes out of a mask are not touched. */

EMULATED EmulatedPs emulate_loadu_ps(const void *from)
{
    EmulatedPs v;

    memcpy(&v, from, sizeof v);
    return v;
}
#define _mm512_loadu_ps emulate_loadu_ps

EMULATED EmulatedSi emulate_loadu_si512(const void *from)
{
    return emulate_castps_si512(emulate_loadu_ps(from));
}
#define _mm512_loadu_si512 emulate_loadu_si512

/** Ends the test where the processor would: at an address that is not aligned. */
EMULATED EmulatedSi emulate_load_si512(const void *from)
{
    if ((uintptr_t)from % 64 != 0)
        __builtin_trap();
    return emulate_loadu_si512(from);
}
#define _mm512_load_si512 emulate_load_si512

EMULATED void emulate_storeu_ps(void *to, EmulatedPs v)
{
    memcpy(to, &v, sizeof v);
}
#define _mm512_storeu_ps emulate_storeu_ps

EMULATED void emulate_storeu_si512(void *to, EmulatedSi v)
{
    memcpy(to, &v, sizeof v);
}
#define _mm512_storeu_si512 emulate_storeu_si512

EMULATED EmulatedPs emulate_maskz_loadu_ps(__mmask16 mask, const void *from)
{
    float lanes[16] = {0};

    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            memcpy(&lanes[i], (const float *)from + i, sizeof *lanes);
    return emulate_loadu_ps(lanes);
}
#define _mm512_maskz_loadu_ps emulate_maskz_loadu_ps

EMULATED void emulate_mask_storeu_ps(float *to, __mmask16 mask, EmulatedPs v)
{
    float lanes[16];

    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            to[i] = lanes[i];
}
#define _mm512_mask_storeu_ps emulate_mask_storeu_ps

/* What goes across halves, and what AVX2 has not, lane by lane. */

EMULATED EmulatedSi emulate_setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h,
                                       int i, int j, int k, int l, int m, int n, int o, int p)
{
    return (EmulatedSi){
        {_mm256_setr_epi32(a, b, c, d, e, f, g, h), _mm256_setr_epi32(i, j, k, l, m, n, o, p)}};
}
#undef _mm512_setr_epi32
#define _mm512_setr_epi32 emulate_setr_epi32

/** Lane i of the result is lane index [i] of 32: a, then b. */
EMULATED EmulatedSi emulate_permutex2var_epi32(EmulatedSi a, EmulatedSi index, EmulatedSi b)
{
    uint32_t from[32], at[16], to[16];

    memcpy(from, &a, sizeof a);
    memcpy(from + 16, &b, sizeof b);
    memcpy(at, &index, sizeof at);
    for (int i = 0; i < 16; i++)
        to[i] = from[at[i] & 31];
    return emulate_loadu_si512(to);
}
#define _mm512_permutex2var_epi32 emulate_permutex2var_epi32

/** Lane i of the result is lane index [i] of v, by the index's low four bits. */
EMULATED EmulatedSi emulate_permutexvar_epi32(EmulatedSi index, EmulatedSi v)
{
    return emulate_permutex2var_epi32(v, emulate_and_si512(index, emulate_set1_epi32(15)), v);
}
#define _mm512_permutexvar_epi32 emulate_permutexvar_epi32

EMULATED EmulatedPs emulate_permutexvar_ps(EmulatedSi index, EmulatedPs v)
{
    return emulate_castsi512_ps(emulate_permutexvar_epi32(index, emulate_castps_si512(v)));
}
#define _mm512_permutexvar_ps emulate_permutexvar_ps

EMULATED EmulatedSi emulate_maskz_mov_epi16(__mmask32 mask, EmulatedSi v)
{
    uint16_t lanes[32];

    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < 32; i++)
        lanes[i] = mask >> i & 1 ? lanes[i] : 0;
    return emulate_loadu_si512(lanes);
}
#define _mm512_maskz_mov_epi16 emulate_maskz_mov_epi16

EMULATED float emulate_reduce_add_ps(EmulatedPs v)
{
    float lanes[16], sum = 0.0f;

    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < 16; i++)
        sum += lanes[i];
    return sum;
}
#define _mm512_reduce_add_ps emulate_reduce_add_ps

EMULATED float emulate_reduce_max_ps(EmulatedPs v)
{
    float lanes[16], max;

    memcpy(lanes, &v, sizeof lanes);
    max = lanes[0];
    for (int i = 1; i < 16; i++)
        max = lanes[i] > max ? lanes[i] : max;
    return max;
}
#define _mm512_reduce_max_ps emulate_reduce_max_ps

EMULATED int32_t emulate_reduce_max_epi32(EmulatedSi v)
{
    int32_t lanes[16], max;

    memcpy(lanes, &v, sizeof lanes);
    max = lanes[0];
    for (int i = 1; i < 16; i++)
        max = lanes[i] > max ? lanes[i] : max;
    return max;
}
#define _mm512_reduce_max_epi32 emulate_reduce_max_epi32

/** sum + products of four bytes, unsigned by signed, of each lane. */
EMULATED __m256i emulate_dpbusd_avx_epi32(__m256i sum, __m256i a, __m256i b)
{
    /* bytes 0 2 4 .. and 1 3 5 .. of each lane, widened */
    const __m256i low = _mm256_set1_epi16(0xff);
    const __m256i even =
        _mm256_madd_epi16(_mm256_and_si256(a, low), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));

    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
#define _mm256_dpbusd_avx_epi32 emulate_dpbusd_avx_epi32
TERNARY(EmulatedSi, dpbusd_epi32, emulate_dpbusd_avx_epi32)
#define _mm512_dpbusd_epi32 emulate_dpbusd_epi32

/** Denormals for 0. */
EMULATED float emulate_from_bf16(uint16_t word)
{
    const uint32_t bits =
        (word & 0x7f80) == 0 ? (uint32_t)(word & 0x8000) << 16 : (uint32_t)word << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/** sum + products of two bf16 of each lane: the upper ones first, each rounded (Intel's manual). */
EMULATED EmulatedPs emulate_dpbf16_ps(EmulatedPs sum, EmulatedSi a, EmulatedSi b)
{
    uint16_t wa[32], wb[32];
    float lanes[16];

    memcpy(wa, &a, sizeof wa);
    memcpy(wb, &b, sizeof wb);
    memcpy(lanes, &sum, sizeof lanes);
    for (int i = 0; i < 16; i++) {
        lanes[i] =
            fmaf(emulate_from_bf16(wa[2 * i + 1]), emulate_from_bf16(wb[2 * i + 1]), lanes[i]);
        lanes[i] = fmaf(emulate_from_bf16(wa[2 * i]), emulate_from_bf16(wb[2 * i]), lanes[i]);
    }
    return emulate_loadu_ps(lanes);
}
#define _mm512_dpbf16_ps emulate_dpbf16_ps

/** To nearest even; denormals become 0, NaN a quiet NaN. */
EMULATED uint16_t emulate_to_bf16(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40);
    if ((bits & 0x7f800000u) == 0)
        return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

EMULATED __m256i emulate_cvtneps_pbh(EmulatedPs v)
{
    float lanes[16];
    uint16_t words[16];
    __m256i result;

    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < 16; i++)
        words[i] = emulate_to_bf16(lanes[i]);
    memcpy(&result, words, sizeof result);
    return result;
}
#define _mm512_cvtneps_pbh emulate_cvtneps_pbh

#define __m512bh EmulatedSi

/** `low` in the low half. */
EMULATED EmulatedSi emulate_cvtne2ps_pbh(EmulatedPs high, EmulatedPs low)
{
    return (EmulatedSi){{emulate_cvtneps_pbh(low), emulate_cvtneps_pbh(high)}};
}
#define _mm512_cvtne2ps_pbh emulate_cvtne2ps_pbh

EMULATED EmulatedSi emulate_permutexvar_epi16(EmulatedSi index, EmulatedSi v)
{
    uint16_t from[32], at[32], to[32];

    memcpy(from, &v, sizeof from);
    memcpy(at, &index, sizeof at);
    for (int i = 0; i < 32; i++)
        to[i] = from[at[i] & 31];
    return emulate_loadu_si512(to);
}
#define _mm512_permutexvar_epi16 emulate_permutexvar_epi16

/** Must be aligned, as the real one. */
EMULATED void emulate_store_si512(void *to, EmulatedSi v)
{
    if ((uintptr_t)to % 64 != 0)
        __builtin_trap();
    memcpy(to, &v, sizeof v);
}
#define _mm512_store_si512 emulate_store_si512

#endif
