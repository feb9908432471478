/*
 * Says what a checkpoint is, without loading its weights.
 *
 *     directory -> checkpoint -> the encoder's layout -> every tensor's shape -> info
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "api/packing.h"
#include "base/text_file.h"
#include "load/layout.h"

/* Rows of the head that are compared with the embedding's. */
#define N_COMPARED_ROWS 64

static const char *const precision_names[] = {
    [FASTVLM_PRECISION_AUTO] = "auto", [FASTVLM_PRECISION_F32] = "f32",
    [FASTVLM_PRECISION_BF16] = "bf16", [FASTVLM_PRECISION_INT8] = "int8",
    [FASTVLM_PRECISION_INT4] = "int4",
};

const char *fastvlm_precision_to_string(FastvlmPrecision precision)
{
    return precision_names[precision];
}

gboolean fastvlm_precision_from_string(const char *name, FastvlmPrecision *precision)
{
    for (guint i = 0; i < G_N_ELEMENTS(precision_names); i++) {
        if (strcmp(name, precision_names[i]) != 0)
            continue;
        *precision = (FastvlmPrecision)i;
        return TRUE;
    }
    return FALSE;
}

const char *fastvlm_released_weights_notice(void)
{
    return "Apple releases the FastVLM weights (llava-fastvithd_*, apple/FastVLM-*) under the "
           "Apple "
           "Machine Learning Research Model licence: for research only, not for commercial use, "
           "products or services. They are not part of this software; who fetches them accepts "
           "that licence, which stands beside them as LICENSE_MODEL.";
}

void fastvlm_model_info_free(FastvlmModelInfo *info)
{
    if (!info)
        return;
    g_free(info->path);
    g_free(info->layout_note);
    g_free(info->stage);
    g_free(info->stored_dtypes);
    g_free(info->head_note);
    g_free(info->licence_note);
    g_free(info);
}

/** What the weight file says, or the licence file beside it, or what holds for the released ones. */
static char *find_licence(const FastvlmCheckpoint *checkpoint)
{
    static const char *const names[] = {"LICENSE", "LICENSE_MODEL", "LICENSE.txt", "LICENSE.md"};
    const char *said = fastvlm_checkpoint_get_metadata(checkpoint, "license");

    if (said) {
        g_autofree char *quoted = fastvlm_text_quote(said);

        return g_strdup_printf("%s, as the weight file says", quoted);
    }
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path =
            g_build_filename(fastvlm_checkpoint_get_path(checkpoint), names[i], NULL);

        if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
            return g_strdup_printf("see %s", path);
    }
    return g_strdup_printf("Not said by this checkpoint. %s", fastvlm_released_weights_notice());
}

/** Whether row `row` of two matrices of the same shape is the same; one that cannot be read is. */
static gboolean rows_match(const FastvlmCheckpoint *checkpoint, const FastvlmTensorView *a,
                           const FastvlmTensorView *b, gint64 row, float *row_a, float *row_b)
{
    return !fastvlm_checkpoint_read_f32_rows(checkpoint, a, row, 1, row_a, NULL) ||
           !fastvlm_checkpoint_read_f32_rows(checkpoint, b, row, 1, row_b, NULL) ||
           memcmp(row_a, row_b, (gsize)a->shape[1] * sizeof *row_a) == 0;
}

/** Compares some rows, evenly spread: a head that was trained apart differs in each. */
static gboolean head_matches(const FastvlmCheckpoint *checkpoint, const FastvlmTensorView *head,
                             const FastvlmTensorView *embedding)
{
    const gint64 n_rows = embedding->shape[0];
    const gint64 n_compared = MIN(n_rows, N_COMPARED_ROWS);
    g_autofree float *row_a = NULL;
    g_autofree float *row_b = NULL;

    if (head->n_dims != 2 || head->shape[0] != n_rows || head->shape[1] != embedding->shape[1] ||
        !fastvlm_dtype_is_weight(head->dtype))
        return FALSE;
    row_a = g_new(float, embedding->shape[1]);
    row_b = g_new(float, embedding->shape[1]);
    for (gint64 i = 0; i < n_compared; i++)
        if (!rows_match(checkpoint, head, embedding, i * n_rows / n_compared, row_a, row_b))
            return FALSE;
    return TRUE;
}

/** What is odd about the head: config.json's flag decides, unless the caller did. */
static char *note_head(const FastvlmCheckpoint *checkpoint)
{
    const FastvlmConfig *config = fastvlm_checkpoint_get_config(checkpoint);
    const FastvlmTensorView *head = fastvlm_checkpoint_find(checkpoint, "lm_head.weight");
    const FastvlmTensorView *embedding =
        fastvlm_checkpoint_find(checkpoint, "model.embed_tokens.weight");

    if (!config->tied_head || !head || head_matches(checkpoint, head, embedding))
        return NULL;
    return g_strdup_printf("lm_head.weight differs from the embedding, but %s: the embedding is "
                           "used. If answers make no "
                           "sense, ask for the model's own head (--head own, property head)",
                           config->says_head ? "tie_word_embeddings in config.json is true"
                                             : "the head was asked to be tied");
}

