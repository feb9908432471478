/*
 * Cuts text into the words that byte-pair encoding never joins.
 *
 *     "I'll see  42" -> "I" "'ll" " see" " " " " "4" "2"
 *
 * By the expression of tokenization_qwen2.py (transformers), with GLib's GRegex. Its blanks are
 * spelled out: PCRE's \s takes U+180E too, which Python's regex, like Unicode since 6.3, does not.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_PRETOKENIZE_H
#define FASTVLM_TEXT_PRETOKENIZE_H

#include <fastvlm/error.h>

/** Takes one word: bytes in the text that is being cut. */
typedef void (*FastvlmWordFunc)(const char *word, gsize n_bytes, gpointer user_data);

/**
 * Compiles the expression; free it with g_regex_unref(). May then be used by threads at once.
 *
 * Errors: UNSUPPORTED (a PCRE without Unicode).
 */
GRegex *fastvlm_pretokenizer_new(GError **error);

/**
 * Calls `take` with each word of `text` [n_bytes], valid UTF-8 in NFC, in order. Every byte is in
 * exactly one word.
 *
 * Errors: LIMIT (PCRE gave up).
 */
gboolean fastvlm_pretokenize(const GRegex *expression, const char *text, gsize n_bytes,
                             FastvlmWordFunc take, gpointer user_data, GError **error);

#endif
