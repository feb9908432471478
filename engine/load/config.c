/*
 * Reads config.json and checks every value that the engine goes by. Keys as in transformers'
 * Qwen2Config and FastVlmConfig and in llava_qwen.py of apple/ml-fastvlm.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/text_file.h"

#define MAX_BYTES (1 << 20)
#define MAX_RESOLUTION 4096
#define RESOLUTION_STEP 64
#define TOWER_PREFIX "mobileclip_l_"
#define RELEASED "llava_qwen2"
#define HUB "fast_vlm"
#define HUB_TOWER "fastvit_mci3" /* timm's name of FastViTHD */

/* What transformers leaves out of a text_config where it is the default of its Qwen2Config. */
#define HUB_DEFAULTS                                                                     \
    "{\"hidden_size\": 4096, \"intermediate_size\": 22016, \"num_hidden_layers\": 32, "  \
    "\"num_attention_heads\": 32, \"num_key_value_heads\": 32, \"vocab_size\": 151936, " \
    "\"max_position_embeddings\": 32768, \"rope_theta\": 10000.0, \"rms_norm_eps\": 1e-6}"

/** What is being read. */
typedef struct {
    const char *path;
    const json_t *object;
    const char *section; /* what its keys stand in, as "text_config.", or "" */
} Source;

/** "PATH: KEY: found FOUND, expected EXPECTED". */
static gboolean fail_key(const Source *source, GError **error, FastvlmError code, const char *key,
                         const char *expected, ...) G_GNUC_PRINTF(5, 6);

static gboolean fail_key(const Source *source, GError **error, FastvlmError code, const char *key,
                         const char *expected, ...)
{
    g_autofree char *found = fastvlm_text_spell(json_object_get(source->object, key));
    g_autofree char *text = NULL;
    va_list arguments;

    va_start(arguments, expected);
    text = g_strdup_vprintf(expected, arguments);
    va_end(arguments);
    g_set_error(error, FASTVLM_ERROR, code, "%s: %s%s: found %s, expected %s", source->path,
                source->section, key, found, text);
    return FALSE;
}

static gboolean read_int(const Source *source, const char *key, int maximum, int *out,
                         GError **error)
{
    const json_t *value = json_object_get(source->object, key);

    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > maximum)
        return fail_key(source, error, FASTVLM_ERROR_FORMAT, key, "an integer from 1 to %d",
                        maximum);
    *out = (int)json_integer_value(value);
    return TRUE;
}

/** A key that may be absent or null: then `out` is left as it is. */
static gboolean read_optional_int(const Source *source, const char *key, int maximum, int *out,
                                  GError **error)
{
    const json_t *value = json_object_get(source->object, key);

    return !value || json_is_null(value) || read_int(source, key, maximum, out, error);
}

static gboolean read_double(const Source *source, const char *key, double minimum, double maximum,
                            double *out, GError **error)
{
    const json_t *value = json_object_get(source->object, key);
    const double number = json_number_value(value);

    if (!json_is_number(value) || !(number >= minimum && number <= maximum))
        return fail_key(source, error, FASTVLM_ERROR_FORMAT, key, "a number from %g to %g", minimum,
                        maximum);
    *out = number;
    return TRUE;
}

/** A flag; absent is FALSE, as it is in transformers for those read here. */
static gboolean read_flag(const Source *source, const char *key, gboolean *out, GError **error)
{
    const json_t *value = json_object_get(source->object, key);

    if (value && !json_is_boolean(value))
        return fail_key(source, error, FASTVLM_ERROR_FORMAT, key, "true or false");
    *out = json_is_true(value);
    return TRUE;
}

/** A choice of which this library knows one; absent is that one where `may_lack`. */
static gboolean check_text(const Source *source, const char *key, const char *expected,
                           gboolean may_lack, GError **error)
{
    const json_t *value = json_object_get(source->object, key);
    const char *text = json_string_value(value);

    if ((!value && may_lack) || (text && strcmp(text, expected) == 0))
        return TRUE;
    return fail_key(source, error, text ? FASTVLM_ERROR_UNSUPPORTED : FASTVLM_ERROR_FORMAT, key,
                    "\"%s\"", expected);
}

