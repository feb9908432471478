/*
 * Reads and folds the encoder's weights. Names as in the released checkpoints, whose modules are
 * those of mobileclip's mci.py in apple/ml-fastvlm.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "vision/weights.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

#define BATCH_NORM_EPSILON 1e-5 /* torch.nn.BatchNorm2d's default, which the model keeps */

/** A name under the encoder's prefix. */
static char *name_of(const char *part, const char *suffix)
{
    return g_strconcat(FASTVLM_VISION_PREFIX, part, suffix, NULL);
}

static gboolean is_filling(const FastvlmReader *reader)
{
    return fastvlm_store_get_state(reader->store) == FASTVLM_STORE_FILLING;
}

/** A vector that is needed for folding alone; free with fastvlm_free_tensor(). */
static float *read_vector(FastvlmReader *reader, const char *part, const char *suffix, int n,
                          GError **error)
{
    g_autofree char *name = name_of(part, suffix);
    const gint64 shape[1] = {n};

    return fastvlm_reader_read(reader, name, 1, shape, error);
}

/** The same, kept in the store. */
static gboolean take_vector(FastvlmReader *reader, const char *part, const char *suffix, int n,
                            float **vector, GError **error)
{
    g_autofree char *name = name_of(part, suffix);

    return fastvlm_reader_take_vector(reader, name, n, vector, error);
}

/** A layer scale: [n, 1, 1]. */
static float *read_scale(FastvlmReader *reader, const char *part, const char *suffix, int n,
                         GError **error)
{
    g_autofree char *name = name_of(part, suffix);
    const gint64 shape[3] = {n, 1, 1};

    return fastvlm_reader_read(reader, name, 3, shape, error);
}

/** Depthwise weights [n, 1, k, k] turned to [k * k, n], so that channels lie side by side. */
static gboolean fill_conv_weight(FastvlmReader *reader, const char *name, FastvlmConv *conv,
                                 GError **error)
{
    const int n_taps = conv->kernel_size * conv->kernel_size;
    const gint64 shape[4] = {conv->n_channels, 1, conv->kernel_size, conv->kernel_size};
    float *stored = fastvlm_reader_read(reader, name, 4, shape, error);

    for (int tap = 0; stored && tap < n_taps; tap++)
        for (int channel = 0; channel < conv->n_channels; channel++)
            conv->weight[(gsize)tap * (gsize)conv->n_channels + (gsize)channel] =
                stored[(gsize)channel * (gsize)n_taps + (gsize)tap];
    fastvlm_free_tensor(stored);
    return stored != NULL;
}

static gboolean take_conv_weight(FastvlmReader *reader, const char *name, FastvlmConv *conv,
                                 GError **error)
{
    return fastvlm_store_take_floats(reader->store, name,
                                     (gsize)(conv->kernel_size * conv->kernel_size),
                                     (gsize)conv->n_channels, &conv->weight, error) &&
           (!is_filling(reader) || fill_conv_weight(reader, name, conv, error));
}

/** PART.weight and PART.bias; the other fields of `conv` are set. */
static gboolean take_conv(FastvlmReader *reader, const char *part, FastvlmConv *conv,
                          GError **error)
{
    g_autofree char *weight = name_of(part, ".weight");

    return take_conv_weight(reader, weight, conv, error) &&
           take_vector(reader, part, ".bias", conv->n_channels, &conv->bias, error);
}

/** A linear layer to be: its shape and what is folded into it. */
typedef struct {
    const char *part; /* PART.weight, and PART.bias where there is no `shift` */
    int n_dims;       /* 2, or 4: stored as a 1x1 convolution */
    int n_out;
    int n_in;
    const float *scale; /* [n_out] of rows and bias; may be NULL */
    const float *gain;  /* [n_in], a LayerNorm's, or NULL */
    const float *shift; /* [n_in], the same */
} Dense;

typedef struct {
    const Dense *dense;
    FastvlmLinear *linear;
} Packing;

/**
 * qkv(LayerNorm(x)): W (g * n + b) = (W diag(g)) n + W b, q rows scaled as well.
 *
 * @param weight  [n_in], row `row`
 * @return the row's bias
 */
