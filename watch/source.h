/*
 * A camera's pictures: a pipeline that is thrown away when it fails, and made anew.
 *
 *     rtspsrc ! decodebin, uridecodebin, v4l2src -> videoconvert -> what the element takes -> appsink
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_WATCH_SOURCE_H
#define FASTVLM_WATCH_SOURCE_H

#include <gst/app/gstappsink.h>
#include <gst/gst.h>

#include "address.h"
#include "options.h"

/** A pipeline whose appsink, named "pictures", has yet to get its callbacks. */
GstElement *watch_source_new(const WatchAddress *address, const WatchOptions *options);

/** Why a source failed, in words without secrets; `refused` where it was the credentials. */
char *watch_source_explain(const WatchAddress *address, GstMessage *error, gboolean *refused);

#endif
