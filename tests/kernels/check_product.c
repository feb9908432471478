/*
 * Holds the products of activations of every tier this processor runs against the scalar ones.
 *
 *     the product, within f32's rounding == scalar; nothing written outside; a row's bytes are the same
 *     beside other rows and with a longer row's zeros behind it
 *
 * --quick leaves out some of the sizes. Needs no GLib, so that it cross-builds and runs under an
 * emulator by itself. Prints TAP.
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

#define MAX_ROWS 40
#define MAX_K 140
#define MAX_COLUMNS 150
#define CANARY 12345.678f

typedef void (*ProductFunc)(const FastvlmProduct *);

static float a[MAX_ROWS * MAX_K + 1];
static float b_f32[MAX_K * MAX_COLUMNS + 1];
static uint16_t b_bf16[MAX_K * MAX_COLUMNS + 1];
static float expected[MAX_ROWS * MAX_COLUMNS + 2], found[MAX_ROWS * MAX_COLUMNS + 2];
static uint64_t random_state = 1;
static int n_failed;
static int step = 1; /* of some loops over sizes */

static float random_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(random_state >> 40) * 0x1p-23f - 1.0f;
}

static void fail(const char *what, const FastvlmProduct *product)
{
    if (n_failed++ < 20)
        printf("# %s: %d x %d, k %d\n", what, product->n_rows, product->n_columns, product->k);
}

static void fill(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value;
}

static int differ(const FastvlmProduct *product)
{
    for (int row = 0; row < product->n_rows; row++)
        for (size_t column = 0; column < product->ldc; column++) {
            const size_t i = 1 + (size_t)row * product->ldc + column;

            if (column >= (size_t)product->n_columns
                    ? found[i] != CANARY
                    : !(fabsf(found[i] - expected[i]) <= 1e-6f * (float)(product->k + 1)))
                return 1;
        }
    return found[0] != CANARY || found[1 + (size_t)product->n_rows * product->ldc] != CANARY;
}

static void check(ProductFunc reference, ProductFunc func, FastvlmProduct product)
{
    const size_t n = (size_t)product.n_rows * product.ldc + 2;
    float row[MAX_COLUMNS];

    fill(expected, n, CANARY);
    fill(found, n, CANARY);
    product.c = expected + 1;
    reference(&product);
    product.c = found + 1;
    func(&product);
    if (differ(&product))
        fail("differs from the scalar one", &product);
    for (int i = 0; i < product.n_rows; i += 5) {
        FastvlmProduct one = product;

        one.a += (size_t)i * one.lda;
        one.n_rows = 1;
        one.c = row;
        func(&one);
        if (memcmp(row, found + 1 + (size_t)i * product.ldc,
                   (size_t)product.n_columns * sizeof *row) != 0)
            fail("a row alone differs", &product);
    }
}

/* Zeros of a behind a row add nothing, whatever b holds there: a causal row beside longer ones. */
static void check_zeros(ProductFunc func, FastvlmProduct product)
{
    float longer[MAX_COLUMNS], shorter[MAX_COLUMNS];

    for (int i = product.k / 2; i < product.k; i++)
        a[1 + i] = 0.0f;
    product.n_rows = 1;
    product.c = longer;
    func(&product);
    product.k /= 2;
    product.c = shorter;
    func(&product);
    if (memcmp(longer, shorter, (size_t)product.n_columns * sizeof *longer) != 0)
        fail("zeros change a row", &product);
}

static void check_tier(const FastvlmKernels *reference, const FastvlmKernels *tier)
{
    static const int ks[] = {0, 1, 2, 7, 16, 64, 131};

    for (int n_rows = 1; n_rows <= 33; n_rows += n_rows < 14 ? step : 19)
        for (int n_columns = 1; n_columns <= 131; n_columns += n_columns < 34 ? step : 97)
            for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
                FastvlmProduct product = {
                    .a = a + 1,
                    .lda = (size_t)ks[i] + i % 3,
                    .b = b_f32 + 1,
                    .ldb = (size_t)n_columns + i % 2,
                    .ldc = (size_t)n_columns + i % 4,
                    .n_rows = n_rows,
                    .n_columns = n_columns,
                    .k = ks[i],
                };

                for (size_t j = 0; j < sizeof a / sizeof *a; j++)
                    a[j] = random_float();
                check(reference->product_f32, tier->product_f32, product);
                product.b = b_bf16 + 1;
                check(reference->product_bf16, tier->product_bf16, product);
                check_zeros(tier->product_bf16, product);
            }
}

static void check_rounding(void)
{
    static const struct {
        float value;
        uint16_t bits;
    } cases[] = {{0.0f, 0},           {-0.0f, 0x8000},         {1.0f, 0x3f80},
                 {0x1.01p0f, 0x3f80}, {0x1.010002p0f, 0x3f81}, {0x1.03p0f, 0x3f82},
                 {INFINITY, 0x7f80},  {-3.4e38f, 0xff80}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (fastvlm_bf16_from_f32(cases[i].value) != cases[i].bits) {
            n_failed++;
            printf("# %a rounds to 0x%04x\n", (double)cases[i].value,
                   fastvlm_bf16_from_f32(cases[i].value));
        }
    if (!isnan(fastvlm_bf16_to_f32(fastvlm_bf16_from_f32(NAN))))
        n_failed++;
}

int main(int argc, char **argv)
{
    const FastvlmKernels *reference = fastvlm_kernels_get(FASTVLM_TIER_SCALAR);
    int n_tests = 0, n_bad = 0;

    for (size_t i = 0; i < sizeof b_f32 / sizeof *b_f32; i++) {
        b_f32[i] = random_float();
        b_bf16[i] = fastvlm_bf16_from_f32(random_float());
    }
    if (argc > 1 && strcmp(argv[1], "--quick") == 0)
        step = 3;
    check_rounding();
    for (int t = 0; t < FASTVLM_N_TIERS; t++) {
        if (!tier_is_built((FastvlmTier)t))
            continue;
        n_tests++;
        if (!tier_is_run((FastvlmTier)t)) {
            printf("ok %d - %s # SKIP this processor has no %s\n", n_tests,
                   fastvlm_tier_to_string(t), fastvlm_tier_to_string(t));
            continue;
        }
        check_tier(reference, fastvlm_kernels_get((FastvlmTier)t));
        printf("%sok %d - %s\n", n_failed ? "not " : "", n_tests, fastvlm_tier_to_string(t));
        n_bad += n_failed;
        n_failed = 0;
    }
    printf("1..%d\n", n_tests);
    return n_bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
