/*
 * Caller's pixels to the encoder's input. See preprocess.h and fastvlm/image.h.
 *
 *     plan and weights of both directions
 *     rows of the picture, some an item: two to RGBX, which stay in the cache -> resized across
 *     rows of the result, some an item: resized down, black beside
 *
 * Each row of the picture that counts is converted once, whatever the bands.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/preprocess.h"

#include <string.h>

#include "base/cancel.h"
#include "image/fit.h"
#include "image/pixels.h"
#include "image/weights.h"

#define ITEM_ROWS 16 /* under a millisecond each; every picture has the same items */
#define MAX_RESOLUTION 4096
#define RESOLUTION_STEP 64

/* What all items share. */
typedef struct {
    FastvlmPixels pixels;
    FastvlmWeights across;
    FastvlmWeights down;
    guint8 *rows; /* [down.n_in, row_stride]: RGB, across.taps.n_out pixels of it */
    gsize row_stride;
    guint8 *rgb; /* [resolution, resolution, 3] */
    int resolution;
    gint failed; /* atomic: an item had no memory */
} Work;

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

/* Row `y` of those resized down, to rgbx [across.n_in, 4]; black beyond the picture. */
static void read_row(const Work *work, int y, guint8 *rgbx)
{
    const FastvlmWeights *across = &work->across;
    int n = y < work->down.n_present ? across->n_present : 0;
    if (n > 0)
        fastvlm_pixels_read(&work->pixels, work->down.start + y, across->start, n, rgbx);
    memset(rgbx + (gsize)n * 4, 0, (gsize)(across->n_in - n) * 4);
}

static void resize_across(int item, int worker, void *data)
{
    Work *work = data;
    gsize stride = (gsize)work->across.n_in * 4;
    int end = MIN((item + 1) * ITEM_ROWS, work->down.n_in);
    guint8 *pair = g_try_malloc_n(2, stride);
    if (pair == NULL) {
        g_atomic_int_set(&work->failed, 1);
        return;
    }
    for (int y = item * ITEM_ROWS; y < end; y += 2) {
        int n = MIN(2, end - y);
        for (int i = 0; i < n; i++)
            read_row(work, y + i, pair + (gsize)i * stride);
        FastvlmResize resize = {&work->across.taps, pair, stride,
                                work->rows + (gsize)y * work->row_stride, work->row_stride};
        work->pixels.kernels->resize_across(&resize, n);
    }
    g_free(pair);
}

/* Row `y` of the result. */
static void finish_row(const Work *work, int y)
{
    gsize size = (gsize)work->resolution * 3, left = (gsize)work->across.target * 3;
    gsize middle = (gsize)work->across.taps.n_out * 3;
    guint8 *row = work->rgb + (gsize)y * size;
    int out = y - work->down.target;
    if (out < 0 || out >= work->down.taps.n_out) {
        memset(row, 0, size);
        return;
    }
    memset(row, 0, left);
    FastvlmResize resize = {&work->down.taps, work->rows, work->row_stride, row + left, size};
    work->pixels.kernels->resize_down(&resize, out, middle);
    memset(row + left + middle, 0, size - left - middle);
}

static void resize_down(int item, int worker, void *data)
{
    const Work *work = data;
    int end = MIN((item + 1) * ITEM_ROWS, work->resolution);
    for (int y = item * ITEM_ROWS; y < end; y++)
        finish_row(work, y);
}

/* All items of `n_rows` rows; FALSE if cancelled. */
static gboolean run_items(Work *work, int n_rows, FastvlmPoolFunc func, FastvlmPool *pool,
                          const gint *cancel)
{
    int n_items = (n_rows + ITEM_ROWS - 1) / ITEM_ROWS;
    if (pool != NULL)
        return fastvlm_pool_run(pool, n_items, func, work, cancel);
    for (int item = 0; item < n_items; item++) {
        if (fastvlm_is_cancelled(cancel))
            return FALSE;
        func(item, 0, work);
    }
    return TRUE;
}

/* The rows resized across; a byte and a group of columns more may be touched. */
static gboolean allocate_rows(Work *work)
{
    gsize size = (gsize)work->across.taps.n_out * 3 + 1;
    work->row_stride = (size + FASTVLM_RESIZE_COLUMNS - 1) & ~(gsize)(FASTVLM_RESIZE_COLUMNS - 1);
    work->rows = g_try_malloc_n((gsize)work->down.n_in + 1, work->row_stride);
    return work->rows != NULL;
}

static gboolean fail_memory(const FastvlmImage *image, GError **error)
{
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                "not enough memory to preprocess a picture of %dx%d", image->width, image->height);
    return FALSE;
}

static gboolean resize(Work *work, FastvlmPool *pool, const gint *cancel, GError **error)
{
    if (!allocate_rows(work))
        return fail_memory(work->pixels.image, error);
    if (!run_items(work, work->down.n_in, resize_across, pool, cancel) ||
        (!work->failed && !run_items(work, work->resolution, resize_down, pool, cancel))) {
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    return !work->failed || fail_memory(work->pixels.image, error);
}

gboolean fastvlm_preprocess_run(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                FastvlmPool *pool, const gint *cancel, guint8 *rgb, GError **error)
{
    if (!check_arguments(image, resolution, fit, error))
        return FALSE;
    Work work = {.rgb = rgb, .resolution = resolution};
    FastvlmAxis x, y;
    fastvlm_pixels_init(&work.pixels, image, fastvlm_kernels_get(fastvlm_tier_in_use()));
    fastvlm_fit_plan(image, resolution, fit, &x, &y);
    gboolean done;
    if (fastvlm_weights_init(&work.across, &x, resolution) &&
        fastvlm_weights_init(&work.down, &y, resolution))
        done = resize(&work, pool, cancel, error);
    else
        done = fail_memory(image, error);
    g_free(work.rows);
    fastvlm_weights_clear(&work.across);
    fastvlm_weights_clear(&work.down);
    return done;
}

gboolean fastvlm_image_preprocess(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                  guint8 *rgb, GError **error)
{
    return fastvlm_preprocess_run(image, resolution, fit, NULL, NULL, rgb, error);
}
