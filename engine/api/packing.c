/*
 * Loading weights, with or without a packed copy:
 *
 *     plan -> measured -> a copy on the disk? -- yes -> read, checked, used
 *                                             -- no  -> its file made (or memory) -> packed into
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/packing.h"

#include <stdlib.h>

#include "base/text_file.h"
#include "load/cache.h"
#include "text/tables.h"
#include "text/tokenizer_json.h"

/** What the tokenizer's tables are made from, or depend on. */
static const char *const tokenizer_files[] = {"vocab.json",        "merges.txt",
                                              "added_tokens.json", "tokenizer_config.json",
                                              "tokenizer.json",    NULL};

/** A load under way. */
typedef struct {
    FastvlmModel *model;
    const FastvlmModelParams *params;
    const FastvlmPackingPlan *plan;
    FastvlmReader reader;
    FastvlmCacheConfig *config;
    char *key;
    char *real_path; /* of the checkpoint's directory */
    char *file;      /* of the copy; NULL: there is to be none */
    char *problem;   /* why; or what is wrong with the one that is there */
} Loading;

void fastvlm_packing_plan_fill(FastvlmPackingPlan *plan, FastvlmMatrixType type)
{
    plan->language = type;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        plan->vision.stages[s] = type == FASTVLM_MATRIX_INT4 ? FASTVLM_MATRIX_INT8 : type;
}

/** One walk over all weights, for what the reader's store is in for. */
static gboolean take_weights(FastvlmVisionWeights *vision, FastvlmLanguageWeights *language,
                             FastvlmReader *reader, const FastvlmPackingPlan *plan, GError **error)
{
    fastvlm_vision_weights_clear(vision);
    fastvlm_language_weights_clear(language);
    return fastvlm_vision_weights_read(vision, reader, &plan->vision, error) &&
           fastvlm_language_weights_read(language, reader, plan->language, error);
}

gboolean fastvlm_packing_measure(const FastvlmCheckpoint *checkpoint,
                                 const FastvlmVisionLayout *layout, FastvlmMatrixType type,
                                 guint64 *n_bytes, GError **error)
{
    FastvlmPackingPlan plan = {.vision.plain = FASTVLM_MATRIX_F32};
    FastvlmReader reader = {
        .checkpoint = checkpoint, .layout = *layout, .store = fastvlm_store_new()};
    FastvlmVisionWeights vision = {0};
    FastvlmLanguageWeights language = {0};
    gboolean ok;

    fastvlm_packing_plan_fill(&plan, type);
    ok = take_weights(&vision, &language, &reader, &plan, error);
    *n_bytes = fastvlm_store_get_size(reader.store);
    fastvlm_vision_weights_clear(&vision);
    fastvlm_language_weights_clear(&language);
    fastvlm_store_free(reader.store);
    return ok;
}

static gboolean take_all(Loading *loading, GError **error)
{
    FastvlmModel *model = loading->model;

    return take_weights(&model->vision, &model->language, &loading->reader, loading->plan, error);
}

/** A letter for each matrix type of the plan: a part of the copy's name. */
static void spell_plan(const FastvlmPackingPlan *plan, char *letters)
{
    static const char of[FASTVLM_N_MATRIX_TYPES] = {'f', 'b', 'i', 'q', 'o'};

    *letters++ = of[plan->vision.plain];
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        *letters++ = of[plan->vision.stages[s]];
    *letters++ = of[plan->language];
    *letters = '\0';
}

static void set_problem(Loading *loading, const char *problem)
{
    g_free(loading->problem);
    loading->problem = g_strdup(problem);
}

/** Decides whether there is to be a copy, and where. */
static void find_file(Loading *loading)
{
    const guint64 n_bytes = fastvlm_store_get_size(loading->reader.store);
    char letters[FASTVLM_VISION_STAGES + 3];

    loading->config = fastvlm_cache_get_config();
    if (loading->params->no_cache) {
        set_problem(loading, "switched off");
    } else if (!loading->config->directory) {
        set_problem(loading, loading->config->problem);
    } else if (n_bytes < loading->config->min_bytes) {
        set_problem(loading, "a model this small is loaded as fast without");
    } else {
        spell_plan(loading->plan, letters);
        loading->file =
            fastvlm_cache_name_file(loading->config, loading->model->info->path, letters);
        loading->key = fastvlm_checkpoint_fingerprint(loading->model->checkpoint, tokenizer_files);
        loading->real_path = realpath(loading->model->info->path, NULL);
    }
}

static FastvlmPackedSpec get_spec(const Loading *loading)
{
    const FastvlmModel *model = loading->model;

    return (FastvlmPackedSpec){
        .key = loading->key,
        .model = loading->real_path ? loading->real_path : model->info->path,
        .precision = fastvlm_precision_to_string(model->precision),
        .store = loading->reader.store,
    };
}

