/*
 * Reads the small text files of a checkpoint whole, with errors that name the file.
 *
 *     directory + name -> bytes -> valid UTF-8 -> (strict JSON)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_TEXT_FILE_H
#define FASTVLM_TEXT_TEXT_FILE_H

#include <jansson.h>
#include <fastvlm/error.h>

/** Largest file taken, in bytes; the released vocab.json has 2.8 million. */
#define FASTVLM_TEXT_FILE_MAX_BYTES ((gsize)64 << 20)

/**
 * Reads the file at `path`.
 *
 * @param n_bytes  its size, out; a NUL follows that is not counted
 * @return bytes to free with g_free(), or NULL
 * Errors: NOT_FOUND, READ (permission, a directory), LIMIT (too large).
 */
char *fastvlm_text_file_read(const char *path, gsize *n_bytes, GError **error);

/**
 * Reads the file at `path` as one JSON object; a key that comes twice is an error.
 *
 * @return a reference to drop with json_decref(), or NULL
 * Errors: as above, FORMAT with line and column.
 */
json_t *fastvlm_text_file_read_object(const char *path, GError **error);

/** `text` for a message: escaped, shortened, in double quotes; free with g_free(). */
char *fastvlm_text_quote(const char *text);

#endif
