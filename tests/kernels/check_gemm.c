/*
 * Holds the packed matrix products of every tier this processor runs against the scalar ones.
 *
 *     f32, bf16   within f32's rounding == scalar
 *     int8, int4  the same bytes, those of rows with NaN, infinity or nothing but 0 included
 *     all         a row's bytes are the same alone and beside others; nothing is written outside; an
 *                 epilogue does to each element what the scalar one does, once
 *
 * Sizes go around the blocks of registers and the parts that k is cut into, primes among them. Rows of a
 * and c lie one float off alignment. --quick leaves out some of the sizes. Needs no GLib, so that it
 * cross-builds and runs under an emulator by itself. Prints TAP.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tiers.h"

#define MAX_ROWS 33
#define MAX_COLUMNS 208
#define MAX_K 6176
#define CANARY 12345.678f
#define N_OF(array) (sizeof(array) / sizeof *(array))

typedef enum {
    F32,
    BF16,
    INT8,
    INT4,
    N_TYPES,
} Type;

typedef void (*GemmFunc)(const FastvlmGemm *);

static float a[MAX_ROWS * (MAX_K + 4) + 1];
static float weights[MAX_COLUMNS * MAX_K];
static _Alignas(64) uint32_t packed[MAX_COLUMNS * MAX_K];
static float scale_a[2][MAX_ROWS + 1];
static float scale_b[MAX_COLUMNS + 1];
static int32_t offset_b[MAX_COLUMNS + 1];
static uint32_t rounded[2][MAX_ROWS * FASTVLM_ROUNDED_ROW_BYTES(MAX_K) / 4 + 1];
static float expected[MAX_ROWS * (MAX_COLUMNS + 8) + 2], found[MAX_ROWS * (MAX_COLUMNS + 8) + 2];
static float finishing[2][MAX_COLUMNS + 1]; /* scale, bias */
static float residual[MAX_ROWS * (MAX_COLUMNS + 8) + 2];
static uint64_t random_state;
static int n_failed, n_products;
static const FastvlmKernels *reference, *tier;

static const char *const type_names[N_TYPES] = {"f32", "bf16", "int8", "int4"};

static float random_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(random_state >> 40) * 0x1p-23f - 1.0f;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void fail(const char *what, Type type, const FastvlmGemm *gemm)
{
    if (n_failed++ < 20)
        printf("# %s, %s: %d rows, %d columns, k %d: %s\n", fastvlm_tier_to_string(tier->tier),
               type_names[type], gemm->n_rows, gemm->n_columns, gemm->k, what);
}

static GemmFunc gemm_of(const FastvlmKernels *kernels, Type type)
{
    const GemmFunc gemms[N_TYPES] = {kernels->gemm_f32, kernels->gemm_bf16, kernels->gemm_int8,
                                     kernels->gemm_int4};

    return gemms[type];
}

static size_t count_units(Type type, int k)
{
    return type == F32    ? FASTVLM_UNITS_F32(k)
           : type == BF16 ? FASTVLM_UNITS_BF16(k)
           : type == INT8 ? FASTVLM_UNITS_INT8(k)
                          : FASTVLM_UNITS_INT4(k);
}

/** Element i of a column as its bits in a word, before they are shifted into place. */
static uint32_t encode(Type type, float weight)
{
    if (type == F32)
        return bits_of(weight);
    if (type == BF16)
        return bits_of(weight) >> 16;
    return (uint32_t)(int32_t)lrintf(weight * 127.0f) & 0xff;
}

