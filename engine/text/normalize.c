/*
 * NFC through GLib, which takes text only up to a NUL: so piece by piece. See normalize.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/normalize.h"

#include <string.h>

/* Bytes from `text` to the next NUL, at most n_bytes. */
static gsize piece_length(const char *text, gsize n_bytes)
{
    const char *nul = memchr(text, '\0', n_bytes);
    return nul != NULL ? (gsize)(nul - text) : n_bytes;
}

gboolean fastvlm_normalize_check(const char *text, gsize n_bytes, GError **error)
{
    for (gsize at = 0; at < n_bytes; at++) {
        gsize length = piece_length(text + at, n_bytes - at);
        const char *bad;
        if (!g_utf8_validate_len(text + at, length, &bad)) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                        "the text is not valid UTF-8 at byte %" G_GSIZE_FORMAT,
                        (gsize)(bad - text));
            return FALSE;
        }
        at += length;
    }
    return TRUE;
}

static gboolean is_ascii(const char *text, gsize n_bytes)
{
    guint8 all = 0;
    for (gsize i = 0; i < n_bytes; i++)
        all |= (guint8)text[i];
    return all < 0x80;
}

/* GLib sorts marks in quadratic time: a run without end would hold the caller up. */
static gboolean check_marks(const char *text, gsize n_bytes, GError **error)
{
    int n_marks = 0;
    for (const char *p = text; p < text + n_bytes; p = g_utf8_next_char(p)) {
        n_marks = g_unichar_combining_class(g_utf8_get_char(p)) != 0 ? n_marks + 1 : 0;
        if (n_marks > FASTVLM_NORMALIZE_MAX_MARKS) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                        "the text has more than %d combining marks in a row",
                        FASTVLM_NORMALIZE_MAX_MARKS);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean fastvlm_normalize_nfc(const char *text, gsize n_bytes, GString *out, GError **error)
{
    if (is_ascii(text, n_bytes)) {
        g_string_append_len(out, text, (gssize)n_bytes);
        return TRUE;
    }
    if (!check_marks(text, n_bytes, error))
        return FALSE;
    for (gsize at = 0;;) {
        gsize length = piece_length(text + at, n_bytes - at);
        g_autofree char *normal = g_utf8_normalize(text + at, (gssize)length, G_NORMALIZE_NFC);
        g_string_append(out, normal);
        at += length;
        if (at == n_bytes)
            return TRUE;
        g_string_append_c(out, '\0');
        at++;
    }
}
