/*
 * The caption on the picture: white on a translucent box, wrapped, in any script.
 *
 *     text -> Pango, in set_text()'s thread -> GstVideoOverlayComposition -> meta, or blended
 *
 * The worker's thread calls set_text(), so the streaming thread runs Pango only where the size of
 * the video changed; apply() merely attaches or blends. What was rendered is kept until text, font
 * or video change. All functions are thread-safe, and none waits while another thread renders:
 * that one goes on with what was set meanwhile.
 *
 * The box stands at the bottom, in the middle, and takes at most 45 % of the height: a long text
 * gets smaller type, one that is still too long ends in an ellipsis. Text is drawn letter by
 * letter, never read as markup; line breaks are blanks. Scripts need fonts: Debian's
 * fonts-dejavu-core, which fontconfig brings along, has Latin, Greek, Cyrillic, Arabic and Hebrew,
 * fonts-noto-cjk Chinese, Japanese and Korean, fonts-noto-color-emoji emoji.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_OVERLAY_H
#define GST_FASTVLM_OVERLAY_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/** The type where none was asked for. */
#define GST_FASTVLM_OVERLAY_DEFAULT_FONT "Sans 16"

typedef struct _GstFastvlmOverlay GstFastvlmOverlay;

GstFastvlmOverlay *gst_fastvlm_overlay_new(void);

/** Frees `overlay`; NULL is fine. */
void gst_fastvlm_overlay_free(GstFastvlmOverlay *overlay);

/**
 * A Pango font description, as "Sans 18" or "Serif Bold 24px".
 *
 * Points are those of a picture whose shorter side is 480 pixels at 96 dpi, and grow with the
 * video; sizes in px are the video's own pixels. What the description leaves out, a size among it,
 * is GST_FASTVLM_OVERLAY_DEFAULT_FONT's; so is everything for NULL and "".
 */
void gst_fastvlm_overlay_set_font_desc(GstFastvlmOverlay *overlay, const char *font_desc);

/**
 * What the frames given to apply() are.
 *
 * @param attach  TRUE: downstream takes the composition as meta; FALSE: blend it here
 */
void gst_fastvlm_overlay_set_video_info(GstFastvlmOverlay *overlay, const GstVideoInfo *info,
                                        gboolean attach);

/** The text to draw from the next frame on, at most 2000 characters; NULL or "": none, at once. */
void gst_fastvlm_overlay_set_text(GstFastvlmOverlay *overlay, const char *text);

/**
 * Puts the text on a frame.
 *
 * A frame that carries a composition already keeps what is in it. A frame that cannot be mapped
 * stays as it is, with a warning in the log.
 *
 * @param frame  transfer full
 * @return a frame of the caller's: `frame` itself where there is nothing to draw, else one with the
 *         meta added, or a writable copy with the text blended in
 */
GstBuffer *gst_fastvlm_overlay_apply(GstFastvlmOverlay *overlay, GstBuffer *frame);

G_END_DECLS

#endif
