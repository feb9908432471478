/*
 * The Qwen2 tokenizer: joins the parts. See fastvlm/tokenizer.h.
 *
 *     text -> added_tokens.c -> normalize.c -> pretokenize.c -> bpe.c (vocab.c, merges.c) -> ids
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/tokenizer.h>

#include <string.h>

#include "base/text_file.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tables.h"
#include "text/tokenizer_json.h"

struct _FastvlmTokenizer {
    FastvlmVocab vocab; /* with the names of added tokens that are not special */
    FastvlmMerges merges;
    FastvlmAddedTokens added;
    GRegex *expression;
};

/* One call of fastvlm_tokenizer_encode(). */
typedef struct {
    const FastvlmTokenizer *tokenizer;
    FastvlmBpe bpe;
    GString *normal; /* the stretch of text at work, in NFC */
    GArray *ids;
} Encoder;

/* Gives an added token its place among the ids. */
static gboolean place_added(FastvlmVocab *vocab, json_t *pieces, const FastvlmAddedToken *token,
                            const char *path, GError **error)
{
    const json_t *piece_id = json_object_get(pieces, token->name);
    if (piece_id != NULL ? fastvlm_vocab_id_from_json(piece_id) != token->id
                         : fastvlm_vocab_has(vocab, token->id)) {
        g_autofree char *quoted = fastvlm_text_quote(token->name);
        g_autofree char *other =
            piece_id != NULL ? fastvlm_text_spell(piece_id) : g_strdup("to another piece");
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: the added token %s has the id %d, which vocab.json gives otherwise: %s, "
                    "expected the same in both",
                    path, quoted, token->id, other);
        return FALSE;
    }
    const char *bytes = token->is_special ? "" : token->name;
    fastvlm_vocab_add(vocab, token->id, bytes, strlen(bytes));
    return TRUE;
}

static gboolean make_expression(FastvlmTokenizer *tokenizer, GError **error)
{
    tokenizer->expression = fastvlm_pretokenizer_new(error);
    return tokenizer->expression != NULL;
}

/* The added tokens, and all else that comes behind vocabulary and merges. */
static gboolean finish_parts(FastvlmTokenizer *tokenizer, json_t *pieces, const char *path,
                             GError **error)
{
    if (!fastvlm_added_tokens_load(&tokenizer->added, path, error))
        return FALSE;
    const GArray *tokens = tokenizer->added.tokens;
    for (guint i = 0; i < tokens->len; i++)
        if (!place_added(&tokenizer->vocab, pieces, &g_array_index(tokens, FastvlmAddedToken, i),
                         path, error))
            return FALSE;
    return make_expression(tokenizer, error);
}

static gboolean load_files(FastvlmTokenizer *tokenizer, const char *path, GError **error)
{
    g_autofree char *vocab_path = g_build_filename(path, "vocab.json", NULL);
    g_autofree char *merges_path = g_build_filename(path, "merges.txt", NULL);
    json_t *pieces = fastvlm_text_file_read_object(vocab_path, error);
    gboolean ok = pieces != NULL &&
                  fastvlm_vocab_init(&tokenizer->vocab, pieces, vocab_path, error) &&
                  fastvlm_merges_load(&tokenizer->merges, pieces, merges_path, error) &&
                  finish_parts(tokenizer, pieces, path, error);
    json_decref(pieces);
    return ok;
}

/* All of it in one file. */
static gboolean load_json(FastvlmTokenizer *tokenizer, const char *path, GError **error)
{
    g_autofree char *json_path = g_build_filename(path, FASTVLM_TOKENIZER_JSON, NULL);
    json_t *object = fastvlm_tokenizer_json_read(path, error);
    json_t *pieces = fastvlm_tokenizer_json_get_vocab(object);
    g_autoptr(GString) merges =
        object != NULL ? fastvlm_tokenizer_json_spell_merges(object, json_path, error) : NULL;
    gboolean ok = merges != NULL &&
                  fastvlm_vocab_init(&tokenizer->vocab, pieces, json_path, error) &&
                  fastvlm_merges_parse(&tokenizer->merges, pieces, merges->str, json_path, error) &&
                  finish_parts(tokenizer, pieces, path, error);
    json_decref(object);
    return ok;
}

FastvlmTokenizer *fastvlm_tokenizer_load(const char *path, GError **error)
{
    FastvlmTokenizer *tokenizer = g_new0(FastvlmTokenizer, 1);
    gboolean ok = fastvlm_tokenizer_json_is_used(path) ? load_json(tokenizer, path, error)
                                                       : load_files(tokenizer, path, error);
    if (!ok)
        g_clear_pointer(&tokenizer, fastvlm_tokenizer_free);
    return tokenizer;
}

