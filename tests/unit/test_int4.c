/*
 * Weights rounded to 4 bits: what a product with rows of a unit matrix says they have become, beside
 * what they were.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <string.h>

#include "nn/matrix.h"

#define GROUP 32

static float *make_normal(int n_out, int n_in)
{
    GRand *random = g_rand_new_with_seed(4);
    float *weights = g_new(float, n_out *n_in);

    for (int i = 0; i < n_out * n_in; i++) { /* twelve uniform numbers: near enough */
        double sum = -6.0;

        for (int j = 0; j < 12; j++)
            sum += g_rand_double(random);
        weights[i] = (float)(0.02 * sum);
    }
    g_rand_free(random);
    return weights;
}

/** The matrix [n_out, n_in] that `weights` become, read column by column of inputs. */
static float *round_trip(const float *weights, int n_out, int n_in)
{
    const FastvlmKernels *kernels = fastvlm_kernels_get(fastvlm_tier_in_use());
    FastvlmStore *store = fastvlm_store_new();
    FastvlmMatrix matrix;
    g_autofree float *units = g_new0(float, n_in *n_in);
    g_autofree float *y = g_new(float, n_in *n_out);
    float *found = g_new(float, n_out *n_in);
    FastvlmRounded rounded;
    GError *error = NULL;
    void *memory;

    for (int i = 0; i < n_in; i++)
        units[i * n_in + i] = 127.0f; /* the rounded row's 127 times a scale of 1 */
    for (int pass = 0; pass < 2; pass++) {
        fastvlm_matrix_take(&matrix, FASTVLM_MATRIX_INT4, n_out, n_in, store, "test", &error);
        g_assert_no_error(error);
        if (pass == 0 && !fastvlm_store_bind_own(store, &error))
            g_error("%s", error->message);
    }
    fastvlm_matrix_set_rows(&matrix, 0, n_out / 2, weights);
    fastvlm_matrix_set_rows(&matrix, n_out / 2, n_out - n_out / 2,
                            weights + (gsize)(n_out / 2) * (gsize)n_in);
    memory = g_malloc(fastvlm_matrix_count_rounded_bytes(&matrix, n_in));
    rounded = fastvlm_matrix_bind_rounded(&matrix, n_in, memory);
    fastvlm_matrix_round(kernels, &matrix, units, (gsize)n_in, n_in, &rounded);
    fastvlm_matrix_multiply(kernels, &matrix, units, (gsize)n_in, rounded, n_in, 0, n_out, NULL, y,
                            (gsize)n_out);
    for (int i = 0; i < n_in; i++)
        for (int o = 0; o < n_out; o++)
            found[o * n_in + i] = y[i * n_out + o] / 127.0f;
    g_free(memory);
    fastvlm_store_free(store);
    return found;
}

static float find_largest(const float *group, int n)
{
    float largest = 0.0f;

    for (int i = 0; i < n; i++)
        largest = MAX(largest, fabsf(group[i]));
    return largest;
}

/** The worst is a weight as large as the largest and of the other sign: cut off from 9 to 7. */
static void assert_near(const float *weights, const float *found, int n_out, int n_in)
{
    for (int o = 0; o < n_out; o++)
        for (int first = 0; first < n_in; first += GROUP) {
            const int n = MIN(GROUP, n_in - first);
            const gsize at = (gsize)o * (gsize)n_in + (gsize)first;
            const float bound = 0.225f * find_largest(weights + at, n);

            for (int i = 0; i < n; i++)
                if (!(fabsf(found[at + (gsize)i] - weights[at + (gsize)i]) <= bound))
                    g_error("%d x %d: output %d, input %d: %g has become %g", n_out, n_in, o,
                            first + i, (double)weights[at + (gsize)i],
                            (double)found[at + (gsize)i]);
        }
}