static gboolean check_off(const Source *source, const char *key, GError **error)
{
    gboolean on = FALSE;

    if (!read_flag(source, key, &on, error))
        return FALSE;
    return !on || fail_key(source, error, FASTVLM_ERROR_UNSUPPORTED, key, "false");
}

/** Keys that, where set, change the arithmetic in a way this library does not follow. */
static gboolean check_absent(const Source *source, const char *key, const char *expected,
                             GError **error)
{
    const json_t *value = json_object_get(source->object, key);

    if (!value || json_is_null(value))
        return TRUE;
    return fail_key(source, error, FASTVLM_ERROR_UNSUPPORTED, key, "%s", expected);
}

static gboolean check_model_type(const Source *source, GError **error)
{
    const char *type = json_string_value(json_object_get(source->object, "model_type"));

    if (type && (strcmp(type, RELEASED) == 0 || strcmp(type, HUB) == 0))
        return TRUE;
    return fail_key(source, error, type ? FASTVLM_ERROR_UNSUPPORTED : FASTVLM_ERROR_FORMAT,
                    "model_type",
                    "\"" RELEASED "\", in which Apple releases FastVLM (llava-fastvithd_*), or "
                    "\"" HUB "\", to which transformers converts it");
}

/** What the decoder computes; the same keys in each layout. */
static gboolean check_decoder(const Source *source, GError **error)
{
    return check_absent(source, "rope_scaling", "none", error) &&
           check_text(source, "hidden_act", "silu", TRUE, error) &&
           check_off(source, "use_sliding_window", error);
}

/**
 * MLX says how it quantized; the widths follow from the tensors. Its exports carry the same object as
 * quantization_config, where other programs name methods of theirs.
 */
static gboolean read_quantization(const Source *top, FastvlmConfig *config, GError **error)
{
    const json_t *object = json_object_get(top->object, "quantization");
    const Source source = {top->path, object, "quantization."};
    int bits;

    config->group_size = 64;
    if (!object || json_is_null(object))
        return check_absent(top, "quantization_config", "none: take the checkpoint as released",
                            error);
    if (!json_is_object(object))
        return fail_key(top, error, FASTVLM_ERROR_FORMAT, "quantization",
                        "an object with group_size and bits");
    if (!read_int(&source, "group_size", 128, &config->group_size, error) ||
        !read_int(&source, "bits", 8, &bits, error) ||
        !check_text(&source, "mode", "affine", TRUE, error))
        return FALSE;
    return config->group_size == 32 || config->group_size == 64 || config->group_size == 128 ||
           fail_key(&source, error, FASTVLM_ERROR_UNSUPPORTED, "group_size", "32, 64 or 128");
}

/** process_images() in llava/mm_utils.py: it pads where this says so, otherwise CLIP's crop is left. */
static gboolean read_fit(const Source *source, FastvlmConfig *config, GError **error)
{
    const json_t *value = json_object_get(source->object, "image_aspect_ratio");
    const char *text = json_string_value(value);

    config->fit = text && strcmp(text, "pad") == 0 ? FASTVLM_FIT_PAD : FASTVLM_FIT_CROP;
    if (!value || json_is_null(value) || (text && strcmp(text, "pad") == 0) ||
        (text && strcmp(text, "square") == 0))
        return TRUE;
    return fail_key(source, error, text ? FASTVLM_ERROR_UNSUPPORTED : FASTVLM_ERROR_FORMAT,
                    "image_aspect_ratio", "\"pad\" or \"square\"");
}

static gboolean read_sizes(const Source *source, FastvlmConfig *config, GError **error)
{
    return read_int(source, "hidden_size", 65536, &config->hidden_size, error) &&
           read_int(source, "intermediate_size", 1048576, &config->intermediate_size, error) &&
           read_int(source, "num_hidden_layers", 1024, &config->n_layers, error) &&
           read_int(source, "num_attention_heads", 1024, &config->n_heads, error) &&
           read_int(source, "num_key_value_heads", 1024, &config->n_kv_heads, error) &&
           read_int(source, "vocab_size", FASTVLM_CONFIG_MAX_VOCAB, &config->vocab_size, error) &&
           read_int(source, "max_position_embeddings", 16777216, &config->max_positions, error) &&
           read_optional_int(source, "head_dim", 1024, &config->head_dim, error) &&
           read_optional_int(source, "mm_hidden_size", 131072, &config->mm_hidden_size, error);
}

