/*
 * The encoder's attention on every tier that this processor has, held against double precision.
 *
 *     f32   within f32's rounding of the exact result
 *     bf16  the same of the result for q, k and v rounded to bf16, but for the rounding of probabilities
 *     both  the same bytes with 1, 2 and 5 threads; nothing written behind the result, the packed heads
 *           and the scratch
 *
 * Sizes lie around panels, groups and tiles of rows, primes among them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/attention.h"

#include <math.h>
#include <string.h>

#define N_CANARIES 32
#define CANARY 12345.678f

/** Numbers from -1 to 1, then q and k larger: probabilities that are far from even. */
static float *make_qkv(const FastvlmAttention *attention)
{
    const int n = attention->n_heads * attention->head_dim;
    GRand *random = g_rand_new_with_seed((guint32)(attention->n_rows * 31 + attention->head_dim));
    float *qkv = g_new(float, attention->n_rows * 3 * n);

    for (int row = 0; row < attention->n_rows; row++)
        for (int i = 0; i < 3 * n; i++)
            qkv[row * 3 * n + i] =
                (float)((i < 2 * n ? 1.5 : 1.0) * g_rand_double_range(random, -1.0, 1.0));
    g_rand_free(random);
    return qkv;
}

static double read_factor(const FastvlmAttention *attention, float x)
{
    return attention->is_bf16 ? (double)fastvlm_bf16_to_f32(fastvlm_bf16_from_f32(x)) : (double)x;
}

/** Probabilities of one row of queries, in double precision. */
static void compute_probabilities(const FastvlmAttention *attention, const float *q, const float *k,
                                  gsize step, double *p)
{
    double largest = -INFINITY, sum = 0.0;

    for (int j = 0; j < attention->n_rows; j++) {
        p[j] = 0.0;
        for (int i = 0; i < attention->head_dim; i++)
            p[j] += read_factor(attention, q[i]) *
                    read_factor(attention, k[(gsize)j * step + (gsize)i]);
        largest = MAX(largest, p[j]);
    }
    for (int j = 0; j < attention->n_rows; j++)
        sum += p[j] = exp(p[j] - largest);
    for (int j = 0; j < attention->n_rows; j++)
        p[j] /= sum;
}

/** One row of one head: v and what is found, both from the head's first channel on. */
static void check_row(const FastvlmAttention *attention, FastvlmTier tier, const double *p,
                      const float *v, gsize step, const float *found)
{
    for (int i = 0; i < attention->head_dim; i++) {
        double exact = 0.0, magnitude = 0.0, bound;

        for (int j = 0; j < attention->n_rows; j++) {
            const double term = p[j] * read_factor(attention, v[(gsize)j * step + (gsize)i]);

            exact += term;
            magnitude += fabs(term);
        }
        bound = (attention->is_bf16 ? 0x1.02p-8 : 0.0) * magnitude + 1e-5;
        if (!(fabs((double)found[i] - exact) <= bound))
            g_error("%s: %d rows, %d heads of %d, %s: channel %d is %g, expected %g",
                    fastvlm_tier_to_string(tier), attention->n_rows, attention->n_heads,
                    attention->head_dim, attention->is_bf16 ? "bf16" : "f32", i, (double)found[i],
                    exact);
    }
}

static void check_result(const FastvlmAttention *attention, FastvlmTier tier, const float *qkv,
                         const float *out)
{
    const gsize n = (gsize)attention->n_heads * (gsize)attention->head_dim;
    const int row_step = 1 + attention->n_rows / 40; /* not all of many rows: they take seconds */
    g_autofree double *p = g_new(double, attention->n_rows);

    for (int head = 0; head < attention->n_heads; head++) {
        const float *first = qkv + (gsize)head * (gsize)attention->head_dim;

        for (int row = attention->n_rows - 1; row >= 0; row -= row_step) {
            compute_probabilities(attention, first + (gsize)row * 3 * n, first + n, 3 * n, p);
            check_row(attention, tier, p, first + 2 * n, 3 * n,
                      out + (gsize)row * n + (gsize)head * (gsize)attention->head_dim);
        }
    }
}

