/*
 * The engine's errors as GStreamer's: FASTVLM_ERROR -> domain and code of GST_ELEMENT_ERROR.
 *
 *     NOT_FOUND -> RESOURCE NOT_FOUND      READ -> RESOURCE OPEN_READ
 *     FORMAT -> LIBRARY INIT               UNSUPPORTED, ARGUMENT -> LIBRARY SETTINGS
 *     LIMIT -> RESOURCE NO_SPACE_LEFT while loading, LIBRARY SETTINGS while captioning
 *     anything else -> LIBRARY FAILED
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_ERROR_H
#define GST_FASTVLM_ERROR_H

#include <gst/gst.h>
#include <fastvlm/error.h>

G_BEGIN_DECLS

/**
 * Where an error of the engine belongs.
 *
 * @param loading  it came from loading a model, not from using one
 * @param code     out
 * @return the domain
 */
GQuark gst_fastvlm_error_map(const GError *error, gboolean loading, gint *code);

/**
 * Posts `error` as an element's error (GST_MESSAGE_ERROR) or warning. Its message, which names the
 * file and the remedy, is what people see. Call it with no lock held.
 *
 * @param details  fields for programs, transfer full, or NULL
 */
void gst_fastvlm_error_post(GstElement *element, GstMessageType type, const GError *error,
                            gboolean loading, GstStructure *details);

G_END_DECLS

#endif
