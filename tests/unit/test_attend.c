/*
 * The decoder's attention over the KV cache, on every tier that this processor has, held against double
 * precision.
 *
 *     f32   within f32's rounding of the exact result
 *     bf16  the same of the result for scaled q, k and v rounded to bf16, but for the rounding of
 *           probabilities
 *     both  a row has the same bytes in tiles of a prompt and alone, in a cache that grows under it; what
 *           memory held before, NaN here, is never seen
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/attend.h"

#include <math.h>
#include <string.h>

#define N_LAYERS 2
#define LAYER 1
#define N_ROWS 75 /* odd, and more than a cache holds at first */

typedef struct {
    FastvlmLanguageWeights weights;
    FastvlmKvType type;
    FastvlmTier tier;
    gsize q_width, kv_width;
    float *q, *k, *v; /* [N_ROWS, width] */
    float *scratch;
} Fixture;

static float *make_rows(gsize width, double largest, guint32 seed)
{
    GRand *random = g_rand_new_with_seed(seed);
    const gsize n = N_ROWS * width;
    float *rows = g_new(float, n);

    for (gsize i = 0; i < n; i++)
        rows[i] = (float)g_rand_double_range(random, -largest, largest);
    g_rand_free(random);
    return rows;
}

static void fill_with_nan(void *words, gsize n)
{
    for (gsize i = 0; i < n; i++)
        ((guint32 *)words)[i] = 0x7fc07fc0; /* as f32, and as two bf16 */
}

static void reserve(FastvlmKvCache *cache, const Fixture *fixture, int n_kept, int n_positions)
{
    const gsize n_panels = (gsize)(fixture->weights.head_dim + 15) / 16;
    const gboolean is_new = cache->capacity == 0;
    gsize n_words; /* of a channel of one head, in all layers */
    GError *error = NULL;

    fastvlm_kv_cache_reserve(cache, &fixture->weights, n_kept, n_positions, &error);
    g_assert_no_error(error);
    n_words = (gsize)cache->capacity * N_LAYERS / (cache->type == FASTVLM_KV_BF16 ? 2 : 1);
    if (is_new) {
        fill_with_nan(cache->keys, n_words * fixture->kv_width);
        fill_with_nan(cache->values, n_words * 16 * n_panels * (gsize)fixture->weights.n_kv_heads);
    }
}

static void place(FastvlmKvCache *cache, const Fixture *fixture, int row, gboolean is_last)
{
    const int head_dim = fixture->weights.head_dim;

    for (int head = 0; head < fixture->weights.n_kv_heads; head++) {
        const gsize at = (gsize)row * fixture->kv_width + (gsize)(head * head_dim);

        fastvlm_kv_cache_place(cache, &fixture->weights, LAYER, head, row, is_last, fixture->k + at,
                               fixture->v + at);
    }
}

/** Rows first .. first + n_rows - 1 of all heads. */
static void attend(const FastvlmKvCache *cache, const Fixture *fixture, int first, int n_rows,
                   float *out)
{
    const FastvlmLanguageWeights *weights = &fixture->weights;
    const gsize group_width = (gsize)(weights->n_heads / weights->n_kv_heads * weights->head_dim);

    for (int head = 0; head < weights->n_kv_heads; head++) {
        const gsize at = (gsize)first * fixture->q_width + (gsize)head * group_width;
        const FastvlmAttend run = {
            .kernels = fastvlm_kernels_get(fixture->tier),
            .weights = weights,
            .cache = cache,
            .layer = LAYER,
            .kv_head = head,
            .first_position = first,
            .n_rows = n_rows,
            .q = fixture->q + at,
            .ldq = fixture->q_width,
            .out = out + at,
            .ldo = fixture->q_width,
            .scratch = fixture->scratch,
        };

        fastvlm_attend(&run);
    }
}

static float *attend_in_tiles(const Fixture *fixture)
{
    const int tile_rows = fastvlm_attend_tile_rows(&fixture->weights);
    FastvlmKvCache cache = {.type = fixture->type};
    float *out = g_new0(float, N_ROWS * fixture->q_width);

    reserve(&cache, fixture, 0, N_ROWS);
    for (int row = N_ROWS - 1; row >= 0; row--) /* as threads may: in no order */
        place(&cache, fixture, row, row == N_ROWS - 1);
    for (int row = 0; row < N_ROWS; row += tile_rows)
        attend(&cache, fixture, row, MIN(tile_rows, N_ROWS - row), out);
    fastvlm_kv_cache_clear(&cache);
    return out;
}

static float *attend_one_by_one(const Fixture *fixture)
{
    FastvlmKvCache cache = {.type = fixture->type};
    float *out = g_new0(float, N_ROWS * fixture->q_width);

    for (int row = 0; row < N_ROWS; row++) {
        reserve(&cache, fixture, row, row + 1);
        place(&cache, fixture, row, TRUE);
        attend(&cache, fixture, row, 1, out);
        cache.n_positions = row + 1;
    }
    fastvlm_kv_cache_clear(&cache);
    return out;
}

