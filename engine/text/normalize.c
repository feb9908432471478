/*
 * NFC through GLib, in chunks. See normalize.h.
 *
 * g_utf8_normalize() stops at a NUL, sorts marks in quadratic time and moves the rest of the text
 * up at each composition, which is quadratic too (GLib 2.74: 100,000 times U+00E9 take a second).
 * So the text is cut where nothing can compose or be sorted across the cut.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/normalize.h"

#include <string.h>

/* Characters after which a chunk ends at the next place that allows it. */
#define CHUNK_CHARACTERS 128

gboolean fastvlm_normalize_check(const char *text, gsize n_bytes, GError **error)
{
    for (gsize at = 0; at < n_bytes; at++) {
        const char *nul = memchr(text + at, '\0', n_bytes - at);
        gsize length = nul != NULL ? (gsize)(nul - text) - at : n_bytes - at;
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

/*
 * TRUE where `next` may compose with, or be sorted among, what is before it. Whatever has a
 * combining class is a mark; whatever is the second half of a composition is a mark or a Hangul
 * vowel or final (true of Unicode 14), or composes right here (Kirat Rai's letters in Unicode 16).
 */
static gboolean clings(gunichar previous, gunichar next)
{
    gunichar composed;
    return g_unichar_ismark(next) || (next >= 0x1160 && next <= 0x11ff) ||
           g_unichar_compose(previous, next, &composed);
}

/* Bytes of `text` up to the first cut behind CHUNK_CHARACTERS or before a NUL; 0 on error. */
static gsize find_cut(const char *text, gsize n_bytes, GError **error)
{
    const char *end = text + n_bytes;
    gunichar previous = 0;
    const char *p = text;
    int n_characters = 0, n_clinging = 0;
    for (; p < end && *p != '\0'; p = g_utf8_next_char(p)) {
        gunichar next = g_utf8_get_char(p);
        gboolean is_held = (guchar)*p >= 0x80 && clings(previous, next);
        if (n_characters >= CHUNK_CHARACTERS && !is_held)
            break;
        n_clinging = is_held ? n_clinging + 1 : 0;
        if (n_clinging > FASTVLM_NORMALIZE_MAX_MARKS) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                        "the text has more than %d combining marks in a row",
                        FASTVLM_NORMALIZE_MAX_MARKS);
            return 0;
        }
        previous = next;
        n_characters++;
    }
    return (gsize)(p - text);
}

gboolean fastvlm_normalize_nfc(const char *text, gsize n_bytes, GString *out, GError **error)
{
    if (is_ascii(text, n_bytes)) {
        g_string_append_len(out, text, (gssize)n_bytes);
        return TRUE;
    }
    while (n_bytes > 0) {
        gsize length = 1;
        if (*text == '\0') {
            g_string_append_c(out, '\0');
        } else {
            length = find_cut(text, n_bytes, error);
            if (length == 0)
                return FALSE;
            g_autofree char *normal = g_utf8_normalize(text, (gssize)length, G_NORMALIZE_NFC);
            g_string_append(out, normal);
        }
        text += length;
        n_bytes -= length;
    }
    return TRUE;
}
