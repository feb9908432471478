/*
 * The tensors and the config of a checkpoint, as the released ones have them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "private.h"

#include <string.h>

#define P "model.vision_tower.vision_tower.model."

static const struct {
    const char *name;
    SynthSpec spec;
} specs[] = {
    {"micro",
     {{1, 1, 1, 1, 1},
      {8, 16, 32, 32, 64},
      16,
      32,
      2,
      4,
      2,
      64,
      96,
      TRUE,
      128,
      1,
      "BF16",
      1,
      NULL}},
    {"tiny",
     {{1, 1, 2, 1, 1},
      {16, 32, 64, 128, 256},
      64,
      128,
      3,
      4,
      2,
      256,
      512,
      TRUE,
      256,
      1,
      "BF16",
      1,
      NULL}},
    {"0.5b",
     {{2, 12, 24, 4, 2},
      {96, 192, 384, 768, 1536},
      768,
      896,
      24,
      14,
      2,
      4864,
      151936,
      TRUE,
      1024,
      1,
      "BF16",
      1,
      NULL}},
    {"1.5b",
     {{2, 12, 24, 4, 2},
      {96, 192, 384, 768, 1536},
      768,
      1536,
      28,
      12,
      2,
      8960,
      151936,
      TRUE,
      1024,
      1,
      "BF16",
      1,
      NULL}},
    {"7b",
     {{2, 12, 24, 4, 2},
      {96, 192, 384, 768, 1536},
      768,
      3584,
      28,
      28,
      4,
      18944,
      152064,
      FALSE,
      1024,
      1,
      "BF16",
      1,
      NULL}},
};

gboolean fastvlm_synth_spec(const char *name, SynthSpec *spec)
{
    for (guint i = 0; i < G_N_ELEMENTS(specs); i++) {
        if (strcmp(name, specs[i].name) != 0)
            continue;
        *spec = specs[i].spec;
        return TRUE;
    }
    return FALSE;
}

/** The list at work. */
typedef struct {
    GPtrArray *tensors;
    const char *dtype;
} List;

void fastvlm_synth_tensor_free(SynthTensor *tensor)
{
    g_free(tensor->name);
    g_free(tensor->weight_name);
    g_free(tensor->values);
    g_free(tensor->words);
    g_free(tensor);
}

SynthTensor *fastvlm_synth_tensor_new(const char *name, const char *dtype, int n_dims,
                                      const gint64 shape[4])
{
    SynthTensor *tensor = g_new0(SynthTensor, 1);

    tensor->name = g_strdup(name);
    tensor->weight_name = g_strdup(name);
    tensor->dtype = dtype;
    tensor->n_dims = n_dims;
    memcpy(tensor->shape, shape, sizeof tensor->shape);
    return tensor;
}

guint64 fastvlm_synth_count_elements(const SynthTensor *tensor)
{
    guint64 n = 1;

    for (int i = 0; i < tensor->n_dims; i++)
        n *= (guint64)tensor->shape[i];
    return n;
}

/** Adds PREFIX SUFFIX; of the four sizes `n_dims` count. */
static void add(const List *list, const char *prefix, const char *suffix, int n_dims, gint64 n0,
                gint64 n1, gint64 n2, gint64 n3)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);

    g_ptr_array_add(list->tensors, fastvlm_synth_tensor_new(name, n_dims == 0 ? "I64" : list->dtype,
                                                            n_dims, (gint64[4]){n0, n1, n2, n3}));
}

static void add_vector(const List *list, const char *prefix, const char *suffix, gint64 n)
{
    add(list, prefix, suffix, 1, n, 0, 0, 0);
}

static void add_matrix(const List *list, const char *prefix, const char *suffix, gint64 n_out,
                       gint64 n_in)
{
    add(list, prefix, suffix, 2, n_out, n_in, 0, 0);
}

