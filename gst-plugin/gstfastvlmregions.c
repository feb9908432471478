/*
 * Regions of interest; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmregions.h"

/* The part of `from` .. `from + n` that lies in `low` .. `low + size`; FALSE where there is none. */
static gboolean clip(guint from, guint n, gint low, gint size, guint *start, guint *length)
{
    const guint64 first = MAX((guint64)from, (guint64)low);
    const guint64 end = MIN((guint64)from + n, (guint64)low + (guint64)size);

    if (first >= end) {
        return FALSE;
    }
    *start = (guint)first;
    *length = (guint)(end - first);
    return TRUE;
}

static guint64 get_area(const GstFastvlmRegion *region)
{
    return (guint64)region->w * region->h;
}

/* Puts `region` behind those that are as large; of too many the last, the smallest, goes. */
static void insert(GArray *regions, const GstFastvlmRegion *region, guint *n_more)
{
    guint place = regions->len;

    while (place > 0 &&
           get_area(&g_array_index(regions, GstFastvlmRegion, place - 1)) < get_area(region)) {
        place--;
    }
    if (place < GST_FASTVLM_MAX_REGIONS) {
        g_array_insert_val(regions, place, *region);
    }
    if (place == GST_FASTVLM_MAX_REGIONS || regions->len > GST_FASTVLM_MAX_REGIONS) {
        g_array_set_size(regions, GST_FASTVLM_MAX_REGIONS);
        (*n_more)++;
    }
}

GArray *gst_fastvlm_regions_list(const GstVideoInfo *info, GstBuffer *buffer, guint *n_more)
{
    GArray *regions = g_array_new(FALSE, FALSE, sizeof(GstFastvlmRegion));
    GstFastvlmFrame frame;
    gpointer state = NULL;
    GstMeta *item;

    *n_more = 0;
    gst_fastvlm_frame_init_ref(&frame, info, buffer);
    while ((item = gst_buffer_iterate_meta_filtered(
                buffer, &state, GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE)) != NULL) {
        const GstVideoRegionOfInterestMeta *meta = (GstVideoRegionOfInterestMeta *)item;
        GstFastvlmRegion region = {.id = meta->id, .type = meta->roi_type};

        if (clip(meta->x, meta->w, frame.x, frame.width, &region.x, &region.w) &&
            clip(meta->y, meta->h, frame.y, frame.height, &region.y, &region.h)) {
            insert(regions, &region, n_more);
        }
    }
    gst_fastvlm_frame_clear(&frame);
    if (regions->len == 0) {
        g_clear_pointer(&regions, g_array_unref);
    }
    return regions;
}

guint64 gst_fastvlm_regions_get_kinds(const GArray *regions)
{
    guint64 kinds = 0;

    for (guint i = 0; regions != NULL && i < regions->len; i++) {
        /* A sum, so that their order does not count; odd factors spread what quarks count up. */
        const guint64 type = g_array_index(regions, GstFastvlmRegion, i).type;
        const guint64 mixed = (type + 1) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);

        kinds += (mixed ^ (mixed >> 29)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
    }
    return kinds;
}

/* `from`, or before it the first pixel that shares its chroma, but not before `low`. */
static gint align(guint from, gint low, guint shift)
{
    return MAX((gint)(from >> shift << shift), low);
}

GstFastvlmFrame gst_fastvlm_region_crop(const GstFastvlmRegion *region,
                                        const GstFastvlmFrame *frame)
{
    const GstVideoFormatInfo *format = frame->info.finfo;
    const gboolean shares = GST_VIDEO_FORMAT_INFO_N_COMPONENTS(format) >= 3;
    const guint w_shift = shares ? GST_VIDEO_FORMAT_INFO_W_SUB(format, 1) : 0;
    const guint h_shift = shares ? GST_VIDEO_FORMAT_INFO_H_SUB(format, 1) : 0;
    GstFastvlmFrame part = *frame;

    part.x = align(region->x, frame->x, w_shift);
    part.y = align(region->y, frame->y, h_shift);
    part.width = (gint)(region->x + region->w) - part.x;
    part.height = (gint)(region->y + region->h) - part.y;
    return part;
}
