/*
 * Self-attention: keys and values of each head are packed once, as the weights of two products; then
 * an item is one head and one tile of query rows, its scores in the scratch.
 *
 *     scores [tile, n] = q [tile, head_dim] * transpose(keys);  out = softmax(scores) * values
 *
 * For bf16 q is rounded into the scratch, and a row of probabilities where it lies, as soon as its
 * softmax is computed: it is still in the cache then.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/attention.h"

#include <string.h>

#include "kernels/blas.h"

#define MAX_TILE_ROWS (8 * FASTVLM_ROW_GROUP)
#define PANEL FASTVLM_PANEL_COLUMNS

typedef struct {
    const FastvlmCompute *compute;
    const FastvlmAttention *attention;
    const float *qkv;
    guint32 *packed;
    float *out;
    int tile_rows;
} AttentionRun;

/** Floats of a row of scores: what a rounded row of them takes. */
static gsize score_step(const FastvlmAttention *attention)
{
    return FASTVLM_ROUNDED_ROW_BYTES(attention->n_rows) / sizeof(float);
}

static int choose_tile_rows(const FastvlmAttention *attention)
{
    return MIN(fastvlm_pad_rows(attention->n_rows), MAX_TILE_ROWS);
}

static gsize pad_to_panels(int n)
{
    return ((gsize)n + PANEL - 1) / PANEL * PANEL;
}

/** Words of a column of `k` elements. */
static gsize count_units(const FastvlmAttention *attention, int k)
{
    return attention->is_bf16 ? FASTVLM_UNITS_BF16(k) : FASTVLM_UNITS_F32(k);
}

/** Floats of a tile's scores; its rounded rows of q follow. */
static gsize count_score_floats(const FastvlmAttention *attention)
{
    return (gsize)choose_tile_rows(attention) * score_step(attention);
}

gsize fastvlm_attention_scratch_size(const FastvlmAttention *attention)
{
    const gsize row = FASTVLM_ROUNDED_ROW_BYTES(attention->head_dim) / sizeof(float);

    return count_score_floats(attention) + (gsize)choose_tile_rows(attention) * row;
}

/** Words of one head's packed keys; its values follow. */
static gsize count_key_words(const FastvlmAttention *attention)
{
    return pad_to_panels(attention->n_rows) * count_units(attention, attention->head_dim);
}

static gsize count_head_words(const FastvlmAttention *attention)
{
    return count_key_words(attention) +
           count_units(attention, attention->n_rows) * pad_to_panels(attention->head_dim);
}

gsize fastvlm_attention_packed_size(const FastvlmAttention *attention)
{
    return (gsize)attention->n_heads * count_head_words(attention);
}

/** Words of `n` pairs of rising k: low [i * step] and high [i * step]. */
static void pair_bf16(const float *low, const float *high, int n, int step, guint32 *words)
{
    for (int i = 0; i < n; i++)
        words[i] = fastvlm_bf16_pair(low[i * step], high[i * step]);
}

/** Up to 16 words of a row of keys, from unit `unit` of k on; what is behind the row counts as 0. */
static void get_key_words(const FastvlmAttention *attention, const float *k, int unit,
                          guint32 words[PANEL])
{
    const int n_left = attention->head_dim - unit * (attention->is_bf16 ? 2 : 1);

    memset(words, 0, PANEL * sizeof *words);
    if (!attention->is_bf16) {
        memcpy(words, k + unit, (gsize)MIN(n_left, PANEL) * sizeof *words);
        return;
    }
    k += 2 * unit;
    pair_bf16(k, k + 1, MIN(n_left / 2, PANEL), 2, words);
    if (n_left < 2 * PANEL && n_left % 2)
        words[n_left / 2] = fastvlm_bf16_pair(k[n_left - 1], 0.0f);
}

/** Units unit .. of 16 rows of keys, or `n_rows`: rows become columns. */
static void pack_key_block(const FastvlmAttention *attention, const float *k, gsize step,
                           int n_rows, int unit, int n_units, guint32 *to)
{
    guint32 words[PANEL][PANEL] = {{0}};

    for (int row = 0; row < n_rows; row++)
        get_key_words(attention, k + (gsize)row * step, unit, words[row]);
    for (int i = 0; i < n_units; i++, to += PANEL)
        for (int row = 0; row < PANEL; row++)
            to[row] = words[row][i];
}

/** keys: panels of 16 rows [head_dim][16]. */
static void pack_keys(const FastvlmAttention *attention, const float *k, gsize step,
                      guint32 *packed)
{
    const int n_units = (int)count_units(attention, attention->head_dim);

    for (int row = 0; row < attention->n_rows; row += PANEL)
        for (int unit = 0; unit < n_units; unit += PANEL) {
            const int n = MIN(PANEL, n_units - unit);

            pack_key_block(attention, k + (gsize)row * step, step,
                           MIN(PANEL, attention->n_rows - row), unit, n, packed);
            packed += n * PANEL;
        }
}

/** `n` channels of one row of values, or of two that share words, to a panel. */
static void pack_value(const FastvlmAttention *attention, const float *v, const float *next, int n,
                       guint32 *to)
{
    static const float zeros[PANEL];

    if (n < PANEL)
        memset(to, 0, PANEL * sizeof *to);
    if (!attention->is_bf16)
        memcpy(to, v, (gsize)n * sizeof *to);
    else
        pair_bf16(v, next ? next : zeros, n, 1, to);
}

