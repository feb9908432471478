/*
 * The pre-tokenizer's expression. See pretokenize.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/pretokenize.h"

/* White_Space of Unicode, as the inside of a character class. */
#define BLANK                                                                                    \
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}" \
    "\\x{3000}"

#define EXPRESSION                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)"          \
    "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"        \
    "|\\p{N}"                               \
    "| ?[^" BLANK "\\p{L}\\p{N}]+[\\r\\n]*" \
    "|[" BLANK "]*[\\r\\n]+"                \
    "|[" BLANK "]+(?![^" BLANK "])"         \
    "|[" BLANK "]+"

GRegex *fastvlm_pretokenizer_new(GError **error)
{
    g_autoptr(GError) reason = NULL;
    GRegex *expression = g_regex_new(EXPRESSION, G_REGEX_OPTIMIZE, 0, &reason);
    /* The first match compiles for the machine and writes to the expression: not once shared. */
    if (expression != NULL)
        g_regex_match(expression, "a", 0, NULL);
    else
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "this GLib does not take the tokenizer's expression (%s); use one whose PCRE "
                    "knows Unicode",
                    reason->message);
    return expression;
}

static gboolean fail(const GError *reason, gsize at, GError **error)
{
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                "the text cannot be cut into words from byte %" G_GSIZE_FORMAT " on: %s", at,
                reason != NULL ? reason->message : "the expression does not match");
    return FALSE;
}

gboolean fastvlm_pretokenize(const GRegex *expression, const char *text, gsize n_bytes,
                             FastvlmWordFunc take, gpointer user_data, GError **error)
{
    g_autoptr(GMatchInfo) match = NULL;
    g_autoptr(GError) reason = NULL;
    gsize done = 0;
    if (n_bytes > 0)
        g_regex_match_full(expression, text, (gssize)n_bytes, 0, 0, &match, &reason);
    while (done < n_bytes && reason == NULL) {
        gint start, end;
        if (!g_match_info_matches(match) || !g_match_info_fetch_pos(match, 0, &start, &end))
            break;
        if ((gsize)start != done)
            break;
        take(text + start, (gsize)(end - start), user_data);
        done = (gsize)end;
        g_match_info_next(match, &reason);
    }
    return done == n_bytes && reason == NULL ? TRUE : fail(reason, done, error);
}
