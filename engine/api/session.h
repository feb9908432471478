/*
 * What a session is inside: shared by session.c and answer.c.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_SESSION_H
#define FASTVLM_API_SESSION_H

#include <fastvlm/session.h>

#include "api/model.h"
#include "language/timeline.h"
#include "vision/encoder.h"

struct _FastvlmSession {
    FastvlmModel *model;
    gint cancel; /* atomic */
    FastvlmCompute compute;
    FastvlmVisionState vision;
    FastvlmTimeline timeline;
    guint8 *rgb; /* [rgb_side, rgb_side, 3] */
    int rgb_side;
    gboolean has_image;
    float *first_logits; /* [vocab_size]; NULL before the first answer */
    double preprocess_ms;
    double encode_ms;
};

#endif
