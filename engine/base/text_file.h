/*
 * Reads the small text files of a checkpoint whole, with errors that name the file.
 *
 *     directory + name -> bytes -> valid UTF-8 -> (strict JSON)
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_TEXT_FILE_H
#define FASTVLM_BASE_TEXT_FILE_H

#include <jansson.h>
#include <sys/stat.h>
#include <fastvlm/error.h>

/**
 * Largest file taken, in bytes; the released vocab.json has 2.8 million, a tokenizer.json four times as
 * many. JSON takes up to 30 times its size in memory.
 */
#define FASTVLM_TEXT_FILE_MAX_BYTES ((gsize)32 << 20)

/** Whether there is something by that name, be it a link to nowhere or out of reach: opening it tells. */
gboolean fastvlm_file_is_there(const char *path);

/**
 * Opens the regular file at `path` to be read; never waits for a pipe or a device.
 *
 * @param n_bytes  its size, out
 * @return a descriptor to close, or -1
 * Errors: NOT_FOUND, READ (permission, a directory, a pipe).
 */
int fastvlm_file_open(const char *path, guint64 *n_bytes, GError **error);

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

/** The same for a file of at most `max_bytes` bytes. */
json_t *fastvlm_text_file_read_small_object(const char *path, gsize max_bytes, GError **error);

/**
 * Parses `n_bytes` bytes as one JSON object; a key that comes twice is an error.
 *
 * @param path  where they come from, for messages
 * @return a reference to drop with json_decref(), or NULL
 * Errors: FORMAT with line and column.
 */
json_t *fastvlm_text_parse_object(const char *bytes, gsize n_bytes, const char *path,
                                  GError **error);

/** Adds device, inode, size and time of the last change to `sum`. */
void fastvlm_file_add_status(const struct stat *status, GChecksum *sum);

/** What a value is, for a message: quoted, a number, "an object", "nothing"; free with g_free(). */
char *fastvlm_text_spell(const json_t *value);

/** `text` for a message: escaped, shortened, in double quotes; free with g_free(). */
char *fastvlm_text_quote(const char *text);

#endif
