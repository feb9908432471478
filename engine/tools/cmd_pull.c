/*
 * fastvlm pull: fetches a released model, once its licence is accepted.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <fastvlm/model.h>

#include "tools/fetch.h"
#include "tools/interrupt.h"
#include "tools/loading.h"
#include "tools/output.h"
#include "tools/pull.h"

#define LICENCE_URL "https://github.com/apple/ml-fastvlm/blob/main/LICENSE_MODEL"
#define PAGE_WIDTH 80
#define ANSWER_SLICE_MS 100
#define N_HASH_DIGITS 64

/* The command line. */
typedef struct {
    const char *name;
    const char *directory; /* NULL: the default */
    const char *base_url;  /* NULL: the variable, or the publisher's */
    const char *sha256;
    int n_retries;
    gboolean accepted;
    gboolean no_verify;
    gboolean force;
    gboolean json;
} PullArguments;

/* --- the licence --- */

/* To standard error, broken at blanks. */
static void write_paragraph(const char *text)
{
    int column = 0;
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    for (char **word = words; *word; word++) {
        int width = (int)g_utf8_strlen(*word, -1);
        if (column > 0 && column + 1 + width > PAGE_WIDTH) {
            fputc('\n', stderr);
            column = 0;
        }
        column += fprintf(stderr, "%s%s", column ? " " : "", *word);
    }
    fputc('\n', stderr);
}

/* A line typed at the terminal that begins with y; a signal or the end of input is a no. */
static gboolean read_yes(void)
{
    char answer[64];
    while (!interrupt_raised()) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int n_ready = poll(&input, 1, ANSWER_SLICE_MS);
        if (n_ready < 0 && errno != EINTR)
            return FALSE;
        if (n_ready <= 0)
            continue;
        ssize_t n = read(STDIN_FILENO, answer, sizeof answer - 1);
        if (n <= 0)
            return FALSE;
        answer[n] = '\0';
        g_strstrip(answer);
        return g_ascii_strcasecmp(answer, "y") == 0 || g_ascii_strcasecmp(answer, "yes") == 0;
    }
    return FALSE;
}

/* Shows the licence and has it accepted; returns the exit code. */
static int accept_licence(const PullArguments *arguments)
{
    write_paragraph(fastvlm_released_weights_notice());
    fprintf(stderr, "%s\n", LICENCE_URL);
    if (arguments->accepted)
        return EXIT_OK;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return tool_fail("%s: its licence, above, must be accepted; to do so add --accept-license",
                         arguments->name);
    fprintf(stderr, "Do you accept this licence? [y/N] ");
    fflush(stderr);
    if (read_yes())
        return EXIT_OK;
    if (interrupt_raised()) {
        fputc('\n', stderr);
        return interrupt_fail();
    }
    return tool_fail("%s: its licence was not accepted; nothing was fetched", arguments->name);
}

/* --- results --- */

static void report_json(const PullParams *params, const PullResult *result)
{
    output_json_line(json_pack("{s:s, s:o, s:b, s:I, s:I, s:i, s:s}", "name", params->model->name,
                               "path", output_json_path(result->path), "was_there",
                               result->was_there, "bytes", (json_int_t)result->n_bytes,
                               "fetched_bytes", (json_int_t)result->n_fetched, "reconnects",
                               result->n_cuts, "licence", fastvlm_released_weights_notice()));
}

static void report_text(const PullParams *params, const PullResult *result)
{
    /* Only found there is a name enough. */
    g_autofree char *found = fastvlm_model_resolve(params->model->name);
    const char *model = strcmp(found, result->path) == 0 ? params->model->name : result->path;
    g_autofree char *shown = g_utf8_make_valid(result->path, -1);
    if (result->was_there)
        printf("%s is there already: %s (--force fetches it anew)\n", params->model->name, shown);
    else
        printf("%s: %.1f MB fetched, unpacked in %s\n", params->model->name,
               result->n_fetched / 1e6, shown);
    printf("try it: fastvlm caption --model %s PICTURE\n", model);
}

/* --- the command --- */

static int pull(const PullArguments *arguments, const PullModel *model, const char *base_url)
{
    GError *error = NULL;
    g_autofree char *standard = pull_get_default_directory();
    PullResult result;
    PullParams params = {
        .model = model,
        .base_url = base_url,
        .directory = arguments->directory ? arguments->directory : standard,
        .sha256 = arguments->sha256,
        .no_verify = arguments->no_verify,
        .force = arguments->force,
        .n_retries = arguments->n_retries,
    };
    signal(SIGXFSZ, SIG_IGN); /* a size limit is an error that writing returns */
    if (!pull_run(&params, &result, &error)) {
        int code = tool_fail("%s", error->message);
        if (interrupt_raised())
            code = interrupt_get_code();
        g_error_free(error);
        return code;
    }
    if (arguments->json)
        report_json(&params, &result);
    else
        report_text(&params, &result);
    g_free(result.path);
    return output_finish();
}

