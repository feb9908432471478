/*
 * What pad, crop and stretch mean: which pixels go where, before anything is computed.
 *
 *     pad      a black square around the picture, then the square to R x R
 *     crop     the shorter edge to R, then the middle R x R
 *     stretch  both edges to R
 *
 * The black square is never built: beyond the kernel's reach its bars are black whatever is
 * computed. At most width * 4 / R further rows (or columns) are.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_PREPROCESS_H
#define FASTVLM_IMAGE_PREPROCESS_H

#include "base/pool.h"
#include "image/resize.h"
#include <fastvlm/image.h>

/** One direction of the work. */
typedef struct {
    FastvlmAxis axis; /* out_start and out_size: what is computed, the rest stays black */
    int offset;       /* where the picture's first pixel lies on the axis */
    int target;       /* where axis.out_start goes in the result */
} FastvlmFitAxis;

/**
 * Plans one direction.
 *
 * @param size        the picture's size in this direction, in pixels
 * @param other_size  its size in the other direction
 */
FastvlmFitAxis fastvlm_fit_axis(int size, int other_size, int resolution, FastvlmFit fit);

/**
 * fastvlm_image_preprocess() in bands of rows, on the threads of `pool`.
 *
 * @param pool    NULL: on this thread alone; the bytes are the same
 * @param cancel  looked at before each band (atomically); may be NULL
 *
 * Errors: as fastvlm_image_preprocess(), and CANCELLED.
 */
gboolean fastvlm_preprocess_run(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                FastvlmPool *pool, const gint *cancel, guint8 *rgb, GError **error);

#endif
