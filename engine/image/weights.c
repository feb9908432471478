/*
 * Computing weights. See weights.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/weights.h"

#include <math.h>

/* Half the width of the kernel, in pixels of the coarser side. */
#define KERNEL_RADIUS 2

static double keys(double x)
{
    static const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double get_scale(const FastvlmAxis *axis)
{
    return (double)axis->in_total / axis->out_total;
}

/* Input pixels [first, end) that output `out` is made of. */
typedef struct {
    double center;
    int first, end;
} Span;

static Span find_span(const FastvlmAxis *axis, int out)
{
    double scale = get_scale(axis), radius = KERNEL_RADIUS * MAX(scale, 1.0);
    Span span = {.center = (out + 0.5) * scale};
    span.first = MAX((int)(span.center - radius + 0.5), 0);
    span.end = MIN((int)(span.center + radius + 0.5), axis->in_total);
    return span;
}

/* Those of them that are the picture's, counted from its first. */
static Span clip_span(const FastvlmAxis *axis, Span span)
{
    span.first = MAX(span.first - axis->offset, 0);
    span.end = MIN(span.end - axis->offset, axis->size);
    return span;
}

/* The outputs that see anything of the picture, and the most pixels that one of them sees. */
typedef struct {
    int first, end, n_taps, longest_span;
} Extent;

static Extent measure(const FastvlmAxis *axis, int resolution)
{
    Extent extent = {.first = resolution, .n_taps = 1};
    for (int i = 0; i < resolution; i++) {
        Span whole = find_span(axis, axis->out_start + i), span = clip_span(axis, whole);
        if (span.end <= span.first)
            continue;
        extent.first = MIN(extent.first, i);
        extent.end = i + 1;
        extent.n_taps = MAX(extent.n_taps, span.end - span.first);
        extent.longest_span = MAX(extent.longest_span, whole.end - whole.first);
    }
    extent.first = MIN(extent.first, extent.end);
    extent.n_taps = (extent.n_taps + FASTVLM_WEIGHT_GROUP - 1) & -FASTVLM_WEIGHT_GROUP;
    return extent;
}

/* The weights of a whole span, bars included, which add up to 1: values [span.end - span.first]. */
static void compute_span(const FastvlmAxis *axis, Span span, double *values)
{
    double inverse = 1 / MAX(get_scale(axis), 1.0), sum = 0;
    int n = span.end - span.first;
    for (int i = 0; i < n; i++) {
        values[i] = keys((i + span.first - span.center + 0.5) * inverse);
        sum += values[i];
    }
    for (int i = 0; i < n; i++)
        if (sum != 0)
            values[i] /= sum;
}

static void put_weight(double value, gint16 *high, gint16 *low)
{
    double scaled = ldexp(value, FASTVLM_WEIGHT_BITS);
    int fixed = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    *high = (gint16)(fixed >> FASTVLM_WEIGHT_LOW_BITS);
    *low = (gint16)(fixed & ((1 << FASTVLM_WEIGHT_LOW_BITS) - 1));
}

/* Fills in output `i` of [extent.first, extent.end). Near the picture's end a row of weights begins
 * earlier than it must, with zeros, so that nothing beyond is read. */
static void fill_output(const FastvlmAxis *axis, const Extent *extent, int i, double *values,
                        gint32 *first, gint16 *high, gint16 *low)
{
    Span whole = find_span(axis, axis->out_start + i), span = clip_span(axis, whole);
    if (span.end <= span.first) {
        *first = 0;
        return;
    }
    compute_span(axis, whole, values);
    *first = MAX(MIN(span.first, axis->size - extent->n_taps), 0);
    for (int at = span.first; at < span.end; at++)
        put_weight(values[at + axis->offset - whole.first], high + at - *first, low + at - *first);
}

/* Moves input 0 to the first pixel that is read. */
static void set_range(FastvlmWeights *weights, const FastvlmAxis *axis, gint32 *first)
{
    int n_out = weights->taps.n_out, end = 0;
    weights->start = n_out > 0 ? axis->size : 0;
    for (int i = 0; i < n_out; i++) {
        weights->start = MIN(weights->start, first[i]);
        end = MAX(end, first[i] + weights->taps.n_taps);
    }
    weights->start &= ~1;
    for (int i = 0; i < n_out; i++)
        first[i] -= weights->start;
    weights->n_in = end - weights->start;
    weights->n_present = MIN(end, axis->size) - weights->start;
}

gboolean fastvlm_weights_init(FastvlmWeights *weights, const FastvlmAxis *axis, int resolution)
{
    Extent extent = measure(axis, resolution);
    gsize n_out = (gsize)(extent.end - extent.first), n = n_out * (gsize)extent.n_taps;
    *weights = (FastvlmWeights){.target = extent.first};
    gint32 *first = g_try_malloc0(n_out * sizeof *first + 2 * n * sizeof(gint16) + 1);
    double *values = g_try_new(double, (gsize)extent.longest_span + 1);
    if (first == NULL || values == NULL) {
        g_free(first);
        g_free(values);
        return FALSE;
    }
    gint16 *high = (gint16 *)(first + n_out), *low = high + n;
    for (gsize i = 0; i < n_out; i++)
        fill_output(axis, &extent, extent.first + (int)i, values, first + i,
                    high + i * (gsize)extent.n_taps, low + i * (gsize)extent.n_taps);
    g_free(values);
    weights->memory = first;
    weights->taps = (FastvlmTaps){(int)n_out, extent.n_taps, first, high, low};
    set_range(weights, axis, first);
    return TRUE;
}

void fastvlm_weights_clear(FastvlmWeights *weights)
{
    g_clear_pointer(&weights->memory, g_free);
}
