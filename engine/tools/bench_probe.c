/*
 * A picture and a prompt to measure with, and series of figures.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/bench_probe.h"

#include "tools/output.h"

#define PICTURE_WIDTH 1920
#define PICTURE_HEIGHT 1080
#define PREFIX_TOKENS 14 /* as the released models' chat template has before the picture */

struct BenchProbe {
    int resolution;
    int n_text_tokens; /* of the prompt, without the picture's */
    int n_decode_tokens;
    guint8 *pixels; /* [PICTURE_HEIGHT, PICTURE_WIDTH, 3] */
    gint32 *ids;    /* [n_text_tokens], before and behind the picture */
};

int bench_image_tokens(int resolution)
{
    return (resolution / 64) * (resolution / 64);
}

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

BenchProbe *bench_probe_new(int resolution, int n_prompt_tokens, int n_decode_tokens)
{
    BenchProbe *probe = g_new0(BenchProbe, 1);
    probe->resolution = resolution;
    probe->n_text_tokens = n_prompt_tokens - bench_image_tokens(resolution);
    probe->n_decode_tokens = n_decode_tokens;
    probe->pixels = make_picture();
    probe->ids = g_new0(gint32, probe->n_text_tokens);
    return probe;
}

void bench_probe_free(BenchProbe *probe)
{
    if (!probe)
        return;
    g_free(probe->pixels);
    g_free(probe->ids);
    g_free(probe);
}

void bench_probe_draw_ids(BenchProbe *probe, const FastvlmModel *model, int run)
{
    const FastvlmModelInfo *info = fastvlm_model_get_info(model);
    gint64 n_ids =
        info->tokenizer_size ? MIN(info->tokenizer_size, info->vocab_size) : info->vocab_size;
    for (int i = 0; i < probe->n_text_tokens; i++)
        probe->ids[i] = (gint32)(((gint64)i * 7919 + (gint64)run * 104729) % n_ids);
}

FastvlmImage bench_probe_picture(const BenchProbe *probe)
{
    return (FastvlmImage){.format = FASTVLM_PIXEL_RGB,
                          .width = PICTURE_WIDTH,
                          .height = PICTURE_HEIGHT,
                          .stride = PICTURE_WIDTH * 3,
                          .data = probe->pixels};
}

FastvlmGenerateParams bench_probe_params(const BenchProbe *probe)
{
    int n_prefix = MIN(PREFIX_TOKENS, probe->n_text_tokens / 2);
    return (FastvlmGenerateParams){
        .use_ids = TRUE,
        .prefix_ids = probe->ids,
        .n_prefix_ids = n_prefix,
        .suffix_ids = probe->ids + n_prefix,
        .n_suffix_ids = probe->n_text_tokens - n_prefix,
        .max_tokens = probe->n_decode_tokens,
        .ignore_stop = TRUE,
        .no_draft = TRUE,
    };
}

gboolean bench_probe_run(BenchProbe *probe, FastvlmSession *session, const FastvlmModel *model,
                         int run, FastvlmResult *result, GError **error)
{
    FastvlmImage picture = bench_probe_picture(probe);
    if (!fastvlm_session_set_image(session, &picture, probe->resolution, FASTVLM_FIT_PAD, error))
        return FALSE;
    bench_probe_draw_ids(probe, model, run);
    FastvlmGenerateParams params = bench_probe_params(probe);
    return fastvlm_session_generate(session, &params, result, error);
}

BenchSeries *bench_series_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(double));
}

void bench_series_add(BenchSeries *series, double value)
{
    g_array_append_val(series, value);
}

static int compare_doubles(gconstpointer a, gconstpointer b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double get_sorted(BenchSeries *series, guint index)
{
    g_array_sort(series, compare_doubles);
    return g_array_index(series, double, index);
}

double bench_series_median(BenchSeries *series)
{
    double upper = get_sorted(series, series->len / 2);
    return series->len % 2 ? upper : (get_sorted(series, series->len / 2 - 1) + upper) / 2;
}

double bench_series_min(BenchSeries *series)
{
    return get_sorted(series, 0);
}

double bench_series_max(BenchSeries *series)
{
    return get_sorted(series, series->len - 1);
}

json_t *bench_series_to_json(BenchSeries *series)
{
    json_t *object = json_object();
    json_object_set_new(object, "median", output_json_real(bench_series_median(series), 3));
    json_object_set_new(object, "min", output_json_real(bench_series_min(series), 3));
    json_object_set_new(object, "max", output_json_real(bench_series_max(series), 3));
    return object;
}