static gboolean check_heads(const Source *source, FastvlmConfig *config, GError **error)
{
    if (config->n_heads % config->n_kv_heads != 0)
        return fail_key(source, error, FASTVLM_ERROR_FORMAT, "num_key_value_heads",
                        "a divisor of num_attention_heads, %d", config->n_heads);
    if (config->head_dim == 0) {
        if (config->hidden_size % config->n_heads != 0 ||
            config->hidden_size / config->n_heads > 1024)
            return fail_key(source, error, FASTVLM_ERROR_FORMAT, "num_attention_heads",
                            "a divisor of hidden_size, %d, with at most 1024 to a head",
                            config->hidden_size);
        config->head_dim = config->hidden_size / config->n_heads;
    }
    if (config->head_dim % 2 == 0)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "%s: found heads of width %d, expected an even width: RoPE turns pairs",
                source->path, config->head_dim);
    return FALSE;
}

static gboolean read_numbers(const Source *source, FastvlmConfig *config, GError **error)
{
    double epsilon = 0.0;

    if (!read_double(source, "rope_theta", 1.0, 1e12, &config->rope_theta, error) ||
        !read_double(source, "rms_norm_eps", 1e-30, 0.1, &epsilon, error) ||
        !read_flag(source, "tie_word_embeddings", &config->tied_head, error))
        return FALSE;
    config->says_head = json_object_get(source->object, "tie_word_embeddings") != NULL;
    config->rms_norm_eps = (float)epsilon;
    return TRUE;
}

/** mm_vision_tower is a name or a path that ends in mobileclip_l_RESOLUTION. */
static gboolean read_tower(const Source *source, FastvlmConfig *config, GError **error)
{
    static const char key[] = "mm_vision_tower";
    const char *tower = json_string_value(json_object_get(source->object, key));
    const char *slash = tower ? strrchr(tower, '/') : NULL;
    const char *name = slash ? slash + 1 : tower;
    guint64 resolution;

    if (!name || !g_str_has_prefix(name, TOWER_PREFIX))
        return fail_key(source, error, name ? FASTVLM_ERROR_UNSUPPORTED : FASTVLM_ERROR_FORMAT, key,
                        "\"" TOWER_PREFIX "1024\"");
    if (!g_ascii_string_to_unsigned(name + strlen(TOWER_PREFIX), 10, RESOLUTION_STEP,
                                    MAX_RESOLUTION, &resolution, NULL) ||
        resolution % RESOLUTION_STEP != 0)
        return fail_key(source, error, FASTVLM_ERROR_FORMAT, key,
                        "\"" TOWER_PREFIX "R\", R a multiple of %d from %d to %d", RESOLUTION_STEP,
                        RESOLUTION_STEP, MAX_RESOLUTION);
    config->resolution = (int)resolution;
    return TRUE;
}

static gboolean read_decoder(const Source *source, FastvlmConfig *config, GError **error)
{
    return check_decoder(source, error) && read_sizes(source, config, error) &&
           check_heads(source, config, error) && read_numbers(source, config, error);
}

static gboolean read_released(const Source *source, FastvlmConfig *config, GError **error)
{
    return read_quantization(source, config, error) &&
           check_text(source, "mm_projector_type", "mlp2x_gelu", TRUE, error) &&
           check_off(source, "mm_use_im_start_end", error) && read_fit(source, config, error) &&
           read_decoder(source, config, error) && read_tower(source, config, error);
}

/** transformers 5 keeps rope_theta in rope_parameters; the decoder's reader knows its old place. */
static gboolean move_rope(const Source *text, json_t *merged, GError **error)
{
    json_t *rope = json_object_get(text->object, "rope_parameters");
    const Source source = {text->path, rope, "text_config.rope_parameters."};

    if (!rope || json_is_null(rope))
        return TRUE;
    if (!json_is_object(rope))
        return fail_key(text, error, FASTVLM_ERROR_FORMAT, "rope_parameters", "an object");
    if (!check_text(&source, "rope_type", "default", TRUE, error))
        return FALSE;
    if (json_object_get(rope, "rope_theta"))
        json_object_set(merged, "rope_theta", json_object_get(rope, "rope_theta"));
    return TRUE;
}

