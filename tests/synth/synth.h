/*
 * Writes small checkpoints in the released layout, their weights a pure function of a seed.
 *
 * Element i of tensor NAME is offset + scale * v, the two by the tensor's role, v in [-1, 1):
 *     h = fnv1a64(NAME) ^ (seed * g), g = 0x9E3779B97F4A7C15
 *     z = splitmix64's mix of h + (i + 1) * g;  v = 2 * (z >> 40) * 2^-24 - 1
 * all of it in f32, rounded to the nearest even of the dtype. Any language can make the same.
 *
 * A test that needs a broken checkpoint edits the list of tensors or the config before writing.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_SYNTH_H
#define FASTVLM_TESTS_SYNTH_H

#include <glib.h>
#include <jansson.h>

/** A checkpoint to write. */
typedef struct {
    int blocks[5]; /* of the encoder, per stage */
    int dims[5];   /* channels per stage */
    int n_classes; /* columns of the encoder's classifier, which nobody uses */
    int hidden;    /* of the decoder */
    int n_layers;
    int n_heads;
    int n_kv_heads;
    int intermediate;
    int vocab_size;
    gboolean tied; /* lm_head.weight is the embedding, and config.json says so */
    int resolution;
    guint64 seed;
    const char *dtype;     /* "BF16", "F16" or "F32" */
    int n_shards;          /* 1: model.safetensors alone */
    const char *tokenizer; /* directory whose tokenizer files are copied in; may be NULL */
} SynthSpec;

/** A tensor to write. */
typedef struct {
    char *name;        /* in the file */
    char *weight_name; /* whose weights it gets: mostly its own */
    const char *dtype; /* "BF16", "F16", "F32", "U32", or "I64": zeros */
    int n_dims;
    gint64 shape[4];
    float *values;  /* all of them, before they are rounded; NULL: by the weight function */
    guint32 *words; /* of a "U32" */
} SynthTensor;

/**
 * The spec called `name`: "tiny" (2 M parameters), "micro" (0.1 M), or the released shapes "0.5b",
 * "1.5b", "7b"; seed 1, BF16, one file.
 *
 * @return FALSE where there is none of that name
 */
gboolean fastvlm_synth_spec(const char *name, SynthSpec *spec);

/** All tensors of a checkpoint, sorted by name: SynthTensor, freed with the array. */
GPtrArray *fastvlm_synth_tensors(const SynthSpec *spec);

/** Frees a tensor and what it owns. */
void fastvlm_synth_tensor_free(SynthTensor *tensor);

/** A tensor whose name and weight name are `name`; of the four sizes `n_dims` count. */
SynthTensor *fastvlm_synth_tensor_new(const char *name, const char *dtype, int n_dims,
                                      const gint64 shape[4]);

/** Number of elements. */
guint64 fastvlm_synth_count_elements(const SynthTensor *tensor);

/** config.json of a checkpoint; free with json_decref(). */
json_t *fastvlm_synth_config(const SynthSpec *spec);

/** Elements first .. first + n - 1 of a tensor of `spec`, in f32 before they are rounded. */
void fastvlm_synth_weights(const SynthSpec *spec, const SynthTensor *tensor, guint64 first, gsize n,
                           float *out);

/** `value` rounded to `dtype`, back in f32. */
float fastvlm_synth_round(const char *dtype, float value);

/**
 * Writes config, tensors (and index) and tokenizer files to `directory`, which is made.
 *
 * @param tensors  NULL: all, as fastvlm_synth_tensors()
 * @param config   NULL: as fastvlm_synth_config()
 */
gboolean fastvlm_synth_write(const char *directory, const SynthSpec *spec, const GPtrArray *tensors,
                             const json_t *config, GError **error);

/**
 * Writes one model twice: to `directory` in another layout, to `released` as Apple's release has it.
 *
 * @param layout    "hub": as transformers converts it, rows of the embedding padded; "mlx4", "mlx8": as
 *                  the app exports it, without an encoder; "branches": as it was trained
 * @param released  its numbers are exactly what the other stands for; for "branches" as close as f32 is
 * @return FALSE and an error; also where there is no such layout
 */
gboolean fastvlm_synth_write_layout(const char *layout, const SynthSpec *spec,
                                    const char *directory, const char *released, GError **error);

#endif
