/*
 * fastvlm caption: says what pictures show.
 *
 *     file -> RGB -> session: encode, prefill, tokens -> text as it comes | one JSON object
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>
#include <unistd.h>

#include <fastvlm/session.h>

#include "tools/image_file.h"
#include "tools/interrupt.h"
#include "tools/loading.h"
#include "tools/output.h"
#include "tools/progress.h"

typedef struct {
    ModelArguments common;
    FastvlmGenerateParams answer;
    int resolution;
    int fit;             /* a FastvlmFit */
    const char *choices; /* as given; answer.choices are they */
    gboolean several;    /* pictures: each answer is led by its file's name */
    FastvlmModel *model;
    FastvlmSession *session;
} Caption;

/* Where the text of one answer goes. */
typedef struct {
    const char *heading; /* NULL, or the file whose name leads the answer */
    gboolean silent;     /* the text comes in one piece, later */
    gboolean started;
    gboolean terminal;
    GString *held; /* blanks that are written only if more text follows */
    Progress *progress;
    int n_tokens;
    int max_tokens;
} TextStream;

/* What a picture made the model say must not steer the user's terminal. */
static void write_piece(const char *text, gsize n_bytes, gboolean terminal)
{
    const char *end = text + n_bytes;
    for (const char *c = text; c < end; c = g_utf8_next_char(c)) {
        gunichar letter = g_utf8_get_char(c);
        if (terminal && g_unichar_iscntrl(letter) && letter != '\n' && letter != '\t')
            putchar('?');
        else
            fwrite(c, 1, (gsize)(g_utf8_next_char(c) - c), stdout);
    }
    fflush(stdout);
}

static void begin_answer(TextStream *stream)
{
    g_clear_pointer(&stream->progress, progress_free);
    if (stream->heading) {
        char *name = g_utf8_make_valid(stream->heading, -1);
        write_piece(name, strlen(name), stream->terminal);
        printf(": ");
        g_free(name);
    }
    stream->started = TRUE;
}

static void receive_text(const char *piece, int id, gpointer data)
{
    TextStream *stream = data;
    stream->n_tokens++;
    if (stream->silent) {
        progress_set(stream->progress, (double)stream->n_tokens / stream->max_tokens);
        return;
    }
    g_string_append(stream->held, piece);
    if (!stream->started)
        g_string_erase(stream->held, 0, (gssize)strspn(stream->held->str, " \t\n\v\f\r"));
    gsize n_bytes = stream->held->len;
    while (n_bytes > 0 && g_ascii_isspace(stream->held->str[n_bytes - 1]))
        n_bytes--;
    if (n_bytes == 0)
        return;
    if (!stream->started)
        begin_answer(stream);
    write_piece(stream->held->str, n_bytes, stream->terminal);
    g_string_erase(stream->held, 0, (gssize)n_bytes);
}

static json_t *list_choices(const char *const *choices, const FastvlmResult *result)
{
    json_t *object = json_object();
    for (int i = 0; choices[i]; i++)
        json_object_set_new(object, choices[i],
                            output_json_real(result->choice_probabilities[i], 6));
    return object;
}

static void write_json(const char *path, const char *const *choices, const FastvlmResult *result)
{
    json_t *object = json_object();
    json_object_set_new(object, "image", output_json_path(path));
    json_object_set_new(object, "text", json_string(result->text));
    json_object_set_new(object, "tokens", json_integer(result->n_tokens));
    json_object_set_new(object, "finish_reason",
                        json_string(fastvlm_finish_reason_to_string(result->finish_reason)));
    json_object_set_new(object, "confidence", output_json_real(result->confidence, 6));
    json_object_set_new(object, "encode_ms", output_json_real(result->encode_ms, 3));
    json_object_set_new(object, "prefill_ms", output_json_real(result->prefill_ms, 3));
    json_object_set_new(object, "ttft_ms", output_json_real(result->ttft_ms, 3));
    json_object_set_new(object, "decode_ms", output_json_real(result->decode_ms, 3));
    json_object_set_new(object, "total_ms", output_json_real(result->total_ms, 3));
    if (choices)
        json_object_set_new(object, "choices", list_choices(choices, result));
    output_json_line(object);
}