/** Panels of nibbles of `weights` [n_columns, k] and of scales, as gemm_int4.h says. */
static void pack_int4(int n_columns, int k)
{
    for (int column = 0; column < n_columns; column++) {
        uint32_t *to = packed + (size_t)(column / 16) * count_units(INT4, k) * 16 + column % 16;

        for (int i = 0; i < k; i++) {
            const int group = i / 32 % 2, place = i % 16;
            uint32_t *block = to + (size_t)(i / 64) * 9 * 16;
            uint32_t *word = block + (1 + 4 * group + place / 4) * 16;
            const float weight = weights[(size_t)column * (size_t)k + (size_t)i];

            if (i % 32 == 0)
                *block |= bits_of(0.03f * random_float()) >> 16 << (16 * group);
            *word |= (uint32_t)lrintf(weight * 7.5f + 7.5f) << (8 * (place % 4) + i % 32 / 16 * 4);
        }
    }
}

/** Panels of `weights` [n_columns, k], as gemm.h says, zeros behind them. */
static void pack(Type type, int n_columns, int k)
{
    const int per_word = type == F32 ? 1 : type == BF16 ? 2 : 4;
    const size_t n_units = count_units(type, k);

    memset(packed, 0, sizeof packed);
    if (type == INT4) {
        pack_int4(n_columns, k);
        return;
    }
    for (int column = 0; column < n_columns; column++) {
        uint32_t *to = packed + (size_t)(column / 16) * n_units * 16 + column % 16;

        offset_b[1 + column] = 0;
        scale_b[1 + column] = 0.01f + 0.001f * (float)column;
        for (int i = 0; i < k; i++) {
            const uint32_t bits = encode(type, weights[(size_t)column * (size_t)k + (size_t)i]);

            to[(size_t)(i / per_word) * 16] |= bits << (32 / per_word * (i % per_word));
            offset_b[1 + column] += 128 * (int8_t)bits;
        }
    }
}

/** Operands for `kernels`, which rounds the rows itself. */
static void bind(const FastvlmKernels *kernels, int which, Type type, FastvlmGemm *gemm)
{
    void *rows = rounded[which] + 1;

    gemm->a = rows;
    gemm->scale_a = scale_a[which] + 1;
    gemm->b = packed;
    gemm->scale_b = scale_b + 1;
    gemm->offset_b = offset_b + 1;
    memset(rounded[which], 0x55, sizeof rounded[which]);
    if (type == F32)
        gemm->a = a + 1;
    else if (type == BF16)
        kernels->round_rows_bf16(a + 1, gemm->lda, gemm->n_rows, gemm->k, rows);
    else if (type == INT8)
        kernels->round_rows_int8(a + 1, gemm->lda, gemm->n_rows, gemm->k, rows, scale_a[which] + 1);
    else
        kernels->round_rows_int4(a + 1, gemm->lda, gemm->n_rows, gemm->k, rows, scale_a[which] + 1);
}

static void clear(float *c)
{
    for (size_t i = 0; i < N_OF(found); i++)
        c[i] = CANARY;
}

static int is_near(float f, float e, double tolerance)
{
    return (isnan(f) && isnan(e)) || bits_of(f) == bits_of(e) ||
           fabs((double)f - (double)e) <= tolerance;
}

static void compare(Type type, const FastvlmGemm *gemm)
{
    /* Rounding of k sums of some sqrt(k) / 3, six times what is usual; integers' are exact. */
    const double tolerance = type >= INT8 ? 0.0 : 0x1p-23 * (gemm->k + 4);

    for (size_t i = 0; i < N_OF(found); i++) {
        const size_t row = (i - 1) / gemm->ldc, column = (i - 1) % gemm->ldc;

        if (i > 0 && row < (size_t)gemm->n_rows && column < (size_t)gemm->n_columns) {
            if (!is_near(found[i], expected[i], tolerance)) {
                fail("differs from the scalar one", type, gemm);
                return;
            }
        } else if (found[i] != CANARY || expected[i] != CANARY) {
            fail("writes outside", type, gemm);
            return;
        }
    }
}

