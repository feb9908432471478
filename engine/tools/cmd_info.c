/*
 * fastvlm info: what a checkpoint is, and what it will take on this machine.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>
#include <stdlib.h>

#include <fastvlm/cache.h>
#include <fastvlm/model.h>

#include "tools/loading.h"
#include "tools/output.h"

#define TEXT_COLUMN 14
#define PAGE_WIDTH 80

#define NO_BREAK "\302\240" /* U+00A0: a blank at which write_row() breaks no line */

/* As "3.9 MB" or "1.52 GB", in one piece; free it. */
static char *format_size(guint64 n_bytes)
{
    if (n_bytes >= 1000000000)
        return g_strdup_printf("%.2f" NO_BREAK "GB", n_bytes / 1e9);
    return g_strdup_printf("%.1f" NO_BREAK "MB", n_bytes / 1e6);
}

static int get_n_threads(const ModelArguments *arguments)
{
    return arguments->n_threads ? arguments->n_threads : (int)g_get_num_processors();
}

static json_t *make_array(const int *values, int n_values)
{
    json_t *array = json_array();
    for (int i = 0; i < n_values; i++)
        json_array_append_new(array, json_integer(values[i]));
    return array;
}

static json_t *make_text(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *describe_parameters(const FastvlmModelInfo *info)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "vision", (json_int_t)info->n_vision_parameters,
                     "projector", (json_int_t)info->n_projector_parameters, "language",
                     (json_int_t)info->n_language_parameters, "total",
                     (json_int_t)(info->n_vision_parameters + info->n_projector_parameters +
                                  info->n_language_parameters));
}

static json_t *describe_language(const FastvlmModelInfo *info)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:o}", "layers",
                     info->n_layers, "hidden_size", info->hidden_size, "heads", info->n_heads,
                     "kv_heads", info->n_kv_heads, "head_dim", info->head_dim, "intermediate_size",
                     info->intermediate_size, "vocab_size", info->vocab_size, "tokenizer_size",
                     info->tokenizer_size, "max_positions", info->max_positions, "tied_head",
                     info->tied_head, "head_note", make_text(info->head_note));
}

/* A copy of this checkpoint, perhaps of an earlier state of it. */
static gboolean is_copy_of(const FastvlmCacheEntry *entry, const char *path)
{
    char *real = realpath(path, NULL);
    gboolean same = real && g_strcmp0(entry->model, real) == 0;
    free(real);
    return same;
}

/* {"directory", "copies": {precision: bytes}}; null where copies are neither read nor written. */
static json_t *describe_cache(const FastvlmModelInfo *info, const ModelArguments *arguments)
{
    FastvlmCacheConfig *config = fastvlm_cache_get_config();
    GPtrArray *entries = fastvlm_cache_list(NULL);
    json_t *copies = json_object();
    for (guint i = 0; entries && i < entries->len; i++) {
        const FastvlmCacheEntry *entry = entries->pdata[i];
        if (is_copy_of(entry, info->path))
            json_object_set_new(copies, entry->precision, json_integer((json_int_t)entry->n_bytes));
    }
    json_t *cache = json_null();
    if (config->directory && !arguments->no_cache)
        cache = json_pack("{s:o, s:I, s:O}", "directory", output_json_path(config->directory),
                          "limit_bytes", (json_int_t)config->limit_bytes, "copies", copies);
    json_decref(copies);
    if (entries)
        g_ptr_array_unref(entries);
    fastvlm_cache_config_free(config);
    return cache;
}

/* {precision: why}; empty where none is refused. */
static json_t *describe_refusals(const FastvlmModelInfo *info)
{
    json_t *refused = json_object();
    for (int i = FASTVLM_PRECISION_AUTO; i <= FASTVLM_PRECISION_INT4; i++) {
        g_autoptr(GError) error = NULL;
        if (!fastvlm_model_info_check_memory(info, (FastvlmPrecision)i, &error))
            json_object_set_new(refused, precision_names[i], json_string(error->message));
    }
    return refused;
}