/* Groups and panels that are not whole, at both sides of a block's border. */
static void test_sizes(void)
{
    static const int sizes[][2] = {{1, 1},   {3, 5},   {16, 31},  {17, 32}, {15, 33},
                                   {33, 63}, {40, 64}, {48, 65},  {2, 96},  {5, 97},
                                   {64, 40}, {7, 128}, {18, 130}, {9, 200}};

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        const int n_out = sizes[i][0], n_in = sizes[i][1];
        g_autofree float *weights = make_normal(n_out, n_in);
        g_autofree float *found = round_trip(weights, n_out, n_in);

        assert_near(weights, found, n_out, n_in);
    }
}

/* Whole numbers from -8 to 7 of a scale come back as they were, whichever end is the largest. */
static void test_exact(void)
{
    g_autofree float *weights = g_new(float, 32 * 128);
    g_autofree float *found = NULL;

    for (int i = 0; i < 32 * 128; i++)
        weights[i] = (float)((i * 7 + i / 128) % 16 - 8) * ((i / GROUP) % 2 ? -0.25f : 0.0625f);
    found = round_trip(weights, 32, 128);
    for (int i = 0; i < 32 * 128; i++)
        g_assert_cmpfloat_with_epsilon(found[i], weights[i], 1e-6);
}

/* 21.3 dB is what the largest weight's own scale gives normal weights; the choice of scales gives more. */
static void test_noise(void)
{
    enum { N_OUT = 256, N_IN = 256 };
    g_autofree float *weights = make_normal(N_OUT, N_IN);
    g_autofree float *found = round_trip(weights, N_OUT, N_IN);
    double signal = 0.0, noise = 0.0, snr;

    for (int i = 0; i < N_OUT * N_IN; i++) {
        const double off = (double)found[i] - (double)weights[i];

        signal += (double)weights[i] * (double)weights[i];
        noise += off * off;
    }
    snr = 10.0 * log10(signal / noise);
    g_test_message("%.2f dB", snr);
    g_assert_cmpfloat(snr, >, 21.5);
    g_assert_cmpfloat(snr, <, 23.0);
}

/* Nothing, next to nothing, one alone, and nearly all that a float holds. */
static void test_edges(void)
{
    enum { N_IN = 5 * GROUP };
    g_autofree float *weights = g_new0(float, N_IN);
    g_autofree float *found = NULL;

    for (int i = 0; i < GROUP; i++) {
        weights[GROUP + i] = 1e-35f * (float)i;
        weights[2 * GROUP + i] = i == 7 ? -3.0f : 0.0f;
        weights[3 * GROUP + i] = i % 2 ? 2e36f : -1e36f;
        weights[4 * GROUP + i] = 1e-20f * (float)(i - 20);
    }
    found = round_trip(weights, 1, N_IN);
    for (int i = 0; i < 2 * GROUP; i++)
        g_assert_cmpfloat(found[i], ==, 0.0f);
    assert_near(weights + 2 * GROUP, found + 2 * GROUP, 1, 3 * GROUP);
    for (int i = 0; i < GROUP; i++)
        if (i != 7)
            g_assert_cmpfloat(found[2 * GROUP + i], ==, 0.0f);
}

static void test_memory(void)
{
    /* 4 bits and a sixteenth of 9 for scales; inputs in blocks of 64, outputs in panels of 16 */
    g_assert_cmpuint(fastvlm_matrix_count_bytes(FASTVLM_MATRIX_INT4, 1152, 896), ==,
                     1152 * 896 / 2 * 9 / 8);
    g_assert_cmpuint(fastvlm_matrix_count_bytes(FASTVLM_MATRIX_INT4, 1, 65), ==,
                     16 * 128 / 2 * 9 / 8);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/int4/sizes", test_sizes);
    g_test_add_func("/int4/exact", test_exact);
    g_test_add_func("/int4/noise", test_noise);
    g_test_add_func("/int4/edges", test_edges);
    g_test_add_func("/int4/memory", test_memory);
    return g_test_run();
}
