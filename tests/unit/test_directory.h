/*
 * Directories that tests write to, and errors that must say certain things.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_TEST_DIRECTORY_H
#define FASTVLM_TESTS_TEST_DIRECTORY_H

#include <fastvlm/error.h>
#include <glib/gstdio.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A new empty directory; remove it with test_directory_remove(). */
static inline char *test_directory_make(void)
{
    GError *error = NULL;
    char *path = g_dir_make_tmp("fastvlm-XXXXXX", &error);

    g_assert_no_error(error);
    return path;
}

/* Removes `path`, which holds files and directories of files, and frees it. */
static inline void test_directory_remove(char *path)
{
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        char *file = g_build_filename(path, name, NULL);

        if (g_file_test(file, G_FILE_TEST_IS_DIR) && !g_file_test(file, G_FILE_TEST_IS_SYMLINK)) {
            test_directory_remove(file);
        } else {
            g_assert_cmpint(g_unlink(file), ==, 0);
            g_free(file);
        }
    }
    if (directory)
        g_dir_close(directory);
    g_assert_cmpint(g_rmdir(path), ==, 0);
    g_free(path);
}

/* Writes `n_bytes` bytes (-1: a text) as NAME in `directory`. */
static inline void test_directory_write(const char *directory, const char *name, const void *bytes,
                                        gssize n_bytes)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    const gsize n = n_bytes < 0 ? strlen(bytes) : (gsize)n_bytes;
    FILE *file = fopen(path, "wb"); /* g_file_set_contents() would wait for the disk */

    g_assert_nonnull(file);
    g_assert_cmpuint(fwrite(bytes, 1, n, file), ==, n);
    g_assert_cmpint(fclose(file), ==, 0);
}

/* `error` must have `code` and hold each of the texts, in one line, nothing that a terminal obeys; frees it. NULL ends the texts. */
G_GNUC_NULL_TERMINATED
static inline void test_assert_error(GError *error, FastvlmError code, ...)
{
    const char *text;
    va_list texts;

    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_error(error, FASTVLM_ERROR, (int)code);
    for (const char *p = error->message; *p; p++)
        g_assert_false(g_ascii_iscntrl(*p));
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    va_start(texts, code);
    while ((text = va_arg(texts, const char *)))
        if (!strstr(error->message, text))
            g_error("\"%s\" does not say \"%s\"", error->message, text);
    va_end(texts);
    g_error_free(error);
}

#endif