/** The copy that is there, if it is good: tokenizer and weights. */
static gboolean use_copy(Loading *loading, GError **error)
{
    const FastvlmPackedSpec spec = get_spec(loading);
    FastvlmModel *model = loading->model;
    const void *tables;
    gsize n_bytes;

    model->packed = fastvlm_packed_open(loading->file, &spec, error);
    if (!model->packed)
        return FALSE;
    tables = fastvlm_packed_get_tables(model->packed, &n_bytes);
    if (n_bytes > 0 && !(model->tokenizer = fastvlm_tokenizer_new_from_tables(
                             model->info->path, tables, n_bytes, error)))
        return FALSE;
    fastvlm_store_bind(model->store, fastvlm_packed_get_blobs(model->packed), FASTVLM_STORE_FILLED);
    return take_all(loading, error);
}

/** As use_copy(); a copy that is no good leaves nothing behind but a line about why. */
static gboolean try_copy(Loading *loading)
{
    FastvlmModel *model = loading->model;
    g_autoptr(GError) problem = NULL;

    if (!loading->file)
        return FALSE;
    if (use_copy(loading, &problem)) {
        model->cache_note = g_strdup_printf("read from %s", loading->file);
        return TRUE;
    }
    if (!g_error_matches(problem, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND))
        g_info("%s: packed anew", problem->message);
    g_clear_pointer(&model->tokenizer, fastvlm_tokenizer_free);
    g_clear_pointer(&model->packed, fastvlm_packed_free);
    return FALSE;
}

/** A checkpoint without a tokenizer can still be run by ids. */
static gboolean load_tokenizer(FastvlmModel *model, GError **error)
{
    if (!fastvlm_tokenizer_is_there(model->info->path))
        return TRUE;
    model->tokenizer = fastvlm_tokenizer_load(model->info->path, error);
    return model->tokenizer != NULL;
}

/** Begins the file of a new copy. */
static gboolean begin_copy(Loading *loading, GError **error)
{
    const FastvlmPackedSpec spec = get_spec(loading);
    const FastvlmModelParams *params = loading->params;
    FastvlmModel *model = loading->model;
    GByteArray *tables = g_byte_array_new();
    guint64 n_bytes;

    if (model->tokenizer)
        fastvlm_tokenizer_write_tables(model->tokenizer, tables);
    n_bytes = fastvlm_packed_count_bytes(&spec, tables->len);
    if (params->cache_notice &&
        !params->cache_notice(loading->file, n_bytes, params->cache_notice_data))
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "declined");
    else if (fastvlm_cache_make_room(loading->config, loading->file, n_bytes, error))
        model->packed = fastvlm_packed_create(loading->file, &spec, tables, error);
    g_byte_array_unref(tables);
    return model->packed != NULL;
}

/** Memory to pack into: of a file, or anonymous. */
static gboolean bind_memory(Loading *loading, GError **error)
{
    FastvlmModel *model = loading->model;
    g_autoptr(GError) problem = NULL;

    if (loading->file && begin_copy(loading, &problem)) {
        fastvlm_store_bind(model->store, fastvlm_packed_get_blobs(model->packed),
                           FASTVLM_STORE_FILLING);
        return TRUE;
    }
    if (problem)
        set_problem(loading, problem->message);
    return fastvlm_store_bind_own(model->store, error);
}

static gboolean pack(Loading *loading, GError **error)
{
    FastvlmModel *model = loading->model;

    if (!load_tokenizer(model, error) || !bind_memory(loading, error) || !take_all(loading, error))
        return FALSE;
    if (model->packed) {
        fastvlm_packed_publish(model->packed);
        model->cache_note = g_strdup_printf("written to %s", loading->file);
    } else {
        model->cache_note = g_strdup_printf("none: %s", loading->problem);
    }
    return TRUE;
}

static void note_tokenizer(FastvlmModel *model)
{
    const FastvlmTokenizer *tokenizer = model->tokenizer;

    model->stop_ids[0] = model->stop_ids[1] = -1;
    if (!tokenizer)
        return;
    model->info->tokenizer_size = fastvlm_tokenizer_get_size(tokenizer);
    model->stop_ids[0] = fastvlm_tokenizer_find_special(tokenizer, "<|im_end|>");
    model->stop_ids[1] = fastvlm_tokenizer_find_special(tokenizer, "<|endoftext|>");
}

gboolean fastvlm_packing_load(FastvlmModel *model, const FastvlmModelParams *params,
                              const FastvlmPackingPlan *plan, GError **error)
{
    Loading loading = {
        .model = model,
        .params = params,
        .plan = plan,
        .reader = {.checkpoint = model->checkpoint,
                   .store = fastvlm_store_new(),
                   .pool = model->pool,
                   .progress = params->progress,
                   .progress_data = params->progress_data},
    };
    gboolean ok;

    model->store = loading.reader.store;
    ok = fastvlm_vision_layout_detect(model->checkpoint, &loading.reader.layout, error) &&
         take_all(&loading, error);
    if (ok)
        find_file(&loading);
    ok = ok && (try_copy(&loading) || pack(&loading, error));
    if (ok)
        note_tokenizer(model);
    fastvlm_cache_config_free(loading.config);
    g_free(loading.key);
    free(loading.real_path);
    g_free(loading.file);
    g_free(loading.problem);
    return ok;
}