static float fold_layer_norm(const Dense *dense, int row, float *weight)
{
    const double scale = row < dense->n_in ? 1.0 / sqrt(FASTVLM_VISION_HEAD_DIM) : 1.0;
    double bias = 0.0;

    for (int i = 0; i < dense->n_in; i++) {
        bias += (double)weight[i] * dense->shift[i];
        weight[i] = (float)(weight[i] * scale * dense->gain[i]);
    }
    return (float)(bias * scale);
}

static void pack_rows(float *rows, int first, int n_rows, void *data)
{
    const Packing *packing = data;
    const Dense *dense = packing->dense;

    for (int i = 0; i < n_rows; i++) {
        float *weight = rows + (gsize)i * (gsize)dense->n_in;

        if (dense->gain)
            packing->linear->bias[first + i] = fold_layer_norm(dense, first + i, weight);
        for (int j = 0; dense->scale && !packing->linear->scale && j < dense->n_in; j++)
            weight[j] *= dense->scale[first + i];
    }
    fastvlm_matrix_set_rows(&packing->linear->matrix, first, n_rows, rows);
}

static gboolean fill_linear(FastvlmReader *reader, const Dense *dense, const char *weight,
                            const char *bias, FastvlmLinear *linear, GError **error)
{
    const gint64 shape[4] = {dense->n_out, dense->n_in, 1, 1};
    Packing packing = {dense, linear};

    if ((!dense->gain && !fastvlm_reader_read_to(reader, bias, 1, shape, linear->bias, error)) ||
        !fastvlm_reader_stream(reader, weight, dense->n_dims, shape, pack_rows, &packing, error))
        return FALSE;
    for (int i = 0; dense->scale && i < dense->n_out; i++)
        linear->bias[i] *= dense->scale[i];
    if (linear->scale)
        memcpy(linear->scale, dense->scale, (gsize)dense->n_out * sizeof *linear->scale);
    return TRUE;
}

/** Takes the layer from the store, and makes it where that is to be filled. */
static gboolean take_named_linear(FastvlmReader *reader, const Dense *dense, const char *weight,
                                  const char *bias, FastvlmMatrixType type,
                                  FastvlmActivation activation, FastvlmLinear *linear,
                                  GError **error)
{
    linear->activation = activation;
    return fastvlm_matrix_take(&linear->matrix, type, dense->n_out, dense->n_in, reader->store,
                               weight, error) &&
           fastvlm_reader_take_floats(reader, bias, dense->n_out, &linear->bias, error) &&
           (!is_filling(reader) || fill_linear(reader, dense, weight, bias, linear, error));
}

static gboolean take_linear(FastvlmReader *reader, const Dense *dense, FastvlmMatrixType type,
                            FastvlmActivation activation, FastvlmLinear *linear, GError **error)
{
    g_autofree char *weight = name_of(dense->part, ".weight");
    g_autofree char *bias = name_of(dense->part, ".bias");

    return take_named_linear(reader, dense, weight, bias, type, activation, linear, error);
}

/**
 * The same with the layer scale PART SUFFIX folded in; but beside bf16 weights, which are stored as
 * bf16: scaled they would be rounded again, by an error that is the same in every pixel.
 */
static gboolean take_scaled_linear(FastvlmReader *reader, Dense dense, const char *part,
                                   const char *suffix, FastvlmMatrixType type,
                                   FastvlmLinear *linear, GError **error)
{
    float *scale = NULL;
    g_autofree char *name = name_of(part, suffix);
    gboolean ok = !is_filling(reader) ||
                  (scale = read_scale(reader, part, suffix, dense.n_out, error)) != NULL;

    dense.scale = scale;
    ok = ok &&
         (type != FASTVLM_MATRIX_BF16 ||
          fastvlm_reader_take_floats(reader, name, dense.n_out, &linear->scale, error)) &&
         take_linear(reader, &dense, type, FASTVLM_ACTIVATION_NONE, linear, error);
    fastvlm_free_tensor(scale);
    return ok;
}

