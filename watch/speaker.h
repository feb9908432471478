/*
 * A voice: fastvlmspeak and a loudspeaker or a WAV file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_SPEAKER_H
#define FASTVLM_WATCH_SPEAKER_H

#include <glib.h>

typedef struct _WatchSpeaker WatchSpeaker;

/** @param path  a WAV file, or "" for the loudspeaker */
WatchSpeaker *watch_speaker_new(const char *path, const char *voice, GError **error);

/** Says it when its turn comes, see the element; `speaker` may be NULL. */
void watch_speaker_say(WatchSpeaker *speaker, const char *text, gboolean urgent);

/** Lets what is being said be finished, ten seconds at most. */
void watch_speaker_free(WatchSpeaker *speaker);

#endif
