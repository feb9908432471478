/*
 * config.json: what is taken from it, and each value that is refused.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/config.h"
#include "synth.h"
#include "test_directory.h"

#include <stdlib.h>

/* Writes the config of the "tiny" checkpoint with `key` set to the JSON `value` (NULL: removed). */
static void write_config(const char *directory, const char *key, const char *value)
{
    SynthSpec spec;
    json_t *config;
    char *text;

    g_assert_true(fastvlm_synth_spec("tiny", &spec));
    config = fastvlm_synth_config(&spec);
    if (key && value) {
        json_t *loaded = json_loads(value, JSON_DECODE_ANY, NULL);

        g_assert_nonnull(loaded);
        json_object_set_new(config, key, loaded);
    } else if (key) {
        json_object_del(config, key);
    }
    text = json_dumps(config, 0);
    test_directory_write(directory, "config.json", text, -1);
    free(text);
    json_decref(config);
}

static FastvlmConfig *load_good(const char *directory)
{
    GError *error = NULL;
    FastvlmConfig *config = fastvlm_config_load(directory, &error);

    g_assert_no_error(error);
    return config;
}

static void test_good(void)
{
    char *directory = test_directory_make();
    FastvlmConfig *config;

    write_config(directory, NULL, NULL);
    config = load_good(directory);
    g_assert_cmpstr(config->model_type, ==, "llava_qwen2");
    g_assert_cmpint(config->hidden_size, ==, 128);
    g_assert_cmpint(config->intermediate_size, ==, 256);
    g_assert_cmpint(config->n_layers, ==, 3);
    g_assert_cmpint(config->n_heads, ==, 4);
    g_assert_cmpint(config->n_kv_heads, ==, 2);
    g_assert_cmpint(config->head_dim, ==, 32);
    g_assert_cmpint(config->vocab_size, ==, 512);
    g_assert_cmpint(config->max_positions, ==, 32768);
    g_assert_cmpfloat(config->rope_theta, ==, 1e6);
    g_assert_cmpfloat(config->rms_norm_eps, ==, 1e-6f);
    g_assert_true(config->tied_head);
    g_assert_cmpint(config->mm_hidden_size, ==, 512);
    g_assert_cmpint(config->resolution, ==, 256);
    fastvlm_config_free(config);
    test_directory_remove(directory);
}

/* What may be there or not, and what may be written in more ways than one. */
static void test_lenient(void)
{
    char *directory = test_directory_make();
    FastvlmConfig *config;

    write_config(directory, "head_dim", "64");
    config = load_good(directory);
    g_assert_cmpint(config->head_dim, ==, 64);
    fastvlm_config_free(config);
    write_config(directory, "tie_word_embeddings", NULL);
    config = load_good(directory);
    g_assert_false(config->tied_head);
    fastvlm_config_free(config);
    write_config(directory, "mm_vision_tower", "\"/a/b/mobileclip_l_1024\"");
    config = load_good(directory);
    g_assert_cmpint(config->resolution, ==, 1024);
    fastvlm_config_free(config);
    write_config(directory, "rope_theta", "10000");
    config = load_good(directory);
    g_assert_cmpfloat(config->rope_theta, ==, 10000.0);
    fastvlm_config_free(config);
    write_config(directory, "image_aspect_ratio", NULL);
    config = load_good(directory);
    g_assert_cmpint(config->fit, ==, FASTVLM_FIT_CROP);
    fastvlm_config_free(config);
    write_config(directory, "mm_projector_type", NULL);
    config = load_good(directory);
    g_assert_cmpint(config->fit, ==, FASTVLM_FIT_PAD);
    g_assert_cmpint(config->group_size, ==, 64);
    fastvlm_config_free(config);
    write_config(directory, "quantization", "{\"group_size\": 32, \"bits\": 8}");
    config = load_good(directory);
    g_assert_cmpint(config->group_size, ==, 32);
    fastvlm_config_free(config);
    write_config(directory, "rope_scaling", "null");
    fastvlm_config_free(load_good(directory));
    write_config(directory, "something_else", "[{}]");
    fastvlm_config_free(load_good(directory));
    test_directory_remove(directory);
}

#define HUB_TEXT                                                                 \
    "\"hidden_size\": 64, \"intermediate_size\": 96, \"num_hidden_layers\": 2, " \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"vocab_size\": 300"

