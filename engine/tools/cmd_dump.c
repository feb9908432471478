/*
 * fastvlm dump: the numbers inside, to hold them against a reference.
 *
 *     picture -> vision, projected;  ids | prompt -> logits of the first token, tokens -> safetensors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/session.h>

#include "tools/image_file.h"
#include "tools/interrupt.h"
#include "tools/loading.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/safetensors_file.h"

typedef struct {
    ModelArguments common;
    FastvlmGenerateParams answer;
    int resolution;
    int fit;            /* a FastvlmFit */
    GArray *prefix_ids; /* of gint32 */
    GArray *suffix_ids;
    gboolean ids_given;
    const char *output;
    FastvlmModel *model;
    FastvlmSession *session;
} Dump;

static gboolean gather(const Dump *dump, const FastvlmResult *result, SafetensorsFile *tensors,
                       GError **error)
{
    static const struct {
        FastvlmTensor tensor;
        const char *name;
    } parts[] = {
        {FASTVLM_TENSOR_VISION, "vision"},
        {FASTVLM_TENSOR_PROJECTED, "projected"},
        {FASTVLM_TENSOR_LOGITS, "logits"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        int n_rows = 0, n_columns = 0;
        const float *values =
            fastvlm_session_get_tensor(dump->session, parts[i].tensor, &n_rows, &n_columns);
        if (!values) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                        "%s: the session keeps no tensor \"%s\"; report this as a fault",
                        dump->common.model, parts[i].name);
            return FALSE;
        }
        gboolean flat = parts[i].tensor == FASTVLM_TENSOR_LOGITS;
        safetensors_file_add(tensors, parts[i].name, "F32", values, flat ? n_columns : n_rows,
                             flat ? 0 : n_columns);
    }
    safetensors_file_add(tensors, "tokens", "I32", result->ids, result->n_tokens, 0);
    return TRUE;
}

static gboolean encode_picture(Dump *dump, const char *path, GError **error)
{
    RgbPicture picture = {0};
    if (!image_file_read(path, &picture, error))
        return FALSE;
    dump->model = loading_load(&dump->common, error);
    gboolean done = dump->model != NULL;
    if (done) {
        char *label = g_strdup_printf("looking at %s", path);
        G_GNUC_UNUSED g_autoptr(Progress) progress = progress_new(label);
        g_free(label);
        dump->session = fastvlm_session_new(dump->model);
        interrupt_attach(dump->session);
        FastvlmImage view = rgb_picture_view(&picture);
        done = fastvlm_session_set_image(dump->session, &view, dump->resolution,
                                         (FastvlmFit)dump->fit, error);
        if (!done)
            g_prefix_error(error, "%s: ", path);
    }
    rgb_picture_clear(&picture);
    return done;
}

static gboolean answer(Dump *dump, FastvlmResult *result, GError **error)
{
    G_GNUC_UNUSED g_autoptr(Progress) progress = progress_new("answering");
    if (fastvlm_session_generate(dump->session, &dump->answer, result, error))
        return TRUE;
    if (dump->ids_given && g_error_matches(*error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT))
        g_prefix_error(error, "--prefix-ids or --suffix-ids: ");
    return FALSE;
}

static void report_json(const Dump *dump, const char *path, const FastvlmResult *result)
{
    json_t *tokens = json_array();
    for (int i = 0; i < result->n_tokens; i++)
        json_array_append_new(tokens, json_integer(result->ids[i]));
    json_t *object = json_object();
    json_object_set_new(object, "image", output_json_path(path));
    json_object_set_new(object, "output", output_json_path(dump->output));
    json_object_set_new(object, "prompt_tokens", json_integer(result->n_prompt_tokens));
    json_object_set_new(object, "tokens", tokens);
    output_json_line(object);
}

static gboolean dump_picture(Dump *dump, const char *path, const char *output_name, GError **error)
{
    FastvlmResult result;
    if (!encode_picture(dump, path, error) || !answer(dump, &result, error))
        return FALSE;
    SafetensorsFile tensors = safetensors_file_new();
    gboolean done = gather(dump, &result, &tensors, error) &&
                    safetensors_file_write(&tensors, output_name, error);
    safetensors_file_clear(&tensors);
    if (done && dump->common.json)
        report_json(dump, path, &result);
    fastvlm_result_clear(&result);
    return done;
}

