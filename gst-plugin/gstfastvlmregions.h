/*
 * Parts of a picture that somebody upstream found worth a caption of its own.
 *
 *     GstVideoRegionOfInterestMeta on a frame -> clipped to what is visible, largest first -> regions
 *
 * The rectangles come from outside, as often as not from a network that guesses: anything may stand
 * in them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_REGIONS_H
#define GST_FASTVLM_REGIONS_H

#include "gstfastvlmframe.h"

G_BEGIN_DECLS

/** Most regions of a frame that are captioned: the largest. */
#define GST_FASTVLM_MAX_REGIONS 16

/** A rectangle of pixels of the picture, never empty. */
typedef struct {
    gint id;     /* the meta's */
    GQuark type; /* of the meta, as "person"; 0: it says none */
    guint x, y;  /* within the visible part, as w and h */
    guint w, h;
} GstFastvlmRegion;

/**
 * The regions of `buffer`, largest first, those of a size in the order of the metas.
 *
 * @param n_more  out: how many there were beyond GST_FASTVLM_MAX_REGIONS
 * @return a GArray of GstFastvlmRegion, the caller's; NULL: there are none, or none within the picture
 */
GArray *gst_fastvlm_regions_list(const GstVideoInfo *info, GstBuffer *buffer, guint *n_more);

/** A number that is the same for regions (NULL: none) of the same types, as many of each. */
guint64 gst_fastvlm_regions_get_kinds(const GArray *regions);

/**
 * `frame` (whose buffer it shares without a reference) with the region for its visible part. A region
 * that begins amid pixels which share their chroma begins with the first of them.
 */
GstFastvlmFrame gst_fastvlm_region_crop(const GstFastvlmRegion *region,
                                        const GstFastvlmFrame *frame);

G_END_DECLS

#endif
