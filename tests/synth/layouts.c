/*
 * Checkpoints in other layouts than the release's, with the release's beside them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "private.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define V "model.vision_tower.vision_tower.model."
#define N_PADDED 64 /* rows that transformers adds to the embedding */
#define GROUP 64

static SynthTensor *copy_tensor(const SynthTensor *tensor)
{
    SynthTensor *copy =
        fastvlm_synth_tensor_new(tensor->name, tensor->dtype, tensor->n_dims, tensor->shape);

    g_free(copy->weight_name);
    copy->weight_name = g_strdup(tensor->weight_name);
    copy->values = g_memdup2(
        tensor->values, tensor->values ? fastvlm_synth_count_elements(tensor) * sizeof(float) : 0);
    return copy;
}

GPtrArray *fastvlm_synth_copy_tensors(const GPtrArray *tensors)
{
    GPtrArray *copies = g_ptr_array_new_with_free_func((GDestroyNotify)fastvlm_synth_tensor_free);

    for (guint i = 0; i < tensors->len; i++)
        g_ptr_array_add(copies, copy_tensor(tensors->pdata[i]));
    return copies;
}

float *fastvlm_synth_read(const SynthSpec *spec, const SynthTensor *tensor)
{
    const guint64 n = fastvlm_synth_count_elements(tensor);
    float *values = g_new(float, n);

    if (tensor->values)
        memcpy(values, tensor->values, n * sizeof *values);
    else
        fastvlm_synth_weights(spec, tensor, 0, n, values);
    for (guint64 i = 0; i < n; i++)
        values[i] = fastvlm_synth_round(tensor->dtype, values[i]);
    return values;
}

static void rename_tensor(SynthTensor *tensor, char *name)
{
    g_free(tensor->name);
    tensor->name = name;
}

/** Takes out what `is_out` says. */
static void remove_if(const SynthSpec *spec, GPtrArray *tensors,
                      gboolean (*is_out)(const SynthSpec *spec, const SynthTensor *tensor))
{
    for (guint i = tensors->len; i-- > 0;)
        if (is_out(spec, tensors->pdata[i]))
            g_ptr_array_remove_index(tensors, i);
}

/* --- transformers ------------------------------------------------------------------------------ */

/** The name that transformers' converter makes of the release's. */
static char *name_for_hub(const char *name)
{
    static const struct {
        const char *expression;
        const char *becomes;
    } rules[] = {
        {"\\.network\\.0\\.(\\d+)\\.", ".stages.0.blocks.\\1."},
        {"\\.network\\.1\\.", ".stages.1.downsample."},
        {"\\.network\\.2\\.(\\d+)\\.", ".stages.1.blocks.\\1."},
        {"\\.network\\.3\\.", ".stages.2.downsample."},
        {"\\.network\\.4\\.(\\d+)\\.", ".stages.2.blocks.\\1."},
        {"\\.network\\.5\\.", ".stages.3.downsample."},
        {"\\.network\\.6\\.", ".stages.3.pos_emb."},
        {"\\.network\\.7\\.(\\d+)\\.", ".stages.3.blocks.\\1."},
        {"\\.network\\.8\\.", ".stages.4.downsample."},
        {"\\.network\\.9\\.", ".stages.4.pos_emb."},
        {"\\.network\\.10\\.(\\d+)\\.", ".stages.4.blocks.\\1."},
        {"^model\\.vision_tower\\.vision_tower\\.model\\.", "model.vision_tower.timm_model."},
        {"\\.patch_embed\\.", ".stem."},
        {"\\.conv_exp\\.", ".final_conv."},
        {"\\.se\\.reduce\\.", ".se.fc1."},
        {"\\.se\\.expand\\.", ".se.fc2."},
        {"\\.convffn\\.", ".mlp."},
        {"\\.lkb_reparam\\.", ".reparam_conv."},
        {"\\.(layer_scale(_[12])?)$", ".\\1.gamma"},
        {"^model\\.mm_projector\\.0\\.", "model.multi_modal_projector.linear_1."},
        {"^model\\.mm_projector\\.2\\.", "model.multi_modal_projector.linear_2."},
        {"^model\\.(layers|embed_tokens|norm)\\.", "model.language_model.\\1."},
    };
    char *text = g_strdup(name);

    for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
        GRegex *regex = g_regex_new(rules[i].expression, 0, 0, NULL);
        char *next = g_regex_replace(regex, text, -1, 0, rules[i].becomes, 0, NULL);

        g_regex_unref(regex);
        g_free(text);
        text = next;
    }
    return text;
}

