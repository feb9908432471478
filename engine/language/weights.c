/*
 * Takes the decoder's weights from a store, and fills it. Names as in transformers' modeling_qwen2.py.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/weights.h"

static gboolean take_vector(FastvlmReader *reader, const char *prefix, const char *suffix, int n,
                            float **vector, GError **error)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);

    return fastvlm_reader_take_vector(reader, name, n, vector, error);
}

/** One of the matrices that a layer consists of. */
typedef struct {
    const char *name; /* behind the prefix, without ".weight" */
    int n_out;
    gboolean has_bias;
} Part;

typedef struct {
    FastvlmMatrix *matrix;
    int row; /* where the part begins */
} Packing;

static void pack_rows(float *rows, int first, int n_rows, void *data)
{
    const Packing *packing = data;

    fastvlm_matrix_set_rows(packing->matrix, packing->row + first, n_rows, rows);
}

/** Reads `part` into rows `row` and following. */
static gboolean fill_part(FastvlmReader *reader, const char *prefix, const Part *part, int row,
                          FastvlmLinear *linear, GError **error)
{
    g_autofree char *weight = g_strconcat(prefix, part->name, ".weight", NULL);
    g_autofree char *bias = g_strconcat(prefix, part->name, ".bias", NULL);
    const gint64 shape[2] = {part->n_out, linear->matrix.n_in};
    Packing packing = {&linear->matrix, row};

    return fastvlm_reader_stream(reader, weight, 2, shape, pack_rows, &packing, error) &&
           (!part->has_bias ||
            fastvlm_reader_read_to(reader, bias, 1, shape, linear->bias + row, error));
}

/** A linear layer of several matrices, one below the other. */
static gboolean take_linear(FastvlmReader *reader, const char *prefix, const Part *parts,
                            int n_parts, int n_in, FastvlmMatrixType type, FastvlmLinear *linear,
                            GError **error)
{
    g_autofree char *name = g_strconcat(prefix, parts[0].name, NULL);
    int n_out = 0, row = 0;

    for (int i = 0; i < n_parts; i++)
        n_out += parts[i].n_out;
    if (!fastvlm_matrix_take(&linear->matrix, type, n_out, n_in, reader->store, name, error) ||
        (parts[0].has_bias &&
         !fastvlm_reader_take_floats(reader, name, n_out, &linear->bias, error)))
        return FALSE;
    if (fastvlm_store_get_state(reader->store) != FASTVLM_STORE_FILLING)
        return TRUE;
    for (int i = 0; i < n_parts; row += parts[i++].n_out)
        if (!fill_part(reader, prefix, &parts[i], row, linear, error))
            return FALSE;
    return TRUE;
}

static gboolean take_attention(FastvlmReader *reader, const char *prefix,
                               const FastvlmLanguageWeights *weights, FastvlmMatrixType type,
                               FastvlmLanguageLayer *layer, GError **error)
{
    const int n_attended = weights->n_heads * weights->head_dim;
    const int n_kv = weights->n_kv_heads * weights->head_dim;
    const Part qkv[3] = {{"self_attn.q_proj", n_attended, TRUE},
                         {"self_attn.k_proj", n_kv, TRUE},
                         {"self_attn.v_proj", n_kv, TRUE}};
    const Part out = {"self_attn.o_proj", weights->hidden, FALSE};

    return take_linear(reader, prefix, qkv, 3, weights->hidden, type, &layer->qkv, error) &&
           take_linear(reader, prefix, &out, 1, n_attended, type, &layer->out, error);
}

static gboolean take_feed_forward(FastvlmReader *reader, const char *prefix,
                                  const FastvlmLanguageWeights *weights, FastvlmMatrixType type,
                                  FastvlmLanguageLayer *layer, GError **error)
{
    const Part gate = {"mlp.gate_proj", weights->intermediate, FALSE};
    const Part up = {"mlp.up_proj", weights->intermediate, FALSE};
    const Part down = {"mlp.down_proj", weights->hidden, FALSE};

    return take_linear(reader, prefix, &gate, 1, weights->hidden, type, &layer->gate, error) &&
           take_linear(reader, prefix, &up, 1, weights->hidden, type, &layer->up, error) &&
           take_linear(reader, prefix, &down, 1, weights->intermediate, type, &layer->down, error);
}

static gboolean take_layer(FastvlmReader *reader, int index, const FastvlmLanguageWeights *weights,
                           FastvlmMatrixType type, FastvlmLanguageLayer *layer, GError **error)
{
    g_autofree char *prefix = g_strdup_printf("model.layers.%d.", index);
    const int hidden = weights->hidden;

    return take_vector(reader, prefix, "input_layernorm.weight", hidden, &layer->input_norm,
                       error) &&
           take_attention(reader, prefix, weights, type, layer, error) &&
           take_vector(reader, prefix, "post_attention_layernorm.weight", hidden, &layer->post_norm,
                       error) &&
           take_feed_forward(reader, prefix, weights, type, layer, error);
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

/** Only layers are 4-bit: the head chooses among tokens that lie close together, and stays int8. */
static FastvlmMatrixType get_head_type(FastvlmMatrixType type)
{
    return type == FASTVLM_MATRIX_INT4 ? FASTVLM_MATRIX_INT8 : type;
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
        if (!take_layer(reader, i, weights, type, &weights->layers[i], error))
            return FALSE;
    return take_vector(reader, "model.norm", ".weight", weights->hidden, &weights->final_norm,
                       error) &&
           take_linear(reader, "", &head, 1, weights->hidden, get_head_type(type), &weights->head,
                       error);
}

void fastvlm_language_weights_clear(FastvlmLanguageWeights *weights)
{
    g_free(weights->layers);
    *weights = (FastvlmLanguageWeights){0};
}