static void add_conv(const List *list, const char *prefix, const char *suffix, gint64 n_out,
                     gint64 n_in, gint64 size)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);

    add(list, name, ".weight", 4, n_out, n_in, size, size);
    add_vector(list, name, ".bias", n_out);
}

static void add_ffn(const List *list, const char *block, gint64 n)
{
    static const char *const norm[] = {"weight", "bias", "running_mean", "running_var"};
    g_autofree char *bn = g_strconcat(block, "convffn.conv.bn.", NULL);

    add(list, block, "convffn.conv.conv.weight", 4, n, 1, 7, 7);
    for (guint i = 0; i < G_N_ELEMENTS(norm); i++)
        add_vector(list, bn, norm[i], n);
    add(list, bn, "num_batches_tracked", 0, 0, 0, 0, 0);
    add_conv(list, block, "convffn.fc1", 4 * n, n, 1);
    add_conv(list, block, "convffn.fc2", n, 4 * n, 1);
}

static void add_mixer_block(const List *list, const char *block, gint64 n)
{
    add(list, block, "layer_scale", 3, n, 1, 1, 0);
    add_conv(list, block, "token_mixer.reparam_conv", n, 1, 3);
    add_ffn(list, block, n);
}

static void add_attention_block(const List *list, const char *block, gint64 n)
{
    add(list, block, "layer_scale_1", 3, n, 1, 1, 0);
    add(list, block, "layer_scale_2", 3, n, 1, 1, 0);
    add_vector(list, block, "norm.weight", n);
    add_vector(list, block, "norm.bias", n);
    add_matrix(list, block, "token_mixer.qkv.weight", 3 * n, n);
    add_matrix(list, block, "token_mixer.proj.weight", n, n);
    add_vector(list, block, "token_mixer.proj.bias", n);
    add_ffn(list, block, n);
}

/** A stage's entries of `network`, counted on in `index`. */
static void add_stage(const List *list, const SynthSpec *spec, int stage, int *index)
{
    const gint64 n = spec->dims[stage];

    if (stage >= 3) {
        g_autofree char *position = g_strdup_printf(P "network.%d.reparam_conv", (*index)++);

        add_conv(list, position, "", n, 1, 7);
    }
    for (int i = 0; i < spec->blocks[stage]; i++) {
        g_autofree char *block = g_strdup_printf(P "network.%d.%d.", *index, i);

        (stage < 3 ? add_mixer_block : add_attention_block)(list, block, n);
    }
    (*index)++;
    if (stage < 4) {
        const gint64 n_next = spec->dims[stage + 1];
        g_autofree char *proj = g_strdup_printf(P "network.%d.proj.", (*index)++);

        add_conv(list, proj, "0.lkb_reparam", n_next, 1, 7);
        add_conv(list, proj, "1.reparam_conv", n_next, n_next, 1);
    }
}

static void add_vision(const List *list, const SynthSpec *spec)
{
    const gint64 n = spec->dims[0];
    const gint64 width = 2 * spec->dims[4];
    int index = 0;

    add_conv(list, P, "patch_embed.0.reparam_conv", n, 3, 3);
    add_conv(list, P, "patch_embed.1.reparam_conv", n, 1, 3);
    add_conv(list, P, "patch_embed.2.reparam_conv", n, n, 1);
    for (int stage = 0; stage < 5; stage++)
        add_stage(list, spec, stage, &index);
    add_conv(list, P, "conv_exp.reparam_conv", width, 1, 3);
    add_conv(list, P, "conv_exp.se.reduce", width / 16, width, 1);
    add_conv(list, P, "conv_exp.se.expand", width, width / 16, 1);
    add_matrix(list, P, "head.proj", width, spec->n_classes);
}