/** values: panels of 16 channels [n_rows][16]. */
static void pack_values(const FastvlmAttention *attention, const float *v, gsize step,
                        guint32 *packed)
{
    const int n_together = attention->is_bf16 ? 2 : 1;

    for (int first = 0; first < attention->head_dim; first += PANEL) {
        const int n = MIN(PANEL, attention->head_dim - first);

        for (int row = 0; row < attention->n_rows; row += n_together, packed += PANEL) {
            const float *at = v + (gsize)row * step + first;

            pack_value(attention, at, row + 1 < attention->n_rows ? at + step : NULL, n, packed);
        }
    }
}

static gsize count_channels(const AttentionRun *run)
{
    return (gsize)run->attention->n_heads * (gsize)run->attention->head_dim;
}

static void pack_head(int head, int worker, void *data)
{
    const AttentionRun *run = data;
    const FastvlmAttention *attention = run->attention;
    const gsize n_channels = count_channels(run);
    const float *k = run->qkv + n_channels + (gsize)head * (gsize)attention->head_dim;
    guint32 *packed = run->packed + (gsize)head * count_head_words(attention);

    pack_keys(attention, k, 3 * n_channels, packed);
    pack_values(attention, k + n_channels, 3 * n_channels, packed + count_key_words(attention));
}

static void multiply(const AttentionRun *run, const float *a, gsize lda, const guint32 *packed,
                     int n_rows, int n_columns, int k, float *c, gsize ldc)
{
    const FastvlmKernels *kernels = run->compute->kernels;
    const FastvlmGemm gemm = {
        .a = a,
        .lda = lda,
        .b = packed,
        .c = c,
        .ldc = ldc,
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = k,
    };

    (run->attention->is_bf16 ? kernels->gemm_bf16 : kernels->gemm_f32)(&gemm);
}

/** Scores to probabilities, rounded where they are to be multiplied as bf16. */
static void soften(const AttentionRun *run, int n_rows, float *scores)
{
    const FastvlmKernels *kernels = run->compute->kernels;
    const int n = run->attention->n_rows;
    const gsize step = score_step(run->attention);

    for (int i = 0; i < n_rows; i++, scores += step) {
        kernels->softmax_f32(scores, (size_t)n);
        if (run->attention->is_bf16)
            kernels->round_rows_bf16(scores, step, 1, n, scores);
    }
}

static void run_tile(int item, int worker, void *data)
{
    const AttentionRun *run = data;
    const FastvlmAttention *attention = run->attention;
    const int n = attention->n_rows, head_dim = attention->head_dim;
    const int n_tiles = (n + run->tile_rows - 1) / run->tile_rows;
    const int head = item / n_tiles;
    const int row = item % n_tiles * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, n - row);
    const gsize n_channels = count_channels(run);
    const gsize column = (gsize)head * (gsize)head_dim;
    const guint32 *keys = run->packed + (gsize)head * count_head_words(attention);
    const float *q = run->qkv + (gsize)row * 3 * n_channels + column;
    float *scores = run->compute->scratch[worker]; /* [tile_rows, score_step] */
    float *rounded = scores + count_score_floats(attention);

    if (attention->is_bf16) {
        run->compute->kernels->round_rows_bf16(q, 3 * n_channels, n_rows, head_dim, rounded);
        q = rounded;
    }
    multiply(run, q, 3 * n_channels, keys, n_rows, n, head_dim, scores, score_step(attention));
    soften(run, n_rows, scores);
    multiply(run, scores, score_step(attention), keys + count_key_words(attention), n_rows,
             head_dim, n, run->out + (gsize)row * n_channels + column, n_channels);
}

/** The same in f32 by OpenBLAS, which packs for itself. */
static void run_blas_tile(int item, int worker, void *data)
{
    const AttentionRun *run = data;
    const FastvlmAttention *attention = run->attention;
    const int n = attention->n_rows, head_dim = attention->head_dim;
    const int head = item % attention->n_heads;
    const int row = item / attention->n_heads * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, fastvlm_pad_rows(n) - row);
    const gsize n_channels = count_channels(run);
    const gsize step = 3 * n_channels;
    const float *q = run->qkv + (gsize)head * (gsize)head_dim + (gsize)row * step;
    const float *k = run->qkv + n_channels + (gsize)head * (gsize)head_dim;
    float *scores = run->compute->scratch[worker]; /* [tile_rows, score_step] */

    fastvlm_blas_multiply_nt(n_rows, n, head_dim, q, step, k, step, scores, score_step(attention));
    soften(run, n_rows, scores);
    fastvlm_blas_multiply_nn(
        n_rows, head_dim, n, scores, score_step(attention), k + n_channels, step,
        run->out + (gsize)row * n_channels + (gsize)head * (gsize)head_dim, n_channels);
}

gboolean fastvlm_attention_run(const FastvlmCompute *compute, const FastvlmAttention *attention,
                               const float *qkv, float *packed, float *out, GError **error)
{
    AttentionRun run = {compute,           attention, qkv,
                        (guint32 *)packed, out,       choose_tile_rows(attention)};
    const int n_tiles = (attention->n_rows + run.tile_rows - 1) / run.tile_rows;

    if (compute->use_blas && !attention->is_bf16)
        return fastvlm_compute_run(compute, n_tiles * attention->n_heads, run_blas_tile, &run,
                                   error);
    return fastvlm_compute_run(compute, attention->n_heads, pack_head, &run, error) &&
           fastvlm_compute_run(compute, n_tiles * attention->n_heads, run_tile, &run, error);
}
