/*
 * Caller's pixels to the encoder's input, on the threads of a pool.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_IMAGE_PREPROCESS_H
#define FASTVLM_IMAGE_PREPROCESS_H

#include "base/pool.h"
#include <fastvlm/image.h>

/**
 * fastvlm_image_preprocess() on the threads of `pool`.
 *
 * @param pool    NULL: on this thread alone; the bytes are the same
 * @param cancel  looked at before each few rows (atomically); may be NULL
 *
 * Errors: as fastvlm_image_preprocess(), and CANCELLED.
 */
gboolean fastvlm_preprocess_run(const FastvlmImage *image, int resolution, FastvlmFit fit,
                                FastvlmPool *pool, const gint *cancel, guint8 *rgb, GError **error);

#endif
