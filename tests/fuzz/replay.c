/*
 * Runs a fuzz target on kept inputs: an ordinary test, without libFuzzer.
 *
 *     replay FILE-OR-DIRECTORY... -> each file whole, then cut at four places
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

static int n_inputs;

static void run_file(const char *path)
{
    char *bytes;
    gsize n_bytes;

    fuzz_assert(g_file_get_contents(path, &bytes, &n_bytes, NULL));
    for (int part = 4; part >= 0; part--) {
        /* Memory of exactly that size, so that a sanitiser sees a read behind it. */
        const gsize n = n_bytes * (gsize)part / 4;
        guint8 *input = g_memdup2(bytes, n);

        printf("# %s: %" G_GSIZE_FORMAT " bytes\n", path, n);
        LLVMFuzzerTestOneInput(input ? input : (const guint8 *)"", n);
        g_free(input);
    }
    g_free(bytes);
    n_inputs++;
}

static void run(const char *path)
{
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;

    if (!directory) {
        run_file(path);
        return;
    }
    while ((name = g_dir_read_name(directory))) {
        char *file = g_build_filename(path, name, NULL);

        run_file(file);
        g_free(file);
    }
    g_dir_close(directory);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    if (n_inputs == 0) {
        fprintf(stderr, "usage: %s FILE-OR-DIRECTORY...: no input there\n", argv[0]);
        return 1;
    }
    printf("ok 1 - %d inputs\n1..1\n", n_inputs);
    return 0;
}
