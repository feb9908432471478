/*
 * Joins and reads quantized weights.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/quantized.h"

#include <fastvlm/error.h>
#include <math.h>
#include <string.h>

#include "base/text_file.h"

#define WORD_BITS 32
#define SCALES ".scales"
#define BLOCK_BYTES ((gsize)64 << 10) /* of words that are read at a time */
#define FORMAT_SHAPE "[%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT "]"

typedef struct {
    FastvlmDerived derived;
    const FastvlmTensorView *words;
    const FastvlmTensorView *scales;
    const FastvlmTensorView *biases;
    int bits;
    int group_size;
} Quantized;

/** A row: each group of integers by its scale and bias; FALSE where a product is not finite. */
static gboolean expand_row(const Quantized *quantized, gint64 n_in, const guint32 *words,
                           const float *scales, const float *biases, float *out)
{
    const int bits = quantized->bits;
    const gint64 n_each = WORD_BITS / bits;
    const guint32 mask = (1u << bits) - 1;
    float worst = 0.0f;

    for (gint64 i = 0; i < n_in; i += n_each) {
        const gint64 group = i / quantized->group_size;
        guint32 word = GUINT32_FROM_LE(words[i / n_each]);

        for (gint64 k = 0; k < n_each; k++, word >>= bits)
            out[i + k] = scales[group] * (float)(word & mask) + biases[group];
        worst = MAX(worst, fabsf(out[i]));
    }
    for (gint64 i = 0; i < n_in; i++)
        worst += fabsf(out[i]) <= 3e38f ? 0.0f : INFINITY;
    return isfinite(worst);
}

/** Memory for a block of rows and what they are made of. */
typedef struct {
    guint32 *words;
    float *scales;
    float *biases;
} Block;

static gboolean read_block(const FastvlmTensorView *view, gint64 first, gint64 n_rows, Block block,
                           float *out, GError **error)
{
    const Quantized *quantized = (const Quantized *)view->derived;
    const gint64 n_in = view->shape[1], n_words = quantized->words->shape[1];
    const gint64 n_groups = quantized->scales->shape[1];

    if (!fastvlm_tensor_view_read(quantized->words, (gsize)(first * n_words) * sizeof(guint32),
                                  (gsize)(n_rows * n_words) * sizeof(guint32), block.words,
                                  error) ||
        !fastvlm_view_read_rows(quantized->scales, first, n_rows, block.scales, error) ||
        !fastvlm_view_read_rows(quantized->biases, first, n_rows, block.biases, error))
        return FALSE;
    for (gint64 i = 0; i < n_rows; i++) {
        if (expand_row(quantized, n_in, block.words + i * n_words, block.scales + i * n_groups,
                       block.biases + i * n_groups, out + i * n_in))
            continue;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: tensor %s: row %" G_GINT64_FORMAT
                    ": scale times integer is beyond f32: the file is damaged",
                    view->file, view->name, first + i);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows,
                          float *out, GError **error)
{
    const Quantized *quantized = (const Quantized *)view->derived;
    const gsize n_words = (gsize)quantized->words->shape[1];
    const gsize n_groups = (gsize)quantized->scales->shape[1];
    const gint64 n_each = MIN(n_rows, (gint64)MAX(BLOCK_BYTES / (n_words * sizeof(guint32)), 1));
    Block block = {
        .words = g_new(guint32, (gsize)n_each * n_words),
        .scales = g_new(float, (gsize)n_each *n_groups),
        .biases = g_new(float, (gsize)n_each *n_groups),
    };
    gboolean ok = TRUE;

    for (gint64 i = 0; ok && i < n_rows; i += n_each)
        ok = read_block(view, first_row + i, MIN(n_each, n_rows - i), block,
                        out + i * view->shape[1], error);
    g_free(block.words);
    g_free(block.scales);
    g_free(block.biases);
    return ok;
}

static void expect_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows)
{
    const Quantized *quantized = (const Quantized *)view->derived;

    fastvlm_view_expect_rows(quantized->words, first_row, n_rows);
    fastvlm_view_expect_rows(quantized->scales, first_row, n_rows);
    fastvlm_view_expect_rows(quantized->biases, first_row, n_rows);
}

static void free_quantized(FastvlmDerived *derived)
{
    g_free(derived);
}

static char *spell_found(const char *what, const FastvlmTensorView *view, const char *expected)
{
    g_autofree char *found = fastvlm_view_spell(view);

    return g_strdup_printf("its %s %s, expected %s", what, found, expected);
}

static char *spell_parts(const FastvlmTensorView *scales, const FastvlmTensorView *biases,
                         gint64 n_rows)
{
    g_autofree char *found = fastvlm_view_spell(scales);
    g_autofree char *other = fastvlm_view_spell(biases);

    return g_strdup_printf("its .scales are %s and its .biases %s, expected both in BF16, F16 or "
                           "F32 with a row for each of its %" G_GINT64_FORMAT " rows",
                           found, other, n_rows);
}

