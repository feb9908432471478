/*
 * Inspecting checkpoints: what is said of good ones, what is wrong with others, and finding them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/model.h>

#include "api/precision.h"
#include "load/layout.h"
#include "synth.h"
#include "test_data.h"
#include "test_directory.h"

#define P FASTVLM_VISION_PREFIX

/* A checkpoint that a test changes before it is written. */
typedef struct {
    SynthSpec spec;
    GPtrArray *tensors;
    json_t *config;
    char *directory;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    g_assert_true(fastvlm_synth_spec(data ? data : "micro", &fixture->spec));
    fixture->tensors = fastvlm_synth_tensors(&fixture->spec);
    fixture->config = fastvlm_synth_config(&fixture->spec);
    fixture->directory = test_directory_make();
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    g_ptr_array_unref(fixture->tensors);
    json_decref(fixture->config);
    test_directory_remove(fixture->directory);
}

static SynthTensor *find(const Fixture *fixture, const char *name)
{
    for (guint i = 0; i < fixture->tensors->len; i++) {
        SynthTensor *tensor = fixture->tensors->pdata[i];

        if (strcmp(tensor->name, name) == 0)
            return tensor;
    }
    g_error("no tensor %s", name);
}

static void rename_tensor(const Fixture *fixture, const char *from, const char *to)
{
    SynthTensor *tensor = find(fixture, from);

    g_free(tensor->name);
    tensor->name = g_strdup(to);
}

static FastvlmModelInfo *inspect(const Fixture *fixture, GError **error)
{
    GError *problem = NULL;

    fastvlm_synth_write(fixture->directory, &fixture->spec, fixture->tensors, fixture->config,
                        &problem);
    g_assert_no_error(problem);
    return fastvlm_model_inspect(fixture->directory, error);
}

static FastvlmModelInfo *inspect_good(const Fixture *fixture)
{
    GError *error = NULL;
    FastvlmModelInfo *info = inspect(fixture, &error);

    g_assert_no_error(error);
    return info;
}

#define assert_fails(fixture, code, ...)                    \
    G_STMT_START                                            \
    {                                                       \
        GError *error_ = NULL;                              \
        g_assert_null(inspect(fixture, &error_));           \
        test_assert_error(error_, code, __VA_ARGS__, NULL); \
    }                                                       \
    G_STMT_END

static void test_tiny(Fixture *fixture, gconstpointer data)
{
    FastvlmModelInfo *info = inspect_good(fixture);
    const int blocks[5] = {1, 1, 2, 1, 1};
    const int dims[5] = {16, 32, 64, 128, 256};

    g_assert_cmpstr(info->path, ==, fixture->directory);
    g_assert_cmpstr(info->layout, ==, "llava_qwen2");
    g_assert_cmpmem(info->vision_blocks, sizeof blocks, blocks, sizeof blocks);
    g_assert_cmpmem(info->vision_dims, sizeof dims, dims, sizeof dims);
    g_assert_cmpint(info->resolution, ==, 256);
    g_assert_cmpint(info->hidden_size, ==, 128);
    g_assert_cmpint(info->n_layers, ==, 3);
    g_assert_cmpint(info->n_heads, ==, 4);
    g_assert_cmpint(info->n_kv_heads, ==, 2);
    g_assert_cmpint(info->head_dim, ==, 32);
    g_assert_cmpint(info->intermediate_size, ==, 256);
    g_assert_cmpint(info->vocab_size, ==, 512);
    g_assert_cmpint(info->max_positions, ==, 32768);
    g_assert_cmpint(info->tokenizer_size, ==, 0);
    g_assert_true(info->tied_head);
    g_assert_null(info->head_note);
    g_assert_cmpstr(info->stored_dtypes, ==, "BF16");
    g_assert_nonnull(strstr(info->licence_note, "Not said"));
    g_assert_nonnull(strstr(info->licence_note, fastvlm_released_weights_notice()));
    /* hidden * vocab; layers of q, o, k, v, biases, gate, up, down, two norms; the last norm */
    g_assert_cmpuint(
        info->n_language_parameters, ==,
        128 * 512 + 3 * (2 * 128 * 128 + 2 * 64 * 128 + 128 + 2 * 64 + 3 * 128 * 256 + 2 * 128) +
            128);
    g_assert_cmpuint(info->n_projector_parameters, ==, 128 * 512 + 128 + 128 * 128 + 128);
    fastvlm_model_info_free(info);
}

