/*
 * The pictures the element may have looked at, kept until it says what it saw.
 *
 * The element's sampling grid is followed: the first frame at or after each point, from the first
 * frame on. A few frames are kept, as copies, so that no decoder waits for its buffers.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_PICTURE_H
#define FASTVLM_WATCH_PICTURE_H

#include <gst/gst.h>

typedef struct _WatchPictures WatchPictures;

/** @param pad  the element's sink pad, in whose thread frames are kept */
WatchPictures *watch_pictures_new(GstPad *pad, GstClockTime interval);

/** After the pad's stream has stopped. */
void watch_pictures_free(WatchPictures *pictures);

/**
 * Writes the frame with that PTS (or else the last one before it) as DIRECTORY/CAMERA-TIME.jpg.
 *
 * @return the path, free with g_free(); NULL with `error` set
 */
char *watch_pictures_save(WatchPictures *pictures, GstClockTime pts, const char *directory,
                          const char *camera, const char *time, GError **error);

#endif