static void add_layer(const List *list, const SynthSpec *spec, int layer)
{
    static const char *const names[] = {"self_attn.q_proj.", "self_attn.k_proj.",
                                        "self_attn.v_proj."};
    const gint64 hidden = spec->hidden;
    const gint64 kv = hidden / spec->n_heads * spec->n_kv_heads;
    g_autofree char *prefix = g_strdup_printf("model.layers.%d.", layer);

    for (int i = 0; i < 3; i++) {
        g_autofree char *proj = g_strconcat(prefix, names[i], NULL);

        add_matrix(list, proj, "weight", i == 0 ? hidden : kv, hidden);
        add_vector(list, proj, "bias", i == 0 ? hidden : kv);
    }
    add_matrix(list, prefix, "self_attn.o_proj.weight", hidden, hidden);
    add_matrix(list, prefix, "mlp.gate_proj.weight", spec->intermediate, hidden);
    add_matrix(list, prefix, "mlp.up_proj.weight", spec->intermediate, hidden);
    add_matrix(list, prefix, "mlp.down_proj.weight", hidden, spec->intermediate);
    add_vector(list, prefix, "input_layernorm.weight", hidden);
    add_vector(list, prefix, "post_attention_layernorm.weight", hidden);
}

/** The released tied checkpoints store the head all the same: it is the embedding. */
static void add_language(const List *list, const SynthSpec *spec)
{
    SynthTensor *head;

    add_matrix(list, "model.mm_projector.0.", "weight", spec->hidden, 2 * spec->dims[4]);
    add_vector(list, "model.mm_projector.0.", "bias", spec->hidden);
    add_matrix(list, "model.mm_projector.2.", "weight", spec->hidden, spec->hidden);
    add_vector(list, "model.mm_projector.2.", "bias", spec->hidden);
    add_matrix(list, "model.embed_tokens.", "weight", spec->vocab_size, spec->hidden);
    for (int layer = 0; layer < spec->n_layers; layer++)
        add_layer(list, spec, layer);
    add_vector(list, "model.norm.", "weight", spec->hidden);
    add_matrix(list, "lm_head.", "weight", spec->vocab_size, spec->hidden);
    if (!spec->tied)
        return;
    head = g_ptr_array_index(list->tensors, list->tensors->len - 1);
    g_free(head->weight_name);
    head->weight_name = g_strdup("model.embed_tokens.weight");
}

static int compare_names(const void *a, const void *b)
{
    const SynthTensor *const *tensor_a = a;
    const SynthTensor *const *tensor_b = b;

    return strcmp((*tensor_a)->name, (*tensor_b)->name);
}

GPtrArray *fastvlm_synth_tensors(const SynthSpec *spec)
{
    const List list = {g_ptr_array_new_with_free_func((GDestroyNotify)fastvlm_synth_tensor_free),
                       spec->dtype};

    add_vision(&list, spec);
    add_language(&list, spec);
    g_ptr_array_sort(list.tensors, compare_names);
    return list.tensors;
}

json_t *fastvlm_synth_config(const SynthSpec *spec)
{
    g_autofree char *tower = g_strdup_printf("mobileclip_l_%d", spec->resolution);

    return json_pack(
        "{s:[s], s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:s, s:b, s:s, s:i, "
        "s:s, s:s, s:b, s:b, s:s, s:i}",
        "architectures", "LlavaQwen2ForCausalLM", "model_type", "llava_qwen2", "hidden_act", "silu",
        "hidden_size", spec->hidden, "intermediate_size", spec->intermediate, "num_hidden_layers",
        spec->n_layers, "num_attention_heads", spec->n_heads, "num_key_value_heads",
        spec->n_kv_heads, "vocab_size", spec->vocab_size, "max_position_embeddings", 32768,
        "rms_norm_eps", 1e-6, "rope_theta", 1e6, "tie_word_embeddings", spec->tied, "torch_dtype",
        "bfloat16", "use_sliding_window", FALSE, "image_aspect_ratio", "pad", "mm_hidden_size",
        2 * spec->dims[4], "mm_patch_merge_type", "flat", "mm_projector_type", "mlp2x_gelu",
        "mm_use_im_patch_token", FALSE, "mm_use_im_start_end", FALSE, "mm_vision_tower", tower,
        "tokenizer_model_max_length", 8192);
}
