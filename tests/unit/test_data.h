/*
 * Where tests find their files.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_TEST_DATA_H
#define FASTVLM_TESTS_TEST_DATA_H

#include <stdio.h>

#include <glib.h>

/* The path of `name` under tests/data; free it with g_free(). */
static inline char *test_data_path(const char *name)
{
    return g_test_build_filename(G_TEST_DIST, "..", "data", name, NULL);
}

/*
 * The path of `name` among the reference's files: the directory in the environment variable
 * FASTVLM_SHARED, or ../shared beside the source tree. Skips the test and returns NULL where it is
 * not there; free it with g_free().
 */
static inline char *test_shared_path(const char *name)
{
    const char *directory = g_getenv("FASTVLM_SHARED");
    char *path = directory != NULL
                     ? g_build_filename(directory, name, NULL)
                     : g_test_build_filename(G_TEST_DIST, "..", "..", "..", "shared", name, NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_autofree char *message =
            g_strdup_printf("no ../shared/%s here (or FASTVLM_SHARED)", name);
        g_test_skip(message);
        g_clear_pointer(&path, g_free);
    }
    return path;
}

/* Writes a file; unlike g_file_set_contents() it does not wait for the disk. */
static inline void test_put_file(const char *path, const void *bytes, gsize n_bytes)
{
    FILE *file = fopen(path, "wb");
    g_assert_nonnull(file);
    g_assert_cmpuint(fwrite(bytes, 1, n_bytes, file), ==, n_bytes);
    g_assert_cmpint(fclose(file), ==, 0);
}

#endif