/* config.json as transformers writes it: its reader's defaults, and where it nests and names otherwise. */
static void test_hub(void)
{
    static const char *const good =
        "{\"model_type\": \"fast_vlm\", \"text_config\": {" HUB_TEXT
        ", \"rope_parameters\": {\"rope_theta\": 1000000.0, \"rope_type\": \"default\"}}, "
        "\"tie_word_embeddings\": true, \"image_seq_length\": 144, "
        "\"vision_config\": {\"architecture\": \"fastvit_mci3\", \"hidden_size\": 3072}}";
    char *directory = test_directory_make();
    FastvlmConfig *config;

    test_directory_write(directory, "config.json", good, -1);
    config = load_good(directory);
    g_assert_cmpstr(config->model_type, ==, "fast_vlm");
    g_assert_cmpint(config->hidden_size, ==, 64);
    g_assert_cmpint(config->head_dim, ==, 16);
    g_assert_cmpfloat(config->rope_theta, ==, 1e6);
    g_assert_cmpfloat(config->rms_norm_eps, ==, 1e-6f);
    g_assert_cmpint(config->max_positions, ==, 32768);
    g_assert_true(config->tied_head && config->says_head);
    g_assert_cmpint(config->mm_hidden_size, ==, 3072);
    g_assert_cmpint(config->resolution, ==, 768);
    g_assert_cmpint(config->fit, ==, FASTVLM_FIT_CROP);
    fastvlm_config_free(config);
    test_directory_write(directory, "config.json",
                         "{\"model_type\": \"fast_vlm\", \"text_config\": {}}", -1);
    config = load_good(directory);
    g_assert_cmpint(config->hidden_size, ==, 4096);
    g_assert_cmpint(config->vocab_size, ==, 151936);
    g_assert_cmpfloat(config->rope_theta, ==, 10000.0);
    g_assert_cmpint(config->resolution, ==, 1024);
    g_assert_false(config->tied_head || config->says_head);
    fastvlm_config_free(config);
    test_directory_remove(directory);
}

static const struct {
    const char *text;
    FastvlmError code;
    const char *found;
    const char *expected;
} bad_hubs[] = {
    {"{\"text_config\": {\"hidden_size\": 0}", FASTVLM_ERROR_FORMAT,
     "text_config.hidden_size: found 0", "1 to 65536"},
    {"{\"text_config\": {\"model_type\": \"llama\"}", FASTVLM_ERROR_UNSUPPORTED,
     "text_config.model_type: found \"llama\"", "\"qwen2\""},
    {"{\"text_config\": {\"rope_parameters\": {\"rope_type\": \"yarn\"}}",
     FASTVLM_ERROR_UNSUPPORTED, "text_config.rope_parameters.rope_type: found \"yarn\"",
     "\"default\""},
    {"{\"text_config\": {\"rope_parameters\": 3}", FASTVLM_ERROR_FORMAT,
     "text_config.rope_parameters: found 3", "an object"},
    {"{\"text_config\": {}, \"image_seq_length\": 250", FASTVLM_ERROR_FORMAT,
     "image_seq_length: found 250", "a square"},
    {"{\"text_config\": {}, \"vision_config\": {\"architecture\": \"vit\"}",
     FASTVLM_ERROR_UNSUPPORTED, "vision_config.architecture: found \"vit\"", "\"fastvit_mci3\""},
    {"{\"text_config\": {}, \"vision_config\": []", FASTVLM_ERROR_FORMAT,
     "vision_config: found an array", "an object"},
    {"{\"text_config\": {}, \"projector_hidden_act\": \"relu\"", FASTVLM_ERROR_UNSUPPORTED,
     "projector_hidden_act: found \"relu\"", "\"gelu\""},
};

static void test_bad_hub(void)
{
    char *directory = test_directory_make();

    for (guint i = 0; i < G_N_ELEMENTS(bad_hubs); i++) {
        g_autofree char *text =
            g_strconcat(bad_hubs[i].text, ", \"model_type\": \"fast_vlm\"}", NULL);
        GError *error = NULL;

        test_directory_write(directory, "config.json", text, -1);
        g_assert_null(fastvlm_config_load(directory, &error));
        test_assert_error(error, bad_hubs[i].code, "config.json", bad_hubs[i].found,
                          bad_hubs[i].expected, NULL);
    }
    test_directory_remove(directory);
}

typedef struct {
    const char *key;
    const char *value; /* JSON; NULL: the key is not there */
    FastvlmError code;
    const char *found;
    const char *expected;
} BadValue;

