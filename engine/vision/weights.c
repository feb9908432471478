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
static gboolean read_linear(FastvlmReader *reader, const char *part, int n_dims,
                            FastvlmLinear *linear, GError **error)
{
    g_autofree char *weight = name_of(part, ".weight");
    const gint64 shape[4] = {linear->n_out, linear->n_in, 1, 1};

    return (linear->weight = fastvlm_reader_read(reader, weight, n_dims, shape, error)) != NULL &&
           (linear->bias = read_vector(reader, part, ".bias", linear->n_out, error)) != NULL;
}

static void scale_rows(FastvlmLinear *linear, const float *scale)
{
    for (int row = 0; row < linear->n_out; row++) {
        float *weight = linear->weight + (gsize)row * (gsize)linear->n_in;

        for (int i = 0; i < linear->n_in; i++)
            weight[i] *= scale[row];
        linear->bias[row] *= scale[row];
    }
}

/** Reads the layer scale PART SUFFIX and folds it into `linear`. */
static gboolean fold_scale(FastvlmReader *reader, const char *part, const char *suffix,
                           FastvlmLinear *linear, GError **error)
{
    float *scale = read_scale(reader, part, suffix, linear->n_out, error);

    if (!scale)
        return FALSE;
    scale_rows(linear, scale);
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
                         const char *scale, FastvlmConvFfn *ffn, GError **error)
{
    g_autofree char *conv =
        g_strconcat(FASTVLM_VISION_PREFIX, block, ".convffn.conv.conv.weight", NULL);
    g_autofree char *norm = g_strconcat(block, ".convffn.conv.bn", NULL);
    g_autofree char *fc1 = g_strconcat(block, ".convffn.fc1", NULL);
    g_autofree char *fc2 = g_strconcat(block, ".convffn.fc2", NULL);

    ffn->conv = (FastvlmConv){n_channels, 1, 7, 1, NULL, NULL};
    ffn->fc1 = (FastvlmLinear){4 * n_channels, n_channels, NULL, NULL, FASTVLM_ACTIVATION_GELU};
    ffn->fc2 = (FastvlmLinear){n_channels, 4 * n_channels, NULL, NULL, FASTVLM_ACTIVATION_NONE};
    return read_conv_weight(reader, conv, &ffn->conv, error) &&
           fold_batch_norm(reader, norm, &ffn->conv, error) &&
           read_linear(reader, fc1, 4, &ffn->fc1, error) &&
           read_linear(reader, fc2, 4, &ffn->fc2, error) &&
           fold_scale(reader, block, scale, &ffn->fc2, error);
}

/** qkv(LayerNorm(x)): W (g * n + b) = (W diag(g)) n + W b, q rows scaled as well. */
static void fold_layer_norm(FastvlmLinear *qkv, const float *gain, const float *shift)
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

static gboolean read_qkv(FastvlmReader *reader, const char *block, FastvlmLinear *qkv,
                         GError **error)
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
                                 FastvlmVisionBlock *out, GError **error)
{
    g_autofree char *mixer = g_strconcat(block, ".token_mixer.reparam_conv", NULL);

    out->mixer = (FastvlmConv){n_channels, 1, 3, 1, NULL, NULL};
    return read_conv(reader, mixer, &out->mixer, error) &&
           read_ffn(reader, block, n_channels, ".layer_scale", &out->ffn, error);
}

static gboolean read_attention_block(FastvlmReader *reader, const char *block, int n_channels,
                                     FastvlmVisionBlock *out, GError **error)
{
    g_autofree char *proj = g_strconcat(block, ".token_mixer.proj", NULL);

    out->qkv = (FastvlmLinear){3 * n_channels, n_channels, NULL, NULL, FASTVLM_ACTIVATION_NONE};
    out->proj = (FastvlmLinear){n_channels, n_channels, NULL, NULL, FASTVLM_ACTIVATION_NONE};
    return read_qkv(reader, block, &out->qkv, error) &&
           read_linear(reader, proj, 2, &out->proj, error) &&
           fold_scale(reader, block, ".layer_scale_1", &out->proj, error) &&
           read_ffn(reader, block, n_channels, ".layer_scale_2", &out->ffn, error);
}

