/*
 * fastvlm bench: how fast a model is on this machine.
 *
 *     load -> one run that is not counted -> N runs: picture, prompt of ids, tokens -> median and spread
 *          -> N - 1 further loads
 *
 * A run is one caption's parts, or several sessions together (bench_sessions.c).
 *
 * The picture and the ids are made up; what they are changes no timing. Every run has other ids, so
 * that nothing kept from the last one shortens it, and stop tokens are passed over.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdlib.h>
#include <string.h>

#include <fastvlm/session.h>

#include "tools/bench_sessions.h"
#include "tools/interrupt.h"
#include "tools/loading.h"
#include "tools/output.h"
#include "tools/progress.h"

#define PICTURE_WIDTH 1920
#define PICTURE_HEIGHT 1080
#define PREFIX_TOKENS 14 /* as the released models' chat template has before the picture */
#define TEXT_TOKENS 24   /* that template with a short question, without the picture */

/* What is measured; the order of the report. */
typedef enum {
    FIGURE_LOAD,
    FIGURE_PREPROCESS,
    FIGURE_ENCODE,
    FIGURE_PREFILL,
    FIGURE_DECODE,
    FIGURE_TTFT,
    FIGURE_TOKENS, /* this and the next: with --sessions, instead of those before */
    FIGURE_CAPTIONS,
    FIGURE_PEAK_RSS,
    N_FIGURES,
} Figure;

static const char *const figure_names[N_FIGURES] = {
    "load_ms", "preprocess_ms", "encode_ms",  "prefill_tok_s", "decode_tok_s",
    "ttft_ms", "total_tok_s",   "captions_s", "peak_rss_mb",
};

typedef struct {
    ModelArguments common;
    int resolution;
    int n_prompt_tokens; /* 0: the picture's and TEXT_TOKENS */
    int n_decode_tokens;
    int n_runs;
    int n_sessions; /* 0: one, measured by its parts */
    FastvlmModel *model;
    FastvlmSession *session;
    guint8 *pixels;             /* [PICTURE_HEIGHT, PICTURE_WIDTH, 3] */
    gint32 *ids;                /* [n_text_tokens], before and behind the picture */
    int n_text_tokens;          /* n_prompt_tokens without the picture's */
    GArray *figures[N_FIGURES]; /* of double */
} Bench;

static guint8 *make_picture(void)
{
    guint8 *pixels = g_malloc((gsize)PICTURE_WIDTH * PICTURE_HEIGHT * 3);
    guint8 *pixel = pixels;
    for (int y = 0; y < PICTURE_HEIGHT; y++) {
        for (int x = 0; x < PICTURE_WIDTH; x++) {
            *pixel++ = (guint8)(x * 255 / (PICTURE_WIDTH - 1));
            *pixel++ = (guint8)(y * 255 / (PICTURE_HEIGHT - 1));
            *pixel++ = (guint8)(x ^ y);
        }
    }
    return pixels;
}

static void add_figure(Bench *bench, Figure figure, double value)
{
    g_array_append_val(bench->figures[figure], value);
}

/* Most memory that this process ever held, in units of 10^6 bytes; negative where not known. */
static double read_peak_rss_mb(void)
{
    char *status = NULL;
    double peak_mb = -1;
    if (g_file_get_contents("/proc/self/status", &status, NULL, NULL)) {
        const char *line = strstr(status, "VmHWM:");
        if (line)
            peak_mb = g_ascii_strtod(line + strlen("VmHWM:"), NULL) * 1024 / 1e6;
    }
    g_free(status);
    return peak_mb;
}

static gboolean load(Bench *bench, GError **error)
{
    gint64 start_us = g_get_monotonic_time();
    bench->model = loading_load(&bench->common, error);
    if (bench->model)
        add_figure(bench, FIGURE_LOAD, (g_get_monotonic_time() - start_us) / 1e3);
    return bench->model != NULL;
}

static void draw_ids(Bench *bench, int run)
{
    const FastvlmModelInfo *info = fastvlm_model_get_info(bench->model);
    gint64 n_ids =
        info->tokenizer_size ? MIN(info->tokenizer_size, info->vocab_size) : info->vocab_size;
    for (int i = 0; i < bench->n_text_tokens; i++)
        bench->ids[i] = (gint32)(((gint64)i * 7919 + (gint64)run * 104729) % n_ids);
}