/* Parameters of the encoder are all its tensors but BatchNorm's statistics; memory is what is read:
 * statistics too, but neither the classifier nor a head that is the embedding. */
static void test_totals(Fixture *fixture, gconstpointer data)
{
    FastvlmModelInfo *info = inspect_good(fixture);
    guint64 n_vision = 0, n_read = 0;

    for (guint i = 0; i < fixture->tensors->len; i++) {
        const SynthTensor *tensor = fixture->tensors->pdata[i];
        guint64 n = 1;

        if (tensor->n_dims == 0)
            continue;
        for (int k = 0; k < tensor->n_dims; k++)
            n *= (guint64)tensor->shape[k];
        if (g_str_has_prefix(tensor->name, P) && !strstr(tensor->name, "running"))
            n_vision += n;
        if (strcmp(tensor->name, P "head.proj") != 0 && strcmp(tensor->name, "lm_head.weight") != 0)
            n_read += n;
    }
    g_assert_cmpuint(info->n_vision_parameters, ==, n_vision);
    /* Rows come in panels of 16; BatchNorm and scales are folded away. */
    g_assert_cmpuint(info->memory_f32_bytes, >, 4 * n_read * 9 / 10);
    g_assert_cmpuint(info->memory_f32_bytes, <, 4 * n_read * 5 / 4);
    g_assert_cmpuint(info->memory_bf16_bytes, <, info->memory_f32_bytes * 2 / 3);
    g_assert_cmpuint(info->memory_int8_bytes, <, info->memory_bf16_bytes);
    g_assert_cmpuint(info->memory_int4_bytes, <, info->memory_int8_bytes);
    fastvlm_model_info_free(info);
}

/* Other widths and depths load too; the classifier and counters may be gone. */
static void test_other_shapes(void)
{
    Fixture fixture = {0};
    FastvlmModelInfo *info;

    g_assert_true(fastvlm_synth_spec("micro", &fixture.spec));
    memcpy(fixture.spec.blocks, (int[5]){3, 1, 2, 2, 3}, sizeof fixture.spec.blocks);
    memcpy(fixture.spec.dims, (int[5]){8, 8, 32, 64, 192}, sizeof fixture.spec.dims);
    fixture.spec.tied = FALSE;
    fixture.tensors = fastvlm_synth_tensors(&fixture.spec);
    fixture.config = fastvlm_synth_config(&fixture.spec);
    fixture.directory = test_directory_make();
    g_ptr_array_remove(fixture.tensors, find(&fixture, P "head.proj"));
    info = inspect_good(&fixture);
    g_assert_cmpmem(info->vision_blocks, 20, fixture.spec.blocks, 20);
    g_assert_cmpmem(info->vision_dims, 20, fixture.spec.dims, 20);
    g_assert_false(info->tied_head);
    fastvlm_model_info_free(info);
    tear_down(&fixture, NULL);
}

