/*
 * Reads the decoder's weights. Names as in transformers' modeling_qwen2.py.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/weights.h"

#include <string.h>

#include "base/alloc.h"

static float *read_vector(FastvlmReader *reader, const char *prefix, const char *suffix, int n,
                          GError **error)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);
    const gint64 shape[1] = {n};

    return fastvlm_reader_read(reader, name, 1, shape, error);
}

static float *read_matrix(FastvlmReader *reader, const char *prefix, const char *suffix, int n_out,
                          int n_in, GError **error)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);
    const gint64 shape[2] = {n_out, n_in};

    return fastvlm_reader_read(reader, name, 2, shape, error);
}

/** Copies `part` [n] to the `n` floats from `*end` on and frees it. */
static gboolean take_part(float *part, gsize n, float **end)
{
    if (!part)
        return FALSE;
    memcpy(*end, part, n * sizeof *part);
    *end += n;
    fastvlm_free_tensor(part);
    return TRUE;
}

static gboolean alloc_linear(FastvlmLinear *linear, gboolean bias, const char *what, GError **error)
{
    linear->weight = fastvlm_alloc_tensor((gsize)linear->n_out, (gsize)linear->n_in, what, error);
    if (linear->weight && bias)
        linear->bias = fastvlm_alloc_tensor(1, (gsize)linear->n_out, what, error);
    return linear->weight && (!bias || linear->bias);
}

static gboolean read_qkv(FastvlmReader *reader, const char *prefix,
                         const FastvlmLanguageWeights *weights, FastvlmLinear *qkv, GError **error)
{
    static const char *const names[3] = {"self_attn.q_proj", "self_attn.k_proj",
                                         "self_attn.v_proj"};
    const int n_heads[3] = {weights->n_heads, weights->n_kv_heads, weights->n_kv_heads};
    float *weight_end, *bias_end;

    qkv->n_in = weights->hidden;
    qkv->n_out = (weights->n_heads + 2 * weights->n_kv_heads) * weights->head_dim;
    if (!alloc_linear(qkv, TRUE, "the attention's weights", error))
        return FALSE;
    weight_end = qkv->weight;
    bias_end = qkv->bias;
    for (int i = 0; i < 3; i++) {
        g_autofree char *part = g_strconcat(prefix, names[i], NULL);
        const int n_out = n_heads[i] * weights->head_dim;

        if (!take_part(read_matrix(reader, part, ".weight", n_out, qkv->n_in, error),
                       (gsize)n_out * (gsize)qkv->n_in, &weight_end) ||
            !take_part(read_vector(reader, part, ".bias", n_out, error), (gsize)n_out, &bias_end))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_gate_up(FastvlmReader *reader, const char *prefix,
                             const FastvlmLanguageWeights *weights, FastvlmLinear *gate_up,
                             GError **error)
{
    const int n = weights->intermediate;
    const gsize size = (gsize)n * (gsize)weights->hidden;
    float *end;

    gate_up->n_in = weights->hidden;
    gate_up->n_out = 2 * n;
    if (!alloc_linear(gate_up, FALSE, "the feed-forward weights", error))
        return FALSE;
    end = gate_up->weight;
    return take_part(read_matrix(reader, prefix, "mlp.gate_proj.weight", n, gate_up->n_in, error),
                     size, &end) &&
           take_part(read_matrix(reader, prefix, "mlp.up_proj.weight", n, gate_up->n_in, error),
                     size, &end);
}

static gboolean read_plain(FastvlmReader *reader, const char *prefix, const char *suffix, int n_out,
                           int n_in, FastvlmLinear *linear, GError **error)
{
    linear->n_out = n_out;
    linear->n_in = n_in;
    linear->weight = read_matrix(reader, prefix, suffix, n_out, n_in, error);
    return linear->weight != NULL;
}

static gboolean read_layer(FastvlmReader *reader, int index, const FastvlmLanguageWeights *weights,
                           FastvlmLanguageLayer *layer, GError **error)
{
    g_autofree char *prefix = g_strdup_printf("model.layers.%d.", index);
    const int hidden = weights->hidden;
    const int n_attended = weights->n_heads * weights->head_dim;

    layer->input_norm = read_vector(reader, prefix, "input_layernorm.weight", hidden, error);
    if (!layer->input_norm || !read_qkv(reader, prefix, weights, &layer->qkv, error) ||
        !read_plain(reader, prefix, "self_attn.o_proj.weight", hidden, n_attended, &layer->out,
                    error))
        return FALSE;
    layer->post_norm =
        read_vector(reader, prefix, "post_attention_layernorm.weight", hidden, error);
    return layer->post_norm && read_gate_up(reader, prefix, weights, &layer->gate_up, error) &&
           read_plain(reader, prefix, "mlp.down_proj.weight", hidden, weights->intermediate,
                      &layer->down, error);
}

static void take_config(const FastvlmConfig *config, FastvlmLanguageWeights *weights)
{
    weights->hidden = config->hidden_size;
    weights->n_layers = config->n_layers;
    weights->n_heads = config->n_heads;
    weights->n_kv_heads = config->n_kv_heads;
    weights->head_dim = config->head_dim;
    weights->intermediate = config->intermediate_size;
    weights->vocab_size = config->vocab_size;
    weights->max_positions = config->max_positions;
    weights->rope_theta = (float)config->rope_theta;
    weights->epsilon = config->rms_norm_eps;
}

static gboolean read_head(FastvlmReader *reader, gboolean tied, FastvlmLanguageWeights *weights,
                          GError **error)
{
    if (!tied)
        return read_plain(reader, "lm_head", ".weight", weights->vocab_size, weights->hidden,
                          &weights->head, error);
    weights->head = (FastvlmLinear){
        .n_out = weights->vocab_size, .n_in = weights->hidden, .weight = weights->embedding};
    return TRUE;
}

gboolean fastvlm_language_weights_read(FastvlmLanguageWeights *weights, FastvlmReader *reader,
                                       GError **error)
{
    const FastvlmConfig *config = fastvlm_checkpoint_get_config(reader->checkpoint);

    take_config(config, weights);
    weights->embedding = read_matrix(reader, "model.embed_tokens", ".weight", weights->vocab_size,
                                     weights->hidden, error);
    if (!weights->embedding)
        return FALSE;
    weights->layers = g_new0(FastvlmLanguageLayer, weights->n_layers);
    for (int i = 0; i < weights->n_layers; i++)
        if (!read_layer(reader, i, weights, &weights->layers[i], error))
            return FALSE;
    weights->final_norm = read_vector(reader, "model.norm", ".weight", weights->hidden, error);
    return weights->final_norm && read_head(reader, config->tied_head, weights, error);
}

static void clear_layer(FastvlmLanguageLayer *layer)
{
    fastvlm_free_tensor(layer->input_norm);
    fastvlm_linear_clear(&layer->qkv);
    fastvlm_linear_clear(&layer->out);
    fastvlm_free_tensor(layer->post_norm);
    fastvlm_linear_clear(&layer->gate_up);
    fastvlm_linear_clear(&layer->down);
}

void fastvlm_language_weights_clear(FastvlmLanguageWeights *weights)
{
    if (weights->head.weight == weights->embedding)
        weights->head.weight = NULL;
    fastvlm_linear_clear(&weights->head);
    g_clear_pointer(&weights->embedding, fastvlm_free_tensor);
    for (int i = 0; weights->layers && i < weights->n_layers; i++)
        clear_layer(&weights->layers[i]);
    g_clear_pointer(&weights->layers, g_free);
    g_clear_pointer(&weights->final_norm, fastvlm_free_tensor);
}
