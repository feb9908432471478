/*
 * The grid of models and resolutions.
 *
 * Models are loaded one behind the other, so that memory need hold only the largest.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/bench_grid.h"

#include <string.h>

#include "tools/bench_plot.h"
#include "tools/bench_probe.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/progress.h"

typedef struct {
    BenchSeries *ttft_ms, *encode_ms, *prefill_ms;
} Point;

static int get_resolution(const BenchGrid *grid, int index)
{
    return g_array_index(grid->resolutions, gint32, index);
}

static char *get_name(const BenchGrid *grid, int model)
{
    char *base = g_path_get_basename(grid->models[model]);
    char *valid = g_utf8_make_valid(base, -1);
    g_free(base);
    return valid;
}

static guint64 count_parameters(FastvlmModel *model)
{
    const FastvlmModelInfo *info = fastvlm_model_get_info(model);
    return info->n_vision_parameters + info->n_projector_parameters + info->n_language_parameters;
}

static gboolean run_point(FastvlmModel *model, int resolution, int n_runs, Point *point,
                          GError **error)
{
    g_autoptr(BenchProbe) probe =
        bench_probe_new(resolution, bench_image_tokens(resolution) + BENCH_TEXT_TOKENS, 1);
    FastvlmSession *session = fastvlm_session_new(model);
    gboolean done = TRUE;
    interrupt_attach(session);
    for (int run = 0; done && run <= n_runs; run++) {
        FastvlmResult result;
        done = bench_probe_run(probe, session, model, run, &result, error);
        if (!done)
            break;
        if (run > 0) {
            bench_series_add(point->ttft_ms, result.ttft_ms);
            bench_series_add(point->encode_ms, result.encode_ms);
            bench_series_add(point->prefill_ms, result.prefill_ms);
        }
        fastvlm_result_clear(&result);
    }
    interrupt_attach(NULL);
    fastvlm_session_free(session);
    return done;
}

static void report_json(const BenchGrid *grid, int index, FastvlmModel *model, int resolution,
                        const Point *point)
{
    json_t *object = json_object();
    json_object_set_new(object, "model", output_json_path(grid->models[index]));
    json_object_set_new(object, "parameters", json_integer((json_int_t)count_parameters(model)));
    json_object_set_new(object, "precision", json_string(fastvlm_model_get_precision_note(model)));
    json_object_set_new(object, "threads", json_integer(fastvlm_model_get_n_threads(model)));
    json_object_set_new(object, "cpu_tier", json_string(fastvlm_cpu_tier()));
    json_object_set_new(object, "resolution", json_integer(resolution));
    json_object_set_new(object, "prompt_tokens",
                        json_integer(bench_image_tokens(resolution) + BENCH_TEXT_TOKENS));
    json_object_set_new(object, "runs", json_integer(grid->n_runs));
    json_object_set_new(object, "ttft_ms", bench_series_to_json(point->ttft_ms));
    json_object_set_new(object, "encode_ms", bench_series_to_json(point->encode_ms));
    json_object_set_new(object, "prefill_ms", bench_series_to_json(point->prefill_ms));
    output_json_line(object);
}

static void report_row(const BenchGrid *grid, int index, int resolution, const Point *point)
{
    char *name = get_name(grid, index);
    printf("%-20s %10d %13d %10.1f %10.1f %10.1f %10.1f %10.1f\n", name, resolution,
           bench_image_tokens(resolution) + BENCH_TEXT_TOKENS, bench_series_median(point->ttft_ms),
           bench_series_min(point->ttft_ms), bench_series_max(point->ttft_ms),
           bench_series_median(point->encode_ms), bench_series_median(point->prefill_ms));
    fflush(stdout);
    g_free(name);
}

static gboolean measure_point(const BenchGrid *grid, int index, FastvlmModel *model, int resolution,
                              double *median_ms, GError **error)
{
    Point point = {bench_series_new(), bench_series_new(), bench_series_new()};
    gboolean done = run_point(model, resolution, grid->n_runs, &point, error);
    if (done) {
        *median_ms = bench_series_median(point.ttft_ms);
        if (grid->common.json)
            report_json(grid, index, model, resolution, &point);
        else
            report_row(grid, index, resolution, &point);
    }
    g_array_unref(point.ttft_ms);
    g_array_unref(point.encode_ms);
    g_array_unref(point.prefill_ms);
    return done;
}

/* "FastVLM-0.5B: 623 M, int8", to be freed. */
static char *make_label(const BenchGrid *grid, int index, FastvlmModel *model)
{
    char size[G_ASCII_DTOSTR_BUF_SIZE];
    double n = (double)count_parameters(model);
    char *name = get_name(grid, index);
    g_ascii_formatd(size, sizeof size, n < 1e9 ? "%.0f M" : "%.1f B", n / (n < 1e9 ? 1e6 : 1e9));
    char *label =
        g_strdup_printf("%s: %s, %s", name, size, fastvlm_model_get_precision_note(model));
    g_free(name);
    return label;
}

