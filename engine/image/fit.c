/*
 * Planning pad, crop and stretch. See fit.h.
 *
 * pad follows expand2square() of llava/mm_utils.py (apple/ml-fastvlm); crop follows
 * CLIPImageProcessor (transformers): get_resize_output_image_size(), center_crop().
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/fit.h"

/* Longest resized line: more than that a picture cannot be enlarged beside a square, but where
 * pixels are far from square; then the edges of a crop are a little off. */
#define MAX_OUT_TOTAL (1 << 30)

/* One direction. `shape` and `other_shape`: how long a pixel is in this direction and the other. */
static FastvlmAxis plan(int size, int shape, int other_size, int other_shape, int resolution,
                        FastvlmFit fit)
{
    FastvlmAxis axis = {.in_total = size, .size = size, .out_total = resolution};
    gint64 length = (gint64)size * shape, other_length = (gint64)other_size * other_shape;
    if (fit == FASTVLM_FIT_PAD && length < other_length) {
        axis.in_total = MAX((int)((other_length + shape / 2) / shape), size);
        axis.offset = (axis.in_total - size) / 2;
    } else if (fit == FASTVLM_FIT_CROP && length > other_length) {
        double out_total = (double)resolution * (double)length / (double)other_length;
        axis.out_total = (int)MIN(out_total, MAX_OUT_TOTAL);
        axis.out_start = (axis.out_total - resolution) / 2;
    }
    return axis;
}

void fastvlm_fit_plan(const FastvlmImage *image, int resolution, FastvlmFit fit, FastvlmAxis *x,
                      FastvlmAxis *y)
{
    int shape_x = MAX(image->pixel_aspect_width, 1), shape_y = MAX(image->pixel_aspect_height, 1);
    *x = plan(image->width, shape_x, image->height, shape_y, resolution, fit);
    *y = plan(image->height, shape_y, image->width, shape_x, resolution, fit);
}