static void report_json(const FastvlmModelInfo *info, const ModelArguments *arguments)
{
    int side = info->resolution / 64;
    json_t *vision = json_pack(
        "{s:i, s:i, s:o, s:o}", "resolution", info->resolution, "image_tokens", side * side,
        "blocks", make_array(info->vision_blocks, 5), "channels", make_array(info->vision_dims, 5));
    json_object_set_new(vision, "fit", json_string(fit_names[info->fit]));
    json_t *object = json_object();
    json_object_set_new(object, "model", output_json_path(arguments->model));
    json_object_set_new(object, "path", output_json_path(info->path));
    json_object_set_new(object, "layout", json_string(info->layout));
    json_object_set_new(object, "layout_note", make_text(info->layout_note));
    json_object_set_new(object, "stage", make_text(info->stage));
    json_object_set_new(object, "stored_dtypes", json_string(info->stored_dtypes));
    json_object_set_new(object, "file_size_bytes", json_integer((json_int_t)info->file_size_bytes));
    json_object_set_new(object, "parameters", describe_parameters(info));
    json_object_set_new(object, "vision", vision);
    json_object_set_new(object, "language", describe_language(info));
    json_object_set_new(object, "precisions", json_pack("[ssss]", "f32", "bf16", "int8", "int4"));
    const FastvlmModelParams params = loading_get_params(arguments);
    g_autofree char *automatic = fastvlm_model_info_describe_auto(info, &params);
    json_object_set_new(object, "auto", json_string(automatic));
    json_object_set_new(object, "refused", describe_refusals(info));
    json_object_set_new(object, "weights_bytes",
                        json_pack("{s:I, s:I, s:I, s:I}", "f32", (json_int_t)info->memory_f32_bytes,
                                  "bf16", (json_int_t)info->memory_bf16_bytes, "int8",
                                  (json_int_t)info->memory_int8_bytes, "int4",
                                  (json_int_t)info->memory_int4_bytes));
    json_object_set_new(object, "cache", describe_cache(info, arguments));
    json_object_set_new(object, "threads", json_integer(get_n_threads(arguments)));
    json_object_set_new(object, "cpu_tier", json_string(fastvlm_cpu_tier()));
    json_object_set_new(object, "blas", json_string(fastvlm_blas_name()));
    json_object_set_new(object, "licence", make_text(info->licence_note));
    output_json_line(object);
}

/* A row whose text is broken at blanks, its further lines below the first. */
static void write_row(const char *name, const char *text)
{
    printf("%-*s", TEXT_COLUMN, name);
    int column = TEXT_COLUMN;
    char **words = g_strsplit_set(text, " \n", -1);
    for (char **word = words; *word; word++) {
        int width = (int)g_utf8_strlen(*word, -1);
        gboolean first = column == TEXT_COLUMN;
        if (!first && column + 1 + width > PAGE_WIDTH) {
            printf("\n%*s", TEXT_COLUMN, "");
            column = TEXT_COLUMN;
            first = TRUE;
        }
        char **pieces = g_strsplit(*word, NO_BREAK, -1);
        char *whole = g_strjoinv(" ", pieces);
        printf("%s%s", first ? "" : " ", whole);
        column += width + !first;
        g_free(whole);
        g_strfreev(pieces);
    }
    g_strfreev(words);
    printf("\n");
}