static FastvlmImage get_picture(const Bench *bench)
{
    return (FastvlmImage){.format = FASTVLM_PIXEL_RGB,
                          .width = PICTURE_WIDTH,
                          .height = PICTURE_HEIGHT,
                          .stride = PICTURE_WIDTH * 3,
                          .data = bench->pixels};
}

static FastvlmGenerateParams get_params(const Bench *bench)
{
    int n_prefix = MIN(PREFIX_TOKENS, bench->n_text_tokens / 2);
    return (FastvlmGenerateParams){
        .use_ids = TRUE,
        .prefix_ids = bench->ids,
        .n_prefix_ids = n_prefix,
        .suffix_ids = bench->ids + n_prefix,
        .n_suffix_ids = bench->n_text_tokens - n_prefix,
        .max_tokens = bench->n_decode_tokens,
        .ignore_stop = TRUE,
        .no_draft = TRUE,
    };
}

static gboolean run_once(Bench *bench, int run, FastvlmResult *result, GError **error)
{
    FastvlmImage picture = get_picture(bench);
    if (!fastvlm_session_set_image(bench->session, &picture, bench->resolution, FASTVLM_FIT_PAD,
                                   error))
        return FALSE;
    draw_ids(bench, run);
    FastvlmGenerateParams params = get_params(bench);
    return fastvlm_session_generate(bench->session, &params, result, error);
}

static gboolean run_alone(Bench *bench, GError **error)
{
    g_autoptr(Progress) progress = progress_new("measuring");
    for (int run = 0; run <= bench->n_runs; run++) {
        FastvlmResult result;
        if (!run_once(bench, run, &result, error))
            return FALSE;
        progress_set(progress, (run + 1.0) / (bench->n_runs + 1));
        if (run > 0) {
            add_figure(bench, FIGURE_PREPROCESS, result.preprocess_ms);
            add_figure(bench, FIGURE_ENCODE, result.encode_ms);
            add_figure(bench, FIGURE_PREFILL,
                       (result.n_prompt_tokens - result.n_reused_tokens) / result.prefill_ms * 1e3);
            add_figure(bench, FIGURE_DECODE, (result.n_tokens - 1) / result.decode_ms * 1e3);
            add_figure(bench, FIGURE_TTFT, result.ttft_ms);
        }
        fastvlm_result_clear(&result);
    }
    return TRUE;
}

static gboolean measure_runs(Bench *bench, GError **error)
{
    bench->session = fastvlm_session_new(bench->model);
    interrupt_attach(bench->session);
    gboolean done = run_alone(bench, error);
    interrupt_attach(NULL);
    g_clear_pointer(&bench->session, fastvlm_session_free);
    return done;
}

static gboolean measure_sessions(Bench *bench, GError **error)
{
    g_autoptr(Progress) progress = progress_new("measuring");
    for (int run = 0; run <= bench->n_runs; run++) {
        double tokens_s, captions_s;
        draw_ids(bench, run);
        BenchTask task = {bench->model, get_picture(bench), bench->resolution, get_params(bench)};
        if (!bench_sessions(&task, bench->n_sessions, 1, &tokens_s, &captions_s, error))
            return FALSE;
        progress_set(progress, (run + 1.0) / (bench->n_runs + 1));
        if (run > 0) {
            add_figure(bench, FIGURE_TOKENS, tokens_s);
            add_figure(bench, FIGURE_CAPTIONS, captions_s);
        }
    }
    return TRUE;
}

