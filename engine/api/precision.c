/*
 * Plans precisions; measures int8 on a checkpoint once and keeps the verdict:
 *
 *     KEY of the checkpoint, the precision it was held against, "iiiib", cosine
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/precision.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/inspect.h"
#include "base/alloc.h"
#include "kernels/blas.h"
#include "load/cache.h"
#include "vision/verdict.h"

#define VERDICT_LINE "fastvlm verdict 1"

static FastvlmMatrixType find_plain_type(gboolean use_blas)
{
    return use_blas ? FASTVLM_MATRIX_BLAS : FASTVLM_MATRIX_F32;
}

static FastvlmMatrixType find_type(gboolean use_blas, FastvlmPrecision precision)
{
    switch (precision) {
    case FASTVLM_PRECISION_BF16:
        return FASTVLM_MATRIX_BF16;
    case FASTVLM_PRECISION_INT8:
        return FASTVLM_MATRIX_INT8;
    case FASTVLM_PRECISION_INT4:
        return FASTVLM_MATRIX_INT4;
    default:
        return find_plain_type(use_blas);
    }
}

/** What a stage computes in that may not be int8: the fastest that is as good as f32. */
static FastvlmMatrixType find_safe_type(FastvlmTier tier, gboolean use_blas)
{
    return tier == FASTVLM_TIER_AVX512_BF16 || tier == FASTVLM_TIER_NEON_BF16
               ? FASTVLM_MATRIX_BF16
               : find_plain_type(use_blas);
}

/** Where the verdict on this checkpoint is kept; NULL: nowhere. */
static char *find_file(const FastvlmModelInfo *info, const FastvlmModelParams *params,
                       FastvlmMatrixType safe)
{
    FastvlmCacheConfig *config = fastvlm_cache_get_config();
    char *file = NULL;

    if (!params->no_cache && config->directory &&
        info->memory_f32_bytes / sizeof(float) >= config->min_bytes)
        file = fastvlm_cache_name_verdict(config, info->path, fastvlm_matrix_type_to_string(safe));
    fastvlm_cache_config_free(config);
    return file;
}

/** Reads a kept verdict; FALSE where there is none for just this. */
static gboolean read_verdict(const char *file, const char *key, FastvlmVisionVerdict *verdict)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    char *end;

    if (!file || !g_file_get_contents(file, &text, NULL, NULL))
        return FALSE;
    lines = g_strsplit(text, "\n", 5);
    if (g_strv_length(lines) != 5 || strcmp(lines[0], VERDICT_LINE) != 0 ||
        strcmp(lines[1], key) != 0 || strlen(lines[2]) != FASTVLM_VISION_STAGES ||
        strspn(lines[2], "i-") != FASTVLM_VISION_STAGES)
        return FALSE;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        verdict->is_int8[s] = lines[2][s] == 'i';
    verdict->cosine = g_ascii_strtod(lines[3], &end);
    return end != lines[3] && *end == '\0' && verdict->cosine >= 0.0 && verdict->cosine <= 1.0;
}

/** Keeps a verdict where it can; the next load measures again where it cannot. */
static void write_verdict(const char *file, const char *key, const FastvlmVisionVerdict *verdict)
{
    char letters[FASTVLM_VISION_STAGES + 1] = {0};
    char cosine[G_ASCII_DTOSTR_BUF_SIZE];
    g_autofree char *directory = g_path_get_dirname(file);
    g_autofree char *text = NULL;

    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        letters[s] = verdict->is_int8[s] ? 'i' : '-';
    g_ascii_dtostr(cosine, sizeof cosine, verdict->cosine);
    text = g_strdup_printf(VERDICT_LINE "\n%s\n%s\n%s\n", key, letters, cosine);
    g_mkdir_with_parents(directory, 0700);
    if (!g_file_set_contents_full(file, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL))
        g_info("%s: cannot be written; the precision will be measured again", file);
}

static gboolean tell_nothing(double fraction, gpointer data)
{
    const FastvlmModelParams *params = data;

    return params->progress(0.0, params->progress_data);
}

static gboolean measure(FastvlmModel *model, const FastvlmModelParams *params,
                        const FastvlmPackingPlan *safe, FastvlmVisionVerdict *verdict,
                        GError **error)
{
    FastvlmCompute compute = {
        .pool = model->pool, .kernels = model->kernels, .use_blas = model->use_blas};
    FastvlmReader reader = {
        .checkpoint = model->checkpoint,
        .pool = model->pool,
        .progress = params->progress ? tell_nothing : NULL,
        .progress_data = (gpointer)params,
    };
    gboolean ok;

    fastvlm_compute_init(&compute);
    ok = fastvlm_vision_layout_detect(model->checkpoint, &reader.layout, error) &&
         fastvlm_vision_measure(&reader, &compute, &safe->vision, verdict, error);
    fastvlm_compute_clear(&compute);
    return ok;
}

/** The verdict on the model's checkpoint: kept, or measured now. */
static gboolean find_verdict(FastvlmModel *model, const FastvlmModelParams *params,
                             const FastvlmPackingPlan *safe, FastvlmVisionVerdict *verdict,
                             GError **error)
{
    static const char *const no_names[] = {NULL};
    g_autofree char *file = find_file(model->info, params, safe->vision.stages[0]);
    g_autofree char *key =
        file ? fastvlm_checkpoint_fingerprint(model->checkpoint, no_names) : NULL;

    if (key && read_verdict(file, key, verdict))
        return TRUE;
    if (!measure(model, params, safe, verdict, error))
        return FALSE;
    if (key)
        write_verdict(file, key, verdict);
    return TRUE;
}