static gboolean answer_picture(Caption *caption, const char *path, GError **error)
{
    char *label = g_strdup_printf("answering about %s", path);
    TextStream stream = {
        .heading = caption->several ? path : NULL,
        .silent = caption->common.json,
        .terminal = isatty(STDOUT_FILENO),
        .held = g_string_new(NULL),
        .progress = progress_new(label),
        .max_tokens = caption->answer.max_tokens,
    };
    g_free(label);
    FastvlmGenerateParams params = caption->answer;
    params.on_text = receive_text;
    params.on_text_data = &stream;
    FastvlmResult result;
    gboolean answered = fastvlm_session_generate(caption->session, &params, &result, error);
    if (answered && !caption->common.json && !stream.started)
        begin_answer(&stream);
    if (stream.started) {
        printf("\n");
        fflush(stdout);
    }
    g_clear_pointer(&stream.progress, progress_free);
    g_string_free(stream.held, TRUE);
    if (!answered)
        return FALSE;
    if (caption->common.json)
        write_json(path, params.choices, &result);
    fastvlm_result_clear(&result);
    return TRUE;
}

static gboolean encode_picture(Caption *caption, const char *path, const RgbPicture *picture,
                               GError **error)
{
    char *label = g_strdup_printf("looking at %s", path);
    G_GNUC_UNUSED g_autoptr(Progress) progress = progress_new(label);
    g_free(label);
    FastvlmImage view = rgb_picture_view(picture);
    return fastvlm_session_set_image(caption->session, &view, caption->resolution,
                                     (FastvlmFit)caption->fit, error);
}

static int caption_file(Caption *caption, const char *path)
{
    GError *error = NULL;
    RgbPicture picture = {0};
    if (!image_file_read(path, &picture, &error))
        return loading_fail(error);
    gboolean done = encode_picture(caption, path, &picture, &error);
    rgb_picture_clear(&picture);
    done = done && answer_picture(caption, path, &error);
    if (done)
        return EXIT_OK;
    g_prefix_error(&error, "%s: ", path);
    return loading_fail(error);
}

/* The first picture that can be read has the model loaded: who mistypes a name waits for nothing. */
static gboolean any_readable(const char *const *paths, guint n_paths)
{
    for (guint i = 0; i < n_paths; i++) {
        if (access(paths[i], R_OK) == 0)
            return TRUE;
    }
    return FALSE;
}

/* Returns EXIT_OK or the code to leave with. */
static int open_session(Caption *caption)
{
    GError *error = NULL;
    const FastvlmModelParams params = loading_get_params(&caption->common);
    FastvlmModelInfo *info = fastvlm_model_inspect_for(caption->common.model, &params, &error);
    if (!info)
        return loading_fail(error);
    gboolean speaks = info->tokenizer_size > 0;
    if (!speaks)
        tool_fail("%s: no tokenizer files there (vocab.json, merges.txt); copy them beside "
                  "config.json from where the model came from",
                  info->path);
    fastvlm_model_info_free(info);
    if (!speaks)
        return EXIT_FAILED;
    caption->model = loading_load(&caption->common, &error);
    if (!caption->model)
        return loading_fail(error);
    caption->session = fastvlm_session_new(caption->model);
    interrupt_attach(caption->session);
    return EXIT_OK;
}

static int caption_files(Caption *caption, const char *const *paths, guint n_paths)
{
    int code = EXIT_OK;
    caption->several = n_paths > 1;
    if (any_readable(paths, n_paths))
        code = open_session(caption);
    if (code != EXIT_OK)
        return code;
    for (guint i = 0; i < n_paths && code <= EXIT_FAILED; i++) {
        int file_code = interrupt_raised() ? interrupt_fail() : caption_file(caption, paths[i]);
        if (file_code != EXIT_OK)
            code = file_code;
    }
    interrupt_attach(NULL);
    fastvlm_session_free(caption->session);
    fastvlm_model_unref(caption->model);
    int written = output_finish();
    return code != EXIT_OK ? code : written;
}

