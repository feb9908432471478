/*
 * Added tokens: loading and searching. See added_tokens.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/text_file.h"
#include "text/tokenizer_json.h"
#include "text/vocab.h"

/* Says what is wrong with the token `name` of the file `path`; returns FALSE. */
static gboolean fail(const char *path, const char *name, FastvlmError code, const char *problem,
                     GError **error)
{
    g_autofree char *quoted = fastvlm_text_quote(name);
    g_set_error(error, FASTVLM_ERROR, (int)code, "%s: token %s %s", path, quoted, problem);
    return FALSE;
}

static gboolean fail_id(const char *path, const char *name, const char *spelled, GError **error)
{
    g_autofree char *problem =
        g_strdup_printf("has the id %s, expected an integer from 0 to 1048575", spelled);
    return fail(path, name, FASTVLM_ERROR_FORMAT, problem, error);
}

/* An id that is taken, or a name that has one; returns FALSE. */
static gboolean fail_twice(const char *path, const char *name, int id,
                           const FastvlmAddedToken *other, GError **error)
{
    g_autofree char *quoted = fastvlm_text_quote(other->name);
    g_autofree char *problem =
        strcmp(other->name, name) == 0
            ? g_strdup_printf("has the id %d here and %d before, expected the same", id, other->id)
            : g_strdup_printf(
                  "has the id %d, which another token, %s, has too, expected one of its own", id,
                  quoted);
    return fail(path, name, FASTVLM_ERROR_FORMAT, problem, error);
}

/* Adds a token, or updates the one of this name from the other file. */
static gboolean add_token(FastvlmAddedTokens *added, const char *path, const char *name, int id,
                          gboolean is_special, GError **error)
{
    if (*name == '\0')
        return fail(path, name, FASTVLM_ERROR_FORMAT, "is empty, expected a text", error);
    for (guint i = 0; i < added->tokens->len; i++) {
        FastvlmAddedToken *other = &g_array_index(added->tokens, FastvlmAddedToken, i);
        gboolean same_name = strcmp(other->name, name) == 0;
        if (same_name && other->id == id) {
            other->is_special = is_special;
            return TRUE;
        }
        if (same_name || other->id == id)
            return fail_twice(path, name, id, other, error);
    }
    if (added->tokens->len >= FASTVLM_ADDED_TOKENS_MAX)
        return fail(path, name, FASTVLM_ERROR_LIMIT, "is one too many, expected at most 4096",
                    error);
    FastvlmAddedToken token = {g_strdup(name), strlen(name), id, is_special};
    g_array_append_val(added->tokens, token);
    return TRUE;
}

static gboolean load_added_tokens(FastvlmAddedTokens *added, const char *path, json_t *object,
                                  GError **error)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        int id = fastvlm_vocab_id_from_json(value);
        g_autofree char *spelled = fastvlm_text_spell(value);
        if (id < 0)
            return fail_id(path, name, spelled, error);
        if (!add_token(added, path, name, id, TRUE, error))
            return FALSE;
    }
    return TRUE;
}

/* The id that a key such as "151643" spells, or -1. */
static int parse_id(const char *text)
{
    guint64 id;
    if (!g_ascii_string_to_unsigned(text, 10, 0, FASTVLM_VOCAB_MAX_SIZE - 1, &id, NULL))
        return -1;
    return (int)id;
}

static gboolean load_decoder_entry(FastvlmAddedTokens *added, const char *path, const char *key,
                                   json_t *entry, GError **error)
{
    static const char *const unsupported[] = {"lstrip", "rstrip", "single_word"};
    const char *name = json_string_value(json_object_get(entry, "content"));
    if (name == NULL) {
        g_autofree char *quoted = fastvlm_text_quote(key);
        g_autofree char *found = fastvlm_text_spell(json_object_get(entry, "content"));
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: added tokens: %s: content: found %s, expected a text", path, quoted,
                    found);
        return FALSE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(unsupported); i++) {
        if (!json_is_true(json_object_get(entry, unsupported[i])))
            continue;
        g_autofree char *problem =
            g_strdup_printf("has \"%s\": true, expected false", unsupported[i]);
        return fail(path, name, FASTVLM_ERROR_UNSUPPORTED, problem, error);
    }
    gboolean is_special = !json_is_false(json_object_get(entry, "special"));
    int id = parse_id(key);
    if (id < 0) {
        g_autofree char *quoted = fastvlm_text_quote(key);
        return fail_id(path, name, quoted, error);
    }
    return add_token(added, path, name, id, is_special, error);
}