static gboolean read_blocks(FastvlmReader *reader, int index, FastvlmVisionStage *stage,
                            GError **error)
{
    stage->blocks = g_new0(FastvlmVisionBlock, stage->n_blocks);
    for (int i = 0; i < stage->n_blocks; i++) {
        g_autofree char *block = g_strdup_printf("network.%d.%d", index, i);

        if (!(stage->has_attention ? read_attention_block : read_mixer_block)(
                reader, block, stage->n_channels, &stage->blocks[i], error))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_down(FastvlmReader *reader, int index, int n_in, int n_out,
                          FastvlmVisionStage *stage, GError **error)
{
    g_autofree char *conv = g_strdup_printf("network.%d.proj.0.lkb_reparam", index);
    g_autofree char *mix = g_strdup_printf("network.%d.proj.1.reparam_conv", index);

    stage->down = (FastvlmConv){n_out, n_out / n_in, 7, 2, NULL, NULL};
    stage->down_mix = (FastvlmLinear){n_out, n_out, NULL, NULL, FASTVLM_ACTIVATION_GELU};
    return read_conv(reader, conv, &stage->down, error) &&
           read_linear(reader, mix, 4, &stage->down_mix, error);
}

static gboolean read_stage(FastvlmReader *reader, const FastvlmVisionLayout *layout, int s,
                           FastvlmVisionStage *stage, GError **error)
{
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
    if (!read_blocks(reader, index, stage, error))
        return FALSE;
    return s == FASTVLM_VISION_STAGES - 1 ||
           read_down(reader, index + 1, stage->n_channels, layout->dims[s + 1], stage, error);
}

/** [n, 3 rgb, 3, 3] turned to [n, 3, 3, 3 rgb], the order of an NHWC picture's bytes. */
static gboolean read_stem_conv(FastvlmReader *reader, FastvlmLinear *stem, GError **error)
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

static gboolean read_stem(FastvlmVisionWeights *weights, FastvlmReader *reader, int n_channels,
                          GError **error)
{
    weights->stem = (FastvlmLinear){n_channels, 27, NULL, NULL, FASTVLM_ACTIVATION_GELU};
    weights->stem_down = (FastvlmConv){n_channels, 1, 3, 2, NULL, NULL};
    weights->stem_mix =
        (FastvlmLinear){n_channels, n_channels, NULL, NULL, FASTVLM_ACTIVATION_GELU};
    return read_stem_conv(reader, &weights->stem, error) &&
           read_conv(reader, "patch_embed.1.reparam_conv", &weights->stem_down, error) &&
           read_linear(reader, "patch_embed.2.reparam_conv", 4, &weights->stem_mix, error);
}

static gboolean read_expansion(FastvlmVisionWeights *weights, FastvlmReader *reader, int n_in,
                               int n_squeezed, GError **error)
{
    const int n = 2 * n_in;

    weights->expand = (FastvlmConv){n, 2, 3, 1, NULL, NULL};
    weights->squeeze = (FastvlmLinear){n_squeezed, n, NULL, NULL, FASTVLM_ACTIVATION_NONE};
    weights->excite = (FastvlmLinear){n, n_squeezed, NULL, NULL, FASTVLM_ACTIVATION_NONE};
    return read_conv(reader, "conv_exp.reparam_conv", &weights->expand, error) &&
           read_linear(reader, "conv_exp.se.reduce", 4, &weights->squeeze, error) &&
           read_linear(reader, "conv_exp.se.expand", 4, &weights->excite, error);
}

static gboolean read_projector_layer(FastvlmReader *reader, int index, int n_out, int n_in,
                                     FastvlmActivation activation, FastvlmLinear *linear,
                                     GError **error)
{
    g_autofree char *weight = g_strdup_printf("model.mm_projector.%d.weight", index);
    g_autofree char *bias = g_strdup_printf("model.mm_projector.%d.bias", index);
    const gint64 shape[2] = {n_out, n_in};

    *linear = (FastvlmLinear){n_out, n_in, NULL, NULL, activation};
    return (linear->weight = fastvlm_reader_read(reader, weight, 2, shape, error)) != NULL &&
           (linear->bias = fastvlm_reader_read(reader, bias, 1, shape, error)) != NULL;
}

gboolean fastvlm_vision_weights_read(FastvlmVisionWeights *weights, FastvlmReader *reader,
                                     GError **error)
{
    const FastvlmVisionLayout *layout = &reader->layout;
    const int width = layout->vision_width;
    const int hidden = fastvlm_checkpoint_get_config(reader->checkpoint)->hidden_size;

    if (!read_stem(weights, reader, layout->dims[0], error))
        return FALSE;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        if (!read_stage(reader, layout, s, &weights->stages[s], error))
            return FALSE;
    return read_expansion(weights, reader, width / 2, layout->se_dim, error) &&
           read_projector_layer(reader, 0, hidden, width, FASTVLM_ACTIVATION_GELU,
                                &weights->projector_in, error) &&
           read_projector_layer(reader, 2, hidden, hidden, FASTVLM_ACTIVATION_NONE,
                                &weights->projector_out, error);
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