static const BadValue bad_values[] = {
    {"model_type", NULL, FASTVLM_ERROR_FORMAT, "found nothing", "\"llava_qwen2\""},
    {"model_type", "\"llava\"", FASTVLM_ERROR_UNSUPPORTED, "found \"llava\"", "\"llava_qwen2\""},
    {"model_type", "\"fast_vlm\"", FASTVLM_ERROR_FORMAT, "text_config: found nothing", "an object"},
    {"hidden_act", "\"gelu\"", FASTVLM_ERROR_UNSUPPORTED, "found \"gelu\"", "\"silu\""},
    {"mm_projector_type", "\"linear\"", FASTVLM_ERROR_UNSUPPORTED, "found \"linear\"",
     "\"mlp2x_gelu\""},
    {"mm_projector_type", "3", FASTVLM_ERROR_FORMAT, "found 3", "\"mlp2x_gelu\""},
    {"image_aspect_ratio", "\"anyres\"", FASTVLM_ERROR_UNSUPPORTED, "found \"anyres\"", "\"pad\""},
    {"use_sliding_window", "true", FASTVLM_ERROR_UNSUPPORTED, "found true", "false"},
    {"use_sliding_window", "1", FASTVLM_ERROR_FORMAT, "found 1", "true or false"},
    {"mm_use_im_start_end", "true", FASTVLM_ERROR_UNSUPPORTED, "found true", "false"},
    {"image_aspect_ratio", "[]", FASTVLM_ERROR_FORMAT, "found an array", "\"pad\""},
    {"quantization", "{\"bits\":4}", FASTVLM_ERROR_FORMAT, "quantization.group_size: found nothing",
     "1 to 128"},
    {"quantization", "{\"bits\":4, \"group_size\":48}", FASTVLM_ERROR_UNSUPPORTED, "found 48",
     "32, 64 or 128"},
    {"quantization", "{\"bits\":0, \"group_size\":64}", FASTVLM_ERROR_FORMAT, "bits: found 0",
     "1 to 8"},
    {"quantization", "{\"bits\":4, \"group_size\":32, \"mode\":\"mxfp4\"}",
     FASTVLM_ERROR_UNSUPPORTED, "quantization.mode: found \"mxfp4\"", "\"affine\""},
    {"quantization", "4", FASTVLM_ERROR_FORMAT, "quantization: found 4", "an object"},
    {"quantization_config", "{}", FASTVLM_ERROR_UNSUPPORTED, "found an object", "none"},
    {"rope_scaling", "{\"type\":\"yarn\"}", FASTVLM_ERROR_UNSUPPORTED, "found an object", "none"},
    {"hidden_size", NULL, FASTVLM_ERROR_FORMAT, "found nothing", "an integer from 1 to 65536"},
    {"hidden_size", "128.0", FASTVLM_ERROR_FORMAT, "found 128.0", "an integer"},
    {"hidden_size", "\"128\"", FASTVLM_ERROR_FORMAT, "found \"128\"", "an integer"},
    {"hidden_size", "0", FASTVLM_ERROR_FORMAT, "found 0", "an integer"},
    {"hidden_size", "-128", FASTVLM_ERROR_FORMAT, "found -128", "an integer"},
    {"hidden_size", "4294967424", FASTVLM_ERROR_FORMAT, "found 4294967424", "an integer"},
    {"intermediate_size", "1048577", FASTVLM_ERROR_FORMAT, "found 1048577", "1 to 1048576"},
    {"num_hidden_layers", "1025", FASTVLM_ERROR_FORMAT, "found 1025", "1 to 1024"},
    {"num_attention_heads", "3", FASTVLM_ERROR_FORMAT, "num_key_value_heads: found 2",
     "divisor of num_attention_heads, 3"},
    {"num_attention_heads", "6", FASTVLM_ERROR_FORMAT, "found 6", "divisor of hidden_size, 128"},
    {"num_key_value_heads", "3", FASTVLM_ERROR_FORMAT, "found 3",
     "divisor of num_attention_heads, 4"},
    {"num_key_value_heads", "[]", FASTVLM_ERROR_FORMAT, "found an array", "an integer"},
    {"num_attention_heads", "128", FASTVLM_ERROR_FORMAT, "heads of width 1", "an even width"},
    {"head_dim", "33", FASTVLM_ERROR_FORMAT, "heads of width 33", "an even width"},
    {"head_dim", "0", FASTVLM_ERROR_FORMAT, "found 0", "1 to 1024"},
    {"vocab_size", "4194305", FASTVLM_ERROR_FORMAT, "found 4194305", "1 to 4194304"},
    {"max_position_embeddings", "null", FASTVLM_ERROR_FORMAT, "found null", "an integer"},
    {"rope_theta", "0.5", FASTVLM_ERROR_FORMAT, "found 0.5", "a number from 1 to 1e+12"},
    {"rope_theta", "true", FASTVLM_ERROR_FORMAT, "found true", "a number"},
    {"rms_norm_eps", "-1e-6", FASTVLM_ERROR_FORMAT, "found -", "a number from"},
    {"rms_norm_eps", "1", FASTVLM_ERROR_FORMAT, "found 1", "to 0.1"},
    {"tie_word_embeddings", "\"yes\"", FASTVLM_ERROR_FORMAT, "found \"yes\"", "true or false"},
    {"mm_vision_tower", NULL, FASTVLM_ERROR_FORMAT, "found nothing", "\"mobileclip_l_1024\""},
    {"mm_vision_tower", "\"openai/clip-vit-large\"", FASTVLM_ERROR_UNSUPPORTED,
     "found \"openai/clip-vit-large\"", "\"mobileclip_l_1024\""},
    {"mm_vision_tower", "\"mobileclip_l_1000\"", FASTVLM_ERROR_FORMAT,
     "found \"mobileclip_l_1000\"", "a multiple of 64 from 64 to 4096"},
    {"mm_vision_tower", "\"mobileclip_l_8192\"", FASTVLM_ERROR_FORMAT, "8192", "from 64 to 4096"},
    {"mm_vision_tower", "\"mobileclip_l_-64\"", FASTVLM_ERROR_FORMAT, "-64", "from 64 to 4096"},
    {"mm_vision_tower", "\"mobileclip_l_\\u001b[31m\\n\"", FASTVLM_ERROR_FORMAT, "\\033[31m\\n",
     "from 64 to 4096"},
    {"mm_hidden_size", "0", FASTVLM_ERROR_FORMAT, "found 0", "an integer"},
};

