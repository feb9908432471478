/*
 * Takes tokenizer.json apart. See tokenizer_json.h; the format is that of github.com/huggingface/tokenizers.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/tokenizer_json.h"

#include <string.h>

#include "base/text_file.h"

/* What pretokenize.c does, as transformers' converter for Qwen2 spells it. */
#define QWEN2_EXPRESSION                                                  \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| " \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static gboolean is_there(const char *directory, const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    return fastvlm_file_is_there(path);
}

gboolean fastvlm_tokenizer_json_is_used(const char *directory)
{
    return !is_there(directory, "vocab.json") && is_there(directory, FASTVLM_TOKENIZER_JSON);
}

gboolean fastvlm_tokenizer_is_there(const char *directory)
{
    return is_there(directory, "vocab.json") || is_there(directory, FASTVLM_TOKENIZER_JSON);
}

/* Says that the value of `key` is not what it should be; returns FALSE. */
static gboolean fail(const char *path, FastvlmError code, const char *key, const json_t *value,
                     const char *expected, GError **error)
{
    g_autofree char *found = fastvlm_text_spell(value);
    g_set_error(error, FASTVLM_ERROR, (int)code, "%s: %s: found %s, expected %s", path, key, found,
                expected);
    return FALSE;
}

/* Whether a value is absent, null, false or "". */
static gboolean is_off(const json_t *value)
{
    const char *text = json_string_value(value);
    return value == NULL || json_is_null(value) || json_is_false(value) ||
           (text != NULL && *text == '\0');
}

static gboolean check_model(const json_t *model, const char *path, GError **error)
{
    static const char *const off[] = {"byte_fallback", "ignore_merges", "continuing_subword_prefix",
                                      "end_of_word_suffix", "dropout"};
    const json_t *type = json_object_get(model, "type");
    if (type != NULL && g_strcmp0(json_string_value(type), "BPE") != 0)
        return fail(path, FASTVLM_ERROR_UNSUPPORTED, "model.type", type, "\"BPE\"", error);
    for (guint i = 0; i < G_N_ELEMENTS(off); i++) {
        if (is_off(json_object_get(model, off[i])))
            continue;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "%s: model.%s is on, expected it off, as Qwen2's tokenizer has it", path,
                    off[i]);
        return FALSE;
    }
    if (!json_is_object(json_object_get(model, "vocab")))
        return fail(path, FASTVLM_ERROR_FORMAT, "model.vocab", json_object_get(model, "vocab"),
                    "an object", error);
    if (!json_is_array(json_object_get(model, "merges")))
        return fail(path, FASTVLM_ERROR_FORMAT, "model.merges", json_object_get(model, "merges"),
                    "an array", error);
    return TRUE;
}

/* The expression of a pre-tokenizer that splits by one, or NULL. */
static const json_t *get_expression(const json_t *step)
{
    return json_object_get(json_object_get(step, "pattern"), "Regex");
}

/* One step, or a sequence of which one splits by the expression. */
static gboolean check_steps(const json_t *object, const char *path, GError **error)
{
    const json_t *normalizer = json_object_get(object, "normalizer");
    const json_t *pretokenizer = json_object_get(object, "pre_tokenizer");
    const json_t *steps = json_object_get(pretokenizer, "pretokenizers");
    const json_t *expression = get_expression(pretokenizer);
    const json_t *type = json_object_get(normalizer, "type");
    if (g_strcmp0(json_string_value(type), "NFC") != 0)
        return fail(path, FASTVLM_ERROR_UNSUPPORTED, "normalizer.type", type,
                    "\"NFC\", as Qwen2 has it", error);
    for (gsize i = 0; expression == NULL && i < json_array_size(steps); i++)
        expression = get_expression(json_array_get(steps, i));
    if (g_strcmp0(json_string_value(expression), QWEN2_EXPRESSION) != 0)
        return fail(path, FASTVLM_ERROR_UNSUPPORTED, "pre_tokenizer", expression,
                    "a split by Qwen2's expression", error);
    return TRUE;
}

json_t *fastvlm_tokenizer_json_read(const char *directory, GError **error)
{
    g_autofree char *path = g_build_filename(directory, FASTVLM_TOKENIZER_JSON, NULL);
    json_t *object = fastvlm_text_file_read_object(path, error);
    if (object != NULL && check_model(json_object_get(object, "model"), path, error) &&
        check_steps(object, path, error))
        return object;
    json_decref(object);
    return NULL;
}

json_t *fastvlm_tokenizer_json_get_vocab(json_t *object)
{
    return json_object_get(json_object_get(object, "model"), "vocab");
}

GString *fastvlm_tokenizer_json_spell_merges(json_t *object, const char *path, GError **error)
{
    const json_t *merges = json_object_get(json_object_get(object, "model"), "merges");
    GString *text = g_string_new("#version\n");
    for (gsize i = 0; i < json_array_size(merges); i++) {
        const json_t *merge = json_array_get(merges, i);
        const char *joined = json_string_value(merge);
        const char *left = json_string_value(json_array_get(merge, 0));
        const char *right = json_string_value(json_array_get(merge, 1));
        if (joined != NULL && strchr(joined, '\n') == NULL) {
            g_string_append_printf(text, "%s\n", joined);
        } else if (json_array_size(merge) == 2 && left != NULL && right != NULL &&
                   strpbrk(left, " \n") == NULL && strpbrk(right, " \n") == NULL) {
            g_string_append_printf(text, "%s %s\n", left, right);
        } else {
            g_autofree char *found = fastvlm_text_spell(merge);
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                        "%s: model.merges: number %" G_GSIZE_FORMAT
                        ": found %s, expected \"LEFT RIGHT\" or [\"LEFT\", \"RIGHT\"]",
                        path, i, found);
            g_string_free(text, TRUE);
            return NULL;
        }
    }
    return text;
}
