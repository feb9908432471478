/*
 * Walks the tensors of a checkpoint by name.
 *
 *     names -> block counts; shapes of the 1x1 convolutions between stages -> widths
 *     for each tensor that the engine reads: there, shaped as the rest says, of a weight's dtype
 *     no tensor of encoder, projector or decoder layers left over
 *
 * Names and shapes as listed for the released checkpoints, whose modules are those of mobileclip's
 * mci.py and llava_qwen.py in apple/ml-fastvlm and of transformers' modeling_qwen2.py.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/layout.h"

#include <string.h>

#include "base/text_file.h"

#define MAX_BLOCKS 256
#define MAX_DIMS 65536
#define P FASTVLM_VISION_PREFIX
#define CLASSIFIER P "head.proj"

/** A walk over the tensors of one part after the other; the first that does not fit ends it. */
typedef struct {
    const FastvlmCheckpoint *checkpoint;
    GHashTable *seen; /* names of tensors that were asked for; owned by the checkpoint */
    FastvlmPart part;
    FastvlmTensorTotals totals;
    GError **error;
} Walk;

static gboolean visit(Walk *walk, const char *name, int n_dims, const gint64 *shape)
{
    const FastvlmTensorView *view =
        fastvlm_checkpoint_require(walk->checkpoint, name, n_dims, shape, walk->error);

    if (!view)
        return FALSE;
    walk->totals.n_elements[walk->part] += view->n_elements;
    if (!strstr(name, ".running_"))
        walk->totals.n_parameters[walk->part] += view->n_elements;
    g_hash_table_add(walk->seen, (gpointer)view->name);
    return TRUE;
}

/** PREFIX SUFFIX: [n]. */
static gboolean visit_vector(Walk *walk, const char *prefix, const char *suffix, gint64 n)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);

    return visit(walk, name, 1, &n);
}

/** PREFIX SUFFIX: [n, 1, 1]. */
static gboolean visit_scale(Walk *walk, const char *prefix, const char *suffix, gint64 n)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);
    const gint64 shape[3] = {n, 1, 1};

    return visit(walk, name, 3, shape);
}

/** PREFIX SUFFIX: [n_out, n_in]. */
static gboolean visit_matrix(Walk *walk, const char *prefix, const char *suffix, gint64 n_out,
                             gint64 n_in)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);
    const gint64 shape[2] = {n_out, n_in};

    return visit(walk, name, 2, shape);
}

/** PREFIX.weight: [n_out, n_in, size, size]; n_in counts one group's inputs. */
static gboolean visit_kernel(Walk *walk, const char *prefix, gint64 n_out, gint64 n_in, gint64 size)
{
    g_autofree char *name = g_strconcat(prefix, ".weight", NULL);
    const gint64 shape[4] = {n_out, n_in, size, size};

    return visit(walk, name, 4, shape);
}

static gboolean visit_conv(Walk *walk, const char *prefix, gint64 n_out, gint64 n_in, gint64 size)
{
    return visit_kernel(walk, prefix, n_out, n_in, size) &&
           visit_vector(walk, prefix, ".bias", n_out);
}

int fastvlm_vision_stage_index(int stage)
{
    static const int indices[FASTVLM_VISION_STAGES] = {0, 2, 4, 7, 10};

    return indices[stage];
}

static gboolean visit_ffn(Walk *walk, const char *block, int n)
{
    g_autofree char *conv = g_strconcat(block, ".convffn.conv.conv", NULL);
    g_autofree char *norm = g_strconcat(block, ".convffn.conv.bn", NULL);
    g_autofree char *fc1 = g_strconcat(block, ".convffn.fc1", NULL);
    g_autofree char *fc2 = g_strconcat(block, ".convffn.fc2", NULL);

    return visit_kernel(walk, conv, n, 1, 7) && visit_vector(walk, norm, ".weight", n) &&
           visit_vector(walk, norm, ".bias", n) && visit_vector(walk, norm, ".running_mean", n) &&
           visit_vector(walk, norm, ".running_var", n) && visit_conv(walk, fc1, 4 * n, n, 1) &&
           visit_conv(walk, fc2, n, 4 * n, 1);
}

static gboolean visit_mixer_block(Walk *walk, const char *block, int n)
{
    g_autofree char *mixer = g_strconcat(block, ".token_mixer.reparam_conv", NULL);

    return visit_conv(walk, mixer, n, 1, 3) && visit_scale(walk, block, ".layer_scale", n) &&
           visit_ffn(walk, block, n);
}