/** What is wrong with the three, or NULL; finds the width of the integers. */
static char *check(Quantized *quantized)
{
    const FastvlmTensorView *words = quantized->words, *scales = quantized->scales;
    const FastvlmTensorView *biases = quantized->biases;
    gint64 n_in;

    if (!words || words->dtype != FASTVLM_DTYPE_U32 || words->n_dims != 2)
        return spell_found(".weight is", words, "U32 words of two dimensions");
    if (!biases)
        return g_strdup("there are .scales and no .biases, expected both");
    if (scales->n_dims != 2 || biases->n_dims != 2 || scales->shape[0] != words->shape[0] ||
        memcmp(scales->shape, biases->shape, 2 * sizeof *scales->shape) != 0 ||
        !fastvlm_dtype_is_weight(scales->dtype) || !fastvlm_dtype_is_weight(biases->dtype))
        return spell_parts(scales, biases, words->shape[0]);
    if (scales->shape[1] > 65536 || words->shape[1] > 1 << 20)
        return g_strdup_printf("%" G_GINT64_FORMAT " words and %" G_GINT64_FORMAT
                               " groups a row, expected at most 1048576 and 65536",
                               words->shape[1], scales->shape[1]);
    n_in = scales->shape[1] * quantized->group_size;
    quantized->bits = (int)(words->shape[1] * WORD_BITS / n_in);
    if ((quantized->bits == 2 || quantized->bits == 4 || quantized->bits == 8) &&
        quantized->bits * n_in == words->shape[1] * WORD_BITS)
        return NULL;
    return g_strdup_printf("words " FORMAT_SHAPE " and scales " FORMAT_SHAPE
                           " with groups of %d (quantization.group_size in config.json) are %.3g "
                           "bits an integer, expected 2, 4 or 8",
                           words->shape[0], words->shape[1], scales->shape[0], scales->shape[1],
                           quantized->group_size,
                           (double)words->shape[1] * WORD_BITS / (double)n_in);
}

static FastvlmTensorView make_view(const Quantized *quantized)
{
    FastvlmTensorView view = *quantized->words;

    view.dtype = FASTVLM_DTYPE_F32;
    view.shape[1] = quantized->scales->shape[1] * quantized->group_size;
    view.n_elements = (guint64)view.shape[0] * (guint64)view.shape[1];
    view.n_bytes =
        quantized->words->n_bytes + quantized->scales->n_bytes + quantized->biases->n_bytes;
    return view;
}

/** Finds the tensors BASE.weight, .scales and .biases, NULL where they are no quantized weight. */
static Quantized *find(FastvlmTensorSet *set, const char *base, GError **error)
{
    Quantized *quantized = g_new0(Quantized, 1);
    g_autofree char *problem = NULL;
    g_autofree char *quoted = NULL;

    quantized->derived = (FastvlmDerived){read_rows, expect_rows, free_quantized};
    quantized->words = fastvlm_tensor_set_find_joined(set, base, ".weight");
    quantized->scales = fastvlm_tensor_set_find_joined(set, base, SCALES);
    quantized->biases = fastvlm_tensor_set_find_joined(set, base, ".biases");
    quantized->group_size = set->group_size;
    problem = check(quantized);
    if (!problem) {
        set->bits |= 1u << quantized->bits;
        return quantized;
    }
    quoted = fastvlm_text_quote(base);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT, "%s: quantized tensor %s: %s",
                quantized->scales->file, quoted, problem);
    g_free(quantized);
    return NULL;
}

/** All of them; FALSE at the first that is wrong. */
static gboolean find_all(FastvlmTensorSet *set, GPtrArray *found, GError **error)
{
    for (guint i = 0; i < set->views->len; i++) {
        const char *name = ((const FastvlmTensorView *)set->views->pdata[i])->name;
        g_autofree char *base = NULL;
        Quantized *quantized;

        if (!g_str_has_suffix(name, SCALES))
            continue;
        base = g_strndup(name, strlen(name) - strlen(SCALES));
        quantized = find(set, base, error);
        if (!quantized)
            return FALSE;
        g_ptr_array_add(found, quantized);
    }
    return TRUE;
}

gboolean fastvlm_quantized_join(FastvlmTensorSet *set, GError **error)
{
    GPtrArray *found = g_ptr_array_new();
    GHashTable *parts = g_hash_table_new(g_str_hash, g_str_equal);
    gboolean ok = find_all(set, found, error);

    for (guint i = 0; i < found->len; i++) {
        const Quantized *quantized = found->pdata[i];

        g_hash_table_add(parts, (gpointer)quantized->words->name);
        g_hash_table_add(parts, (gpointer)quantized->scales->name);
        g_hash_table_add(parts, (gpointer)quantized->biases->name);
    }
    if (ok)
        fastvlm_tensor_set_remove(set, parts);
    for (guint i = 0; i < found->len; i++) {
        Quantized *quantized = found->pdata[i];
        const FastvlmTensorView view = make_view(quantized);

        if (ok)
            ok = fastvlm_tensor_set_add(set, &view, &quantized->derived, error);
        else
            g_free(quantized);
    }
    g_hash_table_destroy(parts);
    g_ptr_array_free(found, TRUE);
    return ok;
}
