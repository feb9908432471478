/*
 * The plugin `fastvlmspeechd`.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gst/gst.h>

#include "gstfastvlmspeechd.h"

static gboolean plugin_init(GstPlugin *plugin)
{
    return GST_ELEMENT_REGISTER(fastvlmspeechd, plugin);
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, fastvlmspeechd,
                  "Text streams, spoken by speech-dispatcher", plugin_init, PACKAGE_VERSION, "LGPL",
                  "fastvlm", PACKAGE_ORIGIN)
