/*
 * Finds the directory that a model's name stands for.
 *
 *     a directory here -> FASTVLM_MODELS -> the user's data directory -> where this was installed
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "api/inspect.h"
#include "api/models_dir.h"

/** Where to look for `name`, in order; NULL-terminated, free with g_strfreev(). */
static char **list_places(const char *name)
{
    const char *models = g_getenv("FASTVLM_MODELS");
    g_auto(GStrv) directories = g_strsplit(models ? models : "", ":", -1);
    GPtrArray *places = g_ptr_array_new();

    for (char **directory = directories; *directory; directory++)
        if (**directory)
            g_ptr_array_add(places, g_build_filename(*directory, name, NULL));
    g_ptr_array_add(places,
                    g_build_filename(g_get_user_data_dir(), "fastvlm", "models", name, NULL));
    g_ptr_array_add(places, g_build_filename(FASTVLM_MODELS_DIR, name, NULL));
    g_ptr_array_add(places, NULL);
    return (char **)g_ptr_array_free(places, FALSE);
}

/** Whether `name` is to be looked for: it has no slash, so that it can be a model's name. */
static gboolean is_name(const char *name)
{
    return *name && !strchr(name, '/') && !g_file_test(name, G_FILE_TEST_IS_DIR);
}

char *fastvlm_model_resolve(const char *name)
{
    g_auto(GStrv) places = NULL;

    if (!is_name(name))
        return g_strdup(name);
    places = list_places(name);
    for (char **place = places; *place; place++)
        if (g_file_test(*place, G_FILE_TEST_IS_DIR))
            return g_strdup(*place);
    return g_strdup(name);
}

/** Whether `name` is one that fastvlm pull knows. */
static gboolean is_released(const char *name)
{
    static const char *const names[] = {"0.5b",        "1.5b",      "7b", "0.5b-stage2",
                                        "1.5b-stage2", "7b-stage2", NULL};
    return g_strv_contains(names, name);
}

FastvlmCheckpoint *fastvlm_open_model(const char *name, GError **error)
{
    g_autofree char *path = fastvlm_model_resolve(name);
    g_auto(GStrv) places = NULL;
    g_autofree char *list = NULL;

    if (!is_name(path))
        return fastvlm_checkpoint_open(path, error);
    places = list_places(path);
    list = g_strjoinv(", ", places);
    if (is_released(path))
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
                    "%s: this released model is not on this machine: there is none of %s; fetch it "
                    "with \"fastvlm pull %s\", or name its directory",
                    path, list, path);
    else
        g_set_error(
            error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
            "%s: no such model: it is no directory here, nor one of %s; name a directory with "
            "config.json and model.safetensors, or set FASTVLM_MODELS to where models are",
            path, list);
    return NULL;
}

FastvlmCheckpoint *fastvlm_open_model_for(const char *name, const FastvlmModelParams *params,
                                          GError **error)
{
    const gboolean has_vision = params->vision_path && *params->vision_path;
    g_autofree char *path = fastvlm_model_resolve(name);
    g_autofree char *vision = has_vision ? fastvlm_model_resolve(params->vision_path) : NULL;

    /* A name that is nowhere: the error says where it was looked for. */
    if (is_name(path))
        return fastvlm_open_model(name, error);
    if (vision && is_name(vision))
        return fastvlm_open_model(vision, error);
    return fastvlm_checkpoint_open_with(path, vision, params->head, error);
}
