/*
 * fastvlm tokenize: text to token ids.
 *
 *     TEXT -> ids on a line;  {"text": ...} a line -> {"ids": [...]} a line
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fastvlm/tokenizer.h>

#include "tools/loading.h"
#include "tools/output.h"

typedef struct {
    ModelArguments common; /* of which only json */
    const char *jsonl;
    FastvlmTokenizer *tokenizer;
    GArray *ids; /* of gint32 */
} Tokenize;

static void write_ids(const Tokenize *tokenize, gboolean json)
{
    const gint32 *ids = (const gint32 *)(void *)tokenize->ids->data;
    if (!json) {
        for (guint i = 0; i < tokenize->ids->len; i++)
            printf("%s%d", i ? " " : "", ids[i]);
        printf("\n");
        return;
    }
    json_t *array = json_array();
    for (guint i = 0; i < tokenize->ids->len; i++)
        json_array_append_new(array, json_integer(ids[i]));
    json_t *object = json_object();
    json_object_set_new(object, "ids", array);
    output_json_line(object);
}

static gboolean encode(Tokenize *tokenize, const char *text, gssize n_bytes, GError **error)
{
    g_array_set_size(tokenize->ids, 0);
    return fastvlm_tokenizer_encode(tokenize->tokenizer, text, n_bytes, TRUE, tokenize->ids, error);
}

static int tokenize_line(Tokenize *tokenize, const char *line, gsize n_bytes, guint64 line_number)
{
    json_error_t json_error;
    json_t *object =
        json_loadb(line, n_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &json_error);
    if (!object)
        return tool_fail("%s:%" G_GUINT64_FORMAT ": %s; expected a JSON object {\"text\": \"...\"}",
                         tokenize->jsonl, line_number, json_error.text);
    json_t *text = json_object_get(object, "text");
    GError *error = NULL;
    int code = EXIT_OK;
    if (!json_is_string(text))
        code = tool_fail("%s:%" G_GUINT64_FORMAT ": no string \"text\" in this line; expected "
                         "{\"text\": \"...\"}",
                         tokenize->jsonl, line_number);
    else if (encode(tokenize, json_string_value(text), (gssize)json_string_length(text), &error))
        write_ids(tokenize, TRUE);
    else {
        g_prefix_error(&error, "%s:%" G_GUINT64_FORMAT ": ", tokenize->jsonl, line_number);
        code = loading_fail(error);
    }
    json_decref(object);
    return code;
}

static int tokenize_file(Tokenize *tokenize)
{
    gboolean standard_input = strcmp(tokenize->jsonl, "-") == 0;
    FILE *file = standard_input ? stdin : fopen(tokenize->jsonl, "r");
    if (!file)
        return tool_fail("%s: cannot be read: %s; give --jsonl a file with one {\"text\"} a line",
                         tokenize->jsonl, g_strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    int code = EXIT_OK;
    errno = 0;
    for (guint64 number = 1; code == EXIT_OK; number++) {
        ssize_t n_bytes = getline(&line, &capacity, file);
        if (n_bytes < 0)
            break;
        if (strspn(line, " \t\r\n") < (gsize)n_bytes)
            code = tokenize_line(tokenize, line, (gsize)n_bytes, number);
    }
    if (ferror(file))
        code = tool_fail("%s: cannot be read: %s; give --jsonl a file with one {\"text\"} a line",
                         tokenize->jsonl, g_strerror(errno));
    free(line);
    if (!standard_input)
        fclose(file);
    return code;
}

static int tokenize_all(Tokenize *tokenize, const char *directory, const char *text)
{
    GError *error = NULL;
    g_autofree char *path = fastvlm_model_resolve(directory);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return tool_fail("%s: no such directory or model, expected one with tokenizer files "
                         "(vocab.json and merges.txt, or tokenizer.json)",
                         path);
    tokenize->tokenizer = fastvlm_tokenizer_load(path, &error);
    if (!tokenize->tokenizer)
        return loading_fail(error);
    tokenize->ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    int code = EXIT_OK;
    if (tokenize->jsonl)
        code = tokenize_file(tokenize);
    else if (encode(tokenize, text, -1, &error))
        write_ids(tokenize, tokenize->common.json);
    else {
        g_prefix_error(&error, "TEXT: ");
        code = loading_fail(error);
    }
    g_array_unref(tokenize->ids);
    fastvlm_tokenizer_free(tokenize->tokenizer);
    int written = output_finish();
    return code != EXIT_OK ? code : written;
}

static int run_tokenize(const ToolCommand *command, int argc, char **argv)
{
    Tokenize tokenize = {0};
    const Option options[] = {
        OPTION_ROW(OPTION_PATH, "jsonl", &tokenize.jsonl, "FILE",
                   "{\"text\"} lines in, {\"ids\"} lines out; - reads stdin"),
        JSON_OPTION(&tokenize.common),
        OPTION_END,
    };
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code)) {
        guint n_expected = tokenize.jsonl ? 1 : 2;
        char **words = (char **)arguments->pdata;
        if (arguments->len == 0)
            code =
                tool_usage(command, "tokenize: no DIR given: the tokenizer's directory or model");
        else if (arguments->len < n_expected)
            code = tool_usage(command, "tokenize: nothing to tokenize: give TEXT or --jsonl FILE");
        else if (arguments->len > n_expected)
            code = tool_usage(command,
                              "tokenize: found \"%s\" too much; quote a TEXT of several "
                              "words",
                              words[n_expected]);
        else
            code = tokenize_all(&tokenize, words[0], tokenize.jsonl ? NULL : words[1]);
    }
    g_ptr_array_unref(arguments);
    return code;
}

const ToolCommand tool_command_tokenize = {
    .name = "tokenize",
    .arguments = "DIR|NAME (TEXT | --jsonl FILE) [OPTION]...",
    .summary = "turn text into token ids",
    .description = "Writes the token ids of TEXT. DIR need only hold the tokenizer: vocab.json,\n"
                   "merges.txt, added_tokens.json, tokenizer_config.json. The names of special\n"
                   "tokens in the text are taken for those tokens; nothing is added.",
    .examples = "  fastvlm tokenize demo \"Describe the image.\"\n"
                "  fastvlm tokenize models/demo --jsonl texts.jsonl",
    .run = run_tokenize,
};
