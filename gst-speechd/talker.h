/*
 * A connection to speech-dispatcher that never makes its user wait: a thread of its own talks to the
 * server, which may take its time or hang.
 *
 *     say() -> the sentences that wait, a few at most -> thread -> libspeechd
 *
 * A server that does not answer holds the thread, and nobody else: whoever frees the talker then leaves
 * the thread behind, which ends with the server or with its answer.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_TALKER_H
#define GST_FASTVLM_TALKER_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct _GstFastvlmTalker GstFastvlmTalker;

/**
 * Connects, and waits for it as long as that.
 *
 * @param language    NULL: the user's own
 * @param timeout_us  for the server to answer, now and to each sentence
 * @param problem     where NULL is returned: why, free with g_free()
 * @return free with gst_fastvlm_talker_free(), or NULL
 */
GstFastvlmTalker *gst_fastvlm_talker_new(const char *language, gint64 timeout_us, char **problem);

/** Waits for sentences to be sent, but for no longer than the server may take. NULL is fine. */
void gst_fastvlm_talker_free(GstFastvlmTalker *talker);

/** Sends `words` when its turn comes; FALSE where the server has ended or refused one. */
gboolean gst_fastvlm_talker_say(GstFastvlmTalker *talker, const char *words, gboolean urgent);

/** Whether a sentence has waited too long for the server's answer. */
gboolean gst_fastvlm_talker_hangs(GstFastvlmTalker *talker);

G_END_DECLS

#endif