/** "int8", or which stages are not. */
static char *describe_verdict(const FastvlmVisionVerdict *verdict, FastvlmMatrixType safe)
{
    GString *text = g_string_new("int8");
    const char *separator = " (encoder stages ";

    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        if (!verdict->is_int8[s]) {
            g_string_append_printf(text, "%s%d", separator, s + 1);
            separator = ", ";
        }
    if (strcmp(separator, ", ") == 0)
        g_string_append_printf(text, " in %s)", fastvlm_matrix_type_to_string(safe));
    return g_string_free(text, FALSE);
}

static gboolean plan_auto(FastvlmModel *model, const FastvlmModelParams *params,
                          FastvlmPackingPlan *plan, GError **error)
{
    const FastvlmMatrixType safe = find_safe_type(model->kernels->tier, model->use_blas);
    FastvlmVisionVerdict verdict;

    if (model->kernels->tier == FASTVLM_TIER_SCALAR) {
        model->precision = FASTVLM_PRECISION_F32;
        model->precision_note = g_strdup("f32");
        fastvlm_packing_plan_fill(plan, find_plain_type(model->use_blas));
        return TRUE;
    }
    fastvlm_packing_plan_fill(plan, safe);
    if (!find_verdict(model, params, plan, &verdict, error))
        return FALSE;
    model->precision = FASTVLM_PRECISION_INT8;
    model->precision_note = describe_verdict(&verdict, safe);
    plan->language = FASTVLM_MATRIX_INT8;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        if (verdict.is_int8[s])
            plan->vision.stages[s] = FASTVLM_MATRIX_INT8;
    return TRUE;
}

char *fastvlm_model_info_describe_auto(const FastvlmModelInfo *info,
                                       const FastvlmModelParams *params)
{
    static const FastvlmModelParams defaults = {0};
    static const char *const no_names[] = {NULL};
    const FastvlmTier tier = fastvlm_tier_in_use();
    const FastvlmMatrixType safe = find_safe_type(tier, fastvlm_blas_is_wanted(tier));
    g_autofree char *file = find_file(info, params ? params : &defaults, safe);
    g_autofree char *key = NULL;
    g_autofree char *found = NULL;
    FastvlmCheckpoint *checkpoint;
    FastvlmVisionVerdict verdict;

    if (tier == FASTVLM_TIER_SCALAR)
        return g_strdup("f32, because there are plain kernels alone for this processor");
    checkpoint =
        file ? fastvlm_open_model_for(info->path, params ? params : &defaults, NULL) : NULL;
    key = checkpoint ? fastvlm_checkpoint_fingerprint(checkpoint, no_names) : NULL;
    fastvlm_checkpoint_free(checkpoint);
    if (key && read_verdict(file, key, &verdict))
        found = describe_verdict(&verdict, safe);
    if (found)
        return g_strconcat(found, ", as measured at an earlier load", NULL);
    return g_strdup_printf("int8 where that is close enough, which %s",
                           file ? "the first load will measure, and keep"
                                : "each load measures, for nothing is kept");
}

static guint64 get_weight_bytes(const FastvlmModelInfo *info, FastvlmPrecision precision)
{
    switch (precision) {
    case FASTVLM_PRECISION_BF16:
        return info->memory_bf16_bytes;
    case FASTVLM_PRECISION_INT8:
        return info->memory_int8_bytes;
    case FASTVLM_PRECISION_INT4:
        return info->memory_int4_bytes;
    case FASTVLM_PRECISION_AUTO:
        if (fastvlm_tier_in_use() != FASTVLM_TIER_SCALAR)
            return info->memory_int8_bytes;
        return info->memory_f32_bytes;
    default:
        return info->memory_f32_bytes;
    }
}

/** The precision with the best answers whose weights fit, for people. */
static const char *suggest_precision(const FastvlmModelInfo *info, guint64 limit)
{
    if (info->memory_bf16_bytes <= limit)
        return "bf16, int8 or int4";
    if (info->memory_int8_bytes <= limit)
        return "int8 or int4";
    return info->memory_int4_bytes <= limit ? "int4" : "a smaller model";
}

gboolean fastvlm_model_info_check_memory(const FastvlmModelInfo *info, FastvlmPrecision precision,
                                         GError **error)
{
    const guint64 n_bytes = get_weight_bytes(info, precision);
    const guint64 limit = fastvlm_memory_limit();

    if (n_bytes <= limit)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                "%s: precision %s: the weights alone take %.2f GB, expected at most the %.2f GB of "
                "memory that this process can have: use %s",
                info->path, fastvlm_precision_to_string(precision), n_bytes / 1e9, limit / 1e9,
                suggest_precision(info, limit));
    return FALSE;
}

gboolean fastvlm_precision_plan(FastvlmModel *model, const FastvlmModelParams *params,
                                FastvlmPackingPlan *plan, GError **error)
{
    *plan = (FastvlmPackingPlan){.vision.plain = find_plain_type(model->use_blas)};
    if (!fastvlm_model_info_check_memory(model->info, params->precision, error))
        return FALSE;
    if (params->precision == FASTVLM_PRECISION_AUTO)
        return plan_auto(model, params, plan, error);
    model->precision = params->precision;
    model->precision_note = g_strdup(fastvlm_precision_to_string(params->precision));
    fastvlm_packing_plan_fill(plan, find_type(model->use_blas, params->precision));
    return TRUE;
}