/** What transformers neither reads nor writes. */
static gboolean is_dropped(const SynthSpec *spec, const SynthTensor *tensor)
{
    return g_str_has_suffix(tensor->name, ".head.proj") ||
           (spec->tied && strcmp(tensor->name, "lm_head.weight") == 0);
}

static void make_hub(const SynthSpec *spec, GPtrArray *tensors)
{
    remove_if(spec, tensors, is_dropped);
    for (guint i = 0; i < tensors->len; i++) {
        SynthTensor *tensor = tensors->pdata[i];

        if (strstr(tensor->name, ".layer_scale"))
            tensor->n_dims = 1;
        if (g_str_has_suffix(tensor->name, "embed_tokens.weight") ||
            strcmp(tensor->name, "lm_head.weight") == 0)
            tensor->shape[0] += N_PADDED;
        rename_tensor(tensor, name_for_hub(tensor->name));
    }
}

/** As transformers saves it: what Qwen2Config takes for granted is left out. */
static json_t *make_hub_config(const SynthSpec *spec)
{
    const int side = spec->resolution / 64;

    return json_pack("{s:[s], s:s, s:i, s:i, s:s, s:i, s:s, s:b, s:{s:s, s:i, s:i, s:i, s:i, s:i, "
                     "s:i, s:f}, s:{s:s, s:s, s:i, s:{s:b}}}",
                     "architectures", "FastVlmForConditionalGeneration", "model_type", "fast_vlm",
                     "image_token_index", spec->vocab_size - 1, "image_seq_length", side * side,
                     "projector_hidden_act", "gelu", "vision_feature_layer", -1,
                     "vision_feature_select_strategy", "full", "tie_word_embeddings", spec->tied,
                     "text_config", "model_type", "qwen2", "hidden_size", spec->hidden,
                     "intermediate_size", spec->intermediate, "num_hidden_layers", spec->n_layers,
                     "num_attention_heads", spec->n_heads, "num_key_value_heads", spec->n_kv_heads,
                     "vocab_size", spec->vocab_size + N_PADDED, "rope_theta", 1e6, "vision_config",
                     "model_type", "timm_wrapper", "architecture", "fastvit_mci3", "hidden_size",
                     2 * spec->dims[4], "model_args", "inference_mode", TRUE);
}

/* --- MLX --------------------------------------------------------------------------------------- */

/** What one matrix becomes: words, scales, biases, and the numbers that they stand for. */
typedef struct {
    guint32 *words;
    float *scales;
    float *biases;
    float *values;
} Quantized;

/** A group between its least and its largest number, both rounded so that products are exact. */
static void quantize_group(const float *group, int bits, guint64 first, Quantized *out)
{
    const int most = (1 << bits) - 1;
    float low = group[0], high = group[0], scale;

    for (int i = 1; i < GROUP; i++) {
        low = MIN(low, group[i]);
        high = MAX(high, group[i]);
    }
    low = fastvlm_synth_round("F16", low);
    scale = fastvlm_synth_round("F16", (high - low) / (float)most);
    out->scales[first / GROUP] = scale;
    out->biases[first / GROUP] = low;
    for (guint64 i = 0; i < GROUP; i++) {
        const float steps = scale > 0.0f ? rintf((group[i] - low) / scale) : 0.0f;
        const guint32 q = (guint32)CLAMP(steps, 0.0f, (float)most);
        const guint64 bit = (first + i) * (guint64)bits;

        out->words[bit / 32] |= q << (bit % 32);
        out->values[first + i] = scale * (float)q + low;
    }
}

static Quantized quantize(const SynthSpec *spec, const SynthTensor *tensor, int bits)
{
    const guint64 n = fastvlm_synth_count_elements(tensor);
    g_autofree float *weights = fastvlm_synth_read(spec, tensor);
    Quantized quantized = {
        .words = g_new0(guint32, n * (guint64)bits / 32),
        .scales = g_new(float, n / GROUP),
        .biases = g_new(float, n / GROUP),
        .values = g_new(float, n),
    };

    for (guint64 i = 0; i < n; i += GROUP)
        quantize_group(weights + i, bits, i, &quantized);
    return quantized;
}

/** A matrix of the language part whose rows are whole groups: MLX quantizes those and no others. */
static gboolean is_quantizable(const SynthTensor *tensor)
{
    return tensor->n_dims == 2 && g_str_has_suffix(tensor->name, ".weight") &&
           tensor->shape[1] % GROUP == 0;
}