/* Each tensor but the unused is asked for: without it, or of another shape, the error names it. */
static void test_each_tensor(Fixture *fixture, gconstpointer data)
{
    for (guint i = 0; i < fixture->tensors->len; i++) {
        SynthTensor *tensor = fixture->tensors->pdata[i];
        g_autofree char *name = g_strdup(tensor->name);

        if (tensor->n_dims == 0 || strcmp(name, P "head.proj") == 0 ||
            strcmp(name, "lm_head.weight") == 0)
            continue;
        tensor->shape[tensor->n_dims - 1]++;
        assert_fails(fixture, FASTVLM_ERROR_FORMAT, fixture->directory, "expected");
        tensor->shape[tensor->n_dims - 1]--;
        g_free(tensor->name);
        tensor->name = g_strdup("elsewhere");
        if (g_str_has_suffix(name, "fc1.weight"))
            assert_fails(fixture, FASTVLM_ERROR_FORMAT, fixture->directory, "no block", P);
        else
            assert_fails(fixture, FASTVLM_ERROR_FORMAT, fixture->directory, name);
        g_free(tensor->name);
        tensor->name = g_strdup(name);
    }
}

static void test_dtype(Fixture *fixture, gconstpointer data)
{
    find(fixture, "model.norm.weight")->dtype = "I64";
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "model.safetensors", "model.norm.weight",
                 "dtype I64");
}

/* Tensors more than config and shapes ask for: the model would be another one. */
static void test_left_over(Fixture *fixture, gconstpointer data)
{
    json_object_set_new(fixture->config, "num_hidden_layers", json_integer(1));
    assert_fails(fixture, FASTVLM_ERROR_UNSUPPORTED, "tensor \"model.layers.1.", "model.layers.");
    json_object_set_new(fixture->config, "num_hidden_layers", json_integer(3));
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "no tensor model.layers.2.input_layernorm.weight");
    json_object_set_new(fixture->config, "num_hidden_layers", json_integer(2));
    fastvlm_model_info_free(inspect_good(fixture));
    rename_tensor(fixture, "lm_head.weight", "model.mm_projector.4.weight");
    assert_fails(fixture, FASTVLM_ERROR_UNSUPPORTED, "tensor \"model.mm_projector.4.weight\"");
    rename_tensor(fixture, "model.mm_projector.4.weight", P "network.0.0.se.weight");
    assert_fails(fixture, FASTVLM_ERROR_UNSUPPORTED, "tensor \"" P "network.0.0.se.weight\"");
    rename_tensor(fixture, P "network.0.0.se.weight", "model.image_newline");
    fastvlm_model_info_free(inspect_good(fixture));
}

/* A tensor that two layouts' names stand for, and an encoder that is not there. */
static void test_other_layouts(Fixture *fixture, gconstpointer data)
{
    rename_tensor(fixture, "lm_head.weight", "model.language_model.norm.weight");
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "\"model.norm.weight\"", "twice");
    rename_tensor(fixture, "model.language_model.norm.weight", "lm_head.weight");
    rename_tensor(fixture, "model.norm.weight", "language_model.model.norm.weight");
    fastvlm_model_info_free(inspect_good(fixture));
    for (guint i = fixture->tensors->len; i-- > 0;)
        if (g_str_has_prefix(((SynthTensor *)fixture->tensors->pdata[i])->name, P))
            g_ptr_array_remove_index(fixture->tensors, i);
    assert_fails(fixture, FASTVLM_ERROR_NOT_FOUND, "no vision part", "--vision");
}

/* Branches of training that lack something, do not fit, or stand beside what comes of them. */
static void test_bad_branches(Fixture *fixture, gconstpointer data)
{
    static const char mixer[] = P "network.0.0.token_mixer.reparam_conv.weight";
    SynthTensor *conv = find(fixture, mixer);

    rename_tensor(fixture, mixer, P "network.0.0.token_mixer.mixer.rbr_conv.0.conv.weight");
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "network.0.0.token_mixer.mixer.rbr_conv.0.bn",
                 "without .weight, expected .weight, .bias, .running_mean and .running_var");
    rename_tensor(fixture, conv->name, P "network.6.pe.weight");
    rename_tensor(fixture, P "network.0.0.token_mixer.reparam_conv.bias", P "network.6.pe.bias");
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "network.6.reparam_conv", "twice");
    conv->n_dims = 3;
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "network.6.reparam_conv", "do not fit",
                 "no convolution, expected convolutions [n, n_in, k, k] with odd k");
    conv->n_dims = 4;
    conv->shape[2] = conv->shape[3] = 4;
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "network.6.reparam_conv", "do not fit");
}

