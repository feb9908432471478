/*
 * The plugin `fastvlm`: registers its element.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gst/gst.h>

#include "gstfastvlmcaption.h"

static gboolean plugin_init(GstPlugin *plugin)
{
    return GST_ELEMENT_REGISTER(fastvlmcaption, plugin);
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, fastvlm, "FastVLM captions of live video",
                  plugin_init, PACKAGE_VERSION, "LGPL", "fastvlm", PACKAGE_ORIGIN)
