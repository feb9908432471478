/*
 * What all fuzz targets share. A target takes any bytes and must neither crash, nor hang, nor fail in
 * any way but by a GError that reads well.
 *
 *     libFuzzer (tests/fuzz.sh) or replay.c -> LLVMFuzzerTestOneInput() of one fuzz_*.c -> engine
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_FUZZ_H
#define FASTVLM_TESTS_FUZZ_H

#include <fastvlm/error.h>

#include <glib/gstdio.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Ends the run: libFuzzer keeps the input. */
#define fuzz_assert(condition)                                                            \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* Exactly one of a result and an error; the message is one line of printable UTF-8. Frees `error`. */
static inline void fuzz_check_result(gboolean ok, GError *error)
{
    fuzz_assert(ok == (error == NULL));
    if (!error)
        return;
    fuzz_assert(error->domain == FASTVLM_ERROR && *error->message);
    fuzz_assert(g_utf8_validate(error->message, -1, NULL));
    for (const char *p = error->message; *p; p++)
        fuzz_assert(!g_ascii_iscntrl(*p));
    g_error_free(error);
}

static char *fuzz_directory_path;

static inline void fuzz_remove_directory(void)
{
    GDir *directory = g_dir_open(fuzz_directory_path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        char *path = g_build_filename(fuzz_directory_path, name, NULL);

        unlink(path);
        g_free(path);
    }
    if (directory)
        g_dir_close(directory);
    rmdir(fuzz_directory_path);
    g_clear_pointer(&fuzz_directory_path, g_free);
}

/* A directory of this process, in memory where the system has such a place; goes at exit. */
static inline const char *fuzz_directory(void)
{
    const gboolean has_shm = g_access("/dev/shm", W_OK) == 0;

    if (fuzz_directory_path)
        return fuzz_directory_path;
    fuzz_directory_path =
        g_build_filename(has_shm ? "/dev/shm" : g_get_tmp_dir(), "fastvlm-fuzz-XXXXXX", NULL);
    fuzz_assert(g_mkdtemp(fuzz_directory_path));
    atexit(fuzz_remove_directory);
    return fuzz_directory_path;
}

/* Writes NAME in fuzz_directory(). */
static inline void fuzz_write(const char *name, const void *bytes, gsize n_bytes)
{
    char *path = g_build_filename(fuzz_directory(), name, NULL);
    FILE *file = fopen(path, "wb");

    fuzz_assert(file && (n_bytes == 0 || fwrite(bytes, 1, n_bytes, file) == n_bytes) &&
                fclose(file) == 0);
    g_free(path);
}

/* The build says where it is. */
#ifndef FASTVLM_TEST_DATA
#define FASTVLM_TEST_DATA "tests/data"
#endif

/* A file of tests/data. */
static inline void fuzz_copy(const char *source, const char *name)
{
    char *path = g_build_filename(FASTVLM_TEST_DATA, source, NULL);
    char *bytes;
    gsize n_bytes;

    fuzz_assert(g_file_get_contents(path, &bytes, &n_bytes, NULL));
    fuzz_write(name, bytes, n_bytes);
    g_free(bytes);
    g_free(path);
}

#endif