static gboolean is_hash(const char *text)
{
    return strlen(text) == N_HASH_DIGITS && strspn(text, "0123456789abcdef") == N_HASH_DIGITS;
}

static int check_and_pull(const ToolCommand *command, PullArguments *arguments)
{
    const PullModel *model = pull_find_model(arguments->name);
    if (!model) {
        g_autofree char *names = pull_list_names();
        return tool_usage(command, "pull: found \"%s\", expected one of %s", arguments->name,
                          names);
    }
    if (arguments->sha256 && !is_hash(arguments->sha256))
        return tool_usage(command, "--sha256: found \"%s\", expected %d digits of 0 to 9, a to f",
                          arguments->sha256, N_HASH_DIGITS);
    const char *variable = g_getenv("FASTVLM_PULL_URL");
    const char *base_url = arguments->base_url     ? arguments->base_url
                           : variable && *variable ? variable
                                                   : PULL_BASE_URL;
    GError *error = NULL;
    if (!fetch_check_address(base_url, &error)) {
        int code =
            tool_usage(command, "%s: %s", arguments->base_url ? "--base-url" : "FASTVLM_PULL_URL",
                       error->message);
        g_error_free(error);
        return code;
    }
    interrupt_watch();
    int code = accept_licence(arguments);
    return code == EXIT_OK ? pull(arguments, model, base_url) : code;
}

static int run_pull(const ToolCommand *command, int argc, char **argv)
{
    PullArguments values = {.n_retries = 5};
    const Option options[] = {
        OPTION_ROW(OPTION_PATH, "to", &values.directory, "DIR",
                   "put it in DIR/NAME; default where names are found"),
        OPTION_ROW(OPTION_FLAG, "accept-license", &values.accepted, NULL,
                   "accept the licence that is shown"),
        OPTION_ROW(OPTION_TEXT, "base-url", &values.base_url, "URL",
                   "fetch from there; default the publisher's"),
        OPTION_ROW(OPTION_TEXT, "sha256", &values.sha256, "HEX",
                   "what the archive's SHA-256 must be"),
        OPTION_ROW(OPTION_FLAG, "no-verify", &values.no_verify, NULL,
                   "take files whose hash is not the known one"),
        OPTION_ROW(OPTION_INT, "retries", &values.n_retries, "N",
                   "give up after N tries that bring nothing; default 5", .min = 0, .max = 1000),
        OPTION_ROW(OPTION_FLAG, "force", &values.force, NULL, "replace what is there already"),
        JSON_OPTION(&values),
        OPTION_END,
    };
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code)) {
        g_autofree char *names = pull_list_names();
        if (arguments->len != 1) {
            code = tool_usage(command, "pull: found %u names, expected one of %s", arguments->len,
                              names);
        } else {
            values.name = arguments->pdata[0];
            code = check_and_pull(command, &values);
        }
    }
    g_ptr_array_unref(arguments);
    return code;
}

const ToolCommand tool_command_pull = {
    .name = "pull",
    .arguments = "NAME [OPTION]...",
    .summary = "fetch a released model by its name",
    .description =
        "Fetches a FastVLM model from its publisher, unpacks it, looks whether it loads,\n"
        "and puts it where --model NAME and the element's model-path=NAME find it. NAME\n"
        "is 0.5b, 1.5b or 7b, or one of these with -stage2 for the checkpoint before\n"
        "fine-tuning. The archive is as large as the model; both need room for a while:\n"
        "3.1 GB for 0.5b, 7.7 GB for 1.5b, 31 GB for 7b.\n"
        "\n"
        "The weights are licensed for research only: the licence is shown and must be\n"
        "accepted. A fetch that was interrupted goes on where it stopped when the same\n"
        "command is given again. The model appears under its name whole or not at all.\n"
        "\n"
        "The variable FASTVLM_PULL_URL says where to fetch from, as --base-url does:\n"
        "https, or http where it is this machine itself.",
    .examples = "  fastvlm pull 0.5b\n"
                "  fastvlm pull 1.5b --to /srv/models --accept-license",
    .run = run_pull,
};