/** Rows first .. first + n_rows - 1 once more by themselves: the same bytes. */
static void check_rows_alone(Type type, const FastvlmGemm *gemm, int first, int n_rows)
{
    const size_t row_bytes =
        type == F32 ? gemm->lda * sizeof(float) : FASTVLM_ROUNDED_ROW_BYTES(gemm->k);
    FastvlmGemm part = *gemm;

    part.a = (const char *)gemm->a + (size_t)first * row_bytes;
    part.scale_a = gemm->scale_a + first;
    part.n_rows = n_rows;
    part.c = expected + 1;
    gemm_of(tier, type)(&part);
    for (int row = 0; row < n_rows; row++)
        if (memcmp(expected + 1 + (size_t)row * gemm->ldc,
                   found + 1 + (size_t)(first + row) * gemm->ldc,
                   (size_t)gemm->n_columns * sizeof *found) != 0) {
            fail("rows differ by what is beside them", type, &part);
            return;
        }
}

/** Rows that are rounded where they lie: the same bytes. */
static void check_rounding_in_place(const FastvlmGemm *gemm)
{
    const size_t step = FASTVLM_ROUNDED_ROW_BYTES(gemm->k) / sizeof(float);
    float *rows = (float *)(void *)rounded[0] + 1;
    FastvlmGemm same = *gemm;

    for (size_t row = 0; row < (size_t)gemm->n_rows; row++)
        memcpy(rows + row * step, a + 1 + row * gemm->lda, (size_t)gemm->k * sizeof *a);
    tier->round_rows_bf16(rows, step, gemm->n_rows, gemm->k, rows);
    same.a = rows;
    same.c = expected + 1;
    tier->gemm_bf16(&same);
    for (size_t row = 0; row < (size_t)gemm->n_rows; row++)
        if (memcmp(expected + 1 + row * gemm->ldc, found + 1 + row * gemm->ldc,
                   (size_t)gemm->n_columns * sizeof *found) != 0) {
            fail("rows differ by where they were rounded", BF16, gemm);
            return;
        }
}

/** a and weights are set. */
static void check_product(Type type, int n_rows, int n_columns, int k)
{
    FastvlmGemm gemm = {
        .lda = (size_t)(k + n_columns % 4),
        .ldc = (size_t)(n_columns + k % 8),
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = k,
    };

    n_products++;
    pack(type, n_columns, k);
    clear(expected);
    clear(found);
    bind(reference, 0, type, &gemm);
    gemm.c = expected + 1;
    gemm_of(reference, type)(&gemm);
    bind(tier, 1, type, &gemm);
    gemm.c = found + 1;
    gemm_of(tier, type)(&gemm);
    compare(type, &gemm);
    if (type >= INT8 && memcmp(scale_a[0] + 1, scale_a[1] + 1, (size_t)n_rows * sizeof(float)) != 0)
        for (int i = 1; i <= n_rows; i++)
            if (!is_near(scale_a[0][i], scale_a[1][i], 0.0))
                fail("other scales than the scalar one", type, &gemm);
    for (int row = 0; row < n_rows && n_rows > 1; row += 1 + n_rows / 3)
        check_rows_alone(type, &gemm, row, 1);
    if (n_rows > 3)
        check_rows_alone(type, &gemm, 1, n_rows - 2);
    if (type == BF16)
        check_rounding_in_place(&gemm);
}

static void check_random(Type type, int n_rows, int n_columns, int k)
{
    for (int i = 0; i < n_rows * (k + 4); i++)
        a[1 + i] = random_float();
    for (int i = 0; i < n_columns * k; i++)
        weights[i] = random_float();
    check_product(type, n_rows, n_columns, k);
}

