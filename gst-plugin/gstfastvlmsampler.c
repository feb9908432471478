/*
 * The sampling grid; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmsampler.h"

void gst_fastvlm_sampler_init(GstFastvlmSampler *sampler, GstClockTime interval)
{
    sampler->interval = interval;
    gst_fastvlm_sampler_reset(sampler);
}

void gst_fastvlm_sampler_reset(GstFastvlmSampler *sampler)
{
    sampler->anchor = GST_CLOCK_TIME_NONE;
    sampler->next = GST_CLOCK_TIME_NONE;
    sampler->last = GST_CLOCK_TIME_NONE;
}

void gst_fastvlm_sampler_set_interval(GstFastvlmSampler *sampler, GstClockTime interval)
{
    if (interval == sampler->interval) {
        return;
    }
    gst_fastvlm_sampler_init(sampler, interval);
}

static gboolean has_fallen_back(const GstFastvlmSampler *sampler, GstClockTime running_time)
{
    return running_time < sampler->last && sampler->last - running_time >= sampler->interval;
}

gboolean gst_fastvlm_sampler_take(GstFastvlmSampler *sampler, GstClockTime running_time)
{
    if (!GST_CLOCK_TIME_IS_VALID(running_time)) {
        return FALSE;
    }
    if (sampler->interval == 0) {
        sampler->last = running_time;
        return TRUE;
    }
    if (!GST_CLOCK_TIME_IS_VALID(sampler->anchor) || has_fallen_back(sampler, running_time)) {
        sampler->anchor = running_time;
    } else if (running_time < sampler->next) {
        return FALSE;
    }
    const guint64 passed = (running_time - sampler->anchor) / sampler->interval;
    const GstClockTime reached = sampler->anchor + passed * sampler->interval;
    /* The last point before the end of time is followed by none. */
    sampler->next = reached > GST_CLOCK_TIME_NONE - 1 - sampler->interval
                        ? GST_CLOCK_TIME_NONE
                        : reached + sampler->interval;
    sampler->last = running_time;
    return TRUE;
}

GstClockTime gst_fastvlm_sampler_get_span(const GstFastvlmSampler *sampler,
                                          GstClockTime running_time)
{
    if (sampler->interval == 0) {
        return GST_CLOCK_TIME_NONE;
    }
    if (!GST_CLOCK_TIME_IS_VALID(sampler->anchor)) {
        return sampler->interval;
    }
    if (!GST_CLOCK_TIME_IS_VALID(sampler->next) || sampler->next <= running_time) {
        return GST_CLOCK_TIME_NONE;
    }
    return sampler->next - running_time;
}
