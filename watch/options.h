/*
 * What the command line asks for.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_OPTIONS_H
#define FASTVLM_WATCH_OPTIONS_H

#include <glib.h>

#include "speaker.h"

typedef struct {
    char **addresses;  /* [NAME=]URL... */
    char *cameras;     /* a file of such lines */
    char *record;      /* directory of pictures; NULL: none are kept */
    char *protocol;    /* "tcp", "udp" or "auto" */
    char **properties; /* NAME=VALUE of the element, the shorter options among them */
    char *speak_to;    /* a WAV file, "" for the loudspeaker; NULL: nothing is spoken */
    WatchSpeakBy speak_by;
    char *voice;
    double interval_s;
    double stall_s;         /* without a picture for so long the stream is given up */
    double retry_s;         /* first wait before connecting again; doubles */
    double retry_max_s;     /* longest wait */
    double retry_refused_s; /* wait after credentials were refused */
    int latency_ms;         /* of RTP */
} WatchOptions;

#define WATCH_DEFAULT_OPTIONS                                                                    \
    {                                                                                            \
        .interval_s = 1, .stall_s = 10, .retry_s = 1, .retry_max_s = 60, .retry_refused_s = 300, \
        .latency_ms = 200                                                                        \
    }

/**
 * Reads the command line; FALSE with `error` set where it makes no sense. Free with
 * watch_options_clear() in any case.
 */
gboolean watch_options_parse(WatchOptions *options, int *argc, char ***argv, GError **error);

void watch_options_clear(WatchOptions *options);

#endif