/* The added_tokens of tokenizer.json. */
static gboolean load_tokenizer_json(FastvlmAddedTokens *added, const char *path, json_t *object,
                                    GError **error)
{
    const json_t *tokens = json_object_get(object, "added_tokens");
    for (gsize i = 0; i < json_array_size(tokens); i++) {
        json_t *entry = json_array_get(tokens, i);
        g_autofree char *key = fastvlm_text_spell(json_object_get(entry, "id"));
        if (!load_decoder_entry(added, path, key, entry, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean load_config(FastvlmAddedTokens *added, const char *path, json_t *config,
                            GError **error)
{
    json_t *class_value = json_object_get(config, "tokenizer_class");
    const char *class_name = json_string_value(class_value);
    if (class_value != NULL && g_strcmp0(class_name, "Qwen2Tokenizer") != 0 &&
        g_strcmp0(class_name, "Qwen2TokenizerFast") != 0) {
        g_autofree char *found = fastvlm_text_spell(class_value);
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "%s: tokenizer_class is %s, expected \"Qwen2Tokenizer\"", path, found);
        return FALSE;
    }
    if (json_is_true(json_object_get(config, "add_prefix_space"))) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "%s: add_prefix_space is true, expected false", path);
        return FALSE;
    }
    json_t *decoder = json_object_get(config, "added_tokens_decoder");
    if (decoder != NULL && !json_is_object(decoder)) {
        g_autofree char *found = fastvlm_text_spell(decoder);
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: added_tokens_decoder: found %s, expected an object", path, found);
        return FALSE;
    }
    const char *key;
    json_t *entry;
    json_object_foreach(
        decoder, key, entry) if (!load_decoder_entry(added, path, key, entry, error)) return FALSE;
    return TRUE;
}

typedef gboolean (*LoadFunc)(FastvlmAddedTokens *added, const char *path, json_t *object,
                             GError **error);

/* Loads the file `name` of the directory, if it is there. */
static gboolean load_file(FastvlmAddedTokens *added, const char *directory, const char *name,
                          LoadFunc load, GError **error)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    GError *problem = NULL;
    json_t *object = fastvlm_text_file_read_object(path, &problem);
    if (object == NULL) {
        if (g_error_matches(problem, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND)) {
            g_error_free(problem);
            return TRUE;
        }
        g_propagate_error(error, problem);
        return FALSE;
    }
    gboolean ok = load(added, path, object, error);
    json_decref(object);
    return ok;
}

static void clear_token(gpointer token)
{
    g_free(((FastvlmAddedToken *)token)->name);
}

static int compare_lengths(gconstpointer a, gconstpointer b)
{
    gsize length_a = ((const FastvlmAddedToken *)a)->n_bytes;
    gsize length_b = ((const FastvlmAddedToken *)b)->n_bytes;
    return (length_a < length_b) - (length_a > length_b);
}

gboolean fastvlm_added_tokens_load(FastvlmAddedTokens *added, const char *path, GError **error)
{
    added->tokens = g_array_new(FALSE, FALSE, sizeof(FastvlmAddedToken));
    g_array_set_clear_func(added->tokens, clear_token);
    if ((fastvlm_tokenizer_json_is_used(path) &&
         !load_file(added, path, FASTVLM_TOKENIZER_JSON, load_tokenizer_json, error)) ||
        !load_file(added, path, "added_tokens.json", load_added_tokens, error) ||
        !load_file(added, path, "tokenizer_config.json", load_config, error))
        return FALSE;
    g_array_sort(added->tokens, compare_lengths);
    added->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < added->tokens->len; i++) {
        const FastvlmAddedToken *token = &g_array_index(added->tokens, FastvlmAddedToken, i);
        g_hash_table_insert(added->by_name, token->name, GINT_TO_POINTER(token->id + 1));
        added->starts[(guint8)token->name[0]] = TRUE;
    }
    return TRUE;
}

void fastvlm_added_tokens_clear(FastvlmAddedTokens *added)
{
    g_clear_pointer(&added->by_name, g_hash_table_unref);
    g_clear_pointer(&added->tokens, g_array_unref);
}

int fastvlm_added_tokens_find(const FastvlmAddedTokens *added, const char *name)
{
    return GPOINTER_TO_INT(g_hash_table_lookup(added->by_name, name)) - 1;
}

const FastvlmAddedToken *fastvlm_added_tokens_search(const FastvlmAddedTokens *added,
                                                     const char *text, gsize n_bytes, gsize *offset)
{
    for (gsize at = 0; at < n_bytes; at++) {
        if (!added->starts[(guint8)text[at]])
            continue;
        for (guint i = 0; i < added->tokens->len; i++) {
            const FastvlmAddedToken *token = &g_array_index(added->tokens, FastvlmAddedToken, i);
            if (token->n_bytes <= n_bytes - at &&
                memcmp(text + at, token->name, token->n_bytes) == 0) {
                *offset = at;
                return token;
            }
        }
    }
    return NULL;
}