static void test_widths(Fixture *fixture, gconstpointer data)
{
    SynthTensor *mix = find(fixture, P "network.1.proj.1.reparam_conv.weight");

    json_object_set_new(fixture->config, "mm_hidden_size", json_integer(64));
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "config.json", "mm_hidden_size: found 64",
                 "expected 128");
    json_object_del(fixture->config, "mm_hidden_size");
    fastvlm_model_info_free(inspect_good(fixture));
    mix->shape[0] = 12;
    assert_fails(fixture, FASTVLM_ERROR_UNSUPPORTED, "encoder stage 1: 12 channels",
                 "multiple of the stage before it, 8");
    mix->shape[0] = 65544;
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, mix->name, "65544 channels");
    mix->shape[0] = 16;
    find(fixture, P "network.5.proj.1.reparam_conv.weight")->shape[0] = 16 * 3;
    find(fixture, P "network.3.proj.1.reparam_conv.weight")->shape[0] = 16;
    assert_fails(fixture, FASTVLM_ERROR_UNSUPPORTED, "encoder stage 3: 48 channels",
                 "multiple of a head's width, 32");
}

/* The flag of the config decides which head is used; a contradiction is told. */
static void test_head(Fixture *fixture, gconstpointer data)
{
    SynthTensor *head = find(fixture, "lm_head.weight");
    FastvlmModelInfo *info;

    g_free(head->weight_name);
    head->weight_name = g_strdup("lm_head.weight");
    info = inspect_good(fixture);
    g_assert_true(info->tied_head);
    g_assert_nonnull(strstr(info->head_note, "lm_head.weight differs from the embedding"));
    fastvlm_model_info_free(info);
    json_object_set_new(fixture->config, "tie_word_embeddings", json_false());
    info = inspect_good(fixture);
    g_assert_false(info->tied_head);
    g_assert_null(info->head_note);
    fastvlm_model_info_free(info);
    head->shape[0]--;
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "lm_head.weight", "[95, 32], expected [96, 32]");
    json_object_set_new(fixture->config, "tie_word_embeddings", json_true());
    info = inspect_good(fixture);
    g_assert_nonnull(info->head_note);
    fastvlm_model_info_free(info);
    g_ptr_array_remove(fixture->tensors, head);
    info = inspect_good(fixture);
    g_assert_null(info->head_note);
    fastvlm_model_info_free(info);
    json_object_set_new(fixture->config, "tie_word_embeddings", json_false());
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "no tensor lm_head.weight", "--head tied");
    json_object_del(fixture->config, "tie_word_embeddings");
    info = inspect_good(fixture);
    g_assert_true(info->tied_head);
    fastvlm_model_info_free(info);
}

/* Rows beyond the vocabulary are padding; too few of them are an error. */
static void test_padded(Fixture *fixture, gconstpointer data)
{
    SynthTensor *embedding = find(fixture, "model.embed_tokens.weight");
    FastvlmModelInfo *info;

    embedding->shape[0] += 5;
    info = inspect_good(fixture);
    g_assert_cmpint(info->vocab_size, ==, 101);
    fastvlm_model_info_free(info);
    embedding->shape[0] -= 6;
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "model.embed_tokens.weight", "[95, 32]",
                 "expected [96, 32]");
}