static int compare_doubles(gconstpointer a, gconstpointer b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double get_median(const GArray *sorted)
{
    guint middle = sorted->len / 2;
    double upper = g_array_index(sorted, double, middle);
    return sorted->len % 2 ? upper : (g_array_index(sorted, double, middle - 1) + upper) / 2;
}

/* What the figures depend on, read while the model is there. */
static json_t *describe(const Bench *bench)
{
    FastvlmModel *model = bench->model;
    json_t *object = json_object();
    json_object_set_new(object, "model", output_json_path(bench->common.model));
    json_object_set_new(object, "precision", json_string(fastvlm_model_get_precision_note(model)));
    json_object_set_new(object, "threads", json_integer(fastvlm_model_get_n_threads(model)));
    json_object_set_new(object, "cpu_tier", json_string(fastvlm_cpu_tier()));
    json_object_set_new(object, "blas", json_string(fastvlm_blas_name()));
    json_object_set_new(object, "cache", output_json_path(fastvlm_model_get_cache_note(model)));
    json_object_set_new(object, "resolution", json_integer(bench->resolution));
    json_object_set_new(object, "prompt_tokens", json_integer(bench->n_prompt_tokens));
    json_object_set_new(object, "decode_tokens", json_integer(bench->n_decode_tokens));
    json_object_set_new(object, "runs", json_integer(bench->n_runs));
    if (bench->n_sessions > 0)
        json_object_set_new(object, "sessions", json_integer(bench->n_sessions));
    return object;
}

static void report_json(Bench *bench, json_t *description)
{
    json_t *report = json_object();
    for (int i = 0; i < N_FIGURES; i++) {
        GArray *values = bench->figures[i];
        if (values->len == 0)
            continue;
        json_t *figure = json_object();
        json_object_set_new(figure, "median", output_json_real(get_median(values), 3));
        json_object_set_new(figure, "min", output_json_real(g_array_index(values, double, 0), 3));
        json_object_set_new(figure, "max",
                            output_json_real(g_array_index(values, double, values->len - 1), 3));
        json_object_set_new(report, figure_names[i], figure);
    }
    json_object_update(report, description);
    output_json_line(report);
}

static void report_table(Bench *bench, json_t *description)
{
    const char *key;
    json_t *value;
    json_object_foreach(description, key, value)
    {
        if (json_is_string(value))
            printf("%-14s  %s\n", key, json_string_value(value));
        else
            printf("%-14s  %" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
    }
    printf("\n%-14s  %10s  %10s  %10s\n", "", "median", "min", "max");
    for (int i = 0; i < N_FIGURES; i++) {
        GArray *values = bench->figures[i];
        if (values->len == 0)
            continue;
        int n_decimals = i == FIGURE_CAPTIONS ? 3 : 1;
        printf("%-14s  %10.*f  %10.*f  %10.*f\n", figure_names[i], n_decimals, get_median(values),
               n_decimals, g_array_index(values, double, 0), n_decimals,
               g_array_index(values, double, values->len - 1));
    }
}

/*
 * Fills in what was left to the model, from its headers, so that a prompt too short is known before
 * the model is loaded. Returns EXIT_OK or the code to leave with.
 */
static int settle_sizes(Bench *bench, const ToolCommand *command)
{
    GError *error = NULL;
    FastvlmModelInfo *info = fastvlm_model_inspect(bench->common.model, &error);
    if (!info)
        return loading_fail(error);
    if (bench->resolution == 0)
        bench->resolution = info->resolution;
    int max_positions = info->max_positions;
    fastvlm_model_info_free(info);
    int n_rows = (bench->resolution / 64) * (bench->resolution / 64);
    if (bench->n_prompt_tokens == 0)
        bench->n_prompt_tokens = n_rows + TEXT_TOKENS;
    bench->n_text_tokens = bench->n_prompt_tokens - n_rows;
    if (bench->n_text_tokens < 1)
        return tool_usage(command,
                          "--prompt-tokens: found %d, but at %d pixels the picture alone takes %d; "
                          "give at least %d",
                          bench->n_prompt_tokens, bench->resolution, n_rows, n_rows + 1);
    if (bench->n_prompt_tokens + bench->n_decode_tokens > max_positions)
        return tool_usage(
            command,
            "--decode-tokens: found %d behind a prompt of %d, but the model's context "
            "has %d; give fewer",
            bench->n_decode_tokens, bench->n_prompt_tokens, max_positions);
    bench->ids = g_new(gint32, bench->n_text_tokens);
    return EXIT_OK;
}

/* The loads after the first come last, so that they cannot raise the peak of memory. */
static gboolean measure_loads(Bench *bench, GError **error)
{
    for (int i = 1; i < bench->n_runs; i++) {
        g_clear_pointer(&bench->model, fastvlm_model_unref);
        if (!load(bench, error))
            return FALSE;
    }
    return TRUE;
}

static int measure(Bench *bench, const ToolCommand *command)
{
    GError *error = NULL;
    if (loading_check_precision(&bench->common) != EXIT_OK)
        return EXIT_FAILED;
    int code = settle_sizes(bench, command);
    if (code != EXIT_OK)
        return code;
    if (!load(bench, &error))
        return loading_fail(error);
    gboolean done =
        bench->n_sessions > 0 ? measure_sessions(bench, &error) : measure_runs(bench, &error);
    if (!done)
        return loading_fail(error);
    add_figure(bench, FIGURE_PEAK_RSS, read_peak_rss_mb());
    json_t *description = describe(bench);
    done = measure_loads(bench, &error);
    for (int i = 0; i < N_FIGURES; i++)
        g_array_sort(bench->figures[i], compare_doubles);
    if (done && bench->common.json)
        report_json(bench, description);
    else if (done)
        report_table(bench, description);
    json_decref(description);
    return done ? output_finish() : loading_fail(error);
}

static int run_bench(const ToolCommand *command, int argc, char **argv)
{
    Bench bench = {.common = MODEL_ARGUMENTS_DEFAULT, .n_decode_tokens = 64, .n_runs = 5};
    const Option options[] = {
        RESOLUTION_OPTION(&bench.resolution),
        OPTION_ROW(OPTION_INT, "prompt-tokens", &bench.n_prompt_tokens, "N",
                   "the picture's included; default those and 24", .min = 1, .max = 1 << 20),
        OPTION_ROW(OPTION_INT, "decode-tokens", &bench.n_decode_tokens, "N",
                   "tokens of the answer; default 64", .min = 2, .max = 1 << 20),
        OPTION_ROW(OPTION_INT, "runs", &bench.n_runs, "N", "measured runs; default 5", .min = 1,
                   .max = 10000),
        OPTION_ROW(OPTION_INT, "sessions", &bench.n_sessions, "N",
                   "so many captions at a time, measured together", .min = 1, .max = 64),
        MODEL_OPTION(&bench.common),
        PRECISION_OPTION(&bench.common),
        THREADS_OPTION(&bench.common),
        NO_CACHE_OPTION(&bench.common),
        JSON_OPTION(&bench.common),
        OPTION_END,
    };
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code)) {
        if (arguments->len > 0)
            code = tool_usage(command, "bench: found \"%s\", expected options only",
                              (const char *)arguments->pdata[0]);
        else {
            interrupt_watch();
            bench.pixels = make_picture();
            for (int i = 0; i < N_FIGURES; i++)
                bench.figures[i] = g_array_new(FALSE, FALSE, sizeof(double));
            code = measure(&bench, command);
            for (int i = 0; i < N_FIGURES; i++)
                g_array_unref(bench.figures[i]);
            fastvlm_model_unref(bench.model);
            g_free(bench.pixels);
            g_free(bench.ids);
        }
    }
    g_ptr_array_unref(arguments);
    return code;
}

