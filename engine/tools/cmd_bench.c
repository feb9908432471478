/*
 * fastvlm bench: how fast a model is on this machine.
 *
 *     load -> one run that is not counted -> N runs: picture, prompt of ids, tokens -> median and spread
 *          -> N - 1 further loads
 *
 * A run is one caption's parts, or several sessions together (bench_sessions.c); with --grid it is
 * several models at several resolutions (bench_grid.c).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdlib.h>
#include <string.h>

#include <fastvlm/session.h>

#include "tools/bench_grid.h"
#include "tools/bench_probe.h"
#include "tools/bench_sessions.h"
#include "tools/interrupt.h"
#include "tools/loading.h"
#include "tools/output.h"
#include "tools/progress.h"

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
    int n_prompt_tokens; /* 0: the picture's and BENCH_TEXT_TOKENS */
    int n_decode_tokens;
    int n_runs;
    int n_sessions; /* 0: one, measured by its parts */
    FastvlmModel *model;
    FastvlmSession *session;
    BenchProbe *probe;
    BenchSeries *figures[N_FIGURES];
} Bench;

static void add_figure(Bench *bench, Figure figure, double value)
{
    bench_series_add(bench->figures[figure], value);
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

static gboolean run_alone(Bench *bench, GError **error)
{
    g_autoptr(Progress) progress = progress_new("measuring");
    for (int run = 0; run <= bench->n_runs; run++) {
        FastvlmResult result;
        if (!bench_probe_run(bench->probe, bench->session, bench->model, run, &result, error))
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
        bench_probe_draw_ids(bench->probe, bench->model, run);
        BenchTask task = {bench->model, bench_probe_picture(bench->probe), bench->resolution,
                          bench_probe_params(bench->probe)};
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
        BenchSeries *values = bench->figures[i];
        if (values->len == 0)
            continue;
        json_object_set_new(report, figure_names[i], bench_series_to_json(values));
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
        BenchSeries *values = bench->figures[i];
        if (values->len == 0)
            continue;
        int n_decimals = i == FIGURE_CAPTIONS ? 3 : 1;
        printf("%-14s  %10.*f  %10.*f  %10.*f\n", figure_names[i], n_decimals,
               bench_series_median(values), n_decimals, bench_series_min(values), n_decimals,
               bench_series_max(values));
    }
}

/*
 * Fills in what was left to the model, from its headers, so that a prompt too short is known before
 * the model is loaded. Returns EXIT_OK or the code to leave with.
 */
static int settle_sizes(Bench *bench, const ToolCommand *command)
{
    GError *error = NULL;
    const FastvlmModelParams params = loading_get_params(&bench->common);
    FastvlmModelInfo *info = fastvlm_model_inspect_for(bench->common.model, &params, &error);
    if (!info)
        return loading_fail(error);
    if (bench->resolution == 0)
        bench->resolution = info->resolution;
    int max_positions = info->max_positions;
    fastvlm_model_info_free(info);
    int n_rows = bench_image_tokens(bench->resolution);
    if (bench->n_prompt_tokens == 0)
        bench->n_prompt_tokens = n_rows + BENCH_TEXT_TOKENS;
    if (bench->n_prompt_tokens <= n_rows)
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
    bench->probe =
        bench_probe_new(bench->resolution, bench->n_prompt_tokens, bench->n_decode_tokens);
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
    if (done && bench->common.json)
        report_json(bench, description);
    else if (done)
        report_table(bench, description);
    json_decref(description);
    return done ? output_finish() : loading_fail(error);
}

/* One model. */
static int run_model(Bench *bench, const ToolCommand *command, const GPtrArray *arguments)
{
    if (arguments->len > 0)
        return tool_usage(command, "bench: found \"%s\", expected options only, or --grid",
                          (const char *)arguments->pdata[0]);
    for (int i = 0; i < N_FIGURES; i++)
        bench->figures[i] = bench_series_new();
    int code = measure(bench, command);
    for (int i = 0; i < N_FIGURES; i++)
        g_array_unref(bench->figures[i]);
    fastvlm_model_unref(bench->model);
    bench_probe_free(bench->probe);
    return code;
}

/* The options of --grid alone, and whether those were given that it does without. */
typedef struct {
    gboolean on;
    GArray *resolutions; /* of gint32 */
    const char *svg_path;
    gboolean has_resolutions, has_one; /* --resolution and the like */
} GridOptions;

static int check_resolutions(const ToolCommand *command, GArray *resolutions)
{
    static const gint32 usual[] = {256, 512, 768, 1024, 1536};
    if (resolutions->len == 0)
        g_array_append_vals(resolutions, usual, G_N_ELEMENTS(usual));
    for (guint i = 0; i < resolutions->len; i++) {
        int value = g_array_index(resolutions, gint32, i);
        if (value < 64 || value > 4096 || value % 64 != 0 ||
            (i > 0 && value <= g_array_index(resolutions, gint32, i - 1)))
            return tool_usage(command,
                              "--resolutions: found %d, expected multiples of 64 from 64 to 4096, "
                              "rising",
                              value);
    }
    return EXIT_OK;
}

static int run_grid(const Bench *bench, const GridOptions *options, const ToolCommand *command,
                    const GPtrArray *arguments)
{
    if (options->has_one)
        return tool_usage(command, "--grid: measures to the first token at --resolutions; leave "
                                   "--resolution, --prompt-tokens, --decode-tokens and --sessions "
                                   "out");
    if (options->has_resolutions && options->resolutions->len == 0)
        return tool_usage(command, "--resolutions: found nothing, expected numbers as 256,512");
    int code = check_resolutions(command, options->resolutions);
    if (code != EXIT_OK)
        return code;
    BenchGrid grid = {
        .common = bench->common,
        .models = arguments->len ? (const char *const *)arguments->pdata : &bench->common.model,
        .n_models = MAX((int)arguments->len, 1),
        .resolutions = options->resolutions,
        .n_runs = bench->n_runs,
        .svg_path = options->svg_path,
    };
    return bench_grid(&grid, command);
}

static int run_either(Bench *bench, const GridOptions *grid, const ToolCommand *command,
                      const GPtrArray *arguments)
{
    interrupt_watch();
    if (grid->on)
        return run_grid(bench, grid, command, arguments);
    if (grid->svg_path || grid->has_resolutions)
        return tool_usage(command, "--%s: is for --grid; add that",
                          grid->svg_path ? "svg" : "resolutions");
    return run_model(bench, command, arguments);
}

static int run_bench(const ToolCommand *command, int argc, char **argv)
{
    Bench bench = {.common = MODEL_ARGUMENTS_DEFAULT, .n_decode_tokens = 64, .n_runs = 5};
    GridOptions grid = {.resolutions = g_array_new(FALSE, FALSE, sizeof(gint32))};
    const Option options[] = {
        OPTION_ROW(OPTION_INT, "resolution", &bench.resolution, "R",
                   "pixels, a multiple of 64; default the model's own", .min = 0, .max = 4096,
                   .multiple = 64, .given = &grid.has_one),
        OPTION_ROW(OPTION_INT, "prompt-tokens", &bench.n_prompt_tokens, "N",
                   "the picture's included; default those and 24", .min = 1, .max = 1 << 20,
                   .given = &grid.has_one),
        OPTION_ROW(OPTION_INT, "decode-tokens", &bench.n_decode_tokens, "N",
                   "tokens of the answer; default 64", .min = 2, .max = 1 << 20,
                   .given = &grid.has_one),
        OPTION_ROW(OPTION_INT, "runs", &bench.n_runs, "N", "measured runs; default 5", .min = 1,
                   .max = 10000),
        OPTION_ROW(OPTION_INT, "sessions", &bench.n_sessions, "N",
                   "so many captions at a time, measured together", .min = 1, .max = 64,
                   .given = &grid.has_one),
        OPTION_ROW(OPTION_FLAG, "grid", &grid.on, NULL,
                   "time to first token of each MODEL at --resolutions"),
        OPTION_ROW(OPTION_IDS, "resolutions", &grid.resolutions, "R,R,..",
                   "of the grid; default 256,512,768,1024,1536", .given = &grid.has_resolutions),
        OPTION_ROW(OPTION_PATH, "svg", &grid.svg_path, "FILE", "plot the grid"),
        MODEL_OPTION(&bench.common),
        VISION_OPTION(&bench.common),
        HEAD_OPTION(&bench.common),
        PRECISION_OPTION(&bench.common),
        THREADS_OPTION(&bench.common),
        NO_CACHE_OPTION(&bench.common),
        JSON_OPTION(&bench.common),
        OPTION_END,
    };
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code))
        code = run_either(&bench, &grid, command, arguments);
    g_ptr_array_unref(arguments);
    g_array_unref(grid.resolutions);
    return code;
}

const ToolCommand tool_command_bench = {
    .name = "bench",
    .arguments = "[--grid [MODEL]...] [OPTION]...",
    .summary = "measure how fast a model is on this machine",
    .description =
        "Captions a made-up 1920 x 1080 picture over and over, after one run that does\n"
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
        "  captions_s     captions of all a second, one new picture for each\n"
        "\n"
        "With --grid, each MODEL (default: that of --model) is timed to its first token\n"
        "at each of --resolutions: a line for each pair as it is measured, and with --svg\n"
        "a plot when all are.",
    .examples = "  fastvlm bench\n"
                "  fastvlm bench --model ~/FastVLM-0.5B --resolution 512 --threads 2 --json\n"
                "  fastvlm bench --model ~/FastVLM-0.5B --sessions 4\n"
                "  fastvlm bench --grid ~/FastVLM-0.5B ~/FastVLM-1.5B --svg grid.svg",
    .run = run_bench,
};