/* Returns EXIT_OK or the code to leave with. */
static int read_choices(const ToolCommand *command, Caption *caption, char ***choices)
{
    GError *error = NULL;
    int code = EXIT_OK;
    if (caption->choices)
        *choices = fastvlm_choices_parse(caption->choices, &error);
    if (error)
        code = tool_usage(command, "--choices: %s", error->message);
    g_clear_error(&error);
    caption->answer.choices = (const char *const *)*choices;
    return code;
}

static int run_caption(const ToolCommand *command, int argc, char **argv)
{
    Caption caption = {
        .common = MODEL_ARGUMENTS_DEFAULT,
        .fit = FASTVLM_FIT_AUTO,
        .answer = {.max_tokens = FASTVLM_DEFAULT_MAX_TOKENS},
    };
    FastvlmGenerateParams *answer = &caption.answer;
    const Option options[] = {
        OPTION_ROW(OPTION_TEXT, "prompt", &answer->prompt, "TEXT",
                   "what to ask (\"" FASTVLM_DEFAULT_PROMPT "\")"),
        OPTION_ROW(OPTION_TEXT, "system-prompt", &answer->system_prompt, "TEXT",
                   "default \"" FASTVLM_DEFAULT_SYSTEM_PROMPT "\""),
        RESOLUTION_OPTION(&caption.resolution),
        FIT_OPTION(&caption.fit),
        OPTION_ROW(OPTION_INT, "max-tokens", &answer->max_tokens, "N",
                   "end the answer after N tokens; default 64", .min = 1, .max = 1 << 20),
        OPTION_ROW(OPTION_DOUBLE, "temperature", &answer->temperature, "T",
                   "how freely to choose words; default 0, not at all", .min = 0, .max = 100),
        OPTION_ROW(OPTION_DOUBLE, "top-p", &answer->top_p, "P",
                   "choose among the likeliest that make up P; 0 off", .min = 0, .max = 1),
        OPTION_ROW(OPTION_INT, "top-k", &answer->top_k, "K", "choose among the K likeliest; 0 off",
                   .min = 0, .max = 1 << 20),
        OPTION_ROW(OPTION_UINT64, "seed", &answer->seed, "N", "same seed, same choices; default 0"),
        OPTION_ROW(OPTION_TEXT, "choices", &caption.choices, "A,B",
                   "the answer is one of them; --json tells how probable"),
        MODEL_OPTION(&caption.common),
        VISION_OPTION(&caption.common),
        HEAD_OPTION(&caption.common),
        PRECISION_OPTION(&caption.common),
        THREADS_OPTION(&caption.common),
        NO_CACHE_OPTION(&caption.common),
        JSON_OPTION(&caption.common),
        OPTION_END,
    };
    GPtrArray *paths = g_ptr_array_new();
    char **choices = NULL;
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, paths, &code)) {
        code = read_choices(command, &caption, &choices);
        if (code == EXIT_OK && paths->len == 0)
            code = tool_usage(command, "caption: no IMAGE given");
        if (code == EXIT_OK) {
            interrupt_watch();
            code = caption_files(&caption, (const char *const *)paths->pdata, paths->len);
        }
    }
    g_strfreev(choices);
    g_ptr_array_unref(paths);
    return code;
}

const ToolCommand tool_command_caption = {
    .name = "caption",
    .arguments = "IMAGE... [OPTION]...",
    .summary = "say what pictures show, or answer a question about them",
    .description =
        "Writes the model's answer about each PNG or JPEG file as it comes. With\n"
        "several files each answer is led by the file's name; one that cannot be read is\n"
        "reported, the others are answered all the same, and the exit status is 1.",
    .examples = "  fastvlm caption photo.jpg\n"
                "  fastvlm caption *.png --prompt \"How many circles are there?\" --json\n"
                "  fastvlm caption gate.jpg --prompt \"Is it open?\" --choices yes,no --json\n"
                "  fastvlm caption photo.jpg --model ~/FastVLM-0.5B --resolution 512",
    .run = run_caption,
};