/* The stage of the release: in the directory's name, or in the name that the config has. */
static void test_stage(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *name;
        const char *stage;
    } names[] = {
        {"checkpoints/llava-fastvithd_0.5b_stage2", "stage 2"},
        {"llava-fastvithd_7b_stage3", "stage 3"},
        {"stage-1-of-mine", "stage 1"},
        {"backstage", NULL},
        {"stage30", NULL},
    };

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        FastvlmModelInfo *info;

        json_object_set_new(fixture->config, "_name_or_path", json_string(names[i].name));
        info = inspect_good(fixture);
        g_assert_cmpstr(info->stage, ==, names[i].stage);
        fastvlm_model_info_free(info);
    }
}

/* Ids are counted without loading the tokenizer; the count must be the tokenizer's own. */
static void test_tokenizer(Fixture *fixture, gconstpointer data)
{
    g_autofree char *source = test_data_path("text/tiny");
    FastvlmModelInfo *info;
    FastvlmTokenizer *tokenizer;

    fixture->spec.tokenizer = source;
    info = inspect_good(fixture);
    tokenizer = fastvlm_tokenizer_load(source, NULL);
    g_assert_cmpint(info->tokenizer_size, >, 256);
    g_assert_cmpint(info->tokenizer_size, ==, fastvlm_tokenizer_get_size(tokenizer));
    fastvlm_tokenizer_free(tokenizer);
    fastvlm_model_info_free(info);
    fixture->spec.tokenizer = NULL;
    test_directory_write(fixture->directory, "tokenizer_config.json", "[]", -1);
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "tokenizer_config.json");
    test_directory_write(fixture->directory, "tokenizer_config.json", "{}", -1);
    test_directory_write(fixture->directory, "added_tokens.json", "{}", -1);
    test_directory_write(fixture->directory, "vocab.json",
                         "{\"\\\"9999\": 7, \"a\\\\\": 12, \"b\": 3}", -1);
    info = inspect_good(fixture);
    g_assert_cmpint(info->tokenizer_size, ==, 13);
    fastvlm_model_info_free(info);
    test_directory_write(fixture->directory, "vocab.json", "{\"a\": 99999999999999999999}", -1);
    assert_fails(fixture, FASTVLM_ERROR_FORMAT, "vocab.json", "1048576");
    test_directory_write(fixture->directory, "vocab.json", "{\"a\": 1, \"b", -1);
    info = inspect_good(fixture);
    fastvlm_model_info_free(info);
}

static void test_no_merges(Fixture *fixture, gconstpointer data)
{
    test_directory_write(fixture->directory, "vocab.json", "{}", -1);
    assert_fails(fixture, FASTVLM_ERROR_NOT_FOUND, "merges.txt", "vocab.json is");
}

static void test_licence(Fixture *fixture, gconstpointer data)
{
    FastvlmModelInfo *info;

    test_directory_write(fixture->directory, "LICENSE_MODEL", "x", -1);
    info = inspect_good(fixture);
    g_assert_true(g_str_has_prefix(info->licence_note, "see "));
    g_assert_true(g_str_has_suffix(info->licence_note, "/LICENSE_MODEL"));
    fastvlm_model_info_free(info);
}

/* A name is looked for in FASTVLM_MODELS; a path is what it is. */
static void test_resolve(Fixture *fixture, gconstpointer data)
{
    g_autofree char *base = g_path_get_basename(fixture->directory);
    g_autofree char *parent = g_path_get_dirname(fixture->directory);
    g_autofree char *list = g_strdup_printf("/none-such::%s", parent);
    g_autofree char *found = NULL;
    g_autofree char *same = NULL;
    g_autofree char *path = fastvlm_model_resolve("./demo");
    g_autofree char *empty = fastvlm_model_resolve("");
    GError *error = NULL;

    g_assert_cmpstr(path, ==, "./demo");
    g_assert_cmpstr(empty, ==, "");
    g_setenv("FASTVLM_MODELS", list, TRUE);
    found = fastvlm_model_resolve(base);
    g_assert_cmpstr(found, ==, fixture->directory);
    fastvlm_model_info_free(inspect_good(fixture));
    g_assert_null(fastvlm_model_inspect("no-such-model", &error));
    test_assert_error(error, FASTVLM_ERROR_NOT_FOUND, "no-such-model: no such model",
                      "/none-such/no-such-model", parent, "fastvlm/models/no-such-model",
                      "FASTVLM_MODELS", NULL);
    g_unsetenv("FASTVLM_MODELS");
    same = fastvlm_model_resolve(base);
    g_assert_cmpstr(same, ==, base);
}