static void test_bad(gconstpointer data)
{
    const BadValue *bad = data;
    char *directory = test_directory_make();
    g_autofree char *path = g_build_filename(directory, "config.json", NULL);
    GError *error = NULL;

    write_config(directory, bad->key, bad->value);
    g_assert_null(fastvlm_config_load(directory, &error));
    test_assert_error(error, bad->code, path, bad->found, bad->expected, NULL);
    test_directory_remove(directory);
}

static void test_bad_file(void)
{
    static const struct {
        const char *text;
        const char *found;
    } files[] = {
        {"", "not valid JSON"},
        {"[]", "expected a JSON object"},
        {"{\"hidden_size\": 1, \"hidden_size\": 2}", "duplicate"},
        {"{\"hidden_size\": 99999999999999999999}", "too big integer"},
        {"{\"rope_theta\": 1e999}", "overflow"},
        {"{\"a\": NaN}", "not valid JSON"},
        {"{\"a\": \"\xff\"}", "not valid JSON"},
        {"{\"a\": \033]0;title\007}", "near '\\033'"}, /* terminals obey the bytes themselves */
    };
    char *directory = test_directory_make();
    g_autofree char *path = g_build_filename(directory, "config.json", NULL);
    GError *error = NULL;

    g_assert_null(fastvlm_config_load(directory, &error));
    test_assert_error(error, FASTVLM_ERROR_NOT_FOUND, path, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(files); i++) {
        error = NULL;
        test_directory_write(directory, "config.json", files[i].text, -1);
        g_assert_null(fastvlm_config_load(directory, &error));
        test_assert_error(error, FASTVLM_ERROR_FORMAT, path, files[i].found, NULL);
    }
    g_assert_cmpint(truncate(path, 2 << 20), ==, 0);
    error = NULL;
    g_assert_null(fastvlm_config_load(directory, &error));
    test_assert_error(error, FASTVLM_ERROR_LIMIT, path, "2097152 bytes", NULL);
    test_directory_remove(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/config/good", test_good);
    g_test_add_func("/config/lenient", test_lenient);
    g_test_add_func("/config/hub", test_hub);
    g_test_add_func("/config/bad-hub", test_bad_hub);
    for (guint i = 0; i < G_N_ELEMENTS(bad_values); i++) {
        g_autofree char *name = g_strdup_printf("/config/bad/%s/%u", bad_values[i].key, i);

        g_test_add_data_func(name, &bad_values[i], test_bad);
    }
    g_test_add_func("/config/bad-file", test_bad_file);
    return g_test_run();
}
