/*
 * Unicode normalisation form C of any text, NUL characters included.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_NORMALIZE_H
#define FASTVLM_TEXT_NORMALIZE_H

#include <fastvlm/error.h>

/** Most combining marks, or Hangul vowels, in a row; Unicode's stream-safe format has 30. */
#define FASTVLM_NORMALIZE_MAX_MARKS 1024

/**
 * Checks that `text` [n_bytes] is UTF-8 throughout; NUL characters are fine.
 *
 * Errors: ARGUMENT, with the offset of the byte that is wrong.
 */
gboolean fastvlm_normalize_check(const char *text, gsize n_bytes, GError **error);

/**
 * Appends NFC of `text` [n_bytes], which must be valid UTF-8, to `out`.
 *
 * Errors: LIMIT (more than FASTVLM_NORMALIZE_MAX_MARKS combining marks in a row).
 */
gboolean fastvlm_normalize_nfc(const char *text, gsize n_bytes, GString *out, GError **error);

#endif
