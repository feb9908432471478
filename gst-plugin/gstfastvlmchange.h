/*
 * Whether a picture looks like an earlier one.
 *
 *     frame -> mean of each component in the cells of a coarse grid -> share of cells that differ
 *
 * A mean over hundreds of pixels hardly moves with a sensor's noise, and moves with a light or with
 * anything that comes or goes. Cells that a mask touches do not count: a clock drawn into the picture.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_CHANGE_H
#define GST_FASTVLM_CHANGE_H

#include <gst/video/video.h>

G_BEGIN_DECLS

#define GST_FASTVLM_GRID_MAX_SIDE 32
#define GST_FASTVLM_GRID_MAX_CELLS (GST_FASTVLM_GRID_MAX_SIDE * GST_FASTVLM_GRID_MAX_SIDE)

/** A picture seen coarsely; immutable but for `is_lost`, and reference-counted. */
typedef struct {
    gint is_lost; /* atomic: its frame got no caption after all */
    GstVideoFormat format;
    gint width, height; /* of the picture */
    guint n_columns, n_rows;
    guint n_components;
    GstClockTime running_time;                  /* of the frame; the element's */
    guint64 serial;                             /* of the settings then; the element's */
    guint64 kinds;                              /* of its regions; the element's */
    float means[3][GST_FASTVLM_GRID_MAX_CELLS]; /* 0 to 255; rows of cells */
} GstFastvlmGrid;

/** Looks at a frame; NULL where it cannot be mapped. At 1080p well under a millisecond. */
GstFastvlmGrid *gst_fastvlm_grid_new(const GstVideoInfo *info, GstBuffer *buffer);
GstFastvlmGrid *gst_fastvlm_grid_ref(GstFastvlmGrid *grid);

/** NULL is fine. */
void gst_fastvlm_grid_unref(GstFastvlmGrid *grid);

/**
 * Reads a mask: rectangles "x,y,width,height" with semicolons between, each number in pixels or, with a
 * %, a share of the picture; as "70%,0,30%,10%;0,0,64,64".
 *
 * @param rectangles  out where not NULL: a GArray of GstFastvlmMaskRectangle, of the caller's; NULL or
 *                    "" gives an empty one
 * @return FALSE where it is none
 */
gboolean gst_fastvlm_mask_parse(const char *mask, GArray **rectangles);

/** Four numbers: x, y, width, height. */
typedef struct {
    double value[4];
    gboolean is_share[4]; /* of the picture, in percent */
} GstFastvlmMaskRectangle;

/**
 * The share of cells that differ, those that the mask touches left out; 1 where the pictures are of
 * another kind, or where the mask leaves nothing to compare.
 */
double gst_fastvlm_grid_compare(const GstFastvlmGrid *a, const GstFastvlmGrid *b,
                                const GArray *rectangles);

G_END_DECLS

#endif