static void write_row_format(const char *name, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void write_row_format(const char *name, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    char *text = g_strdup_vprintf(format, values);
    va_end(values);
    char *valid = g_utf8_make_valid(text, -1);
    write_row(name, valid);
    g_free(valid);
    g_free(text);
}

static void report_language(const FastvlmModelInfo *info)
{
    write_row_format("decoder",
                     "%d layers of width %d, %d heads of %d (%d for keys and values), "
                     "feed-forward %d",
                     info->n_layers, info->hidden_size, info->n_heads, info->head_dim,
                     info->n_kv_heads, info->intermediate_size);
    if (info->tokenizer_size > 0)
        write_row_format("vocabulary", "%d tokens, of which the tokenizer makes %d",
                         info->vocab_size, info->tokenizer_size);
    else
        write_row_format("vocabulary",
                         "%d tokens; there are no tokenizer files, so it can be dumped and timed "
                         "but not asked",
                         info->vocab_size);
    write_row_format("context", "%d tokens", info->max_positions);
    write_row_format("head", "%s%s%s", info->tied_head ? "tied to the embedding" : "its own",
                     info->head_note ? "; " : "", info->head_note ? info->head_note : "");
}

static void report_cache(const FastvlmModelInfo *info, const ModelArguments *arguments)
{
    FastvlmCacheConfig *config = fastvlm_cache_get_config();
    GPtrArray *entries = fastvlm_cache_list(NULL);
    GString *copies = g_string_new(NULL);
    for (guint i = 0; entries && i < entries->len; i++) {
        const FastvlmCacheEntry *entry = entries->pdata[i];
        if (!is_copy_of(entry, info->path))
            continue;
        char *size = format_size(entry->n_bytes);
        g_string_append_printf(copies, "%s%s (%s)", copies->len ? ", " : "", entry->precision,
                               size);
        g_free(size);
    }
    if (arguments->no_cache)
        write_row("cache", "off, by --no-cache");
    else if (!config->directory)
        write_row_format("cache", "off: %s", config->problem);
    else
        write_row_format("cache", "%s; packed copies of this model: %s", config->directory,
                         copies->len ? copies->str : "none");
    g_string_free(copies, TRUE);
    if (entries)
        g_ptr_array_unref(entries);
    fastvlm_cache_config_free(config);
}

/* What there is to choose from, what auto is here, and why one of them would be refused. */
static void report_precisions(const FastvlmModelInfo *info, const ModelArguments *arguments)
{
    const FastvlmModelParams params = loading_get_params(arguments);
    g_autofree char *automatic = fastvlm_model_info_describe_auto(info, &params);
    write_row_format("precision", "f32, bf16, int8 or int4; auto: %s", automatic);
    json_t *refused = describe_refusals(info);
    const char *name;
    json_t *why;
    json_object_foreach(refused, name, why)
        write_row_format("refused", "%s", json_string_value(why));
    json_decref(refused);
}

static void report_table(const FastvlmModelInfo *info, const ModelArguments *arguments)
{
    const int *blocks = info->vision_blocks, *dims = info->vision_dims;
    int side = info->resolution / 64;
    write_row_format("model", "%s", info->path);
    write_row_format("layout", "%s: %s", info->layout, info->layout_note);
    if (info->stage)
        write_row("stage", info->stage);
    char *stored = format_size(info->file_size_bytes);
    char *f32 = format_size(info->memory_f32_bytes);
    char *bf16 = format_size(info->memory_bf16_bytes);
    char *int8 = format_size(info->memory_int8_bytes);
    char *int4 = format_size(info->memory_int4_bytes);
    write_row_format("weights", "%s as %s", stored, info->stored_dtypes);
    write_row_format(
        "parameters", "%.2f M: vision %.2f M, projector %.2f M, language %.2f M",
        (info->n_vision_parameters + info->n_projector_parameters + info->n_language_parameters) /
            1e6,
        info->n_vision_parameters / 1e6, info->n_projector_parameters / 1e6,
        info->n_language_parameters / 1e6);
    write_row_format(
        "picture", "%d x %d pixels, %d tokens; or any multiple of 64 up to 4096; fit" NO_BREAK "%s",
        info->resolution, info->resolution, side * side, fit_names[info->fit]);
    write_row_format("encoder", "%d, %d, %d, %d, %d blocks of %d, %d, %d, %d, %d channels",
                     blocks[0], blocks[1], blocks[2], blocks[3], blocks[4], dims[0], dims[1],
                     dims[2], dims[3], dims[4]);
    report_language(info);
    report_precisions(info, arguments);
    write_row_format("memory",
                     "%s for the weights in f32, %s in bf16, %s in int8, %s in int4; fastvlm bench "
                     "measures the whole, with a picture",
                     f32, bf16, int8, int4);
    report_cache(info, arguments);
    write_row_format("processor", "%s kernels, %d threads, %s", fastvlm_cpu_tier(),
                     get_n_threads(arguments), fastvlm_blas_name());
    write_row("licence", info->licence_note ? info->licence_note : "not said by the checkpoint");
    g_free(stored);
    g_free(f32);
    g_free(bf16);
    g_free(int8);
    g_free(int4);
}

static int report(const ModelArguments *arguments)
{
    GError *error = NULL;
    const FastvlmModelParams params = loading_get_params(arguments);
    FastvlmModelInfo *info = fastvlm_model_inspect_for(arguments->model, &params, &error);
    if (!info)
        return loading_fail(error);
    loading_warn(info);
    if (arguments->json)
        report_json(info, arguments);
    else
        report_table(info, arguments);
    fastvlm_model_info_free(info);
    return output_finish();
}

static int run_info(const ToolCommand *command, int argc, char **argv)
{
    ModelArguments common = MODEL_ARGUMENTS_DEFAULT;
    const Option options[] = {MODEL_OPTION(&common),   VISION_OPTION(&common),
                              HEAD_OPTION(&common),    PRECISION_OPTION(&common),
                              THREADS_OPTION(&common), NO_CACHE_OPTION(&common),
                              JSON_OPTION(&common),    OPTION_END};
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code)) {
        if (arguments->len > 0)
            code = tool_usage(command,
                              "info: found \"%s\", expected options only; name a model with "
                              "--model",
                              (const char *)arguments->pdata[0]);
        else
            code = report(&common);
    }
    g_ptr_array_unref(arguments);
    return code;
}

const ToolCommand tool_command_info = {
    .name = "info",
    .arguments = "[OPTION]...",
    .summary = "say what a checkpoint is and what it will take",
    .description = "Reads a checkpoint's config and headers, without its weights, and writes its\n"
                   "sizes, layout, precisions, memory, the CPU tier and its licence.",
    .examples = "  fastvlm info\n"
                "  fastvlm info --model ~/FastVLM-0.5B --json",
    .run = run_info,
};
