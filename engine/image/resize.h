/*
 * Resizes RGB with stb_image_resize's Catmull-Rom, antialiased, edges clamped, values taken as
 * linear: Keys' cubic with a = -0.5, the same as Pillow's bicubic.
 *
 * Only part of the result may be asked for, and only the pixels that it depends on given: the scale
 * and the place of both are free. An axis is a line of input pixels and the line of output pixels
 * that it becomes.
 *
 *     input   0 ......[start ... start + size)...... in_total
 *                         |  scale = out_total / in_total
 *     output  0 ....[out_start ... out_start + out_size).... out_total
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_RESIZE_H
#define FASTVLM_IMAGE_RESIZE_H

#include <fastvlm/error.h>

typedef struct {
    int in_total;  /* pixels of the whole line */
    int start;     /* the first one given */
    int size;      /* how many are given */
    int out_total; /* pixels of the whole resized line; may be far more than is ever computed */
    int out_start; /* the first one wanted */
    int out_size;  /* how many are wanted */
} FastvlmAxis;

/** Input pixels on either side of an output pixel's centre that it depends on, and a few more. */
int fastvlm_axis_reach(const FastvlmAxis *axis);

/** The input pixel, not rounded, on which the centre of output pixel `out` falls. */
double fastvlm_axis_center(const FastvlmAxis *axis, int out);

/**
 * Resizes `in` [y->size, x->size, 3] to `out` [y->out_size, x->out_size, 3], bytes; rows of `out`
 * are out_stride bytes apart.
 *
 * The pixels given must contain all within reach of those wanted, cut off at the line's ends, or
 * end in pixels that all beyond them are equal to. Thread-safe.
 * Errors: LIMIT (no memory).
 */
gboolean fastvlm_resize(const FastvlmAxis *x, const FastvlmAxis *y, const guint8 *in, guint8 *out,
                        gsize out_stride, GError **error);

#endif
