/*
 * Names of tensors, layout by layout.
 *
 * transformers' are those of its converter (models/fast_vlm/convert_fastvlm_weights_to_hf.py), in the
 * order of modules that earlier and later versions save; MLX's those of the app in apple/ml-fastvlm
 * (app/FastVLM/FastVLM.swift).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/naming.h"

#include <string.h>

#define V "model.vision_tower.vision_tower.model."
#define T "model.vision_tower.timm_model."
#define T_OLD "vision_tower.timm_model."

/* The stages and what stands before them, for either spelling of the prefix. */
#define TIMM_PREFIXES(prefix)                                                                      \
    {prefix "stem.", V "patch_embed."}, {prefix "stages.0.blocks.", V "network.0."},               \
        {prefix "stages.1.downsample.", V "network.1."},                                           \
        {prefix "stages.1.blocks.", V "network.2."},                                               \
        {prefix "stages.2.downsample.", V "network.3."},                                           \
        {prefix "stages.2.blocks.", V "network.4."},                                               \
        {prefix "stages.3.downsample.", V "network.5."},                                           \
        {prefix "stages.3.pos_emb.", V "network.6."}, {prefix "stages.3.blocks.", V "network.7."}, \
        {prefix "stages.4.downsample.", V "network.8."},                                           \
        {prefix "stages.4.pos_emb.", V "network.9."},                                              \
        {prefix "stages.4.blocks.", V "network.10."}, {prefix "final_conv.", V "conv_exp."},       \
    {                                                                                              \
        prefix, V                                                                                  \
    }

static const FastvlmRename hub_prefixes[] = {
    TIMM_PREFIXES(T),
    TIMM_PREFIXES(T_OLD),
    {"model.multi_modal_projector.linear_1.", "model.mm_projector.0."},
    {"model.multi_modal_projector.linear_2.", "model.mm_projector.2."},
    {"multi_modal_projector.linear_1.", "model.mm_projector.0."},
    {"multi_modal_projector.linear_2.", "model.mm_projector.2."},
    {"model.language_model.", "model."},
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
    {NULL, NULL},
};

static const FastvlmRename hub_parts[] = {
    {".proj.0.reparam_conv.", ".proj.0.lkb_reparam."},
    {".mlp.conv.", ".convffn.conv."},
    {".mlp.fc1.", ".convffn.fc1."},
    {".mlp.fc2.", ".convffn.fc2."},
    {".conv_exp.se.fc1.", ".conv_exp.se.reduce."},
    {".conv_exp.se.fc2.", ".conv_exp.se.expand."},
    {".layer_scale.gamma", ".layer_scale"},
    {".layer_scale_1.gamma", ".layer_scale_1"},
    {".layer_scale_2.gamma", ".layer_scale_2"},
    {NULL, NULL},
};

static const FastvlmRename mlx_prefixes[] = {
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
    {"multi_modal_projector.linear_0.", "model.mm_projector.0."},
    {"multi_modal_projector.linear_2.", "model.mm_projector.2."},
    {NULL, NULL},
};

static const FastvlmRename none[] = {{NULL, NULL}};

const FastvlmNaming fastvlm_naming_released = {
    "llava_qwen2", "as Apple releases it (llava-fastvithd_*)", NULL, none, none};

/* The first whose mark is found. */
static const FastvlmNaming *const namings[] = {
    &(const FastvlmNaming){"fast_vlm", "as transformers converts it", T_OLD, hub_prefixes,
                           hub_parts},
    &(const FastvlmNaming){"fast_vlm", "as transformers converts it", "model.language_model.",
                           hub_prefixes, hub_parts},
    &(const FastvlmNaming){"mlx", "as Apple's app exports it for MLX", "language_model.model.",
                           mlx_prefixes, none},
};

static gboolean any_contains(const GPtrArray *names, const char *mark)
{
    for (guint i = 0; i < names->len; i++)
        if (strstr(names->pdata[i], mark))
            return TRUE;
    return FALSE;
}

const FastvlmNaming *fastvlm_naming_detect(const GPtrArray *names)
{
    for (guint i = 0; i < G_N_ELEMENTS(namings); i++)
        if (any_contains(names, namings[i]->mark))
            return namings[i];
    return &fastvlm_naming_released;
}

char *fastvlm_naming_translate(const FastvlmNaming *naming, const char *name)
{
    const FastvlmRename *prefix = naming->prefixes;
    GString *text;

    while (prefix->from && !g_str_has_prefix(name, prefix->from))
        prefix++;
    text = g_string_new(prefix->from ? prefix->to : "");
    g_string_append(text, prefix->from ? name + strlen(prefix->from) : name);
    for (const FastvlmRename *part = naming->parts; part->from; part++)
        g_string_replace(text, part->from, part->to, 1);
    return g_string_free(text, FALSE);
}