/** BatchNorm: y = (x - mean) / sqrt(variance + epsilon) * weight + bias. */
static gboolean fold_batch_norm(FastvlmReader *reader, const char *part, FastvlmConv *conv,
                                GError **error)
{
    const int n = conv->n_channels;
    const int n_taps = conv->kernel_size * conv->kernel_size;
    float *weight = read_vector(reader, part, ".weight", n, error);
    float *mean = weight ? read_vector(reader, part, ".running_mean", n, error) : NULL;
    float *variance = mean ? read_vector(reader, part, ".running_var", n, error) : NULL;

    for (int channel = 0; variance && channel < n; channel++) {
        const double scale = weight[channel] / sqrt(variance[channel] + BATCH_NORM_EPSILON);

        for (int tap = 0; tap < n_taps; tap++) {
            float *w = &conv->weight[(gsize)tap * (gsize)n + (gsize)channel];

            *w = (float)(*w * scale);
        }
        conv->bias[channel] = (float)(conv->bias[channel] - mean[channel] * scale);
    }
    fastvlm_free_tensor(weight);
    fastvlm_free_tensor(mean);
    fastvlm_free_tensor(variance);
    return variance != NULL;
}

static gboolean take_ffn(FastvlmReader *reader, const char *block, int n_channels,
                         const char *scale, FastvlmMatrixType type, FastvlmConvFfn *ffn,
                         GError **error)
{
    g_autofree char *conv =
        g_strconcat(FASTVLM_VISION_PREFIX, block, ".convffn.conv.conv.weight", NULL);
    g_autofree char *norm = g_strconcat(block, ".convffn.conv.bn", NULL);
    g_autofree char *fc1 = g_strconcat(block, ".convffn.fc1", NULL);
    g_autofree char *fc2 = g_strconcat(block, ".convffn.fc2", NULL);
    const Dense first = {.part = fc1, .n_dims = 4, .n_out = 4 * n_channels, .n_in = n_channels};
    const Dense second = {.part = fc2, .n_dims = 4, .n_out = n_channels, .n_in = 4 * n_channels};

    gboolean ok;

    ffn->conv = (FastvlmConv){n_channels, 1, 7, 1, NULL, NULL, FALSE};
    ok = take_conv_weight(reader, conv, &ffn->conv, error) &&
         take_vector(reader, norm, ".bias", n_channels, &ffn->conv.bias, error) &&
         (!is_filling(reader) || fold_batch_norm(reader, norm, &ffn->conv, error)) &&
         take_linear(reader, &first, type, FASTVLM_ACTIVATION_GELU, &ffn->fc1, error) &&
         take_scaled_linear(reader, second, block, scale, type, &ffn->fc2, error);
    ffn->conv.is_bf16 = ok && fastvlm_matrix_is_rounding(&ffn->fc1.matrix);
    return ok;
}

static gboolean take_qkv(FastvlmReader *reader, const char *block, int n_channels,
                         FastvlmMatrixType type, FastvlmLinear *qkv, GError **error)
{
    g_autofree char *part = g_strconcat(block, ".token_mixer.qkv", NULL);
    Dense dense = {.part = part, .n_dims = 2, .n_out = 3 * n_channels, .n_in = n_channels};
    float *gain = NULL, *shift = NULL;
    gboolean ok = !is_filling(reader) ||
                  ((gain = read_vector(reader, block, ".norm.weight", n_channels, error)) &&
                   (shift = read_vector(reader, block, ".norm.bias", n_channels, error)));

    dense.gain = gain;
    dense.shift = shift;
    ok = ok && take_linear(reader, &dense, type, FASTVLM_ACTIVATION_NONE, qkv, error);
    fastvlm_free_tensor(gain);
    fastvlm_free_tensor(shift);
    return ok;
}

static gboolean take_mixer_block(FastvlmReader *reader, const char *block, int n_channels,
                                 FastvlmMatrixType type, FastvlmVisionBlock *out, GError **error)
{
    g_autofree char *mixer = g_strconcat(block, ".token_mixer.reparam_conv", NULL);

    out->mixer = (FastvlmConv){n_channels, 1, 3, 1, NULL, NULL, FALSE};
    return take_conv(reader, mixer, &out->mixer, error) &&
           take_ffn(reader, block, n_channels, ".layer_scale", type, &out->ffn, error);
}

