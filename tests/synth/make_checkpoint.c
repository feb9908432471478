/*
 * Writes a synthetic checkpoint: make_checkpoint CONFIG DIRECTORY [OPTION]...
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>
#include <string.h>

#include "synth.h"

/** What the options change; the rest is CONFIG's. */
typedef struct {
    gint64 seed;
    char *dtype;
    int n_shards;
    int resolution;
    gboolean untied;
    char *tokenizer;
    char *blocks;
    char *dims;
    char *layout;
} Options;

static gboolean parse_five(const char *text, int *numbers)
{
    char end;

    return sscanf(text, "%d,%d,%d,%d,%d%c", &numbers[0], &numbers[1], &numbers[2], &numbers[3],
                  &numbers[4], &end) == 5;
}

/** NULL where all is well, else what is not. */
static const char *apply(const Options *options, SynthSpec *spec)
{
    static const char *const dtypes[] = {"BF16", "F16", "F32", NULL};

    spec->seed = (guint64)options->seed;
    spec->n_shards = options->n_shards;
    spec->tokenizer = options->tokenizer;
    if (options->resolution)
        spec->resolution = options->resolution;
    if (options->untied)
        spec->tied = FALSE;
    if (options->dtype)
        spec->dtype = options->dtype;
    if (!g_strv_contains(dtypes, spec->dtype))
        return "--dtype: expected BF16, F16 or F32";
    if (options->n_shards < 1)
        return "--shards: expected 1 or more";
    if (options->blocks && !parse_five(options->blocks, spec->blocks))
        return "--blocks: expected five numbers with commas";
    if (options->dims && !parse_five(options->dims, spec->dims))
        return "--dims: expected five numbers with commas";
    return NULL;
}

static int run(int argc, char **argv, const Options *options)
{
    SynthSpec spec;
    GError *error = NULL;
    const char *problem;

    if (argc != 3 || !fastvlm_synth_spec(argv[1], &spec)) {
        fprintf(stderr, "make_checkpoint: expected CONFIG (micro, tiny, 0.5b, 1.5b, 7b) and "
                        "DIRECTORY\n");
        return 2;
    }
    problem = apply(options, &spec);
    if (problem) {
        fprintf(stderr, "make_checkpoint: %s\n", problem);
        return 2;
    }
    if (options->layout ? fastvlm_synth_write_layout(options->layout, &spec, argv[2], NULL, &error)
                        : fastvlm_synth_write(argv[2], &spec, NULL, NULL, &error))
        return 0;
    fprintf(stderr, "make_checkpoint: %s\n", error->message);
    g_error_free(error);
    return 1;
}

int main(int argc, char **argv)
{
    Options options = {.seed = 1, .n_shards = 1};
    const GOptionEntry entries[] = {
        {"seed", 0, 0, G_OPTION_ARG_INT64, &options.seed, "seed of the weights", "N"},
        {"dtype", 0, 0, G_OPTION_ARG_STRING, &options.dtype, "BF16, F16 or F32", "D"},
        {"shards", 0, 0, G_OPTION_ARG_INT, &options.n_shards, "number of weight files", "N"},
        {"resolution", 0, 0, G_OPTION_ARG_INT, &options.resolution, "the model's own", "R"},
        {"untied", 0, 0, G_OPTION_ARG_NONE, &options.untied, "a head of its own", NULL},
        {"tokenizer", 0, 0, G_OPTION_ARG_FILENAME, &options.tokenizer, "files to copy in", "DIR"},
        {"blocks", 0, 0, G_OPTION_ARG_STRING, &options.blocks, "of the encoder", "A,B,C,D,E"},
        {"dims", 0, 0, G_OPTION_ARG_STRING, &options.dims, "of the encoder", "A,B,C,D,E"},
        {"layout", 0, 0, G_OPTION_ARG_STRING, &options.layout, "not the release's",
         "hub|mlx4|mlx8|branches"},
        G_OPTION_ENTRY_NULL,
    };
    GOptionContext *context = g_option_context_new("CONFIG DIRECTORY");
    GError *error = NULL;
    int code = 2;

    g_option_context_add_main_entries(context, entries, NULL);
    if (g_option_context_parse(context, &argc, &argv, &error))
        code = run(argc, argv, &options);
    else
        fprintf(stderr, "make_checkpoint: %s\n", error->message);
    g_clear_error(&error);
    g_option_context_free(context);
    g_free(options.dtype);
    g_free(options.tokenizer);
    g_free(options.blocks);
    g_free(options.dims);
    g_free(options.layout);
    return code;
}
