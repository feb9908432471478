/*
 * Caller's pixels to the encoder's input. See preprocess.h and fastvlm/image.h.
 *
 *     plan both directions -> for each band of rows of the result:
 *                             copy the pixels needed, with black around -> resize into the result
 *
 * pad follows expand2square() of llava/mm_utils.py (apple/ml-fastvlm); crop follows
 * CLIPImageProcessor (transformers): get_resize_output_image_size(), center_crop().
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/preprocess.h"

#include <math.h>
#include <string.h>

#include "image/pixels.h"

#define BAND_ROWS 64 /* of the result: some milliseconds; every picture has the same bands */
#define MAX_RESOLUTION 4096
#define RESOLUTION_STEP 64

/* Keeps of the output what the picture reaches, of the input what that depends on. */
static void trim(FastvlmFitAxis *fit, int size)
{
    FastvlmAxis *axis = &fit->axis;
    int reach = fastvlm_axis_reach(axis);
    int first = axis->out_start, last = axis->out_start + axis->out_size - 1;
    while (first < last && fastvlm_axis_center(axis, first) < fit->offset - reach + 1)
        first++;
    while (last > first && fastvlm_axis_center(axis, last) > fit->offset + size + reach - 1)
        last--;
    fit->target += first - axis->out_start;
    axis->out_start = first;
    axis->out_size = last - first + 1;
    int start = (int)floor(fastvlm_axis_center(axis, first)) - reach;
    int end = (int)ceil(fastvlm_axis_center(axis, last)) + reach;
    /* Bars are black as far as they go: no need of more than the reach of them. */
    start = MAX(MAX(start, fit->offset - reach), 0);
    end = MIN(MIN(end, fit->offset + size + reach), axis->in_total);
    axis->start = start;
    axis->size = end - start;
}

FastvlmFitAxis fastvlm_fit_axis(int size, int other_size, int resolution, FastvlmFit fit)
{
    FastvlmFitAxis plan = {
        .axis = {.in_total = size, .out_total = resolution, .out_size = resolution}};
    if (fit == FASTVLM_FIT_PAD && size < other_size) {
        plan.axis.in_total = other_size;
        plan.offset = (other_size - size) / 2;
    } else if (fit == FASTVLM_FIT_CROP && size > other_size) {
        plan.axis.out_total = (int)((gint64)resolution * size / other_size);
        plan.axis.out_start = (plan.axis.out_total - resolution) / 2;
    }
    trim(&plan, size);
    return plan;
}

/* The part of the picture (0 .. size) that lies among an axis's input pixels. */
static void find_overlap(const FastvlmFitAxis *plan, int size, int *first, int *n)
{
    int start = plan->axis.start - plan->offset;
    int end = MIN(start + plan->axis.size, size);
    *first = MAX(start, 0);
    *n = end - *first;
}

/* The input pixels, black where the picture is not: [y.size, x.size, 3]; NULL: no memory. */
static guint8 *gather(const FastvlmImage *image, const FastvlmFitAxis *x, const FastvlmFitAxis *y)
{
    gsize stride = (gsize)x->axis.size * 3;
    guint8 *rgb = g_try_malloc0_n((gsize)y->axis.size, stride);
    if (rgb == NULL)
        return NULL;
    FastvlmRect rect;
    find_overlap(x, image->width, &rect.x, &rect.width);
    find_overlap(y, image->height, &rect.y, &rect.height);
    gsize row = (gsize)(rect.y + y->offset - y->axis.start);
    gsize column = (gsize)(rect.x + x->offset - x->axis.start);
    fastvlm_pixels_copy(image, rect, rgb + row * stride + column * 3, stride);
    return rgb;
}

static gboolean check_arguments(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                GError **error)
{
    if (!fastvlm_pixels_check(image, error))
        return FALSE;
    if (resolution < RESOLUTION_STEP || resolution > MAX_RESOLUTION ||
        resolution % RESOLUTION_STEP != 0) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "the resolution is %d, expected a multiple of %d from %d to %d", resolution,
                    RESOLUTION_STEP, RESOLUTION_STEP, MAX_RESOLUTION);
        return FALSE;
    }
    if (fit != FASTVLM_FIT_PAD && fit != FASTVLM_FIT_CROP && fit != FASTVLM_FIT_STRETCH) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "the fit is %d, which is none of FastvlmFit", (int)fit);
        return FALSE;
    }
    return TRUE;
}

