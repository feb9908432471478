/*
 * The sampler: greedy, its ties, top-k, top-p, temperature, seeds, what is not finite.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <math.h>

#include "language/sampler.h"

#define N 5
#define N_DRAWS 20000

/* Probabilities at temperature 1: 0.1, 0.4, 0.2, 0.25, 0.05. */
static const double probabilities[N] = {0.1, 0.4, 0.2, 0.25, 0.05};

static void fill_logits(float *logits)
{
    for (int i = 0; i < N; i++)
        logits[i] = (float)log(probabilities[i]) + 3.0f;
}

/** How often each id comes. */
static void count_draws(FastvlmSampler sampler, int *counts)
{
    float logits[N];
    double log_probability;

    fill_logits(logits);
    sampler.kernels = fastvlm_kernels_get(FASTVLM_TIER_SCALAR);
    for (int i = 0; i < N; i++)
        counts[i] = 0;
    for (int i = 0; i < N_DRAWS; i++)
        counts[fastvlm_sampler_choose(&sampler, logits, N, &log_probability)]++;
}

static void assert_share(int count, double share)
{
    g_assert_cmpfloat_with_epsilon((double)count / N_DRAWS, share, 0.015);
}

static void test_greedy(void)
{
    FastvlmSampler sampler = {.kernels = fastvlm_kernels_get(FASTVLM_TIER_SCALAR)};
    float logits[N];
    double log_probability;

    fill_logits(logits);
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, N, &log_probability), ==, 1);
    g_assert_cmpfloat_with_epsilon(exp(log_probability), 0.4, 1e-5);
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, 1, &log_probability), ==, 0);
    g_assert_cmpfloat_with_epsilon(log_probability, 0.0, 1e-6);
    logits[3] = logits[1];
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, N, &log_probability), ==, 1);
}

/** More ids than are searched at once. */
static void test_many(void)
{
    enum { n = 10000, second = 4100, third = 8200 };
    FastvlmSampler sampler = {.kernels = fastvlm_kernels_get(FASTVLM_TIER_SCALAR)};
    g_autofree float *logits = g_new(float, n);
    double log_probability;

    for (int i = 0; i < n; i++)
        logits[i] = -2.0f;
    logits[n - 1] = 3.0f;
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, n, &log_probability), ==, n - 1);
    g_assert_cmpfloat_with_epsilon(log_probability, -log(1.0 + (n - 1) * exp(-5.0)), 1e-4);
    logits[third] = logits[second] = logits[second + 7] = 3.0f;
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, n, &log_probability), ==, second);
    logits[0] = 2.0f;
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, n, &log_probability), ==, second);
    logits[third + 1] = -INFINITY;
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, n, &log_probability), ==, -1);
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, third, &log_probability), ==, second);
}

static void test_not_finite(void)
{
    FastvlmSampler sampler = {.kernels = fastvlm_kernels_get(FASTVLM_TIER_SCALAR)};
    float logits[N];
    double log_probability;

    fill_logits(logits);
    logits[4] = NAN;
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, N, &log_probability), ==, -1);
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, 4, &log_probability), ==, 1);
    logits[0] = INFINITY;
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, 4, &log_probability), ==, -1);
    g_assert_cmpint(fastvlm_sampler_choose(&sampler, logits, 0, &log_probability), ==, -1);
}

static void test_temperature(void)
{
    int counts[N];
    double total = 0.0;

    count_draws((FastvlmSampler){.temperature = 1.0, .state = 7}, counts);
    for (int i = 0; i < N; i++)
        assert_share(counts[i], probabilities[i]);
    for (int i = 0; i < N; i++)
        total += probabilities[i] * probabilities[i];
    count_draws((FastvlmSampler){.temperature = 0.5, .state = 8}, counts);
    for (int i = 0; i < N; i++)
        assert_share(counts[i], probabilities[i] * probabilities[i] / total);
}

static void test_top_k(void)
{
    int counts[N];

    count_draws((FastvlmSampler){.temperature = 1.0, .top_k = 2, .state = 1}, counts);
    assert_share(counts[1], 0.4 / 0.65);
    assert_share(counts[3], 0.25 / 0.65);
    g_assert_cmpint(counts[0] + counts[2] + counts[4], ==, 0);
    count_draws((FastvlmSampler){.temperature = 5.0, .top_k = 1, .state = 1}, counts);
    g_assert_cmpint(counts[1], ==, N_DRAWS);
}

static void test_top_p(void)
{
    int counts[N];

    count_draws((FastvlmSampler){.temperature = 1.0, .top_p = 0.6, .state = 3}, counts);
    assert_share(counts[1], 0.4 / 0.65);
    assert_share(counts[3], 0.25 / 0.65);
    count_draws((FastvlmSampler){.temperature = 1.0, .top_p = 0.01, .state = 3}, counts);
    g_assert_cmpint(counts[1], ==, N_DRAWS);
    count_draws((FastvlmSampler){.temperature = 1.0, .top_p = 1.0, .state = 3}, counts);
    assert_share(counts[4], 0.05);
}

static void test_seed(void)
{
    int a[N], b[N], c[N];

    count_draws((FastvlmSampler){.temperature = 1.0, .state = 42}, a);
    count_draws((FastvlmSampler){.temperature = 1.0, .state = 42}, b);
    count_draws((FastvlmSampler){.temperature = 1.0, .state = 43}, c);
    g_assert_cmpmem(a, sizeof a, b, sizeof b);
    g_assert_true(a[0] != c[0] || a[1] != c[1] || a[2] != c[2]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sampler/greedy", test_greedy);
    g_test_add_func("/sampler/many", test_many);
    g_test_add_func("/sampler/not-finite", test_not_finite);
    g_test_add_func("/sampler/temperature", test_temperature);
    g_test_add_func("/sampler/top-k", test_top_k);
    g_test_add_func("/sampler/top-p", test_top_p);
    g_test_add_func("/sampler/seed", test_seed);
    return g_test_run();
}