void fastvlm_tokenizer_write_tables(const FastvlmTokenizer *tokenizer, GByteArray *out)
{
    fastvlm_tables_write(&tokenizer->vocab, &tokenizer->merges, out);
}

static gboolean bind_parts(FastvlmTokenizer *tokenizer, const char *path, const void *tables,
                           gsize n_bytes, GError **error)
{
    if (!fastvlm_tables_bind(tables, n_bytes, &tokenizer->vocab, &tokenizer->merges, error) ||
        !fastvlm_added_tokens_load(&tokenizer->added, path, error))
        return FALSE;
    const GArray *tokens = tokenizer->added.tokens;
    for (guint i = 0; i < tokens->len; i++) {
        if (fastvlm_vocab_has(&tokenizer->vocab, g_array_index(tokens, FastvlmAddedToken, i).id))
            continue;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: an added token is not in the packed tables", path);
        return FALSE;
    }
    return make_expression(tokenizer, error);
}

FastvlmTokenizer *fastvlm_tokenizer_new_from_tables(const char *path, const void *tables,
                                                    gsize n_bytes, GError **error)
{
    FastvlmTokenizer *tokenizer = g_new0(FastvlmTokenizer, 1);
    if (!bind_parts(tokenizer, path, tables, n_bytes, error))
        g_clear_pointer(&tokenizer, fastvlm_tokenizer_free);
    return tokenizer;
}

void fastvlm_tokenizer_free(FastvlmTokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    fastvlm_vocab_clear(&tokenizer->vocab);
    fastvlm_merges_clear(&tokenizer->merges);
    fastvlm_added_tokens_clear(&tokenizer->added);
    g_clear_pointer(&tokenizer->expression, g_regex_unref);
    g_free(tokenizer);
}

int fastvlm_tokenizer_get_size(const FastvlmTokenizer *tokenizer)
{
    return (int)tokenizer->vocab.n_spans;
}

static void encode_word(const char *word, gsize n_bytes, gpointer user_data)
{
    Encoder *encoder = user_data;
    const FastvlmTokenizer *tokenizer = encoder->tokenizer;
    fastvlm_bpe_encode(&encoder->bpe, &tokenizer->vocab, &tokenizer->merges, word, n_bytes,
                       encoder->ids);
}

/* Encodes a stretch of text without special tokens. */
static gboolean encode_plain(Encoder *encoder, const char *text, gsize n_bytes, GError **error)
{
    GString *normal = encoder->normal;
    g_string_truncate(normal, 0);
    return fastvlm_normalize_nfc(text, n_bytes, normal, error) &&
           fastvlm_pretokenize(encoder->tokenizer->expression, normal->str, normal->len,
                               encode_word, encoder, error);
}

static gboolean encode_text(Encoder *encoder, const char *text, gsize n_bytes,
                            gboolean parse_special, GError **error)
{
    while (parse_special) {
        gsize offset;
        const FastvlmAddedToken *token =
            fastvlm_added_tokens_search(&encoder->tokenizer->added, text, n_bytes, &offset);
        if (token == NULL)
            break;
        if (!encode_plain(encoder, text, offset, error))
            return FALSE;
        g_array_append_val(encoder->ids, token->id);
        text += offset + token->n_bytes;
        n_bytes -= offset + token->n_bytes;
    }
    return encode_plain(encoder, text, n_bytes, error);
}

gboolean fastvlm_tokenizer_encode(const FastvlmTokenizer *tokenizer, const char *text,
                                  gssize n_bytes, gboolean parse_special, GArray *ids,
                                  GError **error)
{
    gsize length = n_bytes < 0 ? strlen(text) : (gsize)n_bytes;
    if (length > FASTVLM_TEXT_MAX_BYTES) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "the text has %" G_GSIZE_FORMAT " bytes, expected at most %d: shorten it",
                    length, FASTVLM_TEXT_MAX_BYTES);
        return FALSE;
    }
    if (!fastvlm_normalize_check(text, length, error))
        return FALSE;
    Encoder encoder = {.tokenizer = tokenizer, .normal = g_string_new(NULL), .ids = ids};
    guint n_before = ids->len;
    fastvlm_bpe_init(&encoder.bpe);
    gboolean ok = encode_text(&encoder, text, length, parse_special, error);
    fastvlm_bpe_clear(&encoder.bpe);
    g_string_free(encoder.normal, TRUE);
    if (!ok)
        g_array_set_size(ids, n_before);
    return ok;
}

const char *fastvlm_tokenizer_decode(const FastvlmTokenizer *tokenizer, int id, gsize *n_bytes)
{
    return fastvlm_vocab_get(&tokenizer->vocab, id, n_bytes);
}

int fastvlm_tokenizer_find_special(const FastvlmTokenizer *tokenizer, const char *name)
{
    return fastvlm_added_tokens_find(&tokenizer->added, name);
}
