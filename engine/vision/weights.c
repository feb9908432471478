/*
 * Reads and folds the encoder's weights. Names as in the released checkpoints, whose modules are
 * those of mobileclip's mci.py in apple/ml-fastvlm.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "vision/weights.h"

#include <math.h>

#include "base/alloc.h"

#define BATCH_NORM_EPSILON 1e-5 /* torch.nn.BatchNorm2d's default, which the model keeps */

/** A linear layer as read: folded in f32, then packed. */
typedef struct {
    int n_out;
    int n_in;
    float *weight; /* [n_out, n_in] */
    float *bias;   /* [n_out] */
} Dense;

static void clear_dense(Dense *dense)
{
    g_clear_pointer(&dense->weight, fastvlm_free_tensor);
    g_clear_pointer(&dense->bias, fastvlm_free_tensor);
}

/** Moves `dense`, which is whole if `ok`, into `linear`. */
static gboolean pack(Dense *dense, gboolean ok, FastvlmMatrixType type,
                     FastvlmActivation activation, FastvlmLinear *linear, GError **error)
{
    linear->activation = activation;
    ok = ok && fastvlm_matrix_alloc(&linear->matrix, type, dense->n_out, dense->n_in,
                                    "the encoder's weights", error);
    if (ok) {
        fastvlm_matrix_set_rows(&linear->matrix, 0, dense->n_out, dense->weight);
        linear->bias = g_steal_pointer(&dense->bias);
    }
    clear_dense(dense);
    return ok;
}

/** A name under the encoder's prefix. */
static char *name_of(const char *part, const char *suffix)
{
    return g_strconcat(FASTVLM_VISION_PREFIX, part, suffix, NULL);
}

