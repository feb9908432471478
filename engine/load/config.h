/*
 * config.json of a checkpoint: what kind of model it is and the sizes of its decoder.
 *
 *     model_type "llava_qwen2": Apple's release, and the app's export for MLX
 *     model_type "fast_vlm": as transformers converts it, the decoder's keys in text_config
 *
 * The encoder's sizes are not in it, but for the resolution; layout.h takes them from the tensors.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_CONFIG_H
#define FASTVLM_LOAD_CONFIG_H

#include <fastvlm/model.h>

/** Most rows that an embedding may have. */
#define FASTVLM_CONFIG_MAX_VOCAB 4194304

/** Every size is in the range given, so that products of any two fit an int64. */
typedef struct {
    char *path;            /* of config.json, for messages */
    char *model_type;      /* "llava_qwen2" or "fast_vlm" */
    char *origin;          /* _name_or_path: what it was made from; may be NULL */
    int hidden_size;       /* 1 .. 65536 */
    int intermediate_size; /* 1 .. 1048576 */
    int n_layers;          /* 1 .. 1024 */
    int n_heads;           /* 1 .. 1024 */
    int n_kv_heads;        /* divides n_heads */
    int head_dim;          /* even, 2 .. 1024; `head_dim`, or hidden_size / n_heads */
    int vocab_size;        /* 1 .. 4194304 */
    int max_positions;     /* 1 .. 16777216 */
    double rope_theta;     /* 1 .. 1e12 */
    float rms_norm_eps;    /* above 0, at most 0.1 */
    gboolean tied_head;    /* the head is the embedding, whatever lm_head.weight holds */
    gboolean says_head;    /* whether the file says so; where not, `tied_head` is FALSE */
    int mm_hidden_size;    /* channels that the projector takes; 0: not said */
    int resolution;        /* pixels, a multiple of 64, 64 .. 4096 */
    FastvlmFit fit;        /* what the model's own preprocessing does to a picture */
    int group_size;        /* of weights that MLX has quantized: 32, 64 or 128 */
} FastvlmConfig;

/**
 * Reads config.json in `directory`.
 *
 * @return a config to free with fastvlm_config_free(), or NULL
 * Errors: NOT_FOUND, READ, FORMAT, LIMIT (the file is too large), UNSUPPORTED (another kind of
 * model). Messages name the file, the key, what was found and what was expected.
 */
FastvlmConfig *fastvlm_config_load(const char *directory, GError **error);

/** NULL is fine. */
void fastvlm_config_free(FastvlmConfig *config);

#endif