static gboolean measure_model(const BenchGrid *grid, int index, BenchPlotLine *line, GError **error)
{
    ModelArguments arguments = grid->common;
    arguments.model = grid->models[index];
    FastvlmModel *model = loading_load(&arguments, error);
    if (!model)
        return FALSE;
    gboolean done = TRUE;
    g_autoptr(Progress) progress = progress_new("measuring");
    const int n = (int)grid->resolutions->len;
    line->label = make_label(grid, index, model);
    line->value = g_new0(double, n);
    for (int i = 0; done && i < n; i++) {
        progress_set(progress, (double)i / n);
        done = measure_point(grid, index, model, get_resolution(grid, i), &line->value[i], error);
    }
    fastvlm_model_unref(model);
    return done;
}

static gboolean write_plot(const BenchGrid *grid, const BenchPlotLine *lines, OutputFile *file,
                           GError **error)
{
    char *subtitle = g_strdup_printf(
        "median of %d run%s; prompt of %d tokens and the picture's; %s", grid->n_runs,
        grid->n_runs > 1 ? "s" : "", BENCH_TEXT_TOKENS, fastvlm_cpu_tier());
    BenchPlot plot = {
        .title = "Time to first token",
        .subtitle = subtitle,
        .resolution = (const int *)grid->resolutions->data,
        .n_resolutions = (int)grid->resolutions->len,
        .lines = lines,
        .n_lines = grid->n_models,
    };
    char *svg = bench_plot_to_svg(&plot);
    gboolean done = output_file_write(file, svg, error);
    g_free(svg);
    g_free(subtitle);
    return done && output_file_commit(file, error);
}

/* That every model is there and its context holds the longest prompt, before the first is loaded. */
static int check_models(const BenchGrid *grid, const ToolCommand *command)
{
    int largest = get_resolution(grid, (int)grid->resolutions->len - 1);
    int n_tokens = bench_image_tokens(largest) + BENCH_TEXT_TOKENS + 1;
    for (int i = 0; i < grid->n_models; i++) {
        GError *error = NULL;
        FastvlmModelInfo *info = fastvlm_model_inspect(grid->models[i], &error);
        if (!info)
            return loading_fail(error);
        int max_positions = info->max_positions;
        fastvlm_model_info_free(info);
        if (n_tokens > max_positions)
            return tool_usage(
                command,
                "--resolutions: %d pixels make a prompt of %d tokens, but the context "
                "of %s has %d; leave it out",
                largest, n_tokens, grid->models[i], max_positions);
    }
    return EXIT_OK;
}

int bench_grid(const BenchGrid *grid, const ToolCommand *command)
{
    GError *error = NULL;
    OutputFile file = {NULL, NULL};
    int code = check_models(grid, command);
    if (code != EXIT_OK)
        return code;
    if (grid->svg_path && !output_file_begin(&file, grid->svg_path, &error))
        return loading_fail(error);
    BenchPlotLine *lines = g_new0(BenchPlotLine, grid->n_models);
    if (!grid->common.json)
        printf("%-20s %10s %13s %10s %10s %10s %10s %10s\n", "model", "resolution", "prompt_tokens",
               "ttft_ms", "min", "max", "encode_ms", "prefill_ms");
    gboolean done = TRUE;
    for (int i = 0; done && i < grid->n_models; i++)
        done = measure_model(grid, i, &lines[i], &error);
    if (done && grid->svg_path)
        done = write_plot(grid, lines, &file, &error);
    output_file_abort(&file);
    for (int i = 0; i < grid->n_models; i++) {
        g_free(lines[i].label);
        g_free(lines[i].value);
    }
    g_free(lines);
    return done ? output_finish() : loading_fail(error);
}
