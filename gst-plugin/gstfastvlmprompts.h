/*
 * A list of prompts in a string.
 *
 *     lines, each a prompt | <"one", "two">, what becomes of a GstValueArray -> prompts
 *
 * GObject turns an array that is set to a string property into the second form, and it is how
 * gst-launch lines write arrays.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_PROMPTS_H
#define GST_FASTVLM_PROMPTS_H

#include <glib.h>

G_BEGIN_DECLS

/**
 * The prompts of `text`, each stripped, those that are blank left out. What begins like an array and
 * is none is lines.
 *
 * @param text  may be NULL
 * @return NULL-terminated, free with g_strfreev(); never NULL
 */
char **gst_fastvlm_prompts_parse(const char *text);

G_END_DECLS

#endif
