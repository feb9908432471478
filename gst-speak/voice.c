/*
 * espeak-ng; see the header.
 *
 * AUDIO_OUTPUT_SYNCHRONOUS is AUDIO_OUTPUT_RETRIEVAL without a thread of espeak-ng's own: samples
 * come by the callback while espeak_Synth() is called.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "voice.h"

#include <espeak-ng/speak_lib.h>
#include <gio/gio.h>
#include <string.h>

#define CHUNK_MS 100

static GMutex lock; /* espeak-ng's, and of what follows */
static int rate;    /* 0: not set up */

static int take_samples(short *samples, int n_samples, espeak_EVENT *events)
{
    GArray *to = events->user_data;

    if (samples != NULL && n_samples > 0) {
        g_array_append_vals(to, samples, (guint)n_samples);
    }
    return 0;
}

static gboolean set_up(GError **error)
{
    if (rate > 0) {
        return TRUE;
    }
    const int result =
        espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, CHUNK_MS, NULL, espeakINITIALIZE_DONT_EXIT);
    if (result <= 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "espeak-ng has no data: install the package espeak-ng-data");
        return FALSE;
    }
    espeak_SetSynthCallback(take_samples);
    rate = result;
    return TRUE;
}

static gboolean set_voice(const GstFastvlmVoice *voice, GError **error)
{
    /* Names of voices, files and languages alike. */
    if (espeak_SetVoiceByName(voice->name) != EE_OK) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "espeak-ng knows no voice \"%s\": `espeak-ng --voices` lists them",
                    voice->name);
        return FALSE;
    }
    espeak_SetParameter(espeakRATE, voice->rate, 0);
    espeak_SetParameter(espeakPITCH, voice->pitch, 0);
    espeak_SetParameter(espeakVOLUME, voice->volume, 0);
    return TRUE;
}

guint gst_fastvlm_voice_get_rate(GError **error)
{
    g_mutex_lock(&lock);
    const guint result = set_up(error) ? (guint)rate : 0;
    g_mutex_unlock(&lock);
    return result;
}

gboolean gst_fastvlm_voice_check(const GstFastvlmVoice *voice, GError **error)
{
    g_mutex_lock(&lock);
    const gboolean known = set_up(error) && set_voice(voice, error);
    g_mutex_unlock(&lock);
    return known;
}

GArray *gst_fastvlm_voice_speak(const GstFastvlmVoice *voice, const char *text, GError **error)
{
    GArray *samples = NULL;

    g_mutex_lock(&lock);
    if (set_up(error) && set_voice(voice, error)) {
        samples = g_array_new(FALSE, FALSE, sizeof(gint16));
        if (espeak_Synth(text, strlen(text) + 1, 0, POS_CHARACTER, 0, espeakCHARS_UTF8, NULL,
                         samples) != EE_OK) {
            g_clear_pointer(&samples, g_array_unref);
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "espeak-ng could not speak a text");
        }
    }
    g_mutex_unlock(&lock);
    return samples;
}