const ToolCommand tool_command_bench = {
    .name = "bench",
    .arguments = "[OPTION]...",
    .summary = "measure how fast a model is on this machine",
    .description = "Captions a made-up 1920 x 1080 picture over and over, after one run that does\n"
                   "not count, and writes median, minimum and maximum of\n"
                   "\n"
                   "  load_ms        from the name to a model that can answer\n"
                   "  preprocess_ms  the picture to the size that the encoder takes\n"
                   "  encode_ms      encoder and projector\n"
                   "  prefill_tok_s  prompt tokens a second, the picture's included\n"
                   "  decode_tok_s   tokens of the answer a second, from the first to the last\n"
                   "  ttft_ms        time to first token: preprocess, encode, prefill, choose\n"
                   "  peak_rss_mb    most memory held, in 10^6 bytes: one value for all runs\n"
                   "\n"
                   "With --sessions N, N sessions share the model, as N elements do, and between\n"
                   "load_ms and peak_rss_mb come\n"
                   "\n"
                   "  total_tok_s    tokens a second of all, while all decode\n"
                   "  captions_s     captions of all a second, one new picture for each",
    .examples = "  fastvlm bench\n"
                "  fastvlm bench --model ~/FastVLM-0.5B --resolution 512 --threads 2 --json\n"
                "  fastvlm bench --model ~/FastVLM-0.5B --sessions 4",
    .run = run_bench,
};
