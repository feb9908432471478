/*
 * A camera that is watched for good.
 *
 *     source, thrown away and made anew (source.h) -> frames, stamped as they come
 *         -> appsrc ! fastvlmcaption, which plays on and keeps its model -> lines of JSON (report.h)
 *
 * Frames get the time of their arrival, so that nothing a camera does to its timestamps, its size or
 * its codec reaches the element as anything but new caps.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_CAMERA_H
#define FASTVLM_WATCH_CAMERA_H

#include "address.h"
#include "options.h"
#include "speaker.h"

typedef struct _WatchCamera WatchCamera;

typedef struct {
    /* A line could not be written, or the element cannot go on (`error`, one line): stop. */
    void (*failed)(gpointer data, const char *error);
    /* The file is at its end. */
    void (*ended)(gpointer data);
    gpointer data;
} WatchCameraFuncs;

/**
 * Starts to load the model and to connect.
 *
 * @param address  taken over
 * @param speaker  may be NULL
 * @return NULL with `error` set where the element does not take its properties or has no model
 */
WatchCamera *watch_camera_new(WatchAddress *address, const WatchOptions *options,
                              WatchSpeaker *speaker, const WatchCameraFuncs *funcs, GError **error);

void watch_camera_free(WatchCamera *camera);

#endif
