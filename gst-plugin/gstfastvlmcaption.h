/*
 * The element fastvlmcaption: its type. What it holds is in gstfastvlmprivate.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_CAPTION_H
#define GST_FASTVLM_CAPTION_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_FASTVLM_CAPTION (gst_fastvlm_caption_get_type())
G_DECLARE_FINAL_TYPE(GstFastvlmCaption, gst_fastvlm_caption, GST, FASTVLM_CAPTION, GstElement)

GST_ELEMENT_REGISTER_DECLARE(fastvlmcaption)

G_END_DECLS

#endif