static void check_sizes(Type type, int step)
{
    /* The last two: two panels and three in each of AVX-512's four streams of few rows */
    static const int columns[] = {1,  2,  7,  8,  9,  15, 16, 17,  31,  32,
                                  33, 47, 48, 61, 64, 65, 97, 112, 143, 200};
    static const int rows[] = {1, 2, 6, 7, 12, 13, 25};
    static const int few_columns[] = {1, 15, 17, 32, 47, 64};
    static const int few_ks[] = {1, 7, 64, 97};
    static const int many_rows_ks[] = {255, 1021, 6144, 6149}; /* AVX2's int8 widens up to 6144 */
    static const int large_ks[] = {71,  79,  96,  97,  101, 224, 225, 255,  256,  257,  384,  448,
                                   449, 896, 897, 509, 512, 521, 768, 1021, 1024, 1536, 2053, 2400};

    for (int n_rows = 1; n_rows <= MAX_ROWS; n_rows += step)
        for (size_t c = 0; c < N_OF(few_columns); c++)
            for (size_t i = c % (size_t)step; i < N_OF(few_ks); i += (size_t)step)
                check_random(type, n_rows, few_columns[c], few_ks[i]);
    for (size_t c = 0; c < N_OF(columns); c += (size_t)step)
        for (size_t r = 0; r < N_OF(rows); r++)
            check_random(type, rows[r], columns[c], 3 + 7 * (int)r);
    for (int k = 1; k <= 70; k += step)
        for (size_t r = 0; r < N_OF(rows); r++)
            check_random(type, rows[r], 1 + (11 * k + (int)r) % 50, k);
    for (size_t i = 0; i < N_OF(large_ks); i += (size_t)step)
        for (size_t r = 1; r < N_OF(rows); r += 2 * (size_t)step)
            check_random(type, rows[r], i % 2 ? 17 : 48, large_ks[i]);
    for (size_t i = 0; i < N_OF(many_rows_ks); i++)
        check_random(type, 25, i % 2 ? 17 : 31, many_rows_ks[i]);
}

/** Row by row what rounding meets at the edges, `k` of each. */
static void check_edges(Type type, int k)
{
    static const float edges[][2] = {
        {0.0f, 0.0f},           {-0.0f, 0.0f},          {NAN, 1.0f},
        {INFINITY, 1.0f},       {-INFINITY, -2.0f},     {1e-40f, 1e-41f},
        {0x1p-101f, 0x1p-102f}, {0x1p-100f, 0x1p-101f}, {3e38f, -3e38f},
        {127.0f, 0.5f},         {127.0f, 1.5f},         {-127.0f, -2.5f},
        {254.0f, 3.0f},         {1.0f, -1.0f},          {1e-30f, 1.0f},
    };
    const int n_rows = (int)N_OF(edges);

    for (int i = 0; i < n_rows * (k + 4); i++)
        a[1 + i] = 0.0f;
    for (int i = 0; i < 17 * k; i++)
        weights[i] = random_float();
    for (int row = 0; row < n_rows; row++)
        for (int i = 0; i < k; i++)
            a[1 + row * (k + 1) + i] = edges[row][(i + row) % (k > 5 ? 5 : 2) != 0];
    check_product(type, n_rows, 17, k); /* 17 columns: rows k + 1 apart */
}

/** A 1 for weight: the product is the rounded number itself, to nearest even. */
static void check_bf16_rounding(void)
{
    static const float cases[][2] = {
        {0x1.00p0f, 0x1.00p0f},   {0x1.01p0f, 0x1.00p0f},         {0x1.010002p0f, 0x1.02p0f},
        {0x1.02p0f, 0x1.02p0f},   {0x1.00fffep0f, 0x1.00p0f},     {0x1.03p0f, 0x1.04p0f},
        {-0x1.01p0f, -0x1.00p0f}, {-0x1.03p0f, -0x1.04p0f},       {0x1.ffp0f, 0x2.00p0f},
        {0x1.fdp-9f, 0x1.fcp-9f}, {0x1.01p100f, 0x1.00p100f},     {0x1.03p-90f, 0x1.04p-90f},
        {0x1.ffp127f, INFINITY},  {0x1.fefffep127f, 0x1.fep127f}, {NAN, NAN},
        {INFINITY, INFINITY},     {-INFINITY, -INFINITY},         {0.0f, 0.0f},
    };
    const int n = (int)N_OF(cases);

    weights[0] = 1.0f;
    for (int i = 0; i < n; i++)
        a[1 + 2 * i] = cases[i][0]; /* of one column: rows two apart, in c too */
    check_product(BF16, n, 1, 1);
    for (int i = 0; i < n; i++)
        if (!is_near(found[1 + 2 * i], cases[i][1], 0.0)) {
            printf("# %s: %a rounds to %a\n", fastvlm_tier_to_string(tier->tier),
                   (double)cases[i][0], (double)found[1 + 2 * i]);
            n_failed++;
        }
}