static char *name_for_mlx(const char *name)
{
    if (g_str_has_prefix(name, "model.mm_projector."))
        return g_strconcat("multi_modal_projector.linear_", name + strlen("model.mm_projector."),
                           NULL);
    return g_strconcat("language_model.", name, NULL);
}

static void add_part(GPtrArray *tensors, const char *base, const char *suffix, gint64 n_rows,
                     gint64 n_columns, float *values)
{
    g_autofree char *name = g_strconcat(base, suffix, NULL);
    SynthTensor *tensor =
        fastvlm_synth_tensor_new(name, "F16", 2, (gint64[4]){n_rows, n_columns, 0, 0});

    tensor->values = values;
    g_ptr_array_add(tensors, tensor);
}

/** Quantizes `tensor` of the MLX list; `released` gets what it then stands for. */
static void quantize_tensor(const SynthSpec *spec, GPtrArray *tensors, SynthTensor *tensor,
                            SynthTensor *released, int bits)
{
    const Quantized quantized = quantize(spec, tensor, bits);
    const gint64 n_groups = tensor->shape[1] / GROUP;
    g_autofree char *base = g_strndup(tensor->name, strlen(tensor->name) - strlen(".weight"));

    released->dtype = "F32";
    released->values = quantized.values;
    tensor->dtype = "U32";
    tensor->words = quantized.words;
    tensor->shape[1] = tensor->shape[1] * bits / 32;
    add_part(tensors, base, ".scales", tensor->shape[0], n_groups, quantized.scales);
    add_part(tensors, base, ".biases", tensor->shape[0], n_groups, quantized.biases);
}

static gboolean is_vision(const SynthSpec *spec, const SynthTensor *tensor)
{
    return g_str_has_prefix(tensor->name, V);
}

static void make_mlx(const SynthSpec *spec, GPtrArray *tensors, GPtrArray *released, int bits)
{
    remove_if(spec, tensors, is_dropped);
    remove_if(spec, released, is_dropped);
    for (guint i = 0, n = released->len; i < n; i++) {
        SynthTensor *tensor = tensors->pdata[i];

        if (is_vision(spec, tensor))
            continue;
        rename_tensor(tensor, name_for_mlx(tensor->name));
        if (is_quantizable(tensor))
            quantize_tensor(spec, tensors, tensor, released->pdata[i], bits);
    }
    remove_if(spec, tensors, is_vision);
}

static json_t *make_mlx_config(const SynthSpec *spec, int bits)
{
    json_t *config = fastvlm_synth_config(spec);
    json_t *quantization = json_pack("{s:i, s:i}", "group_size", GROUP, "bits", bits);

    json_object_set_new(config, "quantization", quantization);
    json_object_set(config, "quantization_config", quantization);
    json_object_set_new(config, "image_token_index", json_integer(spec->vocab_size - 1));
    if (spec->tied)
        json_object_del(config, "tie_word_embeddings");
    return config;
}

/* --- both -------------------------------------------------------------------------------------- */

/** Makes the layout of `tensors`, and changes `released` to the same numbers; NULL: no such layout. */
static json_t *make_layout(const char *layout, const SynthSpec *spec, GPtrArray *tensors,
                           GPtrArray *released)
{
    if (strcmp(layout, "hub") == 0) {
        make_hub(spec, tensors);
        return make_hub_config(spec);
    }
    if (strcmp(layout, "mlx4") == 0 || strcmp(layout, "mlx8") == 0) {
        make_mlx(spec, tensors, released, layout[3] - '0');
        return make_mlx_config(spec, layout[3] - '0');
    }
    if (strcmp(layout, "branches") == 0) {
        fastvlm_synth_add_branches(spec, tensors, released);
        return fastvlm_synth_config(spec);
    }
    return NULL;
}

gboolean fastvlm_synth_write_layout(const char *layout, const SynthSpec *spec,
                                    const char *directory, const char *released, GError **error)
{
    GPtrArray *as_released = fastvlm_synth_tensors(spec);
    GPtrArray *tensors = fastvlm_synth_copy_tensors(as_released);
    json_t *config = make_layout(layout, spec, tensors, as_released);
    gboolean ok = config != NULL;

    if (!ok)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: no such layout, expected hub, mlx4, mlx8 or branches", layout);
    ok = ok && fastvlm_synth_write(directory, spec, tensors, config, error) &&
         (!released || fastvlm_synth_write(released, spec, as_released, NULL, error));
    json_decref(config);
    g_ptr_array_unref(tensors);
    g_ptr_array_unref(as_released);
    return ok;
}
