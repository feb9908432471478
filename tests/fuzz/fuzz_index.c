/*
 * Any bytes as model.safetensors.index.json, beside two good shards.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "load/checkpoint.h"
#include "synth.h"

/* A shard with the tensor `name`, one number. */
static void write_shard(const char *file, const char *name)
{
    char *header =
        g_strdup_printf("{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", name);
    GString *bytes = g_string_new_len("\0\0\0\0\0\0\0\0", 8);

    bytes->str[0] = (char)strlen(header);
    g_string_append(bytes, header);
    g_string_append_len(bytes, "\0\0\0\0", 4);
    fuzz_write(file, bytes->str, bytes->len);
    g_string_free(bytes, TRUE);
    g_free(header);
}

static void set_up(void)
{
    static gboolean is_done;
    SynthSpec spec;
    json_t *config;
    char *text;

    if (is_done)
        return;
    is_done = TRUE;
    fuzz_assert(fastvlm_synth_spec("micro", &spec));
    config = fastvlm_synth_config(&spec);
    text = json_dumps(config, 0);
    fuzz_write("config.json", text, strlen(text));
    write_shard("a.safetensors", "x");
    write_shard("b.safetensors", "y");
    free(text);
    json_decref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    FastvlmCheckpoint *checkpoint;
    GError *error = NULL;

    set_up();
    fuzz_write("model.safetensors.index.json", data, n_bytes);
    checkpoint = fastvlm_checkpoint_open(fuzz_directory(), &error);
    fuzz_check_result(checkpoint != NULL, error);
    fuzz_assert(!checkpoint || fastvlm_checkpoint_get_n_tensors(checkpoint) >= 1);
    fastvlm_checkpoint_free(checkpoint);
    return 0;
}
