/*
 * Posting the engine's errors; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmerror.h"

static const struct {
    FastvlmError from;
    gboolean resource; /* RESOURCE, else LIBRARY */
    gint code;
} table[] = {
    {FASTVLM_ERROR_NOT_FOUND, TRUE, GST_RESOURCE_ERROR_NOT_FOUND},
    {FASTVLM_ERROR_READ, TRUE, GST_RESOURCE_ERROR_OPEN_READ},
    {FASTVLM_ERROR_FORMAT, FALSE, GST_LIBRARY_ERROR_INIT},
    {FASTVLM_ERROR_UNSUPPORTED, FALSE, GST_LIBRARY_ERROR_SETTINGS},
    {FASTVLM_ERROR_ARGUMENT, FALSE, GST_LIBRARY_ERROR_SETTINGS},
};

GQuark gst_fastvlm_error_map(const GError *error, gboolean loading, gint *code)
{
    if (g_error_matches(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT)) {
        *code = loading ? (gint)GST_RESOURCE_ERROR_NO_SPACE_LEFT : (gint)GST_LIBRARY_ERROR_SETTINGS;
        return loading ? GST_RESOURCE_ERROR : GST_LIBRARY_ERROR;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        if (g_error_matches(error, FASTVLM_ERROR, (gint)table[i].from)) {
            *code = table[i].code;
            return table[i].resource ? GST_RESOURCE_ERROR : GST_LIBRARY_ERROR;
        }
    }
    *code = GST_LIBRARY_ERROR_FAILED;
    return GST_LIBRARY_ERROR;
}

void gst_fastvlm_error_post(GstElement *element, GstMessageType type, const GError *error,
                            gboolean loading, GstStructure *details)
{
    gint code;
    const GQuark domain = gst_fastvlm_error_map(error, loading, &code);
    char *debug = g_strdup_printf("%s, code %d", g_quark_to_string(error->domain), error->code);

    gst_element_message_full_with_details(element, type, domain, code, g_strdup(error->message),
                                          debug, __FILE__, G_STRFUNC, __LINE__, details);
}
