/*
 * Several sessions of one model at once, a thread each.
 *
 *     all have a picture and a prompt -> all decode at the same moment   -> tokens a second
 *     each captions pictures, one behind the other                       -> captions a second
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_BENCH_SESSIONS_H
#define FASTVLM_TOOLS_BENCH_SESSIONS_H

#include <fastvlm/session.h>

G_BEGIN_DECLS

typedef struct {
    FastvlmModel *model;
    FastvlmImage picture;
    int resolution;
    FastvlmGenerateParams
        params; /* ids, one behind the picture or more; session i has i for the last */
} BenchTask;

/**
 * @param n_captions  of each session
 * @param tokens_s    of all sessions together, while all decode, out
 * @param captions_s  of all sessions together, out
 * Errors: those of a session; a signal cancels (interrupt.h).
 */
gboolean bench_sessions(const BenchTask *task, int n_sessions, int n_captions, double *tokens_s,
                        double *captions_s, GError **error);

G_END_DECLS

#endif
