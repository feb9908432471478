/*
 * Any bytes as config.json.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "load/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    FastvlmConfig *config;
    GError *error = NULL;

    fuzz_write("config.json", data, n_bytes);
    config = fastvlm_config_load(fuzz_directory(), &error);
    fuzz_check_result(config != NULL, error);
    if (config) {
        fuzz_assert(config->n_heads % config->n_kv_heads == 0 && config->head_dim % 2 == 0);
        fuzz_assert(config->resolution >= 64 && config->resolution % 64 == 0);
        fuzz_assert(config->hidden_size > 0 && config->vocab_size > 0 && config->n_layers > 0);
    }
    fastvlm_config_free(config);
    return 0;
}
