/*
 * Words to samples, by espeak-ng.
 *
 *     UTF-8 -> int16, mono, gst_fastvlm_voice_get_rate() a second
 *
 * Plain text: neither SSML nor phonemes in brackets are looked for, so that words from outside are
 * read out and nothing else. espeak-ng has one state a process; it is set up by the first call,
 * and calls from several threads take turns.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef GST_FASTVLM_VOICE_H
#define GST_FASTVLM_VOICE_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    char *name; /* espeak-ng's name of a voice or a language, as "en" */
    int rate;   /* words a minute, 80 to 450 */
    int pitch;  /* 0 to 100 */
    int volume; /* 0 to 200 */
} GstFastvlmVoice;

/** Samples a second, or 0 with `error` set where there is no espeak-ng or no data for it. */
guint gst_fastvlm_voice_get_rate(GError **error);

/** FALSE with `error` set where espeak-ng knows no such voice. */
gboolean gst_fastvlm_voice_check(const GstFastvlmVoice *voice, GError **error);

/** The samples of a text (free with g_array_unref()), or NULL with `error` set. */
GArray *gst_fastvlm_voice_speak(const GstFastvlmVoice *voice, const char *text, GError **error);

G_END_DECLS

#endif