static int write_dump(Dump *dump, const char *path)
{
    GError *error = NULL;
    OutputFile file;
    /* References are f32, so what is held against them is too, unless it is said otherwise. */
    if (dump->common.precision == FASTVLM_PRECISION_AUTO)
        dump->common.precision = FASTVLM_PRECISION_F32;
    if (!output_file_begin(&file, dump->output, &error))
        return loading_fail(error);
    gboolean done = dump_picture(dump, path, output_file_name(&file), &error);
    interrupt_attach(NULL);
    fastvlm_session_free(dump->session);
    fastvlm_model_unref(dump->model);
    if (!done) {
        output_file_abort(&file);
        return loading_fail(error);
    }
    return output_file_commit(&file, &error) ? output_finish() : loading_fail(error);
}

static void use_ids(Dump *dump)
{
    FastvlmGenerateParams *params = &dump->answer;
    params->ignore_stop = TRUE;
    params->use_ids = dump->ids_given;
    params->prefix_ids = (const gint32 *)(void *)dump->prefix_ids->data;
    params->n_prefix_ids = (int)dump->prefix_ids->len;
    params->suffix_ids = (const gint32 *)(void *)dump->suffix_ids->data;
    params->n_suffix_ids = (int)dump->suffix_ids->len;
}

static int run_dump(const ToolCommand *command, int argc, char **argv)
{
    Dump dump = {
        .common = MODEL_ARGUMENTS_DEFAULT,
        .fit = FASTVLM_FIT_AUTO,
        .answer = {.max_tokens = FASTVLM_DEFAULT_MAX_TOKENS},
        .prefix_ids = g_array_new(FALSE, FALSE, sizeof(gint32)),
        .suffix_ids = g_array_new(FALSE, FALSE, sizeof(gint32)),
    };
    const Option options[] = {
        RESOLUTION_OPTION(&dump.resolution),
        FIT_OPTION(&dump.fit),
        OPTION_ROW(OPTION_TEXT, "prompt", &dump.answer.prompt, "T",
                   "what to ask (\"" FASTVLM_DEFAULT_PROMPT "\")"),
        OPTION_ROW(OPTION_IDS, "prefix-ids", &dump.prefix_ids, "1,2",
                   "token ids before the picture, no prompt", .given = &dump.ids_given),
        OPTION_ROW(OPTION_IDS, "suffix-ids", &dump.suffix_ids, "3,4",
                   "token ids behind the picture", .given = &dump.ids_given),
        OPTION_ROW(OPTION_INT, "max-tokens", &dump.answer.max_tokens, "N",
                   "tokens to make; default 64", .min = 1, .max = 1 << 20),
        OPTION_ROW(OPTION_PATH, "output", &dump.output, "OUT.safetensors", "file to write"),
        MODEL_OPTION(&dump.common),
        VISION_OPTION(&dump.common),
        HEAD_OPTION(&dump.common),
        PRECISION_OPTION(&dump.common),
        THREADS_OPTION(&dump.common),
        NO_CACHE_OPTION(&dump.common),
        JSON_OPTION(&dump.common),
        OPTION_END,
    };
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code)) {
        if (arguments->len != 1)
            code = tool_usage(command, "dump: expected one IMAGE, found %u", arguments->len);
        else if (!dump.output)
            code = tool_usage(command, "dump: --output OUT.safetensors is missing");
        else if (dump.ids_given && dump.answer.prompt)
            code =
                tool_usage(command, "--prompt: makes no sense with --prefix-ids or --suffix-ids");
        else {
            use_ids(&dump);
            interrupt_watch();
            code = write_dump(&dump, arguments->pdata[0]);
        }
    }
    g_ptr_array_unref(arguments);
    g_array_unref(dump.prefix_ids);
    g_array_unref(dump.suffix_ids);
    return code;
}

const ToolCommand tool_command_dump = {
    .name = "dump",
    .arguments = "IMAGE --output OUT.safetensors [OPTION]...",
    .summary = "write a model's inner numbers, to compare with a reference",
    .description =
        "Writes the tensors\n"
        "\n"
        "  vision     F32 [image tokens, width]   the encoder's output\n"
        "  projected  F32 [image tokens, hidden]  behind the projector\n"
        "  logits     F32 [vocabulary]            of the first generated token\n"
        "  tokens     I32 [N]                     the likeliest each time, never stopped\n"
        "\n"
        "With ids given, the model needs no tokenizer files.",
    .examples = "  fastvlm dump photo.png --resolution 256 --output numbers.safetensors\n"
                "  fastvlm dump photo.png --prefix-ids 1,2 --suffix-ids 3,4 --max-tokens 8 \\\n"
                "      --output numbers.safetensors",
    .run = run_dump,
};
