/*
 * The plugin `fastvlmspeak`, apart from the captions' because espeak-ng, which it links, is under
 * GPL-3.0-or-later, and so is this library therefore.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <gst/gst.h>

#include "gstfastvlmspeak.h"

static gboolean plugin_init(GstPlugin *plugin)
{
    return GST_ELEMENT_REGISTER(fastvlmspeak, plugin);
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, fastvlmspeak,
                  "Text streams, spoken by espeak-ng (GPL-3.0-or-later)", plugin_init,
                  PACKAGE_VERSION, "GPL", "fastvlm", PACKAGE_ORIGIN)