/* Blackens what fastvlm_resize() did not write of the result [resolution, resolution, 3]. */
static void fill_bars(guint8 *rgb, gsize resolution, const FastvlmFitAxis *x,
                      const FastvlmFitAxis *y)
{
    gsize left = (gsize)x->target, middle = (gsize)x->axis.out_size;
    gsize top = (gsize)y->target, bottom = top + (gsize)y->axis.out_size;
    for (gsize row = 0; row < resolution; row++, rgb += resolution * 3) {
        if (row < top || row >= bottom) {
            memset(rgb, 0, resolution * 3);
            continue;
        }
        memset(rgb, 0, left * 3);
        memset(rgb + (left + middle) * 3, 0, (resolution - left - middle) * 3);
    }
}

/* What all bands share. */
typedef struct {
    const FastvlmImage *image;
    FastvlmFitAxis x;
    FastvlmFitAxis y;
    guint8 *rgb;
    gsize stride;
    gint failed; /* atomic: a band had no memory */
} Bands;

/* The rows of one band, and of the input what they depend on. */
static FastvlmFitAxis cut_band(const FastvlmFitAxis *whole, int band)
{
    FastvlmFitAxis cut = *whole;
    FastvlmAxis *axis = &cut.axis;
    int reach = fastvlm_axis_reach(axis);
    axis->out_start += band * BAND_ROWS;
    axis->out_size = MIN(BAND_ROWS, whole->axis.out_size - band * BAND_ROWS);
    cut.target += band * BAND_ROWS;
    int last = axis->out_start + axis->out_size - 1;
    int start = (int)floor(fastvlm_axis_center(axis, axis->out_start)) - reach;
    int end = (int)ceil(fastvlm_axis_center(axis, last)) + reach;
    axis->start = MAX(start, whole->axis.start);
    axis->size = MIN(end, whole->axis.start + whole->axis.size) - axis->start;
    return cut;
}

static void run_band(int band, int worker, void *data)
{
    Bands *bands = data;
    FastvlmFitAxis y = cut_band(&bands->y, band);
    guint8 *in = gather(bands->image, &bands->x, &y);
    guint8 *out = bands->rgb + (gsize)y.target * bands->stride + (gsize)bands->x.target * 3;
    if (in == NULL || !fastvlm_resize(&bands->x.axis, &y.axis, in, out, bands->stride, NULL))
        g_atomic_int_set(&bands->failed, 1);
    g_free(in);
}

static gboolean run_bands(Bands *bands, FastvlmPool *pool, const gint *cancel)
{
    int n_bands = (bands->y.axis.out_size + BAND_ROWS - 1) / BAND_ROWS;
    if (pool != NULL)
        return fastvlm_pool_run(pool, n_bands, run_band, bands, cancel);
    for (int band = 0; band < n_bands; band++) {
        if (cancel != NULL && g_atomic_int_get(cancel))
            return FALSE;
        run_band(band, 0, bands);
    }
    return TRUE;
}

static gboolean resize(Bands *bands, FastvlmPool *pool, const gint *cancel, GError **error)
{
    if (!run_bands(bands, pool, cancel)) {
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (bands->failed) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "not enough memory to preprocess a picture of %dx%d", bands->image->width,
                    bands->image->height);
        return FALSE;
    }
    return TRUE;
}

gboolean fastvlm_preprocess_run(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                FastvlmPool *pool, const gint *cancel, guint8 *rgb, GError **error)
{
    if (!check_arguments(image, resolution, fit, error))
        return FALSE;
    gsize stride = (gsize)resolution * 3;
    if (image->width == resolution && image->height == resolution) {
        fastvlm_pixels_copy(image, (FastvlmRect){0, 0, resolution, resolution}, rgb, stride);
        return TRUE;
    }
    Bands bands = {
        .image = image,
        .x = fastvlm_fit_axis(image->width, image->height, resolution, fit),
        .y = fastvlm_fit_axis(image->height, image->width, resolution, fit),
        .rgb = rgb,
        .stride = stride,
    };
    if (!resize(&bands, pool, cancel, error))
        return FALSE;
    fill_bars(rgb, (gsize)resolution, &bands.x, &bands.y);
    return TRUE;
}

gboolean fastvlm_image_preprocess(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                  guint8 *rgb, GError **error)
{
    return fastvlm_preprocess_run(image, resolution, fit, NULL, NULL, rgb, error);
}
