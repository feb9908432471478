/*
 * The element fastvlmspeak: a text stream, spoken.
 *
 *     sink  text/x-raw, utf8 -> espeak-ng -> src  audio/x-raw, S16, mono, the voice's rate
 *
 * The audio is one stream without holes: silence where nothing is said, flagged GAP. It follows the
 * clock behind a live source, and otherwise the times of the text, so that a file is narrated as
 * fast as it is read (property `timing`).
 *
 * Newest sentence wins: one waits at most. Urgent ones interrupt. They come by
 *
 *     the action signal  say (text, urgent), returns whether it will be said
 *     a custom event     fastvlm-say, fields text (string), urgent (boolean, FALSE if missing)
 *     a custom event     fastvlm-alert, field text: urgent unless its field type is "clear"
 *
 * where an event may come down from upstream, serialized or not, or be sent to the element.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef GST_FASTVLM_SPEAK_H
#define GST_FASTVLM_SPEAK_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_FASTVLM_SPEAK (gst_fastvlm_speak_get_type())
G_DECLARE_FINAL_TYPE(GstFastvlmSpeak, gst_fastvlm_speak, GST, FASTVLM_SPEAK, GstElement)

typedef enum {
    GST_FASTVLM_SPEAK_AUTO,
    GST_FASTVLM_SPEAK_CLOCK,
    GST_FASTVLM_SPEAK_TEXT,
} GstFastvlmSpeakTiming;

#define GST_TYPE_FASTVLM_SPEAK_TIMING (gst_fastvlm_speak_timing_get_type())
GType gst_fastvlm_speak_timing_get_type(void);

GST_ELEMENT_REGISTER_DECLARE(fastvlmspeak)

G_END_DECLS

#endif
