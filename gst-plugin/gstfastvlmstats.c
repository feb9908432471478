/*
 * The `stats` property; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmstats.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) G_STRUCT_OFFSET(GstFastvlmStats, member)
#define COMPUTED G_MAXSIZE

static const GstFastvlmStatsField fields[] = {
    {"frames", G_TYPE_UINT64, AT(frames), "buffers that came in"},
    {"sampled", G_TYPE_UINT64, AT(sampled), "frames that the sampling grid chose"},
    {"captions", G_TYPE_UINT64, AT(captions), "final captions"},
    {"skipped", G_TYPE_UINT64, AT(skipped),
     "samples that got no caption: a newer one took their place, or a flush, an error or the end"},
    {"unchanged", G_TYPE_UINT64, AT(unchanged), "samples that looked like the last one captioned"},
    {"resolution", G_TYPE_UINT64, AT(resolution),
     "last caption: side of the picture that the model saw, pixels; what `latency-budget` chose"},
    {"encode-ms", G_TYPE_DOUBLE, AT(encode_ms), "last caption: vision encoder and projector"},
    {"prefill-ms", G_TYPE_DOUBLE, AT(prefill_ms), "last caption: prompt to first logits"},
    {"decode-tok-s", G_TYPE_DOUBLE, AT(decode_tok_s), "last caption: tokens a second"},
    {"ttft-ms", G_TYPE_DOUBLE, AT(ttft_ms), "last caption: start to first token"},
    {"age-ms", G_TYPE_DOUBLE, AT(age_ms), "last caption: its frame's age when it was final"},
    {"through-ms-p50", G_TYPE_DOUBLE, COMPUTED, "median time of a frame inside the element"},
    {"through-ms-p99", G_TYPE_DOUBLE, COMPUTED, "99th percentile of the same"},
    {"model", G_TYPE_STRING, AT(model), "directory of the model in use; none while it loads"},
    {"precision", G_TYPE_STRING, AT(precision), "precision in use; none while the model loads"},
    {"cpu-tier", G_TYPE_STRING, COMPUTED, "kernel tier that the engine runs on"},
};

const GstFastvlmStatsField *gst_fastvlm_stats_get_fields(guint *n_fields)
{
    *n_fields = G_N_ELEMENTS(fields);
    return fields;
}

GstFastvlmStats *gst_fastvlm_stats_new(void)
{
    GstFastvlmStats *stats = g_atomic_rc_box_new0(GstFastvlmStats);

    g_mutex_init(&stats->lock);
    return stats;
}

GstFastvlmStats *gst_fastvlm_stats_ref(GstFastvlmStats *stats)
{
    return g_atomic_rc_box_acquire(stats);
}

static void clear_stats(gpointer data)
{
    GstFastvlmStats *stats = data;

    g_free(stats->model);
    g_free(stats->precision);
    g_mutex_clear(&stats->lock);
}

void gst_fastvlm_stats_unref(GstFastvlmStats *stats)
{
    g_atomic_rc_box_release_full(stats, clear_stats);
}

void gst_fastvlm_stats_reset(GstFastvlmStats *stats)
{
    g_mutex_lock(&stats->lock);
    g_free(stats->model);
    g_free(stats->precision);
    memset((char *)stats + AT(frames), 0, sizeof *stats - AT(frames));
    g_mutex_unlock(&stats->lock);
}

void gst_fastvlm_stats_add_frame(GstFastvlmStats *stats, gboolean sampled)
{
    g_mutex_lock(&stats->lock);
    stats->frames++;
    stats->sampled += sampled ? 1 : 0;
    g_mutex_unlock(&stats->lock);
}

void gst_fastvlm_stats_add_skipped(GstFastvlmStats *stats, guint n_skipped)
{
    g_mutex_lock(&stats->lock);
    stats->skipped += n_skipped;
    g_mutex_unlock(&stats->lock);
}

void gst_fastvlm_stats_add_unchanged(GstFastvlmStats *stats)
{
    g_mutex_lock(&stats->lock);
    stats->unchanged++;
    g_mutex_unlock(&stats->lock);
}

void gst_fastvlm_stats_add_through(GstFastvlmStats *stats, GstClockTime inside)
{
    g_mutex_lock(&stats->lock);
    stats->through_ms[stats->n_through % GST_FASTVLM_STATS_N_THROUGH] =
        (float)((double)inside / GST_MSECOND);
    stats->n_through++;
    g_mutex_unlock(&stats->lock);
}

void gst_fastvlm_stats_add_caption(GstFastvlmStats *stats, const FastvlmResult *result,
                                   const GstFastvlmAnswer *answer)
{
    /* The first token is chosen from the prefill's logits: decode_ms holds the others. */
    const int n_decoded = result->n_tokens - 1;

    g_mutex_lock(&stats->lock);
    stats->captions++;
    stats->encode_ms = result->encode_ms;
    stats->prefill_ms = result->prefill_ms;
    stats->decode_tok_s =
        n_decoded > 0 && result->decode_ms > 0 ? 1000.0 * n_decoded / result->decode_ms : 0;
    stats->ttft_ms = answer->ttft_ms;
    stats->age_ms = answer->age_ms;
    stats->resolution = answer->resolution;
    g_mutex_unlock(&stats->lock);
}

void gst_fastvlm_stats_set_model(GstFastvlmStats *stats, const char *path, const char *precision)
{
    g_mutex_lock(&stats->lock);
    g_free(stats->model);
    g_free(stats->precision);
    stats->model = g_strdup(path);
    stats->precision = g_strdup(precision);
    g_mutex_unlock(&stats->lock);
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* The value below which `share` of the sorted `values` [n] lie: nearest rank. */
static double take_percentile(const float *values, gsize n, double share)
{
    if (n == 0) {
        return 0;
    }
    return values[MIN((gsize)(share * (double)n), n - 1)];
}

static void set_field(GstStructure *structure, const GstFastvlmStatsField *field,
                      const GstFastvlmStats *stats)
{
    gconstpointer member = (const char *)stats + field->offset;

    if (field->offset == COMPUTED) {
        return;
    }
    switch (field->type) {
    case G_TYPE_UINT64:
        gst_structure_set(structure, field->name, G_TYPE_UINT64, *(const guint64 *)member, NULL);
        break;
    case G_TYPE_DOUBLE:
        gst_structure_set(structure, field->name, G_TYPE_DOUBLE, *(const double *)member, NULL);
        break;
    default:
        gst_structure_set(structure, field->name, G_TYPE_STRING, *(char *const *)member, NULL);
    }
}

GstStructure *gst_fastvlm_stats_to_structure(GstFastvlmStats *stats)
{
    GstStructure *structure = gst_structure_new_empty("fastvlm-stats");

    g_mutex_lock(&stats->lock);
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
        set_field(structure, &fields[i], stats);
    }
    const gsize n = MIN(stats->n_through, GST_FASTVLM_STATS_N_THROUGH);
    float *through_ms = g_memdup2(stats->through_ms, n * sizeof *through_ms);
    g_mutex_unlock(&stats->lock);

    /* Sorted outside the lock: the streaming thread must not wait for it. */
    if (n > 0) {
        qsort(through_ms, n, sizeof *through_ms, compare_floats);
    }
    gst_structure_set(structure, "through-ms-p50", G_TYPE_DOUBLE,
                      take_percentile(through_ms, n, 0.5), "through-ms-p99", G_TYPE_DOUBLE,
                      take_percentile(through_ms, n, 0.99), "cpu-tier", G_TYPE_STRING,
                      fastvlm_cpu_tier(), NULL);
    g_free(through_ms);
    return structure;
}
