/*
 * vocab.json to bytes. See vocab.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/text_file.h"
#include "text/byte_map.h"

int fastvlm_vocab_id_from_json(const json_t *value)
{
    if (!json_is_integer(value))
        return -1;
    json_int_t id = json_integer_value(value);
    return id >= 0 && id < FASTVLM_VOCAB_MAX_SIZE ? (int)id : -1;
}

gboolean fastvlm_vocab_has(const FastvlmVocab *vocab, int id)
{
    return id >= 0 && (guint)id < vocab->n_spans && vocab->spans[id].offset != FASTVLM_VOCAB_HOLE;
}

void fastvlm_vocab_add(FastvlmVocab *vocab, int id, const char *bytes, gsize n_bytes)
{
    FastvlmVocabSpan hole = {FASTVLM_VOCAB_HOLE, 0};
    GArray *spans = vocab->own_spans;
    while (spans->len <= (guint)id)
        g_array_append_val(spans, hole);
    /* The files have at most 64 MiB each: offsets fit. */
    g_array_index(spans, FastvlmVocabSpan, id) =
        (FastvlmVocabSpan){(guint32)vocab->own_bytes->len, (guint32)n_bytes};
    g_string_append_len(vocab->own_bytes, bytes, (gssize)n_bytes);
    vocab->spans = (const FastvlmVocabSpan *)(const void *)spans->data;
    vocab->n_spans = spans->len;
    vocab->bytes = vocab->own_bytes->str;
    vocab->n_bytes = (guint32)vocab->own_bytes->len;
}

const char *fastvlm_vocab_get(const FastvlmVocab *vocab, int id, gsize *n_bytes)
{
    *n_bytes = 0;
    if (!fastvlm_vocab_has(vocab, id))
        return "";
    *n_bytes = vocab->spans[id].n_bytes;
    return vocab->bytes + vocab->spans[id].offset;
}

/* Spells `piece` in bytes; FALSE where it is empty or a character stands for no byte. */
static gboolean piece_to_bytes(const char *piece, GString *bytes)
{
    g_string_truncate(bytes, 0);
    for (const char *p = piece; *p != '\0'; p = g_utf8_next_char(p)) {
        int byte = fastvlm_char_to_byte(g_utf8_get_char(p));
        if (byte < 0)
            return FALSE;
        g_string_append_c(bytes, (char)byte);
    }
    return bytes->len > 0;
}

static gboolean add_piece(FastvlmVocab *vocab, const char *piece, const json_t *value,
                          GString *scratch, const char *path, GError **error)
{
    int id = fastvlm_vocab_id_from_json(value);
    g_autofree char *quoted = NULL;
    g_autofree char *found = NULL;
    const char *problem = NULL;
    if (id < 0)
        problem = "expected an integer from 0 to 1048575";
    else if (fastvlm_vocab_has(vocab, id))
        problem = "which another piece has too, expected one of its own";
    else if (!piece_to_bytes(piece, scratch))
        problem =
            "but is empty or has characters outside GPT-2's byte alphabet, expected some of it";
    if (problem != NULL) {
        quoted = fastvlm_text_quote(piece);
        found = fastvlm_text_spell(value);
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT, "%s: piece %s has the id %s, %s",
                    path, quoted, found, problem);
        return FALSE;
    }
    fastvlm_vocab_add(vocab, id, scratch->str, scratch->len);
    if (scratch->len == 1)
        vocab->byte_id[(guint8)scratch->str[0]] = id;
    return TRUE;
}

static gboolean check_bytes(const FastvlmVocab *vocab, const char *path, GError **error)
{
    for (int byte = 0; byte < 256; byte++) {
        if (vocab->byte_id[byte] >= 0)
            continue;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: no piece for the byte 0x%02x, expected one for each of the 256 bytes",
                    path, (guint)byte);
        return FALSE;
    }
    return TRUE;
}

gboolean fastvlm_vocab_init(FastvlmVocab *vocab, json_t *pieces, const char *path, GError **error)
{
    vocab->own_spans =
        g_array_sized_new(FALSE, FALSE, sizeof(FastvlmVocabSpan),
                          (guint)MIN(json_object_size(pieces), FASTVLM_VOCAB_MAX_SIZE));
    vocab->own_bytes = g_string_new(NULL);
    memset(vocab->byte_id, 0xff, sizeof vocab->byte_id);
    g_autoptr(GString) scratch = g_string_new(NULL);
    const char *piece;
    json_t *value;
    json_object_foreach(pieces, piece, value) if (!add_piece(vocab, piece, value, scratch, path,
                                                             error)) return FALSE;
    return check_bytes(vocab, path, error);
}

void fastvlm_vocab_clear(FastvlmVocab *vocab)
{
    if (vocab->own_spans != NULL)
        g_array_unref(vocab->own_spans);
    if (vocab->own_bytes != NULL)
        g_string_free(vocab->own_bytes, TRUE);
    *vocab = (FastvlmVocab){0};
}
