/*
 * Loading a model:
 *
 *     directory -> checkpoint (opened) -> inspected -> threads -> packed weights, tokenizer
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/model.h"

#include <string.h>

#include "api/inspect.h"
#include "api/packing.h"
#include "api/precision.h"
#include "base/text_file.h"
#include "kernels/blas.h"

FastvlmModel *fastvlm_model_ref(FastvlmModel *model)
{
    g_atomic_ref_count_inc(&model->references);
    return model;
}

void fastvlm_model_unref(FastvlmModel *model)
{
    if (!model || !g_atomic_ref_count_dec(&model->references))
        return;
    fastvlm_batcher_free(model->batcher);
    fastvlm_vision_weights_clear(&model->vision);
    fastvlm_language_weights_clear(&model->language);
    fastvlm_store_free(model->store);
    fastvlm_pool_free(model->pool);
    fastvlm_tokenizer_free(model->tokenizer);
    fastvlm_packed_free(model->packed);
    g_free(model->cache_note);
    g_free(model->precision_note);
    fastvlm_model_info_free(model->info);
    fastvlm_checkpoint_free(model->checkpoint);
    g_free(model);
}

gboolean fastvlm_model_check_params(const FastvlmModelParams *params, GError **error)
{
    if (params->n_threads < 0 || params->n_threads > FASTVLM_POOL_MAX_THREADS) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "%d threads: expected 1 to %d, or 0 for all CPUs", params->n_threads,
                    FASTVLM_POOL_MAX_THREADS);
        return FALSE;
    }
    if (params->precision < FASTVLM_PRECISION_AUTO || params->precision > FASTVLM_PRECISION_INT4) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "precision %d: expected FASTVLM_PRECISION_AUTO, _F32, _BF16, _INT8 or _INT4",
                    (int)params->precision);
        return FALSE;
    }
    if (params->head < FASTVLM_HEAD_AUTO || params->head > FASTVLM_HEAD_OWN) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "head %d: expected FASTVLM_HEAD_AUTO, _TIED or _OWN", (int)params->head);
        return FALSE;
    }
    if (params->worker_nice < 0 || params->worker_nice > 19) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, "nice value %d: expected 0 to 19",
                    params->worker_nice);
        return FALSE;
    }
    return TRUE;
}

static gboolean refuse_variable(const char *name, const char *value, const char *expected,
                                GError **error)
{
    g_autofree char *quoted = fastvlm_text_quote(value);

    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                "the environment variable %s is %s: expected %s; or unset it", name, quoted,
                expected);
    return FALSE;
}

/** A wish that nothing would heed is an error, not the default. */
static gboolean check_environment(GError **error)
{
    const char *tier = g_getenv("FASTVLM_TIER"), *blas = g_getenv("FASTVLM_BLAS");

    if (tier && *tier && fastvlm_tier_from_string(tier) < 0) {
        const char *names[FASTVLM_N_TIERS + 1] = {NULL};
        g_autofree char *list = NULL, *expected = NULL;

        for (int i = 0; i < FASTVLM_N_TIERS; i++)
            names[i] = fastvlm_tier_to_string((FastvlmTier)i);
        list = g_strjoinv(", ", (char **)names);
        expected = g_strconcat("one of ", list, NULL);
        return refuse_variable("FASTVLM_TIER", tier, expected, error);
    }
    if (blas && *blas && strcmp(blas, "openblas") != 0)
        return refuse_variable("FASTVLM_BLAS", blas, "openblas", error);
    return TRUE;
}

static gboolean start_threads(FastvlmModel *model, const FastvlmModelParams *params, GError **error)
{
    const int n_threads = params->n_threads > 0 ? params->n_threads : fastvlm_pool_count_cpus();

    model->kernels = fastvlm_kernels_get(fastvlm_tier_in_use());
    model->use_blas = fastvlm_blas_is_wanted(model->kernels->tier);
    model->pool = fastvlm_pool_new(n_threads, params->worker_nice, error);
    return model->pool != NULL;
}

static gboolean read_weights(FastvlmModel *model, const FastvlmModelParams *params, GError **error)
{
    FastvlmPackingPlan plan;

    return fastvlm_precision_plan(model, params, &plan, error) &&
           fastvlm_packing_load(model, params, &plan, error);
}

static gboolean load(FastvlmModel *model, const char *name, const FastvlmModelParams *params,
                     GError **error)
{
    model->checkpoint = fastvlm_open_model_for(name, params, error);
    return model->checkpoint && fastvlm_inspect_checkpoint(model->checkpoint, model->info, error) &&
           start_threads(model, params, error) && read_weights(model, params, error);
}

FastvlmModel *fastvlm_model_load(const char *name, const FastvlmModelParams *params, GError **error)
{
    static const FastvlmModelParams defaults = {0};
    FastvlmModel *model;

    if (!params)
        params = &defaults;
    if (!fastvlm_model_check_params(params, error) || !check_environment(error))
        return NULL;
    model = g_new0(FastvlmModel, 1);
    g_atomic_ref_count_init(&model->references);
    model->info = g_new0(FastvlmModelInfo, 1);
    if (!load(model, name, params, error)) {
        fastvlm_model_unref(model);
        return NULL;
    }
    model->batcher =
        fastvlm_batcher_new(&model->language, model->pool, model->kernels, model->use_blas);
    return model;
}

const FastvlmModelInfo *fastvlm_model_get_info(const FastvlmModel *model)
{
    return model->info;
}

FastvlmPrecision fastvlm_model_get_precision(const FastvlmModel *model)
{
    return model->precision;
}

const char *fastvlm_model_get_precision_note(const FastvlmModel *model)
{
    return model->precision_note;
}

const char *fastvlm_model_get_cache_note(const FastvlmModel *model)
{
    return model->cache_note;
}

int fastvlm_model_get_n_threads(const FastvlmModel *model)
{
    return fastvlm_pool_get_n_threads(model->pool);
}

const FastvlmTokenizer *fastvlm_model_get_tokenizer(const FastvlmModel *model)
{
    return model->tokenizer;
}

const char *fastvlm_cpu_tier(void)
{
    return fastvlm_tier_to_string(fastvlm_tier_in_use());
}

const char *fastvlm_blas_name(void)
{
    return fastvlm_blas_is_wanted(fastvlm_tier_in_use()) ? fastvlm_blas_describe() : "built-in";
}
