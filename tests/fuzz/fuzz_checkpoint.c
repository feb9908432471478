/*
 * A small checkpoint whose tensors and config are edited by the input, four bytes an edit: a shape, a
 * dtype, a name, a tensor too few, a number of the config. It is refused, or it loads and answers.
 *
 *     edits -> header and config.json, as contradictory as it gets -> inspect -> load -> encode, decode
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include <fastvlm/fastvlm.h>

#include "synth.h"

#define MAX_EDITS 16
#define MAX_DATA_BYTES (8 << 20)

static const gint64 sizes[] = {0,  1,  2,    3,     7,       8,         16,        17,
                               32, 33, 64,   96,    128,     256,       1024,      4096,
                               -1, 48, 1000, 65536, 1048576, 1LL << 31, 1LL << 33, G_MAXINT64};
static const char *const dtypes[] = {"BF16", "F16", "F32", "I64"};
static const char *const keys[] = {"hidden_size",
                                   "intermediate_size",
                                   "num_hidden_layers",
                                   "num_attention_heads",
                                   "num_key_value_heads",
                                   "vocab_size",
                                   "max_position_embeddings",
                                   "head_dim",
                                   "mm_hidden_size",
                                   "rope_theta",
                                   "rms_norm_eps",
                                   "tie_word_embeddings"};

static void edit_config(json_t *config, const uint8_t *edit)
{
    const gint64 size = sizes[edit[3] % G_N_ELEMENTS(sizes)];
    json_t *value = edit[3] >= 240   ? json_false()
                    : edit[3] >= 220 ? json_real(1.0 / (double)(edit[3] - 219))
                                     : json_integer(size);

    json_object_set_new(config, keys[edit[2] % G_N_ELEMENTS(keys)], value);
}

static void edit_tensor(GPtrArray *tensors, const uint8_t *edit)
{
    const guint at = (edit[1] | (guint)(edit[0] & 0x80) << 1) % tensors->len;
    SynthTensor *tensor = tensors->pdata[at];
    const SynthTensor *other = tensors->pdata[edit[3] % tensors->len];

    switch (edit[2] % 8) {
    case 0:
    case 1:
    case 2:
    case 3:
        tensor->shape[edit[2] % 4] = sizes[edit[3] % G_N_ELEMENTS(sizes)];
        break;
    case 4:
        tensor->dtype = dtypes[edit[3] % G_N_ELEMENTS(dtypes)];
        break;
    case 5:
        tensor->n_dims = edit[3] % 5;
        break;
    case 6:
        g_free(tensor->name);
        tensor->name = g_strdup_printf("%s%s", other->name, edit[3] & 1 ? "" : ".x");
        break;
    default:
        if (tensors->len > 1)
            g_ptr_array_remove_index(tensors, at);
    }
}

/* Bytes of a tensor as the header will have it; nonsense stays nonsense. */
static guint64 count_bytes(const SynthTensor *tensor)
{
    guint64 n = strcmp(tensor->dtype, "I64") == 0 ? 8 : strcmp(tensor->dtype, "F32") == 0 ? 4 : 2;

    for (int i = 0; i < tensor->n_dims; i++)
        n *= (guint64)MAX(tensor->shape[i], 0);
    return n;
}

static gboolean write_weights(const GPtrArray *tensors)
{
    GString *bytes = g_string_new_len("\0\0\0\0\0\0\0\0{\"__metadata__\":{}", 25);
    guint64 offset = 0, length;

    for (guint i = 0; i < tensors->len && offset <= MAX_DATA_BYTES; i++) {
        const SynthTensor *tensor = tensors->pdata[i];
        const guint64 end = offset + MIN(count_bytes(tensor), 2 * MAX_DATA_BYTES);

        g_string_append_printf(bytes, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name,
                               tensor->dtype);
        for (int k = 0; k < tensor->n_dims; k++)
            g_string_append_printf(bytes, "%s%" G_GINT64_FORMAT, k > 0 ? "," : "",
                                   tensor->shape[k]);
        g_string_append_printf(bytes,
                               "],\"data_offsets\":[%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "]}",
                               offset, end);
        offset = end;
    }
    g_string_append_c(bytes, '}');
    length = bytes->len - 8;
    memcpy(bytes->str, &length, sizeof length);
    if (offset <= MAX_DATA_BYTES) {
        const gsize n_front = bytes->len;

        g_string_set_size(bytes, n_front + offset);
        memset(bytes->str + n_front, 0x3c, offset); /* 0.0115, in F16 1.06 */
    }
    fuzz_write("model.safetensors", bytes->str, bytes->len);
    g_string_free(bytes, TRUE);
    return offset <= MAX_DATA_BYTES;
}

static void answer(FastvlmModel *model)
{
    static const guint8 rgb[12] = {1, 20, 250, 3, 4, 5, 99, 98, 97, 255, 255, 255};
    static const gint32 ids[2] = {0, 1};
    const FastvlmImage image = {
        .format = FASTVLM_PIXEL_RGB, .width = 2, .height = 2, .stride = 6, .data = rgb};
    const FastvlmGenerateParams params = {.prefix_ids = ids,
                                          .n_prefix_ids = 1,
                                          .suffix_ids = ids,
                                          .n_suffix_ids = 2,
                                          .use_ids = TRUE,
                                          .ignore_stop = TRUE,
                                          .max_tokens = 2};
    FastvlmSession *session = fastvlm_session_new(model);
    FastvlmResult result;
    GError *error = NULL;
    gboolean ok = fastvlm_session_set_image(session, &image, 64, FASTVLM_FIT_PAD, &error);

    fuzz_check_result(ok, error);
    error = NULL;
    if (ok) {
        ok = fastvlm_session_generate(session, &params, &result, &error);
        fuzz_check_result(ok, error);
        if (ok)
            fastvlm_result_clear(&result);
    }
    fastvlm_session_free(session);
}

static void load(void)
{
    FastvlmModelParams params = {
        .precision = FASTVLM_PRECISION_INT8, .n_threads = 1, .no_cache = TRUE};
    FastvlmModelInfo *info;
    FastvlmModel *model;
    GError *error = NULL;

    info = fastvlm_model_inspect(fuzz_directory(), &error);
    fuzz_check_result(info != NULL, error);
    if (!info || info->memory_f32_bytes > 4 * MAX_DATA_BYTES) {
        fastvlm_model_info_free(info);
        return;
    }
    fastvlm_model_info_free(info);
    error = NULL;
    model = fastvlm_model_load(fuzz_directory(), &params, &error);
    fuzz_check_result(model != NULL, error);
    if (model)
        answer(model);
    fastvlm_model_unref(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    SynthSpec spec;
    GPtrArray *tensors;
    json_t *config;
    char *text;

    fuzz_assert(fastvlm_synth_spec("micro", &spec));
    tensors = fastvlm_synth_tensors(&spec);
    config = fastvlm_synth_config(&spec);
    for (gsize i = 0; i + 4 <= MIN(n_bytes, 4 * MAX_EDITS); i += 4)
        if (data[i] & 1)
            edit_config(config, data + i);
        else
            edit_tensor(tensors, data + i);
    text = json_dumps(config, 0);
    fuzz_write("config.json", text, strlen(text));
    write_weights(tensors);
    load();
    free(text);
    json_decref(config);
    g_ptr_array_unref(tensors);
    return 0;
}