static gboolean visit_attention_block(Walk *walk, const char *block, int n)
{
    return visit_vector(walk, block, ".norm.weight", n) &&
           visit_vector(walk, block, ".norm.bias", n) &&
           visit_matrix(walk, block, ".token_mixer.qkv.weight", 3 * n, n) &&
           visit_matrix(walk, block, ".token_mixer.proj.weight", n, n) &&
           visit_vector(walk, block, ".token_mixer.proj.bias", n) &&
           visit_scale(walk, block, ".layer_scale_1", n) &&
           visit_scale(walk, block, ".layer_scale_2", n) && visit_ffn(walk, block, n);
}

static gboolean visit_stage(Walk *walk, const FastvlmVisionLayout *layout, int stage)
{
    const gboolean has_attention = stage >= FASTVLM_VISION_FIRST_ATTENTION_STAGE;
    const int index = fastvlm_vision_stage_index(stage);
    const int n = layout->dims[stage];

    if (has_attention) {
        g_autofree char *position = g_strdup_printf(P "network.%d.reparam_conv", index - 1);

        if (!visit_conv(walk, position, n, 1, 7))
            return FALSE;
    }
    for (int i = 0; i < layout->blocks[stage]; i++) {
        g_autofree char *block = g_strdup_printf(P "network.%d.%d", index, i);

        if (!(has_attention ? visit_attention_block : visit_mixer_block)(walk, block, n))
            return FALSE;
    }
    return TRUE;
}

/** The patch embedding behind a stage. */
static gboolean visit_down(Walk *walk, const FastvlmVisionLayout *layout, int stage)
{
    const int index = fastvlm_vision_stage_index(stage) + 1;
    const int n = layout->dims[stage + 1];
    g_autofree char *conv = g_strdup_printf(P "network.%d.proj.0.lkb_reparam", index);
    g_autofree char *mix = g_strdup_printf(P "network.%d.proj.1.reparam_conv", index);

    return visit_conv(walk, conv, n, 1, 7) && visit_conv(walk, mix, n, n, 1);
}

static gboolean visit_vision(Walk *walk, const FastvlmVisionLayout *layout)
{
    const int n = layout->dims[0];
    const int width = layout->vision_width;

    walk->part = FASTVLM_PART_VISION;
    if (!visit_conv(walk, P "patch_embed.0.reparam_conv", n, 3, 3) ||
        !visit_conv(walk, P "patch_embed.1.reparam_conv", n, 1, 3) ||
        !visit_conv(walk, P "patch_embed.2.reparam_conv", n, n, 1))
        return FALSE;
    for (int stage = 0; stage < FASTVLM_VISION_STAGES; stage++)
        if (!visit_stage(walk, layout, stage) ||
            (stage < FASTVLM_VISION_STAGES - 1 && !visit_down(walk, layout, stage)))
            return FALSE;
    return visit_conv(walk, P "conv_exp.reparam_conv", width, 1, 3) &&
           visit_conv(walk, P "conv_exp.se.reduce", layout->se_dim, width, 1) &&
           visit_conv(walk, P "conv_exp.se.expand", width, layout->se_dim, 1);
}

static gboolean visit_projector(Walk *walk, const FastvlmVisionLayout *layout, int hidden)
{
    walk->part = FASTVLM_PART_PROJECTOR;
    return visit_matrix(walk, "model.mm_projector.0", ".weight", hidden, layout->vision_width) &&
           visit_vector(walk, "model.mm_projector.0", ".bias", hidden) &&
           visit_matrix(walk, "model.mm_projector.2", ".weight", hidden, hidden) &&
           visit_vector(walk, "model.mm_projector.2", ".bias", hidden);
}

static gboolean visit_decoder_layer(Walk *walk, const FastvlmConfig *config, int layer)
{
    g_autofree char *prefix = g_strdup_printf("model.layers.%d.", layer);
    const int hidden = config->hidden_size;
    const int n_q = config->n_heads * config->head_dim;
    const int n_kv = config->n_kv_heads * config->head_dim;
    const int n = config->intermediate_size;

    return visit_vector(walk, prefix, "input_layernorm.weight", hidden) &&
           visit_matrix(walk, prefix, "self_attn.q_proj.weight", n_q, hidden) &&
           visit_vector(walk, prefix, "self_attn.q_proj.bias", n_q) &&
           visit_matrix(walk, prefix, "self_attn.k_proj.weight", n_kv, hidden) &&
           visit_vector(walk, prefix, "self_attn.k_proj.bias", n_kv) &&
           visit_matrix(walk, prefix, "self_attn.v_proj.weight", n_kv, hidden) &&
           visit_vector(walk, prefix, "self_attn.v_proj.bias", n_kv) &&
           visit_matrix(walk, prefix, "self_attn.o_proj.weight", hidden, n_q) &&
           visit_vector(walk, prefix, "post_attention_layernorm.weight", hidden) &&
           visit_matrix(walk, prefix, "mlp.gate_proj.weight", n, hidden) &&
           visit_matrix(walk, prefix, "mlp.up_proj.weight", n, hidden) &&
           visit_matrix(walk, prefix, "mlp.down_proj.weight", hidden, n);
}

