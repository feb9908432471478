/*
 * The options that every command with a model has, and loading by them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_LOADING_H
#define FASTVLM_TOOLS_LOADING_H

#include <fastvlm/model.h>
#include <fastvlm/session.h>

#include "tools/options.h"

G_BEGIN_DECLS

/** Where the common options end up; start from MODEL_ARGUMENTS_DEFAULT. */
typedef struct {
    const char *model;
    const char *vision; /* NULL: the model's own encoder */
    int head;           /* a FastvlmHead */
    int precision;      /* a FastvlmPrecision */
    int n_threads;      /* 0: as many as the CPUs this process may use */
    gboolean no_cache;
    gboolean json;
} ModelArguments;

#define MODEL_ARGUMENTS_DEFAULT ((ModelArguments){.model = "demo"})

/** The names of FastvlmPrecision in their order, of FastvlmFit and FastvlmHead in theirs; NULL-terminated. */
extern const char *const precision_names[];
extern const char *const fit_names[];
extern const char *const head_names[];

/* Rows of an Option table. */
#define MODEL_OPTION(arguments)                                       \
    OPTION_ROW(OPTION_PATH, "model", &(arguments)->model, "DIR|NAME", \
               "a checkpoint's directory or name; default demo")
#define VISION_OPTION(arguments)                                        \
    OPTION_ROW(OPTION_PATH, "vision", &(arguments)->vision, "DIR|NAME", \
               "a checkpoint to take the encoder from")
#define HEAD_OPTION(arguments)                                 \
    OPTION_ROW(OPTION_CHOICE, "head", &(arguments)->head, "H", \
               "auto (as config.json says), tied or own", .choices = head_names)
#define PRECISION_OPTION(arguments)                                      \
    OPTION_ROW(OPTION_CHOICE, "precision", &(arguments)->precision, "P", \
               "auto, f32, bf16, int8 or int4; default auto", .choices = precision_names)
#define THREADS_OPTION(arguments)                                   \
    OPTION_ROW(OPTION_INT, "threads", &(arguments)->n_threads, "N", \
               "default: as many as there are CPUs to use", .min = 0, .max = 256)
#define NO_CACHE_OPTION(arguments)                                    \
    OPTION_ROW(OPTION_FLAG, "no-cache", &(arguments)->no_cache, NULL, \
               "neither use nor write a packed copy of the model")
#define JSON_OPTION(arguments) \
    OPTION_ROW(OPTION_FLAG, "json", &(arguments)->json, NULL, "write JSON, one object a line")
#define RESOLUTION_OPTION(value)                                                           \
    OPTION_ROW(OPTION_INT, "resolution", value, "R",                                       \
               "pixels, a multiple of 64; default the model's own", .min = 0, .max = 4096, \
               .multiple = 64)
#define FIT_OPTION(value)                        \
    OPTION_ROW(OPTION_CHOICE, "fit", value, "F", \
               "pad, crop or stretch; default auto, the model's", .choices = fit_names)
#define PROMPT_OPTION(value)                         \
    OPTION_ROW(OPTION_TEXT, "prompt", value, "TEXT", \
               "what to ask; default \"" FASTVLM_DEFAULT_PROMPT "\"")

/** Loads the model, with a progress bar; a signal stops it (interrupt.h). */
FastvlmModel *loading_load(const ModelArguments *arguments, GError **error);

/** The parameters of a load that the options make; without callbacks. */
FastvlmModelParams loading_get_params(const ModelArguments *arguments);

/** Warns on stderr of what is odd about a model; loading_load() does. */
void loading_warn(const FastvlmModelInfo *info);

/** Writes the error's line, frees it and returns the exit code, that of a signal if one came. */
int loading_fail(GError *error);

G_END_DECLS

#endif