static void take_config(const FastvlmConfig *config, FastvlmModelInfo *info)
{
    info->fit = config->fit;
    info->resolution = config->resolution;
    info->hidden_size = config->hidden_size;
    info->n_layers = config->n_layers;
    info->n_heads = config->n_heads;
    info->n_kv_heads = config->n_kv_heads;
    info->head_dim = config->head_dim;
    info->intermediate_size = config->intermediate_size;
    info->vocab_size = config->vocab_size;
    info->max_positions = config->max_positions;
    info->tied_head = config->tied_head;
}

/** "stage 3" out of a name such as llava-fastvithd_0.5b_stage3. */
static char *find_stage_in(const char *name)
{
    const char *at = name ? strstr(name, "stage") : NULL;

    if (at)
        at += strlen("stage");
    if (at && (*at == '_' || *at == '-'))
        at++;
    return at && *at >= '1' && *at <= '3' && !g_ascii_isdigit(at[1])
               ? g_strdup_printf("stage %c", *at)
               : NULL;
}

/** The directory's name may tell, or the name that config.json has for it. */
static char *find_stage(const FastvlmCheckpoint *checkpoint)
{
    char *real = realpath(fastvlm_checkpoint_get_path(checkpoint), NULL);
    g_autofree char *base = real ? g_path_get_basename(real) : NULL;
    char *stage = find_stage_in(base);

    free(real);
    return stage ? stage : find_stage_in(fastvlm_checkpoint_get_config(checkpoint)->origin);
}

static void take_totals(const FastvlmTensorTotals *totals, FastvlmModelInfo *info)
{
    info->n_vision_parameters = totals->n_parameters[FASTVLM_PART_VISION];
    info->n_projector_parameters = totals->n_parameters[FASTVLM_PART_PROJECTOR];
    info->n_language_parameters = totals->n_parameters[FASTVLM_PART_LANGUAGE];
}

static gboolean take_memory(const FastvlmCheckpoint *checkpoint, const FastvlmVisionLayout *layout,
                            FastvlmModelInfo *info, GError **error)
{
    return fastvlm_packing_measure(checkpoint, layout, FASTVLM_MATRIX_F32, &info->memory_f32_bytes,
                                   error) &&
           fastvlm_packing_measure(checkpoint, layout, FASTVLM_MATRIX_BF16,
                                   &info->memory_bf16_bytes, error) &&
           fastvlm_packing_measure(checkpoint, layout, FASTVLM_MATRIX_INT8,
                                   &info->memory_int8_bytes, error) &&
           fastvlm_packing_measure(checkpoint, layout, FASTVLM_MATRIX_INT4,
                                   &info->memory_int4_bytes, error);
}

gboolean fastvlm_inspect_checkpoint(const FastvlmCheckpoint *checkpoint, FastvlmModelInfo *info,
                                    GError **error)
{
    FastvlmVisionLayout layout;
    FastvlmTensorTotals totals;

    if (!fastvlm_vision_layout_detect(checkpoint, &layout, error) ||
        !fastvlm_layout_verify(checkpoint, &layout, &totals, error) ||
        !take_memory(checkpoint, &layout, info, error))
        return FALSE;
    info->path = g_strdup(fastvlm_checkpoint_get_path(checkpoint));
    info->layout = fastvlm_checkpoint_get_layout(checkpoint);
    info->layout_note = fastvlm_checkpoint_describe_layout(checkpoint);
    info->stage = find_stage(checkpoint);
    take_config(fastvlm_checkpoint_get_config(checkpoint), info);
    take_totals(&totals, info);
    memcpy(info->vision_blocks, layout.blocks, sizeof info->vision_blocks);
    memcpy(info->vision_dims, layout.dims, sizeof info->vision_dims);
    info->file_size_bytes = fastvlm_checkpoint_file_size(checkpoint);
    info->stored_dtypes = fastvlm_checkpoint_dtypes(checkpoint);
    info->head_note = note_head(checkpoint);
    info->licence_note = find_licence(checkpoint);
    return TRUE;
}

FastvlmModelInfo *fastvlm_model_inspect_for(const char *name, const FastvlmModelParams *params,
                                            GError **error)
{
    static const FastvlmModelParams defaults = {0};
    FastvlmCheckpoint *checkpoint =
        fastvlm_open_model_for(name, params ? params : &defaults, error);
    FastvlmModelInfo *info;

    if (!checkpoint)
        return NULL;
    info = g_new0(FastvlmModelInfo, 1);
    if (!fastvlm_inspect_checkpoint(checkpoint, info, error) ||
        !fastvlm_inspect_tokenizer(info->path, &info->tokenizer_size, error))
        g_clear_pointer(&info, fastvlm_model_info_free);
    fastvlm_checkpoint_free(checkpoint);
    return info;
}

FastvlmModelInfo *fastvlm_model_inspect(const char *name, GError **error)
{
    return fastvlm_model_inspect_for(name, NULL, error);
}