static float *read_vector(FastvlmReader *reader, const char *part, const char *suffix, int n,
                          GError **error)
{
    g_autofree char *name = name_of(part, suffix);
    const gint64 shape[1] = {n};

    return fastvlm_reader_read(reader, name, 1, shape, error);
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
static gboolean read_conv_weight(FastvlmReader *reader, const char *name, FastvlmConv *conv,
                                 GError **error)
{
    const int n_taps = conv->kernel_size * conv->kernel_size;
    const gint64 shape[4] = {conv->n_channels, 1, conv->kernel_size, conv->kernel_size};
    float *stored = fastvlm_reader_read(reader, name, 4, shape, error);

    if (!stored)
        return FALSE;
    conv->weight = fastvlm_alloc_tensor((gsize)n_taps, (gsize)conv->n_channels, name, error);
    for (int tap = 0; conv->weight && tap < n_taps; tap++)
        for (int channel = 0; channel < conv->n_channels; channel++)
            conv->weight[(gsize)tap * (gsize)conv->n_channels + (gsize)channel] =
                stored[(gsize)channel * (gsize)n_taps + (gsize)tap];
    fastvlm_free_tensor(stored);
    return conv->weight != NULL;
}

/** PART.weight and PART.bias; the other fields of `conv` are set. */
static gboolean read_conv(FastvlmReader *reader, const char *part, FastvlmConv *conv,
                          GError **error)
{
    g_autofree char *weight = name_of(part, ".weight");

    return read_conv_weight(reader, weight, conv, error) &&
           (conv->bias = read_vector(reader, part, ".bias", conv->n_channels, error)) != NULL;
}

/** A linear layer stored as [n_out, n_in] (n_dims 2) or as a 1x1 convolution (n_dims 4). */
static gboolean read_linear(FastvlmReader *reader, const char *part, int n_dims, Dense *dense,
                            GError **error)
{
    g_autofree char *weight = name_of(part, ".weight");
    const gint64 shape[4] = {dense->n_out, dense->n_in, 1, 1};

    return (dense->weight = fastvlm_reader_read(reader, weight, n_dims, shape, error)) != NULL &&
           (dense->bias = read_vector(reader, part, ".bias", dense->n_out, error)) != NULL;
}

/** The same, packed. */
static gboolean read_packed(FastvlmReader *reader, const char *part, int n_dims, Dense dense,
                            FastvlmMatrixType type, FastvlmActivation activation,
                            FastvlmLinear *linear, GError **error)
{
    const gboolean ok = read_linear(reader, part, n_dims, &dense, error);

    return pack(&dense, ok, type, activation, linear, error);
}

static void scale_rows(Dense *dense, const float *scale)
{
    for (int row = 0; row < dense->n_out; row++) {
        float *weight = dense->weight + (gsize)row * (gsize)dense->n_in;

        for (int i = 0; i < dense->n_in; i++)
            weight[i] *= scale[row];
        dense->bias[row] *= scale[row];
    }
}

/** Reads the layer scale PART SUFFIX and folds it into `dense`. */
static gboolean fold_scale(FastvlmReader *reader, const char *part, const char *suffix,
                           Dense *dense, GError **error)
{
    float *scale = read_scale(reader, part, suffix, dense->n_out, error);

    if (!scale)
        return FALSE;
    scale_rows(dense, scale);
    fastvlm_free_tensor(scale);
    return TRUE;
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

    if (variance)
        conv->bias = read_vector(reader, part, ".bias", n, error);
    for (int channel = 0; conv->bias && channel < n; channel++) {
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
    return conv->bias != NULL;
}

static gboolean read_ffn(FastvlmReader *reader, const char *block, int n_channels,
                         const char *scale, FastvlmMatrixType type, FastvlmConvFfn *ffn,
                         GError **error)
{
    g_autofree char *conv =
        g_strconcat(FASTVLM_VISION_PREFIX, block, ".convffn.conv.conv.weight", NULL);
    g_autofree char *norm = g_strconcat(block, ".convffn.conv.bn", NULL);
    g_autofree char *fc1 = g_strconcat(block, ".convffn.fc1", NULL);
    g_autofree char *fc2 = g_strconcat(block, ".convffn.fc2", NULL);
    Dense second = {n_channels, 4 * n_channels, NULL, NULL};
    gboolean ok;

    ffn->conv = (FastvlmConv){n_channels, 1, 7, 1, NULL, NULL};
    if (!read_conv_weight(reader, conv, &ffn->conv, error) ||
        !fold_batch_norm(reader, norm, &ffn->conv, error) ||
        !read_packed(reader, fc1, 4, (Dense){4 * n_channels, n_channels, NULL, NULL}, type,
                     FASTVLM_ACTIVATION_GELU, &ffn->fc1, error))
        return FALSE;
    ok = read_linear(reader, fc2, 4, &second, error) &&
         fold_scale(reader, block, scale, &second, error);
    return pack(&second, ok, type, FASTVLM_ACTIVATION_NONE, &ffn->fc2, error);
}

/** qkv(LayerNorm(x)): W (g * n + b) = (W diag(g)) n + W b, q rows scaled as well. */
static void fold_layer_norm(Dense *qkv, const float *gain, const float *shift)
{
    const double q_scale = 1.0 / sqrt(FASTVLM_VISION_HEAD_DIM);

    for (int row = 0; row < qkv->n_out; row++) {
        const double scale = row < qkv->n_in ? q_scale : 1.0;
        float *weight = qkv->weight + (gsize)row * (gsize)qkv->n_in;
        double bias = 0.0;

        for (int i = 0; i < qkv->n_in; i++) {
            bias += (double)weight[i] * shift[i];
            weight[i] = (float)(weight[i] * scale * gain[i]);
        }
        qkv->bias[row] = (float)(bias * scale);
    }
}

static gboolean read_qkv(FastvlmReader *reader, const char *block, Dense *qkv, GError **error)
{
    g_autofree char *name =
        g_strconcat(FASTVLM_VISION_PREFIX, block, ".token_mixer.qkv.weight", NULL);
    const gint64 shape[2] = {qkv->n_out, qkv->n_in};
    float *gain = read_vector(reader, block, ".norm.weight", qkv->n_in, error);
    float *shift = gain ? read_vector(reader, block, ".norm.bias", qkv->n_in, error) : NULL;

    if (shift)
        qkv->weight = fastvlm_reader_read(reader, name, 2, shape, error);
    if (qkv->weight)
        qkv->bias = fastvlm_alloc_tensor(1, (gsize)qkv->n_out, name, error);
    if (qkv->bias)
        fold_layer_norm(qkv, gain, shift);
    fastvlm_free_tensor(gain);
    fastvlm_free_tensor(shift);
    return qkv->bias != NULL;
}

static gboolean read_mixer_block(FastvlmReader *reader, const char *block, int n_channels,
                                 FastvlmMatrixType type, FastvlmVisionBlock *out, GError **error)
{
    g_autofree char *mixer = g_strconcat(block, ".token_mixer.reparam_conv", NULL);

    out->mixer = (FastvlmConv){n_channels, 1, 3, 1, NULL, NULL};
    return read_conv(reader, mixer, &out->mixer, error) &&
           read_ffn(reader, block, n_channels, ".layer_scale", type, &out->ffn, error);
}

static gboolean read_attention_block(FastvlmReader *reader, const char *block, int n_channels,
                                     FastvlmMatrixType type, FastvlmVisionBlock *out,
                                     GError **error)
{
    g_autofree char *name = g_strconcat(block, ".token_mixer.proj", NULL);
    Dense qkv = {3 * n_channels, n_channels, NULL, NULL};
    Dense proj = {n_channels, n_channels, NULL, NULL};
    gboolean ok = read_qkv(reader, block, &qkv, error);

    if (!pack(&qkv, ok, type, FASTVLM_ACTIVATION_NONE, &out->qkv, error))
        return FALSE;
    ok = read_linear(reader, name, 2, &proj, error) &&
         fold_scale(reader, block, ".layer_scale_1", &proj, error);
    return pack(&proj, ok, type, FASTVLM_ACTIVATION_NONE, &out->proj, error) &&
           read_ffn(reader, block, n_channels, ".layer_scale_2", type, &out->ffn, error);
}

static gboolean read_blocks(FastvlmReader *reader, int index, FastvlmMatrixType type,
                            FastvlmVisionStage *stage, GError **error)
{
    stage->blocks = g_new0(FastvlmVisionBlock, stage->n_blocks);
    for (int i = 0; i < stage->n_blocks; i++) {
        g_autofree char *block = g_strdup_printf("network.%d.%d", index, i);

        if (!(stage->has_attention ? read_attention_block : read_mixer_block)(
                reader, block, stage->n_channels, type, &stage->blocks[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_down(FastvlmReader *reader, int index, int n_in, int n_out,
                          FastvlmMatrixType type, FastvlmVisionStage *stage, GError **error)
{
    g_autofree char *conv = g_strdup_printf("network.%d.proj.0.lkb_reparam", index);
    g_autofree char *mix = g_strdup_printf("network.%d.proj.1.reparam_conv", index);

    stage->down = (FastvlmConv){n_out, n_out / n_in, 7, 2, NULL, NULL};
    return read_conv(reader, conv, &stage->down, error) &&
           read_packed(reader, mix, 4, (Dense){n_out, n_out, NULL, NULL}, type,
                       FASTVLM_ACTIVATION_GELU, &stage->down_mix, error);
}

static gboolean read_stage(FastvlmReader *reader, const FastvlmVisionPlan *plan, int s,
                           FastvlmVisionStage *stage, GError **error)
{
    const FastvlmVisionLayout *layout = &reader->layout;
    const int index = fastvlm_vision_stage_index(s);

    stage->n_channels = layout->dims[s];
    stage->n_blocks = layout->blocks[s];
    stage->has_attention = s >= FASTVLM_VISION_FIRST_ATTENTION_STAGE;
    if (stage->has_attention) {
        g_autofree char *position = g_strdup_printf("network.%d.reparam_conv", index - 1);

        stage->position = (FastvlmConv){stage->n_channels, 1, 7, 1, NULL, NULL};
        if (!read_conv(reader, position, &stage->position, error))
            return FALSE;
    }
    if (!read_blocks(reader, index, plan->stages[s], stage, error))
        return FALSE;
    return s == FASTVLM_VISION_STAGES - 1 ||
           read_down(reader, index + 1, stage->n_channels, layout->dims[s + 1], plan->stages[s + 1],
                     stage, error);
}

/** [n, 3 rgb, 3, 3] turned to [n, 3, 3, 3 rgb], the order of an NHWC picture's bytes. */
static gboolean read_stem_conv(FastvlmReader *reader, Dense *stem, GError **error)
{
    g_autofree char *name = name_of("patch_embed.0.reparam_conv", ".weight");
    const gint64 shape[4] = {stem->n_out, 3, 3, 3};
    float *stored = fastvlm_reader_read(reader, name, 4, shape, error);

    if (!stored)
        return FALSE;
    stem->weight = fastvlm_alloc_tensor((gsize)stem->n_out, 27, name, error);
    for (int i = 0; stem->weight && i < stem->n_out * 27; i++) {
        const int n = i / 27, rgb = i % 27 / 9, tap = i % 9;

        stem->weight[n * 27 + tap * 3 + rgb] = stored[i];
    }
    fastvlm_free_tensor(stored);
    return stem->weight && (stem->bias = read_vector(reader, "patch_embed.0.reparam_conv", ".bias",
                                                     stem->n_out, error)) != NULL;
}

static gboolean read_stem(FastvlmVisionWeights *weights, FastvlmReader *reader,
                          const FastvlmVisionPlan *plan, int n_channels, GError **error)
{
    Dense stem = {n_channels, 27, NULL, NULL};
    const gboolean ok = read_stem_conv(reader, &stem, error);

    weights->stem_down = (FastvlmConv){n_channels, 1, 3, 2, NULL, NULL};
    return pack(&stem, ok, plan->plain, FASTVLM_ACTIVATION_GELU, &weights->stem, error) &&
           read_conv(reader, "patch_embed.1.reparam_conv", &weights->stem_down, error) &&
           read_packed(reader, "patch_embed.2.reparam_conv", 4,
                       (Dense){n_channels, n_channels, NULL, NULL}, plan->stages[0],
                       FASTVLM_ACTIVATION_GELU, &weights->stem_mix, error);
}

static gboolean read_expansion(FastvlmVisionWeights *weights, FastvlmReader *reader,
                               const FastvlmVisionPlan *plan, int n_in, int n_squeezed,
                               GError **error)
{
    const int n = 2 * n_in;

    weights->expand = (FastvlmConv){n, 2, 3, 1, NULL, NULL};
    return read_conv(reader, "conv_exp.reparam_conv", &weights->expand, error) &&
           read_packed(reader, "conv_exp.se.reduce", 4, (Dense){n_squeezed, n, NULL, NULL},
                       plan->plain, FASTVLM_ACTIVATION_NONE, &weights->squeeze, error) &&
           read_packed(reader, "conv_exp.se.expand", 4, (Dense){n, n_squeezed, NULL, NULL},
                       plan->plain, FASTVLM_ACTIVATION_NONE, &weights->excite, error);
}

static gboolean read_projector_layer(FastvlmReader *reader, int index, Dense dense,
                                     FastvlmMatrixType type, FastvlmActivation activation,
                                     FastvlmLinear *linear, GError **error)
{
    g_autofree char *weight = g_strdup_printf("model.mm_projector.%d.weight", index);
    g_autofree char *bias = g_strdup_printf("model.mm_projector.%d.bias", index);
    const gint64 shape[2] = {dense.n_out, dense.n_in};
    const gboolean ok =
        (dense.weight = fastvlm_reader_read(reader, weight, 2, shape, error)) != NULL &&
        (dense.bias = fastvlm_reader_read(reader, bias, 1, shape, error)) != NULL;

    return pack(&dense, ok, type, activation, linear, error);
}

gboolean fastvlm_vision_weights_read(FastvlmVisionWeights *weights, FastvlmReader *reader,
                                     const FastvlmVisionPlan *plan, GError **error)
{
    const FastvlmVisionLayout *layout = &reader->layout;
    const FastvlmMatrixType last = plan->stages[FASTVLM_VISION_STAGES - 1];
    const int width = layout->vision_width;
    const int hidden = fastvlm_checkpoint_get_config(reader->checkpoint)->hidden_size;

    if (!read_stem(weights, reader, plan, layout->dims[0], error))
        return FALSE;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        if (!read_stage(reader, plan, s, &weights->stages[s], error))
            return FALSE;
    return read_expansion(weights, reader, plan, width / 2, layout->se_dim, error) &&
           read_projector_layer(reader, 0, (Dense){hidden, width, NULL, NULL}, last,
                                FASTVLM_ACTIVATION_GELU, &weights->projector_in, error) &&
           read_projector_layer(reader, 2, (Dense){hidden, hidden, NULL, NULL}, last,
                                FASTVLM_ACTIVATION_NONE, &weights->projector_out, error);
}

static void clear_stage(FastvlmVisionStage *stage)
{
    for (int i = 0; stage->blocks && i < stage->n_blocks; i++) {
        fastvlm_conv_clear(&stage->blocks[i].mixer);
        fastvlm_linear_clear(&stage->blocks[i].qkv);
        fastvlm_linear_clear(&stage->blocks[i].proj);
        fastvlm_conv_ffn_clear(&stage->blocks[i].ffn);
    }
    g_clear_pointer(&stage->blocks, g_free);
    fastvlm_conv_clear(&stage->position);
    fastvlm_conv_clear(&stage->down);
    fastvlm_linear_clear(&stage->down_mix);
}

void fastvlm_vision_weights_clear(FastvlmVisionWeights *weights)
{
    fastvlm_linear_clear(&weights->stem);
    fastvlm_conv_clear(&weights->stem_down);
    fastvlm_linear_clear(&weights->stem_mix);
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        clear_stage(&weights->stages[s]);
    fastvlm_conv_clear(&weights->expand);
    fastvlm_linear_clear(&weights->squeeze);
    fastvlm_linear_clear(&weights->excite);
    fastvlm_linear_clear(&weights->projector_in);
    fastvlm_linear_clear(&weights->projector_out);
}