/** The decoder's keys: text_config, over what transformers takes for granted. */
static gboolean read_hub_text(const Source *top, FastvlmConfig *config, GError **error)
{
    json_t *text = json_object_get(top->object, "text_config");
    json_t *tied = json_object_get(top->object, "tie_word_embeddings");
    json_t *merged = json_loads(HUB_DEFAULTS, 0, NULL);
    const Source written = {top->path, text, "text_config."};
    const Source source = {top->path, merged, "text_config."};
    gboolean ok;

    if (!json_is_object(text)) {
        json_decref(merged);
        return fail_key(top, error, FASTVLM_ERROR_FORMAT, "text_config", "an object");
    }
    if (tied)
        json_object_set(merged, "tie_word_embeddings", tied);
    json_object_update(merged, text);
    ok = check_text(&written, "model_type", "qwen2", TRUE, error) &&
         move_rope(&written, merged, error) && read_decoder(&source, config, error);
    json_decref(merged);
    return ok;
}

static gboolean read_hub_vision(const Source *top, FastvlmConfig *config, GError **error)
{
    const json_t *vision = json_object_get(top->object, "vision_config");
    const Source source = {top->path, vision, "vision_config."};
    int n_tokens = 256, side = 1;

    if (vision && !json_is_object(vision))
        return fail_key(top, error, FASTVLM_ERROR_FORMAT, "vision_config", "an object");
    if (!check_text(&source, "architecture", HUB_TOWER, TRUE, error) ||
        !read_optional_int(&source, "hidden_size", 131072, &config->mm_hidden_size, error) ||
        !read_optional_int(top, "image_seq_length", 4096, &n_tokens, error))
        return FALSE;
    while (side * side < n_tokens)
        side++;
    if (side * side != n_tokens)
        return fail_key(top, error, FASTVLM_ERROR_FORMAT, "image_seq_length",
                        "a square, as the 256 of 1024 pixels");
    config->resolution = side * RESOLUTION_STEP;
    return TRUE;
}

static gboolean read_hub(const Source *source, FastvlmConfig *config, GError **error)
{
    config->fit = FASTVLM_FIT_CROP;
    return check_absent(source, "quantization_config", "none: take the checkpoint as released",
                        error) &&
           check_text(source, "projector_hidden_act", "gelu", TRUE, error) &&
           check_text(source, "vision_feature_select_strategy", "full", TRUE, error) &&
           read_hub_vision(source, config, error) && read_hub_text(source, config, error);
}

static FastvlmConfig *read_config(const Source *source, GError **error)
{
    FastvlmConfig *config = g_new0(FastvlmConfig, 1);
    gboolean ok = check_model_type(source, error);

    config->path = g_strdup(source->path);
    config->origin = g_strdup(json_string_value(json_object_get(source->object, "_name_or_path")));
    if (ok) {
        config->model_type =
            g_strdup(json_string_value(json_object_get(source->object, "model_type")));
        ok = (strcmp(config->model_type, HUB) == 0 ? read_hub : read_released)(source, config,
                                                                               error);
    }
    if (!ok)
        g_clear_pointer(&config, fastvlm_config_free);
    return config;
}

FastvlmConfig *fastvlm_config_load(const char *directory, GError **error)
{
    g_autofree char *path = g_build_filename(directory, "config.json", NULL);
    json_t *object = fastvlm_text_file_read_small_object(path, MAX_BYTES, error);
    const Source source = {path, object, ""};
    FastvlmConfig *config;

    if (!object)
        return NULL;
    config = read_config(&source, error);
    json_decref(object);
    return config;
}

void fastvlm_config_free(FastvlmConfig *config)
{
    if (!config)
        return;
    g_free(config->path);
    g_free(config->model_type);
    g_free(config->origin);
    g_free(config);
}