static double read_factor(const Fixture *fixture, float x)
{
    return fixture->type == FASTVLM_KV_BF16 ? (double)fastvlm_bf16_to_f32(fastvlm_bf16_from_f32(x))
                                            : (double)x;
}

/** Of the keys up to `row`, for query head `head`. */
static void compute_probabilities(const Fixture *fixture, int row, int head, gsize kv_column,
                                  double *p)
{
    const int head_dim = fixture->weights.head_dim;
    const float *q = fixture->q + (gsize)row * fixture->q_width + (gsize)(head * head_dim);
    const float scale = 1.0f / sqrtf((float)head_dim);
    double largest = -INFINITY, sum = 0.0;

    for (int j = 0; j <= row; j++) {
        const float *k = fixture->k + (gsize)j * fixture->kv_width + kv_column;

        p[j] = 0.0;
        for (int i = 0; i < head_dim; i++)
            p[j] += read_factor(fixture, q[i] * scale) * read_factor(fixture, k[i]);
        largest = MAX(largest, p[j]);
    }
    for (int j = 0; j <= row; j++)
        sum += p[j] = exp(p[j] - largest);
    for (int j = 0; j <= row; j++)
        p[j] /= sum;
}

static void check_head(const Fixture *fixture, int row, int head, const float *found)
{
    const FastvlmLanguageWeights *weights = &fixture->weights;
    const int kv_head = head / (weights->n_heads / weights->n_kv_heads);
    const gsize column = (gsize)(kv_head * weights->head_dim);
    double p[N_ROWS];

    compute_probabilities(fixture, row, head, column, p);
    for (int i = 0; i < weights->head_dim; i++) {
        double exact = 0.0, magnitude = 0.0;

        for (int j = 0; j <= row; j++) {
            const float v = fixture->v[(gsize)j * fixture->kv_width + column + (gsize)i];
            const double term = p[j] * read_factor(fixture, v);

            exact += term;
            magnitude += fabs(term);
        }
        if (!(fabs((double)found[i] - exact) <=
              (fixture->type == FASTVLM_KV_BF16 ? 0x1.02p-8 : 0.0) * magnitude + 1e-5))
            g_error("%s, heads of %d, row %d, head %d: channel %d is %g, expected %g",
                    fastvlm_tier_to_string(fixture->tier), weights->head_dim, row, head, i,
                    (double)found[i], exact);
    }
}

static void check(Fixture *fixture)
{
    float *out = attend_in_tiles(fixture), *again = attend_one_by_one(fixture);

    g_assert_cmpmem(out, N_ROWS * fixture->q_width * sizeof *out, again,
                    N_ROWS * fixture->q_width * sizeof *again);
    for (int row = 0; row < N_ROWS; row += 1 + row / 9)
        for (int head = 0; head < fixture->weights.n_heads; head++)
            check_head(fixture, row, head,
                       out + (gsize)row * fixture->q_width +
                           (gsize)(head * fixture->weights.head_dim));
    g_free(out);
    g_free(again);
}

static void check_shape(FastvlmKvType type, int n_heads, int n_kv_heads, int head_dim)
{
    Fixture fixture = {
        .weights = {.n_layers = N_LAYERS,
                    .n_heads = n_heads,
                    .n_kv_heads = n_kv_heads,
                    .head_dim = head_dim},
        .type = type,
        .q_width = (gsize)(n_heads * head_dim),
        .kv_width = (gsize)(n_kv_heads * head_dim),
    };

    fixture.q = make_rows(fixture.q_width, 3.0, 1);
    fixture.k = make_rows(fixture.kv_width, 2.0, 2);
    fixture.v = make_rows(fixture.kv_width, 1.0, 3);
    fixture.scratch = g_new(float, fastvlm_attend_scratch_size(&fixture.weights, N_ROWS));
    for (int tier = 0; tier < FASTVLM_N_TIERS; tier++) {
        fixture.tier = (FastvlmTier)tier;
        if (fastvlm_tier_is_supported(fixture.tier))
            check(&fixture);
    }
    g_free(fixture.q);
    g_free(fixture.k);
    g_free(fixture.v);
    g_free(fixture.scratch);
}

static void test_type(gconstpointer type)
{
    static const int shapes[][3] = {{14, 2, 64}, {4, 4, 32}, {6, 2, 24}, {3, 1, 2}, {40, 1, 16}};

    for (gsize i = 0; i < G_N_ELEMENTS(shapes); i++)
        check_shape((FastvlmKvType)GPOINTER_TO_INT(type), shapes[i][0], shapes[i][1], shapes[i][2]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/attend/f32", GINT_TO_POINTER(FASTVLM_KV_F32), test_type);
    g_test_add_data_func("/attend/bf16", GINT_TO_POINTER(FASTVLM_KV_BF16), test_type);
    return g_test_run();
}
