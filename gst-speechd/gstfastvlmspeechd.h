/*
 * The element fastvlmspeechd: a text stream, spoken by the speech-dispatcher that runs here, in the
 * voice, at the rate and through the loudspeakers that the user has chosen for all speech.
 *
 *     sink  text/x-raw, utf8 -> libspeechd -> speech-dispatcher
 *
 * Newest sentence wins: a sentence is said with the priority "progress", so that one waits at most, and
 * the last is said. Alerts have the priority "important", which interrupts; they come by
 *
 *     a custom event     fastvlm-say, fields text (string), urgent (boolean, FALSE if missing)
 *     a custom event     fastvlm-alert, field text: urgent unless its field type is "clear"
 *     the signal         say (text, urgent)
 *
 * What was said last is not said again. A server that hangs holds nobody: a thread of its own talks to
 * it, a WARNING tells, and what it cannot take is not kept.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_SPEECHD_H
#define GST_FASTVLM_SPEECHD_H

#include <gst/base/gstbasesink.h>

G_BEGIN_DECLS

#define GST_TYPE_FASTVLM_SPEECHD (gst_fastvlm_speechd_get_type())
G_DECLARE_FINAL_TYPE(GstFastvlmSpeechd, gst_fastvlm_speechd, GST, FASTVLM_SPEECHD, GstBaseSink)

GST_ELEMENT_REGISTER_DECLARE(fastvlmspeechd)

G_END_DECLS

#endif
