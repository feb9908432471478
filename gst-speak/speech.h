/*
 * Whose turn it is to be spoken, in samples.
 *
 *     sentence -> is it news? -> waits (room for one) -> its samples, one sentence after another
 *     nothing to say -> silence
 *
 * The newest sentence takes the place of one that waits; the one being spoken is finished. An urgent
 * one interrupts any that is not urgent. What was said last, is being said or waits already is not
 * said again. No locks: the owner has one.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_SPEECH_H
#define GST_FASTVLM_SPEECH_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct _GstFastvlmSpeech GstFastvlmSpeech;

/** @param rate  samples a second */
GstFastvlmSpeech *gst_fastvlm_speech_new(guint rate);

void gst_fastvlm_speech_free(GstFastvlmSpeech *speech);

/** Forgets everything, what was said last too. */
void gst_fastvlm_speech_reset(GstFastvlmSpeech *speech);

/** Whether put() would have any use for that text. */
gboolean gst_fastvlm_speech_is_news(const GstFastvlmSpeech *speech, const char *text,
                                    gboolean urgent);

/**
 * Has a sentence spoken.
 *
 * @param samples  int16, of that text; taken over
 */
void gst_fastvlm_speech_put(GstFastvlmSpeech *speech, const char *text, GArray *samples,
                            gboolean urgent);

/** Writes the next `n_samples`; FALSE where they are all silence. */
gboolean gst_fastvlm_speech_pull(GstFastvlmSpeech *speech, gint16 *samples, guint n_samples);

/** Whether a sentence is being spoken or waits. */
gboolean gst_fastvlm_speech_is_busy(const GstFastvlmSpeech *speech);

/**
 * Words for a voice: valid UTF-8 on one line, without control characters, at most `max_length`
 * characters (0: any number), cut between words where there are any.
 *
 * @return free with g_free(); "" where nothing is left
 */
char *gst_fastvlm_speech_clean(const char *text, gssize n_bytes, guint max_length);

G_END_DECLS

#endif