static gboolean take_attention_block(FastvlmReader *reader, const char *block, int n_channels,
                                     FastvlmMatrixType type, FastvlmVisionBlock *out,
                                     GError **error)
{
    g_autofree char *name = g_strconcat(block, ".token_mixer.proj", NULL);
    const Dense proj = {.part = name, .n_dims = 2, .n_out = n_channels, .n_in = n_channels};

    return take_qkv(reader, block, n_channels, type, &out->qkv, error) &&
           take_scaled_linear(reader, proj, block, ".layer_scale_1", type, &out->proj, error) &&
           take_ffn(reader, block, n_channels, ".layer_scale_2", type, &out->ffn, error);
}

static gboolean take_blocks(FastvlmReader *reader, int index, FastvlmMatrixType type,
                            FastvlmVisionStage *stage, GError **error)
{
    stage->blocks = g_new0(FastvlmVisionBlock, stage->n_blocks);
    for (int i = 0; i < stage->n_blocks; i++) {
        g_autofree char *block = g_strdup_printf("network.%d.%d", index, i);

        if (!(stage->has_attention ? take_attention_block : take_mixer_block)(
                reader, block, stage->n_channels, type, &stage->blocks[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean take_down(FastvlmReader *reader, int index, int n_in, int n_out,
                          FastvlmMatrixType type, FastvlmVisionStage *stage, GError **error)
{
    g_autofree char *conv = g_strdup_printf("network.%d.proj.0.lkb_reparam", index);
    g_autofree char *mix = g_strdup_printf("network.%d.proj.1.reparam_conv", index);
    const Dense dense = {.part = mix, .n_dims = 4, .n_out = n_out, .n_in = n_out};

    stage->down = (FastvlmConv){n_out, n_out / n_in, 7, 2, NULL, NULL, FALSE};
    return take_conv(reader, conv, &stage->down, error) &&
           take_linear(reader, &dense, type, FASTVLM_ACTIVATION_GELU, &stage->down_mix, error);
}

static gboolean take_stage(FastvlmReader *reader, const FastvlmVisionPlan *plan, int s,
                           FastvlmVisionStage *stage, GError **error)
{
    const FastvlmVisionLayout *layout = &reader->layout;
    const int index = fastvlm_vision_stage_index(s);

    stage->n_channels = layout->dims[s];
    stage->n_blocks = layout->blocks[s];
    stage->has_attention = s >= FASTVLM_VISION_FIRST_ATTENTION_STAGE;
    if (stage->has_attention) {
        g_autofree char *position = g_strdup_printf("network.%d.reparam_conv", index - 1);

        stage->position = (FastvlmConv){stage->n_channels, 1, 7, 1, NULL, NULL, FALSE};
        if (!take_conv(reader, position, &stage->position, error))
            return FALSE;
    }
    if (!take_blocks(reader, index, plan->stages[s], stage, error))
        return FALSE;
    return s == FASTVLM_VISION_STAGES - 1 ||
           take_down(reader, index + 1, stage->n_channels, layout->dims[s + 1], plan->stages[s + 1],
                     stage, error);
}

/** [n, 3 rgb, 3, 3] turned to [n, 3, 3, 3 rgb], the order of an NHWC picture's bytes. */
static gboolean fill_stem(FastvlmReader *reader, const char *weight, const char *bias,
                          FastvlmLinear *stem, GError **error)
{
    const int n_out = stem->matrix.n_out;
    const gint64 shape[4] = {n_out, 3, 3, 3};
    float *stored = fastvlm_reader_read(reader, weight, 4, shape, error);
    float *turned = stored ? fastvlm_alloc_tensor((gsize)n_out, 27, weight, error) : NULL;
    const gboolean ok = turned && fastvlm_reader_read_to(reader, bias, 1, shape, stem->bias, error);

    for (int i = 0; ok && i < n_out * 27; i++) {
        const int n = i / 27, rgb = i % 27 / 9, tap = i % 9;

        turned[n * 27 + tap * 3 + rgb] = stored[i];
    }
    if (ok)
        fastvlm_matrix_set_rows(&stem->matrix, 0, n_out, turned);
    fastvlm_free_tensor(stored);
    fastvlm_free_tensor(turned);
    return ok;
}

static gboolean take_stem_conv(FastvlmReader *reader, int n_channels, FastvlmMatrixType type,
                               FastvlmLinear *stem, GError **error)
{
    g_autofree char *weight = name_of("patch_embed.0.reparam_conv", ".weight");
    g_autofree char *bias = name_of("patch_embed.0.reparam_conv", ".bias");

    stem->activation = FASTVLM_ACTIVATION_GELU;
    return fastvlm_matrix_take(&stem->matrix, type, n_channels, 27, reader->store, weight, error) &&
           fastvlm_reader_take_floats(reader, bias, n_channels, &stem->bias, error) &&
           (!is_filling(reader) || fill_stem(reader, weight, bias, stem, error));
}

static gboolean take_stem(FastvlmVisionWeights *weights, FastvlmReader *reader,
                          const FastvlmVisionPlan *plan, int n_channels, GError **error)
{
    const Dense mix = {
        .part = "patch_embed.2.reparam_conv", .n_dims = 4, .n_out = n_channels, .n_in = n_channels};

    weights->stem_down = (FastvlmConv){n_channels, 1, 3, 2, NULL, NULL, FALSE};
    return take_stem_conv(reader, n_channels, plan->plain, &weights->stem, error) &&
           take_conv(reader, "patch_embed.1.reparam_conv", &weights->stem_down, error) &&
           take_linear(reader, &mix, plan->stages[0], FASTVLM_ACTIVATION_GELU, &weights->stem_mix,
                       error);
}

static gboolean take_expansion(FastvlmVisionWeights *weights, FastvlmReader *reader,
                               FastvlmMatrixType type, int n_in, int n_squeezed, GError **error)
{
    const int n = 2 * n_in;
    const Dense reduce = {
        .part = "conv_exp.se.reduce", .n_dims = 4, .n_out = n_squeezed, .n_in = n};
    const Dense expand = {
        .part = "conv_exp.se.expand", .n_dims = 4, .n_out = n, .n_in = n_squeezed};

    weights->expand = (FastvlmConv){n, 2, 3, 1, NULL, NULL, FALSE};
    return take_conv(reader, "conv_exp.reparam_conv", &weights->expand, error) &&
           take_linear(reader, &reduce, type, FASTVLM_ACTIVATION_NONE, &weights->squeeze, error) &&
           take_linear(reader, &expand, type, FASTVLM_ACTIVATION_NONE, &weights->excite, error);
}

static gboolean take_projector_layer(FastvlmReader *reader, int index, int n_out, int n_in,
                                     FastvlmMatrixType type, FastvlmActivation activation,
                                     FastvlmLinear *linear, GError **error)
{
    g_autofree char *weight = g_strdup_printf("model.mm_projector.%d.weight", index);
    g_autofree char *bias = g_strdup_printf("model.mm_projector.%d.bias", index);
    const Dense dense = {.n_dims = 2, .n_out = n_out, .n_in = n_in};

    return take_named_linear(reader, &dense, weight, bias, type, activation, linear, error);
}

gboolean fastvlm_vision_weights_read(FastvlmVisionWeights *weights, FastvlmReader *reader,
                                     const FastvlmVisionPlan *plan, GError **error)
{
    const FastvlmVisionLayout *layout = &reader->layout;
    const FastvlmMatrixType last = plan->stages[FASTVLM_VISION_STAGES - 1];
    const int width = layout->vision_width;
    const int hidden = fastvlm_checkpoint_get_config(reader->checkpoint)->hidden_size;

    if (!take_stem(weights, reader, plan, layout->dims[0], error))
        return FALSE;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        if (!take_stage(reader, plan, s, &weights->stages[s], error))
            return FALSE;
    return take_expansion(weights, reader, plan->plain, width / 2, layout->se_dim, error) &&
           take_projector_layer(reader, 0, hidden, width, last, FASTVLM_ACTIVATION_GELU,
                                &weights->projector_in, error) &&
           take_projector_layer(reader, 2, hidden, hidden, last, FASTVLM_ACTIVATION_NONE,
                                &weights->projector_out, error);
}

void fastvlm_vision_weights_clear(FastvlmVisionWeights *weights)
{
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        g_free(weights->stages[s].blocks);
    *weights = (FastvlmVisionWeights){0};
}
