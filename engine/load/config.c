/*
 * Reads config.json and checks every value that the engine goes by. Keys as in transformers'
 * Qwen2Config and in llava_qwen.py of apple/ml-fastvlm.
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

/** What is being read. */
typedef struct {
    const char *path;
    const json_t *object;
} Source;

/** A value as it stands in the file, shortened; free with g_free(). */
static char *spell(const json_t *value)
{
    g_autofree char *text = NULL;
    char *dumped;

    if (!value)
        return g_strdup("nothing");
    if (json_is_string(value))
        return fastvlm_text_quote(json_string_value(value));
    if (json_is_object(value) || json_is_array(value))
        return g_strdup(json_is_object(value) ? "an object" : "an array");
    dumped = json_dumps(value, JSON_ENCODE_ANY);
    text = g_strdup(dumped ? dumped : "?");
    free(dumped);
    return g_steal_pointer(&text);
}

/** "PATH: KEY: found FOUND, expected EXPECTED". */
static gboolean fail_key(const Source *source, GError **error, FastvlmError code, const char *key,
                         const char *expected, ...) G_GNUC_PRINTF(5, 6);

static gboolean fail_key(const Source *source, GError **error, FastvlmError code, const char *key,
                         const char *expected, ...)
{
    g_autofree char *found = spell(json_object_get(source->object, key));
    g_autofree char *text = NULL;
    va_list arguments;

    va_start(arguments, expected);
    text = g_strdup_vprintf(expected, arguments);
    va_end(arguments);
    g_set_error(error, FASTVLM_ERROR, code, "%s: %s: found %s, expected %s", source->path, key,
                found, text);
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
    gboolean on;

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

    if (!type)
        return fail_key(source, error, FASTVLM_ERROR_FORMAT, "model_type",
                        "\"" FASTVLM_LAYOUT_NAME "\"");
    if (strcmp(type, FASTVLM_LAYOUT_NAME) == 0)
        return TRUE;
    return fail_key(source, error, FASTVLM_ERROR_UNSUPPORTED, "model_type",
                    "\"" FASTVLM_LAYOUT_NAME
                    "\", the layout that Apple releases FastVLM in (llava-fastvithd_*)%s",
                    strcmp(type, "fast_vlm") == 0
                        ? "; this one was converted for transformers: take the original"
                        : "");
}

static gboolean check_kind(const Source *source, GError **error)
{
    return check_model_type(source, error) &&
           check_absent(source, "quantization", "none: take the checkpoint as released", error) &&
           check_absent(source, "quantization_config", "none: take the checkpoint as released",
                        error) &&
           check_absent(source, "rope_scaling", "none", error) &&
           check_text(source, "hidden_act", "silu", TRUE, error) &&
           check_text(source, "mm_projector_type", "mlp2x_gelu", FALSE, error) &&
           check_text(source, "image_aspect_ratio", "pad", TRUE, error) &&
           check_off(source, "use_sliding_window", error) &&
           check_off(source, "mm_use_im_start_end", error);
}

static gboolean read_sizes(const Source *source, FastvlmConfig *config, GError **error)
{
    return read_int(source, "hidden_size", 65536, &config->hidden_size, error) &&
           read_int(source, "intermediate_size", 1048576, &config->intermediate_size, error) &&
           read_int(source, "num_hidden_layers", 1024, &config->n_layers, error) &&
           read_int(source, "num_attention_heads", 1024, &config->n_heads, error) &&
           read_int(source, "num_key_value_heads", 1024, &config->n_kv_heads, error) &&
           read_int(source, "vocab_size", 4194304, &config->vocab_size, error) &&
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
                "%s: heads of width %d, expected an even width: RoPE turns pairs", source->path,
                config->head_dim);
    return FALSE;
}

static gboolean read_numbers(const Source *source, FastvlmConfig *config, GError **error)
{
    double epsilon = 0.0;

    if (!read_double(source, "rope_theta", 1.0, 1e12, &config->rope_theta, error) ||
        !read_double(source, "rms_norm_eps", 1e-30, 0.1, &epsilon, error) ||
        !read_flag(source, "tie_word_embeddings", &config->tied_head, error))
        return FALSE;
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

static FastvlmConfig *read_config(const Source *source, GError **error)
{
    FastvlmConfig *config = g_new0(FastvlmConfig, 1);

    config->path = g_strdup(source->path);
    config->model_type = g_strdup(FASTVLM_LAYOUT_NAME);
    if (!check_kind(source, error) || !read_sizes(source, config, error) ||
        !check_heads(source, config, error) || !read_numbers(source, config, error) ||
        !read_tower(source, config, error))
        g_clear_pointer(&config, fastvlm_config_free);
    return config;
}

FastvlmConfig *fastvlm_config_load(const char *directory, GError **error)
{
    g_autofree char *path = g_build_filename(directory, "config.json", NULL);
    json_t *object = fastvlm_text_file_read_small_object(path, MAX_BYTES, error);
    const Source source = {path, object};
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
    g_free(config);
}
