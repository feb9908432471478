/*
 * Any bytes as a zip archive to be unpacked: refused, or regular files with plain names within the limit,
 * in the one directory and nowhere else.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tools/unpack.h"

#define MAX_BYTES 100000

/* Bytes of all files in `path`, which are removed. */
static gsize take_files(const char *path)
{
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;
    gsize n_bytes = 0;

    fuzz_assert(directory);
    while ((name = g_dir_read_name(directory))) {
        char *file = g_build_filename(path, name, NULL);
        struct stat status;

        fuzz_assert(lstat(file, &status) == 0 && S_ISREG(status.st_mode));
        n_bytes += (gsize)status.st_size;
        fuzz_assert(unlink(file) == 0);
        g_free(file);
    }
    g_dir_close(directory);
    return n_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const UnpackParams params = {
        .shown_name = "model.zip", .max_bytes = MAX_BYTES, .max_entries = 20};
    char *path = g_build_filename(fuzz_directory(), "unpacked", NULL);
    GError *error = NULL;
    int directory;
    gboolean ok;

    fuzz_assert(g_mkdir(path, 0700) == 0);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok = unpack_memory(data, n_bytes, directory, &params, &error);
    fuzz_check_result(ok, error);
    close(directory);
    fuzz_assert(take_files(path) <= MAX_BYTES);
    fuzz_assert(g_rmdir(path) == 0);
    g_free(path);
    fuzz_assert(g_rmdir(fuzz_directory()) == 0); /* nothing beside it */
    fuzz_assert(g_mkdir(fuzz_directory(), 0700) == 0);
    return 0;
}
