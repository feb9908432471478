/*
 * An RTSP camera on loopback that can be made to misbehave.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef CAMERA_SERVER_H
#define CAMERA_SERVER_H

#include <glib.h>

typedef struct _CameraServer CameraServer;

typedef struct {
    const char *pattern; /* of videotestsrc */
    int width, height;
    gboolean jpeg;        /* or VP8 */
    const char *password; /* of the user "admin"; NULL: everybody may look */
    double loss;          /* share of RTP packets that are lost */
} CameraSetup;

/** Takes a port, which it keeps; nobody listens there before camera_server_start(). */
CameraServer *camera_server_new(void);

void camera_server_free(CameraServer *server);

/** rtsp://CREDENTIALS@127.0.0.1:PORT/live?key=sesame; `credentials` may be NULL. */
char *camera_server_get_url(CameraServer *server, const char *credentials);

void camera_server_start(CameraServer *server, const CameraSetup *setup);

/** Listens no more and closes all connections. */
void camera_server_stop(CameraServer *server);

/** Closes all connections; listens on. */
void camera_server_drop(CameraServer *server);

/** Connections stay, and nothing comes through them. */
void camera_server_stall(CameraServer *server);

/** RTP timestamps leap by so many seconds. */
void camera_server_leap(CameraServer *server, int seconds);

void camera_server_set_pattern(CameraServer *server, const char *pattern);

#endif
