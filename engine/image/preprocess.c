/*
 * Caller's pixels to the encoder's input. See preprocess.h and fastvlm/image.h.
 *
 *     plan both directions -> copy the pixels needed, with black around -> resize into the result
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

gboolean fastvlm_image_preprocess(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                  guint8 *rgb, GError **error)
{
    if (!check_arguments(image, resolution, fit, error))
        return FALSE;
    gsize stride = (gsize)resolution * 3;
    if (image->width == resolution && image->height == resolution) {
        fastvlm_pixels_copy(image, (FastvlmRect){0, 0, resolution, resolution}, rgb, stride);
        return TRUE;
    }
    FastvlmFitAxis x = fastvlm_fit_axis(image->width, image->height, resolution, fit);
    FastvlmFitAxis y = fastvlm_fit_axis(image->height, image->width, resolution, fit);
    guint8 *in = gather(image, &x, &y);
    if (in == NULL) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "not enough memory to preprocess a picture of %dx%d", image->width,
                    image->height);
        return FALSE;
    }
    guint8 *out = rgb + (gsize)y.target * stride + (gsize)x.target * 3;
    gboolean ok = fastvlm_resize(&x.axis, &y.axis, in, out, stride, error);
    if (ok)
        fill_bars(rgb, (gsize)resolution, &x, &y);
    g_free(in);
    return ok;
}
