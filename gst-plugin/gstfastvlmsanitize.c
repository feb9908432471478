/*
 * Text made harmless, one character at a time.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmsanitize.h"

#include <string.h>

#define ARROW "\xe2\x86\x92"       /* U+2192 */
#define LEFT_ANGLE "\xe2\x80\xb9"  /* U+2039 */
#define RIGHT_ANGLE "\xe2\x80\xba" /* U+203A */
#define ELLIPSIS "\xe2\x80\xa6"    /* U+2026 */

/* Blanks first: tabs and line breaks are control characters, too. */
static gboolean is_blank(gunichar c)
{
    return g_unichar_isspace(c) || c == 0x0b || c == 0x0c || c == 0x85;
}

static gboolean is_break(gunichar c)
{
    return g_unichar_iscntrl(c) || c == 0x2028 || c == 0x2029;
}

static gboolean is_dropped(gunichar c)
{
    const gboolean turns_text = (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    const gboolean is_noncharacter = (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;

    return g_unichar_iscntrl(c) || turns_text || is_noncharacter || c == 0xfeff;
}

/* The character `p` points to as it stands in an answer; 0: it does not. */
static gunichar get_answer_char(const char *p)
{
    const gunichar c = g_utf8_get_char(p);

    if (c == '\t' || !is_dropped(c)) {
        return c;
    }
    return is_blank(c) && !g_str_has_prefix(p, "\r\n") ? '\n' : 0;
}

char *gst_fastvlm_sanitize_answer(const char *text)
{
    char *valid = g_utf8_make_valid(text != NULL ? text : "", -1);
    GString *words = g_string_sized_new(strlen(valid));
    guint n_chars = 0;
    const char *p = valid;

    for (; *p != '\0' && n_chars < GST_FASTVLM_ANSWER_MAX_CHARS; p = g_utf8_next_char(p)) {
        const gunichar c = get_answer_char(p);

        if (c != 0) {
            g_string_append_unichar(words, c);
            n_chars++;
        }
    }
    char *answer = g_strconcat(g_strstrip(words->str), *p != '\0' ? ELLIPSIS : NULL, NULL);
    g_string_free(words, TRUE);
    g_free(valid);
    return answer;
}

char *gst_fastvlm_sanitize_line(const char *text)
{
    char *valid = g_utf8_make_valid(text != NULL ? text : "", -1);
    GString *line = g_string_sized_new(strlen(valid));
    gunichar blank = 0; /* of the run before `c`; 0: none */

    for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);

        if (is_blank(c)) {
            /* One blank of a kind of its own stays: French has narrow ones that do not break. */
            blank = blank != 0 || is_break(c) ? ' ' : c;
        } else if (!is_dropped(c)) {
            if (blank != 0 && line->len > 0) {
                g_string_append_unichar(line, blank);
            }
            blank = 0;
            g_string_append_unichar(line, c);
        }
    }
    g_free(valid);
    return g_string_free(line, FALSE);
}

char *gst_fastvlm_sanitize_text(const char *text)
{
    char *line = gst_fastvlm_sanitize_line(text);
    GString *safe = g_string_sized_new(strlen(line));

    for (const char *p = line; *p != '\0'; p++) {
        if (g_str_has_prefix(p, "-->")) {
            g_string_append(safe, ARROW);
            p += 2;
        } else if (*p == '<') {
            g_string_append(safe, LEFT_ANGLE);
        } else if (*p == '>') {
            g_string_append(safe, RIGHT_ANGLE);
        } else {
            g_string_append_c(safe, *p);
        }
    }
    g_free(line);
    return g_string_free(safe, FALSE);
}
