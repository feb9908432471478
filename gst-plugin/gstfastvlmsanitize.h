/*
 * Text made harmless: what a model wrote, fit to be told and to be copied raw into a text stream. A model
 * can be talked into writing anything by words that are held before its camera.
 *
 *     model's text -> valid UTF-8, no control characters, not too long -> messages, metadata, property, signal
 *                  -> one line                                         -> overlay
 *                  -> no markup, no cue arrow                          -> text pad
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_SANITIZE_H
#define GST_FASTVLM_SANITIZE_H

#include <glib.h>

G_BEGIN_DECLS

/** Characters of an answer. What is behind them is left out, and an ellipsis says so. */
#define GST_FASTVLM_ANSWER_MAX_CHARS 4096

/**
 * The words as they are, in lines of valid UTF-8.
 *
 * What is no UTF-8 becomes U+FFFD. Control characters go, but for tabs and line breaks, which become line
 * feeds; so do the characters that gst_fastvlm_sanitize_line() drops. No blanks are left at either end.
 *
 * @param text  any bytes, or NULL for ""
 * @return free with g_free()
 */
char *gst_fastvlm_sanitize_answer(const char *text);

/**
 * One line of valid UTF-8, for drawing.
 *
 * What is no UTF-8 becomes U+FFFD. Control characters go, and so do those that would change the
 * direction of text around them (U+202A to U+202E, U+2066 to U+2069), the byte order mark and
 * noncharacters. A run of blanks and line breaks becomes one blank; none is left at either end.
 *
 * @param text  any bytes, or NULL for ""
 * @return free with g_free()
 */
char *gst_fastvlm_sanitize_line(const char *text);

/**
 * One line that subtitle formats which copy it raw (SubRip, WebVTT) cannot take for anything but
 * text: gst_fastvlm_sanitize_line(), then `-->` becomes U+2192, `<` and `>` become U+2039 and
 * U+203A.
 *
 * @param text  any bytes, or NULL for ""
 * @return free with g_free()
 */
char *gst_fastvlm_sanitize_text(const char *text);

G_END_DECLS

#endif
