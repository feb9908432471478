/*
 * Any bytes as a safetensors file: opened, then every tensor read.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "load/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char *path = g_build_filename(fuzz_directory(), "w.safetensors", NULL);
    FastvlmSafetensors *file;
    GError *error = NULL;

    fuzz_write("w.safetensors", data, n_bytes);
    file = fastvlm_safetensors_open(path, &error);
    fuzz_check_result(file != NULL, error);
    for (guint i = 0; file && i < fastvlm_safetensors_get_n_tensors(file); i++) {
        const FastvlmTensorView *view = fastvlm_safetensors_get_tensor(file, i);
        guint8 *bytes;
        float *out;

        fuzz_assert(view->n_bytes == view->n_elements * fastvlm_dtype_size(view->dtype));
        fuzz_assert(fastvlm_safetensors_find(file, view->name) == view);
        fuzz_assert(view->n_bytes <= n_bytes);
        out = g_new(float, view->n_elements);
        bytes = g_malloc(view->n_bytes);
        fuzz_assert(fastvlm_tensor_view_read(view, 0, view->n_bytes, bytes, NULL));
        fastvlm_dtype_to_f32(view->dtype, bytes, (gsize)view->n_elements, out);
        g_free(bytes);
        g_free(out);
    }
    fastvlm_safetensors_free(file);
    g_free(path);
    return 0;
}