static gboolean visit_language(Walk *walk, const FastvlmConfig *config)
{
    const int hidden = config->hidden_size;

    walk->part = FASTVLM_PART_LANGUAGE;
    if (!visit_matrix(walk, "model.embed_tokens", ".weight", config->vocab_size, hidden))
        return FALSE;
    for (int layer = 0; layer < config->n_layers; layer++)
        if (!visit_decoder_layer(walk, config, layer))
            return FALSE;
    if (!visit_vector(walk, "model.norm", ".weight", hidden))
        return FALSE;
    if (config->tied_head || visit_matrix(walk, "lm_head", ".weight", config->vocab_size, hidden))
        return TRUE;
    if (!fastvlm_checkpoint_find(walk->checkpoint, "lm_head.weight"))
        g_prefix_error(walk->error,
                       "tie_word_embeddings is not true, so the model has a head of its "
                       "own; if it is the embedding, say --head tied (property head): ");
    return FALSE;
}

/** Tensors that released checkpoints hold and that take no part in the arithmetic. */
static gboolean is_unused(const char *name)
{
    return strcmp(name, CLASSIFIER) == 0 || g_str_has_suffix(name, ".num_batches_tracked") ||
           g_str_has_suffix(name, ".rotary_emb.inv_freq");
}

/** A tensor more under `prefix` would mean a model that computes something else. */
static gboolean check_none_left(const Walk *walk, const char *prefix)
{
    const guint n = fastvlm_checkpoint_get_n_tensors(walk->checkpoint);

    for (guint i = 0; i < n; i++) {
        const FastvlmTensorView *view = fastvlm_checkpoint_get_tensor(walk->checkpoint, i);
        g_autofree char *quoted = NULL;

        if (!g_str_has_prefix(view->name, prefix) || is_unused(view->name) ||
            g_hash_table_contains(walk->seen, view->name))
            continue;
        quoted = fastvlm_text_quote(view->name);
        g_set_error(walk->error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "%s: tensor %s: not one of a FastVLM model as Apple releases it, expected no "
                    "more under %s than config.json and the other tensors ask for",
                    view->file, quoted, prefix);
        return FALSE;
    }
    return TRUE;
}

/** Exports for MLX leave the encoder to another file, which is none of ours. */
static gboolean check_vision_part(const FastvlmCheckpoint *checkpoint, GError **error)
{
    const guint n = fastvlm_checkpoint_get_n_tensors(checkpoint);

    for (guint i = 0; i < n; i++)
        if (g_str_has_prefix(fastvlm_checkpoint_get_tensor(checkpoint, i)->name, P))
            return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
                "%s: no vision part in it (tensors " P "*; an export for MLX keeps it apart, as "
                "fastvithd.mlpackage): name the directory of the checkpoint it was made from as "
                "--vision (property vision-path)",
                fastvlm_checkpoint_get_path(checkpoint));
    return FALSE;
}

/** Size `which` of the tensor `name`, which must have `n_dims` dimensions. */
static gboolean read_size(const FastvlmCheckpoint *checkpoint, const char *name, int n_dims,
                          int *size, GError **error)
{
    static const gint64 any[4] = {-1, -1, -1, -1};
    const FastvlmTensorView *view =
        fastvlm_checkpoint_require(checkpoint, name, n_dims, any, error);

    if (!view)
        return FALSE;
    if (view->shape[0] > MAX_DIMS) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: tensor %s: %" G_GINT64_FORMAT " channels, expected at most %d", view->file,
                    name, view->shape[0], MAX_DIMS);
        return FALSE;
    }
    *size = (int)view->shape[0];
    return TRUE;
}

static gboolean fail_stage(const FastvlmCheckpoint *checkpoint, int stage, int found,
                           const char *expected, int number, GError **error)
{
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                "%s: encoder stage %d: %d channels, expected a multiple of %s, %d",
                fastvlm_checkpoint_get_path(checkpoint), stage, found, expected, number);
    return FALSE;
}

