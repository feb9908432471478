/*
 * Reads the decoder's weights. Names as in transformers' modeling_qwen2.py.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/weights.h"

#include "base/alloc.h"

#define SLICE_ELEMENTS (2 << 20) /* some ten milliseconds */

static float *read_vector(FastvlmReader *reader, const char *prefix, const char *suffix, int n,
                          GError **error)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);
    const gint64 shape[1] = {n};

    return fastvlm_reader_read(reader, name, 1, shape, error);
}

/** One of the matrices that a layer consists of. */
typedef struct {
    const char *name; /* behind the prefix, without ".weight" */
    int n_out;
    gboolean has_bias;
} Part;

/** Reads a matrix slice by slice, so that it is never in memory twice, and packs it from `row` on. */
static gboolean pack_rows(FastvlmReader *reader, const char *name, int n_out, int row,
                          FastvlmMatrix *matrix, GError **error)
{
    const gint64 shape[2] = {n_out, matrix->n_in};
    const int slice_rows =
        MAX(SLICE_ELEMENTS / matrix->n_in / FASTVLM_PANEL_COLUMNS, 1) * FASTVLM_PANEL_COLUMNS;
    float *slice =
        fastvlm_alloc_tensor((gsize)MIN(slice_rows, n_out), (gsize)matrix->n_in, name, error);
    gboolean ok = slice != NULL;

    for (int first = 0; ok && first < n_out; first += slice_rows) {
        const int n = MIN(slice_rows, n_out - first);

        ok = fastvlm_reader_read_rows(reader, name, 2, shape, first, n, slice, error);
        if (ok)
            fastvlm_matrix_set_rows(matrix, row + first, n, slice);
    }
    fastvlm_free_tensor(slice);
    return ok;
}

static gboolean pack_bias(FastvlmReader *reader, const char *name, int n_out, float *to,
                          GError **error)
{
    const gint64 shape[1] = {n_out};

    return fastvlm_reader_read_rows(reader, name, 1, shape, 0, n_out, to, error);
}

/** A linear layer of several matrices, one below the other. */
static gboolean read_linear(FastvlmReader *reader, const char *prefix, const Part *parts,
                            int n_parts, int n_in, FastvlmMatrixType type, FastvlmLinear *linear,
                            GError **error)
{
    int n_out = 0, row = 0;

    for (int i = 0; i < n_parts; i++)
        n_out += parts[i].n_out;
    if (!fastvlm_matrix_alloc(&linear->matrix, type, n_out, n_in, parts[0].name, error))
        return FALSE;
    if (parts[0].has_bias &&
        !(linear->bias = fastvlm_alloc_tensor(1, (gsize)n_out, parts[0].name, error)))
        return FALSE;
    for (int i = 0; i < n_parts; row += parts[i++].n_out) {
        g_autofree char *weight = g_strconcat(prefix, parts[i].name, ".weight", NULL);
        g_autofree char *bias = g_strconcat(prefix, parts[i].name, ".bias", NULL);

        if (!pack_rows(reader, weight, parts[i].n_out, row, &linear->matrix, error) ||
            (parts[i].has_bias &&
             !pack_bias(reader, bias, parts[i].n_out, linear->bias + row, error)))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_attention(FastvlmReader *reader, const char *prefix,
                               const FastvlmLanguageWeights *weights, FastvlmMatrixType type,
                               FastvlmLanguageLayer *layer, GError **error)
{
    const int n_attended = weights->n_heads * weights->head_dim;
    const int n_kv = weights->n_kv_heads * weights->head_dim;
    const Part qkv[3] = {{"self_attn.q_proj", n_attended, TRUE},
                         {"self_attn.k_proj", n_kv, TRUE},
                         {"self_attn.v_proj", n_kv, TRUE}};
    const Part out = {"self_attn.o_proj", weights->hidden, FALSE};

    return read_linear(reader, prefix, qkv, 3, weights->hidden, type, &layer->qkv, error) &&
           read_linear(reader, prefix, &out, 1, n_attended, type, &layer->out, error);
}

static gboolean read_feed_forward(FastvlmReader *reader, const char *prefix,
                                  const FastvlmLanguageWeights *weights, FastvlmMatrixType type,
                                  FastvlmLanguageLayer *layer, GError **error)
{
    const Part gate_up[2] = {{"mlp.gate_proj", weights->intermediate, FALSE},
                             {"mlp.up_proj", weights->intermediate, FALSE}};
    const Part down = {"mlp.down_proj", weights->hidden, FALSE};

    return read_linear(reader, prefix, gate_up, 2, weights->hidden, type, &layer->gate_up, error) &&
           read_linear(reader, prefix, &down, 1, weights->intermediate, type, &layer->down, error);
}

static gboolean read_layer(FastvlmReader *reader, int index, const FastvlmLanguageWeights *weights,
                           FastvlmMatrixType type, FastvlmLanguageLayer *layer, GError **error)
{
    g_autofree char *prefix = g_strdup_printf("model.layers.%d.", index);
    const int hidden = weights->hidden;

    layer->input_norm = read_vector(reader, prefix, "input_layernorm.weight", hidden, error);
    if (!layer->input_norm || !read_attention(reader, prefix, weights, type, layer, error))
        return FALSE;
    layer->post_norm =
        read_vector(reader, prefix, "post_attention_layernorm.weight", hidden, error);
    return layer->post_norm && read_feed_forward(reader, prefix, weights, type, layer, error);
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

gboolean fastvlm_embedding_read(const FastvlmEmbedding *embedding, int id, float *out,
                                GError **error)
{
    return fastvlm_checkpoint_read_f32_rows(embedding->checkpoint, embedding->view, id, 1, out,
                                            error);
}

static gboolean find_embedding(FastvlmReader *reader, FastvlmLanguageWeights *weights,
                               GError **error)
{
    const gint64 shape[2] = {weights->vocab_size, weights->hidden};

    weights->embedding.checkpoint = reader->checkpoint;
    weights->embedding.view = fastvlm_checkpoint_require(
        reader->checkpoint, "model.embed_tokens.weight", 2, shape, error);
    return weights->embedding.view != NULL;
}

gboolean fastvlm_language_weights_read(FastvlmLanguageWeights *weights, FastvlmReader *reader,
                                       FastvlmMatrixType type, GError **error)
{
    const FastvlmConfig *config = fastvlm_checkpoint_get_config(reader->checkpoint);
    const Part head = {config->tied_head ? "model.embed_tokens" : "lm_head", config->vocab_size,
                       FALSE};

    take_config(config, weights);
    if (!find_embedding(reader, weights, error))
        return FALSE;
    weights->layers = g_new0(FastvlmLanguageLayer, weights->n_layers);
    for (int i = 0; i < weights->n_layers; i++)
        if (!read_layer(reader, i, weights, type, &weights->layers[i], error))
            return FALSE;
    weights->final_norm = read_vector(reader, "model.norm", ".weight", weights->hidden, error);
    return weights->final_norm &&
           read_linear(reader, "", &head, 1, weights->hidden, type, &weights->head, error);
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
    fastvlm_linear_clear(&weights->head);
    for (int i = 0; weights->layers && i < weights->n_layers; i++)
        clear_layer(&weights->layers[i]);
    g_clear_pointer(&weights->layers, g_free);
    g_clear_pointer(&weights->final_norm, fastvlm_free_tensor);
}
