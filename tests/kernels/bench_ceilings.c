/*
 * What this processor can do at most, to judge kernels by: f32 multiply-adds, bf16 and int8 dot
 * products from registers, and reading from memory; one line each.
 *
 *     bench_ceilings        ->  "f32 393.1 Gop/s", "bf16 ..", "int8 ..", "read 61.0 GB/s"
 *
 * Two threads, a multiply-add counted as two, the widest instructions of the tier in use (FASTVLM_TIER
 * holds it to fewer). A type that the tier has no instruction for is left out; on AVX2 int8 is the
 * usual three instructions: products of pairs in 16 bits, widened to 32, added up. Those can saturate;
 * int8_exact is how our kernels do it there, in 32 bits.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "bench.h"

#define N_LOOPS 30000000L /* a tenth of a second: a ceiling is what can be kept up */
#define N_CHAINS 12 /* of dependent sums: enough to hide latency, few enough for 16 registers */
#define READ_BYTES ((size_t)256 << 20) /* of each thread: far more than any cache */

/* Registers 12 and 13 are the operands, all zero, which is no faster than other numbers. */
#define STEP(op, reg, i) op " %%" reg "12, %%" reg "13, %%" reg #i "\n\t"
#define INT8_AVX2_STEP(op, reg, i)             \
    "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n\t" \
    "vpmaddwd %%ymm14, %%ymm15, %%ymm14\n\t"   \
    "vpaddd %%ymm14, %%ymm" #i ", %%ymm" #i "\n\t"
#define INT8_EXACT_STEP(op, reg, i)          \
    "vpmaddwd %%ymm12, %%ymm13, %%ymm14\n\t" \
    "vpaddd %%ymm14, %%ymm" #i ", %%ymm" #i "\n\t"
#define CHAINS(step, op, reg)                                                                \
    step(op, reg, 0) step(op, reg, 1) step(op, reg, 2) step(op, reg, 3) step(op, reg, 4)     \
        step(op, reg, 5) step(op, reg, 6) step(op, reg, 7) step(op, reg, 8) step(op, reg, 9) \
            step(op, reg, 10) step(op, reg, 11)

/* By hand, since no compiler may be trusted not to simplify sums of nothing. */
#define DEFINE_LOOP(name, step, op, reg)                                                           \
    static void name(int thread, void *data)                                                       \
    {                                                                                              \
        long n = N_LOOPS;                                                                          \
                                                                                                   \
        (void)thread;                                                                              \
        (void)data;                                                                                \
        __asm__ volatile("vpxor %%xmm12, %%xmm12, %%xmm12\n\t"                                     \
                         "vpxor %%xmm13, %%xmm13, %%xmm13\n\t"                                     \
                         "vpxor %%xmm15, %%xmm15, %%xmm15\n\t"                                     \
                         "1:\n\t" CHAINS(step, op, reg) "dec %0\n\t"                               \
                                                        "jnz 1b\n\t"                               \
                                                        "vzeroupper"                               \
                         : "+r"(n)                                                                 \
                         :                                                                         \
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                           "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc");    \
    }

DEFINE_LOOP(run_f32_avx2, STEP, "vfmadd231ps", "ymm")
DEFINE_LOOP(run_f32_avx512, STEP, "vfmadd231ps", "zmm")
DEFINE_LOOP(run_bf16_avx512, STEP, "vdpbf16ps", "zmm")
DEFINE_LOOP(run_int8_avx2, INT8_AVX2_STEP, , )
DEFINE_LOOP(run_int8_exact_avx2, INT8_EXACT_STEP, , )
DEFINE_LOOP(run_int8_avx_vnni, STEP, "%{vex%} vpdpbusd", "ymm")
DEFINE_LOOP(run_int8_avx512, STEP, "vpdpbusd", "zmm")

static void run_read(int thread, void *data)
{
    const char *p = (const char *)data + (size_t)thread * READ_BYTES;
    const char *end = p + READ_BYTES;

    __asm__ volatile("1:\n\t"
                     "vmovdqa (%0), %%ymm0\n\t"
                     "vmovdqa 32(%0), %%ymm1\n\t"
                     "vmovdqa 64(%0), %%ymm2\n\t"
                     "vmovdqa 96(%0), %%ymm3\n\t"
                     "vmovdqa 128(%0), %%ymm0\n\t"
                     "vmovdqa 160(%0), %%ymm1\n\t"
                     "vmovdqa 192(%0), %%ymm2\n\t"
                     "vmovdqa 224(%0), %%ymm3\n\t"
                     "add $256, %0\n\t"
                     "cmp %1, %0\n\t"
                     "jb 1b\n\t"
                     "vzeroupper"
                     : "+r"(p)
                     : "r"(end)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "cc", "memory");
}

enum { F32, BF16, INT8, INT8_EXACT, N_TYPES };

/** One way to compute: the ops of its instruction, the lowest tier that has it. */
typedef struct {
    int type;
    FastvlmTier tier;
    BenchFunc func; /* NULL: nothing to show */
    double ops;
} Ceiling;

/* For each type the best comes first. */
static const Ceiling ceilings[] = {
    {F32, FASTVLM_TIER_AVX512, run_f32_avx512, 32},
    {F32, FASTVLM_TIER_AVX2, run_f32_avx2, 16},
    {BF16, FASTVLM_TIER_AVX512_BF16, run_bf16_avx512, 64},
    {INT8, FASTVLM_TIER_AVX512_VNNI, run_int8_avx512, 128},
    {INT8, FASTVLM_TIER_AVX_VNNI, run_int8_avx_vnni, 64},
    {INT8, FASTVLM_TIER_AVX2, run_int8_avx2, 64},
    {INT8_EXACT, FASTVLM_TIER_AVX_VNNI, NULL, 0}, /* its int8 is exact */
    {INT8_EXACT, FASTVLM_TIER_AVX2, run_int8_exact_avx2, 32},
};

static const Ceiling *find_ceiling(int type, FastvlmTier in_use)
{
    for (size_t i = 0; i < sizeof ceilings / sizeof *ceilings; i++) {
        const Ceiling *ceiling = &ceilings[i];

        if (ceiling->type == type && ceiling->tier <= in_use &&
            fastvlm_tier_is_supported(ceiling->tier))
            return ceiling;
    }
    return NULL;
}

int main(void)
{
    static const char *const names[N_TYPES] = {"f32", "bf16", "int8", "int8_exact"};
    char *memory;

    for (int type = 0; type < N_TYPES; type++) {
        const Ceiling *ceiling = find_ceiling(type, fastvlm_tier_in_use());

        if (ceiling && ceiling->func)
            printf("%s %.1f Gop/s\n", names[type],
                   1e-9 * BENCH_N_THREADS * N_LOOPS * N_CHAINS * ceiling->ops /
                       bench_run(ceiling->func, NULL));
    }
    memory = aligned_alloc(64, BENCH_N_THREADS * READ_BYTES);
    if (!memory)
        return EXIT_FAILURE;
    memset(memory, 1, BENCH_N_THREADS * READ_BYTES);
    printf("read %.1f GB/s\n", 1e-9 * BENCH_N_THREADS * READ_BYTES / bench_run(run_read, memory));
    free(memory);
    return 0;
}
