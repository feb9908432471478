/*
 * What the fastvlm command writes: JSON lines on standard output, and files that are whole or not
 * there.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_OUTPUT_H
#define FASTVLM_TOOLS_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include <fastvlm/error.h>

G_BEGIN_DECLS

/**
 * Flushes standard output.
 *
 * @return EXIT_OK; or EXIT_FAILED, with the error line written, where something could not be written
 */
int output_finish(void);

/** Writes `object` as one line to standard output and takes the reference. */
void output_json_line(json_t *object);

/** A JSON number of `value` rounded to so many decimals; null where it is not finite. */
json_t *output_json_real(double value, int n_decimals);

/** A JSON string of `path`; bytes that are not UTF-8 are replaced. */
json_t *output_json_path(const char *path);

/**
 * A file being written under another name beside its own; takes its place when it is whole. Where
 * the name stands for something that is no regular file (a pipe, /dev/null) that is written at once.
 */
typedef struct {
    char *path;      /* what the user named */
    char *temporary; /* what is being written; NULL where it is `path` itself */
} OutputFile;

/**
 * Makes the temporary file, empty, so that a place which cannot be written shows before the work.
 *
 * Errors: READ, naming `path`.
 */
gboolean output_file_begin(OutputFile *file, const char *path, GError **error);

/** The name to write to. */
const char *output_file_name(const OutputFile *file);

/**
 * Writes all of `text`; a device or a pipe stays what it is.
 *
 * Errors: READ, naming the path.
 */
gboolean output_file_write(const OutputFile *file, const char *text, GError **error);

/** Puts the file in its place and frees `file`. On error the temporary file is gone. */
gboolean output_file_commit(OutputFile *file, GError **error);

/** Removes the temporary file and frees `file`; does nothing after a commit. */
void output_file_abort(OutputFile *file);

G_END_DECLS

#endif