static gboolean find_dims(const FastvlmCheckpoint *checkpoint, FastvlmVisionLayout *layout,
                          GError **error)
{
    if (!read_size(checkpoint, P "patch_embed.0.reparam_conv.weight", 4, &layout->dims[0], error))
        return FALSE;
    for (int s = 1; s < FASTVLM_VISION_STAGES; s++) {
        g_autofree char *name = g_strdup_printf(P "network.%d.proj.1.reparam_conv.weight",
                                                fastvlm_vision_stage_index(s - 1) + 1);

        if (!read_size(checkpoint, name, 4, &layout->dims[s], error))
            return FALSE;
        if (layout->dims[s] % layout->dims[s - 1] != 0)
            return fail_stage(checkpoint, s, layout->dims[s], "the stage before it",
                              layout->dims[s - 1], error);
        if (s >= FASTVLM_VISION_FIRST_ATTENTION_STAGE &&
            layout->dims[s] % FASTVLM_VISION_HEAD_DIM != 0)
            return fail_stage(checkpoint, s, layout->dims[s], "a head's width",
                              FASTVLM_VISION_HEAD_DIM, error);
    }
    layout->vision_width = 2 * layout->dims[FASTVLM_VISION_STAGES - 1];
    return read_size(checkpoint, P "conv_exp.se.reduce.weight", 4, &layout->se_dim, error);
}

static int count_blocks(const FastvlmCheckpoint *checkpoint, int stage)
{
    for (int i = 0; i <= MAX_BLOCKS; i++) {
        g_autofree char *name = g_strdup_printf(P "network.%d.%d.convffn.fc1.weight",
                                                fastvlm_vision_stage_index(stage), i);

        if (!fastvlm_checkpoint_find(checkpoint, name))
            return i;
    }
    return MAX_BLOCKS + 1;
}

static gboolean find_blocks(const FastvlmCheckpoint *checkpoint, FastvlmVisionLayout *layout,
                            GError **error)
{
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++) {
        layout->blocks[s] = count_blocks(checkpoint, s);
        if (layout->blocks[s] >= 1 && layout->blocks[s] <= MAX_BLOCKS)
            continue;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: encoder stage %d: %s, expected 1 to %d (tensors " P
                    "network.%d.*.convffn.fc1.weight)",
                    fastvlm_checkpoint_get_path(checkpoint), s,
                    layout->blocks[s] == 0 ? "no block" : "too many blocks", MAX_BLOCKS,
                    fastvlm_vision_stage_index(s));
        return FALSE;
    }
    return TRUE;
}

static void begin_walk(Walk *walk, const FastvlmCheckpoint *checkpoint, GError **error)
{
    *walk = (Walk){
        .checkpoint = checkpoint,
        .seen = g_hash_table_new(g_str_hash, g_str_equal),
        .error = error,
    };
}

gboolean fastvlm_vision_layout_detect(const FastvlmCheckpoint *checkpoint,
                                      FastvlmVisionLayout *layout, GError **error)
{
    FastvlmVisionLayout found = {0};
    Walk walk;
    gboolean ok;

    if (!check_vision_part(checkpoint, error) || !find_dims(checkpoint, &found, error) ||
        !find_blocks(checkpoint, &found, error))
        return FALSE;
    begin_walk(&walk, checkpoint, error);
    ok = visit_vision(&walk, &found) && check_none_left(&walk, P);
    g_hash_table_destroy(walk.seen);
    if (ok)
        *layout = found;
    return ok;
}

/** The config says how many channels the projector takes; it must be what the encoder gives. */
static gboolean check_width(const FastvlmConfig *config, const FastvlmVisionLayout *layout,
                            GError **error)
{
    if (config->mm_hidden_size == 0 || config->mm_hidden_size == layout->vision_width)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "%s: mm_hidden_size: found %d, expected %d, the width of the encoder's output",
                config->path, config->mm_hidden_size, layout->vision_width);
    return FALSE;
}

gboolean fastvlm_layout_verify(const FastvlmCheckpoint *checkpoint,
                               const FastvlmVisionLayout *layout, FastvlmTensorTotals *totals,
                               GError **error)
{
    const FastvlmConfig *config = fastvlm_checkpoint_get_config(checkpoint);
    const FastvlmTensorView *classifier = fastvlm_checkpoint_find(checkpoint, CLASSIFIER);
    Walk walk;
    gboolean ok;

    if (!check_width(config, layout, error))
        return FALSE;
    begin_walk(&walk, checkpoint, error);
    ok = visit_vision(&walk, layout) && visit_projector(&walk, layout, config->hidden_size) &&
         visit_language(&walk, config) && check_none_left(&walk, P) &&
         check_none_left(&walk, "model.mm_projector.") && check_none_left(&walk, "model.layers.");
    g_hash_table_destroy(walk.seen);
    if (classifier)
        walk.totals.n_parameters[FASTVLM_PART_VISION] += classifier->n_elements;
    if (ok && totals)
        *totals = walk.totals;
    return ok;
}
