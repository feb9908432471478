/*
 * A model: the weights of one checkpoint directory, ready to compute, and the threads that do it.
 *
 * A model is immutable after loading and reference-counted; any number of sessions (session.h) in
 * any threads share one. Its worker threads sleep while no session computes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_MODEL_H
#define FASTVLM_MODEL_H

#include <fastvlm/error.h>
#include <fastvlm/image.h>
#include <fastvlm/tokenizer.h>

G_BEGIN_DECLS

typedef struct _FastvlmModel FastvlmModel;

typedef enum {
    /**
     * What is best here: with kernels for this processor int8, but for those stages of the encoder
     * that int8 takes too far from what they compute otherwise. That is measured when a checkpoint is
     * first loaded, on pictures of the engine's own, and remembered beside the packed copies
     * (cache.h). On a processor with plain kernels alone it is f32.
     */
    FASTVLM_PRECISION_AUTO,
    FASTVLM_PRECISION_F32,
    FASTVLM_PRECISION_BF16, /* weights and inputs of products bf16, sums f32 */
    FASTVLM_PRECISION_INT8, /* weights int8 by output channel, inputs int8 by row, sums int32 */
    /**
     * The decoder's weights in 4 bits, with a scale for every 32, inputs int8; the head and the encoder
     * as INT8. Generates faster and takes less memory, and answers get worse, those of small models
     * the more: never what AUTO chooses.
     */
    FASTVLM_PRECISION_INT4,
} FastvlmPrecision;

/** "auto", "f32", "bf16", "int8", "int4". */
FASTVLM_API const char *fastvlm_precision_to_string(FastvlmPrecision precision);

/** The inverse; FALSE and `precision` untouched where `name` is none of them. */
FASTVLM_API gboolean fastvlm_precision_from_string(const char *name, FastvlmPrecision *precision);

/**
 * Told of progress while something long runs, from the thread that called it.
 *
 * @param fraction  0 to 1, never falling
 * @return FALSE to stop: the call fails with FASTVLM_ERROR_CANCELLED
 */
typedef gboolean (*FastvlmProgressFunc)(double fraction, gpointer user_data);

/**
 * Told before a packed copy (cache.h) is written to the disk, from the thread that loads.
 *
 * @param path     of the copy
 * @param n_bytes  its size
 * @return FALSE to do without
 */
typedef gboolean (*FastvlmCacheFunc)(const char *path, guint64 n_bytes, gpointer user_data);

/** Which matrix turns the decoder's output into a word. */
typedef enum {
    FASTVLM_HEAD_AUTO, /* as config.json says */
    FASTVLM_HEAD_TIED, /* the embedding */
    FASTVLM_HEAD_OWN,  /* lm_head.weight */
} FastvlmHead;

/** How to load; all zero is the default. */
typedef struct {
    FastvlmPrecision precision;
    int n_threads;   /* 0: as many as the CPUs this process may run on; at most 256 */
    int worker_nice; /* nice value of the worker threads, 0 .. 19; 19: idle CPUs only */
    FastvlmProgressFunc progress; /* may be NULL */
    gpointer progress_data;
    gboolean no_cache;             /* neither use a packed copy nor write one */
    FastvlmCacheFunc cache_notice; /* may be NULL */
    gpointer cache_notice_data;
    /**
     * A directory or a model's name whose encoder takes the place of the checkpoint's own; NULL: none. An
     * export for MLX has no encoder and needs one, that of the checkpoint which it was made from.
     */
    const char *vision_path;
    FastvlmHead head; /* for a config.json that lies about it */
} FastvlmModelParams;

/** What a checkpoint is; see `fastvlm info`. Strings live as long as the struct. */
typedef struct {
    char *path;         /* the directory */
    const char *layout; /* "llava_qwen2" (Apple's release), "fast_vlm" (transformers) or "mlx" */
    char *layout_note;  /* the same for people, and what else is special about it */
    char *stage;        /* of the release, as "stage 3", where a name tells; else NULL */
    guint64 n_vision_parameters;
    guint64 n_projector_parameters;
    guint64 n_language_parameters; /* without the head where it is tied to the embedding */
    guint64 file_size_bytes;       /* of all weight files */
    char *stored_dtypes;           /* as "BF16", or "F16, 4-bit words in groups of 64" */
    int resolution;                /* the model's own, pixels */
    FastvlmFit fit;                /* the model's own: PAD or CROP */
    int vision_blocks[5];          /* per stage */
    int vision_dims[5];            /* channels per stage */
    int hidden_size;
    int n_layers;
    int n_heads;
    int n_kv_heads;
    int head_dim;
    int intermediate_size;
    int vocab_size;     /* rows of the embedding */
    int tokenizer_size; /* ids the tokenizer knows; 0 where there are no tokenizer files */
    int max_positions;
    gboolean tied_head; /* the head is the embedding */
    char *head_note;    /* a warning, where lm_head.weight contradicts config.json; else NULL */
    guint64 memory_f32_bytes; /* what weights take in memory, without activations */
    guint64 memory_bf16_bytes;
    guint64 memory_int8_bytes;
    guint64 memory_int4_bytes;
    char *licence_note; /* of the checkpoint */
} FastvlmModelInfo;

FASTVLM_API void fastvlm_model_info_free(FastvlmModelInfo *info);

