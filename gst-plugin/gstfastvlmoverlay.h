/*
 * The caption on the picture: white on a translucent box, wrapped, in any script.
 *
 *     text -> Pango, in set_text()'s thread -> GstVideoOverlayComposition -> meta, or blended
 *
 * The worker's thread calls set_text(), so the streaming thread runs Pango only where the size of
 * the video changed; apply() merely attaches or blends. All functions are thread-safe.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_OVERLAY_H
#define GST_FASTVLM_OVERLAY_H

#include <gst/video/video.h>

G_BEGIN_DECLS

typedef struct _GstFastvlmOverlay GstFastvlmOverlay;

GstFastvlmOverlay *gst_fastvlm_overlay_new(void);

/** Frees `overlay`; NULL is fine. */
void gst_fastvlm_overlay_free(GstFastvlmOverlay *overlay);

/** A Pango font description, as "Sans 18"; NULL or "": the default, scaled to the video. */
void gst_fastvlm_overlay_set_font_desc(GstFastvlmOverlay *overlay, const char *font_desc);

/**
 * What the frames given to apply() are.
 *
 * @param attach  TRUE: downstream takes the composition as meta; FALSE: blend it here
 */
void gst_fastvlm_overlay_set_video_info(GstFastvlmOverlay *overlay, const GstVideoInfo *info,
                                        gboolean attach);

/** The text to draw from the next frame on; NULL or "": none. */
void gst_fastvlm_overlay_set_text(GstFastvlmOverlay *overlay, const char *text);

/**
 * Puts the text on a frame.
 *
 * @param frame  transfer full
 * @return a frame of the caller's: `frame` itself where there is nothing to draw, else one with the
 *         meta added, or a writable copy with the text blended in
 */
GstBuffer *gst_fastvlm_overlay_apply(GstFastvlmOverlay *overlay, GstBuffer *frame);

G_END_DECLS

#endif