static void test_precision(void)
{
    FastvlmPrecision precision = FASTVLM_PRECISION_INT4;

    for (int i = FASTVLM_PRECISION_AUTO; i <= FASTVLM_PRECISION_INT4; i++) {
        g_assert_true(fastvlm_precision_from_string(
            fastvlm_precision_to_string((FastvlmPrecision)i), &precision));
        g_assert_cmpint(precision, ==, i);
    }
    g_assert_false(fastvlm_precision_from_string("fp32", &precision));
    g_assert_cmpint(precision, ==, FASTVLM_PRECISION_INT4);
}

/* A precision whose weights no machine can hold is refused before they are read; others are not. */
static void test_memory(void)
{
    FastvlmModelInfo info = {
        .path = (char *)"models/large",
        .memory_f32_bytes = G_MAXUINT64 / 2,
        .memory_bf16_bytes = G_MAXUINT64 / 4,
        .memory_int8_bytes = 1000,
        .memory_int4_bytes = 500,
    };
    FastvlmModel model = {.info = &info, .kernels = fastvlm_kernels_get(FASTVLM_TIER_SCALAR)};
    FastvlmModelParams params = {.precision = FASTVLM_PRECISION_BF16};
    FastvlmPackingPlan plan;
    GError *error = NULL;

    g_assert_true(fastvlm_model_info_check_memory(&info, FASTVLM_PRECISION_INT8, NULL));
    g_assert_true(fastvlm_model_info_check_memory(&info, FASTVLM_PRECISION_INT4, NULL));
    g_assert_false(fastvlm_model_info_check_memory(&info, FASTVLM_PRECISION_F32, &error));
    test_assert_error(error, FASTVLM_ERROR_LIMIT,
                      "models/large: precision f32: ", "take 9223372036.85 GB", "use int8 or int4",
                      NULL);
    error = NULL;
    g_assert_false(fastvlm_precision_plan(&model, &params, &plan, &error));
    test_assert_error(error, FASTVLM_ERROR_LIMIT, "precision bf16: ", "use int8 or int4", NULL);
    error = NULL;
    info.memory_int8_bytes = info.memory_int4_bytes = G_MAXUINT64 / 8;
    g_assert_false(fastvlm_model_info_check_memory(&info, FASTVLM_PRECISION_AUTO, &error));
    test_assert_error(error, FASTVLM_ERROR_LIMIT, "precision auto: ", "use a smaller model", NULL);
}

#define ADD(name, spec, func) g_test_add("/inspect/" name, Fixture, spec, set_up, func, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("tiny", "tiny", test_tiny);
    ADD("totals", "micro", test_totals);
    g_test_add_func("/inspect/other-shapes", test_other_shapes);
    ADD("each-tensor", "micro", test_each_tensor);
    ADD("dtype", "micro", test_dtype);
    ADD("left-over", "micro", test_left_over);
    ADD("other-layouts", "micro", test_other_layouts);
    ADD("bad-branches", "micro", test_bad_branches);
    ADD("widths", "micro", test_widths);
    ADD("head", "micro", test_head);
    ADD("padded", "micro", test_padded);
    ADD("stage", "micro", test_stage);
    ADD("tokenizer", "micro", test_tokenizer);
    ADD("no-merges", "micro", test_no_merges);
    ADD("licence", "micro", test_licence);
    ADD("resolve", "micro", test_resolve);
    g_test_add_func("/inspect/precision", test_precision);
    g_test_add_func("/inspect/memory", test_memory);
    return g_test_run();
}