/**
 * The directory that a model's name stands for.
 *
 * A name without a slash that is not a directory here is looked for in the directories of the
 * environment variable FASTVLM_MODELS (colon-separated), in the user's data directory
 * (fastvlm/models/NAME, where `fastvlm pull NAME` puts the released ones) and where this library was
 * installed (share/fastvlm/models/NAME).
 * Anything else is returned as it is.
 *
 * @return a path to free with g_free(), never NULL
 */
FASTVLM_API char *fastvlm_model_resolve(const char *name);

/**
 * Reads config, tokenizer files' presence and weight headers without loading weights: whatever is
 * wrong with a directory shows here, within milliseconds.
 *
 * @param name  a directory or a model's name (fastvlm_model_resolve())
 * @return what was found, to free with fastvlm_model_info_free(), or NULL
 * Errors: NOT_FOUND, READ, FORMAT, UNSUPPORTED.
 */
FASTVLM_API FastvlmModelInfo *fastvlm_model_inspect(const char *name, GError **error);

/** The same for a load with `params`, of which `vision_path` and `head` count; NULL: the default. */
FASTVLM_API FastvlmModelInfo *fastvlm_model_inspect_for(const char *name,
                                                        const FastvlmModelParams *params,
                                                        GError **error);

/**
 * Checks that the weights of a model can be in memory at all in this precision: the machine's, as far as the
 * control groups and the limits of this process allow it. Loading does so first.
 * AUTO is taken for what it is mostly: INT8, or F32 on a processor with plain kernels alone.
 *
 * Errors: LIMIT; the message says what they take, what there is and what to do.
 */
FASTVLM_API gboolean fastvlm_model_info_check_memory(const FastvlmModelInfo *info,
                                                     FastvlmPrecision precision, GError **error);

/**
 * What FASTVLM_PRECISION_AUTO is for a model on this machine, for people: "int8 (encoder stages 4, 5 in
 * bf16), as measured at an earlier load", or that the first load will measure it, or what needs no
 * measuring. Reads headers, no weights.
 *
 * @param params  as in fastvlm_model_inspect_for(); NULL: the default
 * @return a text to free with g_free()
 */
FASTVLM_API char *fastvlm_model_info_describe_auto(const FastvlmModelInfo *info,
                                                   const FastvlmModelParams *params);

/**
 * Checks what can be known to be wrong of `params` before anything is read.
 *
 * Errors: UNSUPPORTED (a precision that this version lacks), ARGUMENT (a number out of range).
 */
FASTVLM_API gboolean fastvlm_model_check_params(const FastvlmModelParams *params, GError **error);

/**
 * Loads a model. Blocks (seconds for gigabytes, a moment where there is a packed copy: cache.h); call
 * it from a thread that may.
 *
 * Tokenizer files may be missing: then only fastvlm_session_generate() with ids works.
 *
 * @return a model with one reference, or NULL
 * Errors: as fastvlm_model_inspect(), LIMIT (memory), CANCELLED, ARGUMENT (a parameter out of range; the
 * environment variable FASTVLM_TIER or FASTVLM_BLAS with a value that means nothing).
 */
FASTVLM_API FastvlmModel *fastvlm_model_load(const char *name, const FastvlmModelParams *params,
                                             GError **error);

/** Adds a reference. Thread-safe. */
FASTVLM_API FastvlmModel *fastvlm_model_ref(FastvlmModel *model);

/**
 * Drops a reference; the last one frees weights and threads, and waits until a packed copy that is being
 * written is on the disk. NULL is fine. Thread-safe.
 */
FASTVLM_API void fastvlm_model_unref(FastvlmModel *model);

/** What was loaded; owned by the model. */
FASTVLM_API const FastvlmModelInfo *fastvlm_model_get_info(const FastvlmModel *model);

/** The precision in use, never AUTO. */
FASTVLM_API FastvlmPrecision fastvlm_model_get_precision(const FastvlmModel *model);

/** The same for people, as "int8 (encoder stages 4, 5 in bf16)". Owned by the model. */
FASTVLM_API const char *fastvlm_model_get_precision_note(const FastvlmModel *model);

/**
 * What became of the packed copy, for people: "read from PATH", "written to PATH" (which goes on while
 * the model is used; fastvlm_model_unref() waits for it), or "none: " and why. Owned by the model.
 */
FASTVLM_API const char *fastvlm_model_get_cache_note(const FastvlmModel *model);

/** Threads that compute, the caller's included. */
FASTVLM_API int fastvlm_model_get_n_threads(const FastvlmModel *model);

/** The tokenizer, owned by the model; NULL where the checkpoint has no tokenizer files. */
FASTVLM_API const FastvlmTokenizer *fastvlm_model_get_tokenizer(const FastvlmModel *model);

/**
 * The kernel tier this process runs on: "scalar", "avx2", "avx_vnni", "avx512", "avx512_vnni" or
 * "avx512_bf16", on ARM "neon", "neon_dotprod" or "neon_bf16". The environment variable FASTVLM_TIER,
 * set to one of them, holds it to the highest that this processor has up to that one; no model is loaded
 * where it is set to something else.
 */
FASTVLM_API const char *fastvlm_cpu_tier(void);

/**
 * What multiplies matrices in f32: "built-in", or "OpenBLAS 0.3.21 (Haswell)" where the environment
 * variable FASTVLM_BLAS is "openblas" or this CPU has no kernels of ours but the scalar ones.
 */
FASTVLM_API const char *fastvlm_blas_name(void);

/** One paragraph: the licence of Apple's released FastVLM weights, research only. */
FASTVLM_API const char *fastvlm_released_weights_notice(void);

G_END_DECLS

#endif
