/*
 * Which frames are shown to the model: a grid in running time.
 *
 *     anchor = running time of the first frame
 *     sample = first frame at or after anchor + k * interval; points that no frame meets are skipped
 *
 * Pure logic, no locks: the streaming thread owns it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_SAMPLER_H
#define GST_FASTVLM_SAMPLER_H

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct {
    GstClockTime interval; /* ns; 0: every frame is a sample */
    GstClockTime anchor;   /* running time, ns; GST_CLOCK_TIME_NONE: the next frame anchors */
    GstClockTime next;     /* the grid point that the next sample must reach */
    GstClockTime last;     /* running time of the last sample, or GST_CLOCK_TIME_NONE */
} GstFastvlmSampler;

void gst_fastvlm_sampler_init(GstFastvlmSampler *sampler, GstClockTime interval);

/** Forgets the grid: the next frame anchors a new one. */
void gst_fastvlm_sampler_reset(GstFastvlmSampler *sampler);

/** A different interval anchors anew; the same one changes nothing. */
void gst_fastvlm_sampler_set_interval(GstFastvlmSampler *sampler, GstClockTime interval);

/**
 * Whether a frame is a sample; if so, the grid moves past it.
 *
 * @param running_time  ns; GST_CLOCK_TIME_NONE (no PTS, or outside the segment) never is one
 *
 * Running time that falls back by an interval or more, as a source does that starts again without
 * a new segment, anchors anew.
 */
gboolean gst_fastvlm_sampler_take(GstFastvlmSampler *sampler, GstClockTime running_time);

/**
 * Running time from a frame to the next grid point, ns: without a grid a whole interval;
 * GST_CLOCK_TIME_NONE where every frame is a sample.
 */
GstClockTime gst_fastvlm_sampler_get_span(const GstFastvlmSampler *sampler,
                                          GstClockTime running_time);

G_END_DECLS

#endif
