/*
 * Any bytes as the file of a packed copy: refused, unless it is exactly what was asked for.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include <sys/stat.h>

#include "load/packed.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char *path = g_build_filename(fuzz_directory(), "x.packed", NULL);
    FastvlmStore *store = fastvlm_store_new();
    const FastvlmPackedSpec spec = {
        .key = KEY, .model = "/some/where", .precision = "int8", .store = store};
    FastvlmPacked *packed;
    GError *error = NULL;
    void *blob;

    fuzz_assert(fastvlm_store_take(store, "a", "f32", 1, 7, 28, &blob, NULL));
    fuzz_assert(fastvlm_store_take(store, "b", "f32", 3, 100, 1200, &blob, NULL));
    fuzz_write("x.packed", data, n_bytes);
    chmod(path, 0600);
    packed = fastvlm_packed_open(path, &spec, &error);
    fuzz_check_result(packed != NULL, error);
    fastvlm_packed_free(packed);
    fastvlm_store_free(store);
    g_free(path);
    return 0;
}