static void set_canaries(float *at)
{
    for (int i = 0; i < N_CANARIES; i++)
        at[i] = CANARY;
}

static void check_canaries(const float *at)
{
    for (int i = 0; i < N_CANARIES; i++)
        g_assert_cmpfloat(at[i], ==, CANARY);
}

/** The result, with canaries behind it. */
static float *run(const FastvlmAttention *attention, FastvlmTier tier, int n_threads,
                  const float *qkv)
{
    const gsize n_out =
        (gsize)attention->n_rows * (gsize)attention->n_heads * (gsize)attention->head_dim;
    const gsize n_packed = fastvlm_attention_packed_size(attention);
    const gsize n_scratch = fastvlm_attention_scratch_size(attention);
    FastvlmCompute compute = {.kernels = fastvlm_kernels_get(tier)};
    float *packed = aligned_alloc(64, (n_packed + N_CANARIES + 15) / 16 * 64);
    float *out = g_new(float, n_out + N_CANARIES);
    GError *error = NULL;

    compute.pool = fastvlm_pool_new(n_threads, 0, &error);
    g_assert_no_error(error);
    fastvlm_compute_init(&compute);
    fastvlm_compute_reserve(&compute, n_scratch + N_CANARIES, &error);
    g_assert_no_error(error);
    set_canaries(packed + n_packed);
    set_canaries(out + n_out);
    for (int i = 0; i < n_threads; i++)
        set_canaries(compute.scratch[i] + n_scratch);
    fastvlm_attention_run(&compute, attention, qkv, packed, out, &error);
    g_assert_no_error(error);
    check_canaries(packed + n_packed);
    check_canaries(out + n_out);
    for (int i = 0; i < n_threads; i++)
        check_canaries(compute.scratch[i] + n_scratch);
    fastvlm_compute_clear(&compute);
    fastvlm_pool_free(compute.pool);
    free(packed);
    return out;
}

static void check_size(FastvlmTier tier, const FastvlmAttention *attention)
{
    const gsize n_bytes = sizeof(float) * (gsize)attention->n_rows * (gsize)attention->n_heads *
                          (gsize)attention->head_dim;
    g_autofree float *qkv = make_qkv(attention);
    g_autofree float *out = run(attention, tier, 1, qkv);

    check_result(attention, tier, qkv, out);
    for (int n_threads = 2; n_threads <= 5; n_threads += 3) {
        g_autofree float *again = run(attention, tier, n_threads, qkv);

        g_assert_cmpmem(out, n_bytes, again, n_bytes);
    }
}

static void test_tier(gconstpointer data)
{
    static const int sizes[][3] = {
        /* rows, heads, width of a head */
        {1, 1, 32},  {2, 3, 32},  {9, 2, 32},   {12, 1, 32},  {13, 2, 32}, {16, 2, 32},
        {17, 2, 16}, {31, 1, 7},  {32, 2, 1},   {33, 1, 33},  {64, 3, 32}, {95, 1, 32},
        {96, 1, 32}, {97, 2, 32}, {109, 1, 48}, {256, 2, 32}, {389, 2, 32}};
    const FastvlmTier tier = (FastvlmTier)GPOINTER_TO_INT(data);

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++)
        for (int is_bf16 = 0; is_bf16 < 2; is_bf16++)
            check_size(tier,
                       &(FastvlmAttention){sizes[i][0], sizes[i][1], sizes[i][2], is_bf16 != 0});
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (int tier = 0; tier < FASTVLM_N_TIERS; tier++) {
        g_autofree char *path =
            g_strconcat("/attention/", fastvlm_tier_to_string((FastvlmTier)tier), NULL);

        if (fastvlm_tier_is_supported((FastvlmTier)tier))
            g_test_add_data_func(path, GINT_TO_POINTER(tier), test_tier);
    }
    return g_test_run();
}