/** `steps`: bits of scale, bias, residual, GELU. */
static void check_epilogue(Type type, int steps, int n_rows, int n_columns)
{
    const int k = 37;
    FastvlmGemm gemm = {
        .lda = (size_t)k,
        .ldc = (size_t)n_columns + 3,
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = k,
        .epilogue = {.scale = steps & 1 ? finishing[0] + 1 : NULL,
                     .bias = steps & 2 ? finishing[1] + 1 : NULL,
                     .residual = steps & 4 ? residual + 1 : NULL,
                     .ldr = (size_t)n_columns + 3,
                     .gelu = steps & 8},
    };

    for (int i = 0; i < n_rows * k; i++)
        a[1 + i] = random_float();
    for (int i = 0; i < n_columns * k; i++)
        weights[i] = random_float();
    for (size_t i = 0; i < N_OF(residual); i++)
        residual[i] = random_float();
    for (int i = 0; i < 2 * (MAX_COLUMNS + 1); i++)
        finishing[i / (MAX_COLUMNS + 1)][i % (MAX_COLUMNS + 1)] = random_float();
    n_products++;
    pack(type, n_columns, k);
    clear(expected);
    clear(found);
    bind(reference, 0, type, &gemm);
    gemm.c = expected + 1;
    gemm.finish = reference->finish_f32;
    gemm_of(reference, type)(&gemm);
    bind(tier, 1, type, &gemm);
    gemm.c = found + 1;
    gemm.finish = tier->finish_f32;
    gemm_of(tier, type)(&gemm);
    compare(F32, &gemm); /* int8's sums are exact, what follows is not */
}

static void check_epilogues(Type type, int step)
{
    static const int columns[] = {1, 7, 8, 16, 17, 31, 33, 64, 79};
    static const int rows[] = {1, 2, 5, 12, 13, 26};

    for (int steps = 0; steps < 16; steps += step)
        for (size_t c = 0; c < N_OF(columns); c++)
            for (size_t r = 0; r < N_OF(rows); r++)
                check_epilogue(type, steps, rows[r], columns[c]);
}

static void check_tier(int step)
{
    n_failed = 0;
    random_state = 1;
    for (int type = 0; type < N_TYPES; type++) {
        check_sizes((Type)type, step);
        check_epilogues((Type)type, step);
    }
    for (int k = 1; k <= 40; k += k < 20 ? 1 : 7)
        check_edges(INT8, k), check_edges(INT4, k);
    check_bf16_rounding();
}

int main(int argc, char **argv)
{
    const int step = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 5 : 1;
    int n_tests = 0, n_bad = 0;

    reference = fastvlm_kernels_get(FASTVLM_TIER_SCALAR);
    for (int t = 0; t < FASTVLM_N_TIERS; t++) {
        const char *name = fastvlm_tier_to_string((FastvlmTier)t);

        tier = fastvlm_kernels_get((FastvlmTier)t);
        if (!tier_is_built((FastvlmTier)t))
            continue;
        n_tests++;
        if (!tier_is_run((FastvlmTier)t)) {
            printf("ok %d - %s # SKIP this processor has no %s\n", n_tests, name, name);
            continue;
        }
        check_tier(step);
        printf("%sok %d - %s\n", n_failed ? "not " : "", n_tests, name);
        n_bad += n_failed != 0;
    }
    printf("# %d products\n1..%d\n", n_products, n_tests);
    return n_bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
