/*
 * The only file that includes stb_image_resize. See resize.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "image/resize.h"

#include <math.h>

/* Its assertions are about rounding (sums of weights near 1); nothing here may abort. */
#define STBIR_ASSERT(condition) ((void)0)
#define STB_IMAGE_RESIZE_STATIC
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wundef"
#include <stb/stb_image_resize.h>
#pragma GCC diagnostic pop

/* Half the width of Catmull-Rom's kernel, in pixels of the coarser side. */
#define KERNEL_RADIUS 2

static double axis_scale(const FastvlmAxis *axis)
{
    return (double)axis->out_total / axis->in_total;
}

int fastvlm_axis_reach(const FastvlmAxis *axis)
{
    double scale = axis_scale(axis);
    return (int)ceil(scale < 1 ? KERNEL_RADIUS / scale : KERNEL_RADIUS) + 2;
}

double fastvlm_axis_center(const FastvlmAxis *axis, int out)
{
    return (out + 0.5) / axis_scale(axis);
}

/* stb's shift: wanted output pixel 0 lies `shift` output pixels right of given input pixel 0. */
static double axis_shift(const FastvlmAxis *axis)
{
    return axis->out_start - axis->start * axis_scale(axis);
}

gboolean fastvlm_resize(const FastvlmAxis *x, const FastvlmAxis *y, const guint8 *in, guint8 *out,
                        gsize out_stride, GError **error)
{
    int ok = stbir_resize_subpixel(
        in, x->size, y->size, 0, out, x->out_size, y->out_size, (int)out_stride, STBIR_TYPE_UINT8,
        3, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP, STBIR_FILTER_CATMULLROM,
        STBIR_FILTER_CATMULLROM, STBIR_COLORSPACE_LINEAR, NULL, (float)axis_scale(x),
        (float)axis_scale(y), (float)axis_shift(x), (float)axis_shift(y));
    if (!ok)
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "not enough memory to resize a picture of %dx%d to %dx%d", x->in_total,
                    y->in_total, x->out_total, y->out_total);
    return ok != 0;
}
