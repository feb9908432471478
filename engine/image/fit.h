/*
 * What pad, crop and stretch mean: which pixels go where, before anything is computed.
 *
 *     pad      a black square around the picture, then the square to R x R
 *     crop     the shorter edge to R, then the middle R x R
 *     stretch  both edges to R
 *
 * An axis is a line of input pixels and the line of output pixels that it becomes. The picture may
 * lie anywhere on the first, what is wanted anywhere on the second:
 *
 *     input   0 ......[offset ... offset + size)...... in_total    black, the picture, black
 *                         |  scale = in_total / out_total
 *     output  0 ....[out_start ... out_start + R).... out_total
 *
 * Where pixels are not square, one direction's lines are as long as if they were: in_total or
 * out_total, rounded to whole pixels.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_FIT_H
#define FASTVLM_IMAGE_FIT_H

#include <fastvlm/image.h>

typedef struct {
    int in_total;  /* pixels of the whole line */
    int offset;    /* where the picture's first pixel lies on it */
    int size;      /* the picture's pixels */
    int out_total; /* pixels of the whole resized line; may be far more than is ever computed */
    int out_start; /* the first one wanted */
} FastvlmAxis;

/** Plans both directions of a checked picture. */
void fastvlm_fit_plan(const FastvlmImage *image, int resolution, FastvlmFit fit, FastvlmAxis *x,
                      FastvlmAxis *y);

#endif
