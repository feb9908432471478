/*
 * A voice: fastvlmspeechd, where a speech-dispatcher answers; or fastvlmspeak and a loudspeaker or a WAV
 * file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_SPEAKER_H
#define FASTVLM_WATCH_SPEAKER_H

#include <glib.h>

typedef struct _WatchSpeaker WatchSpeaker;

/** Who speaks. */
typedef enum {
    WATCH_SPEAK_BY_ANY, /* speech-dispatcher where one answers, espeak-ng else and into files */
    WATCH_SPEAK_BY_DISPATCHER,
    WATCH_SPEAK_BY_ESPEAK,
} WatchSpeakBy;

/**
 * Says on standard error who speaks by the loudspeaker.
 *
 * @param path   a WAV file, which espeak-ng alone can write, or "" for the loudspeaker
 * @param voice  NULL: the one that comes by itself
 */
WatchSpeaker *watch_speaker_new(const char *path, WatchSpeakBy by, const char *voice,
                                GError **error);

/** Says it when its turn comes, see the element; `speaker` may be NULL. */
void watch_speaker_say(WatchSpeaker *speaker, const char *text, gboolean urgent);

/** Lets what is being said be finished, ten seconds at most. */
void watch_speaker_free(WatchSpeaker *speaker);

#endif
