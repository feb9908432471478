/*
 * Loads the model that the common options name.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/loading.h"

#include <stdio.h>
#include <unistd.h>

#include "tools/interrupt.h"
#include "tools/progress.h"

#define TOLD_BYTES ((guint64)1 << 30)

const char *const precision_names[] = {"auto", "f32", "bf16", "int8", "int4", NULL};
const char *const fit_names[] = {"pad", "crop", "stretch", "auto", NULL};
const char *const head_names[] = {"auto", "tied", "own", NULL};

G_STATIC_ASSERT(FASTVLM_PRECISION_AUTO == 0 && FASTVLM_PRECISION_INT4 == 4);
G_STATIC_ASSERT(FASTVLM_FIT_PAD == 0 && FASTVLM_FIT_AUTO == 3);
G_STATIC_ASSERT(FASTVLM_HEAD_AUTO == 0 && FASTVLM_HEAD_OWN == 2);

static gboolean report_progress(double fraction, gpointer data)
{
    progress_set(data, fraction);
    return !interrupt_raised();
}

/* Gigabytes are not written behind anybody's back; nobody reads this but at a terminal. */
static gboolean announce_copy(const char *path, guint64 n_bytes, gpointer data)
{
    if (n_bytes > TOLD_BYTES && isatty(STDERR_FILENO))
        fprintf(stderr,
                "fastvlm: keeps a packed copy of %.1f GB, so that the next load takes a moment "
                "(--no-cache: none): %s\n",
                n_bytes / 1e9, path);
    return TRUE;
}

FastvlmModelParams loading_get_params(const ModelArguments *arguments)
{
    return (FastvlmModelParams){
        .precision = (FastvlmPrecision)arguments->precision,
        .n_threads = arguments->n_threads,
        .no_cache = arguments->no_cache,
        .vision_path = arguments->vision,
        .head = (FastvlmHead)arguments->head,
    };
}

void loading_warn(const FastvlmModelInfo *info)
{
    if (info->head_note)
        fprintf(stderr, "fastvlm: warning: %s: %s\n", info->path, info->head_note);
}

FastvlmModel *loading_load(const ModelArguments *arguments, GError **error)
{
    char *label = g_strdup_printf("loading %s", arguments->model);
    g_autoptr(Progress) progress = progress_new(label);
    g_free(label);
    FastvlmModelParams params = loading_get_params(arguments);
    params.progress = report_progress;
    params.progress_data = progress;
    params.cache_notice = announce_copy;
    FastvlmModel *model = fastvlm_model_load(arguments->model, &params, error);
    if (model)
        loading_warn(fastvlm_model_get_info(model));
    return model;
}

int loading_fail(GError *error)
{
    int code = interrupt_raised() ? interrupt_fail() : tool_fail("%s", error->message);
    g_error_free(error);
    return code;
}
