/*
 * The vocabulary: which bytes each id stands for.
 *
 *     vocab.json {"Ġa": 264, ...} -> byte map back -> bytes of id 264 = " a"
 *
 * Ids run from 0 to 2^20 - 1; holes are allowed, an id that two pieces claim is not.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_VOCAB_H
#define FASTVLM_TEXT_VOCAB_H

#include <jansson.h>
#include <fastvlm/error.h>

/** One more than the largest id a file may name; the largest released is 151,664. */
#define FASTVLM_VOCAB_MAX_SIZE (1 << 20)

/** The offset of an id that stands for nothing. */
#define FASTVLM_VOCAB_HOLE G_MAXUINT32

/** Where the bytes of an id lie. */
typedef struct {
    guint32 offset;
    guint32 n_bytes;
} FastvlmVocabSpan;

typedef struct {
    const FastvlmVocabSpan *spans; /* [n_spans], NULL while pieces are added */
    const char *bytes;             /* of all pieces, one after the other */
    guint32 n_spans;               /* one more than the largest id */
    guint32 n_bytes;
    gint32 byte_id[256]; /* the id of each single byte: every text can be encoded */
    GArray *own_spans;   /* NULL: `spans` and `bytes` are someone else's */
    GString *own_bytes;
} FastvlmVocab;

/**
 * Makes a vocabulary of `pieces`, the object in vocab.json.
 *
 * @param path  that file, for messages
 * @return FALSE on error; `vocab` needs fastvlm_vocab_clear() either way
 * Errors: FORMAT.
 */
gboolean fastvlm_vocab_init(FastvlmVocab *vocab, json_t *pieces, const char *path, GError **error);

/** Frees what `vocab` holds; an all-zero one is fine. */
void fastvlm_vocab_clear(FastvlmVocab *vocab);

/** TRUE where `id` stands for something, if only for no bytes. */
gboolean fastvlm_vocab_has(const FastvlmVocab *vocab, int id);

/**
 * Lets the unused `id`, 0 .. FASTVLM_VOCAB_MAX_SIZE - 1, stand for `n_bytes` bytes; `vocab` is one that
 * fastvlm_vocab_init() made.
 */
void fastvlm_vocab_add(FastvlmVocab *vocab, int id, const char *bytes, gsize n_bytes);

/** The bytes of `id`, none where it is a hole or out of range. */
const char *fastvlm_vocab_get(const FastvlmVocab *vocab, int id, gsize *n_bytes);

/**
 * Reads an id from a JSON value.
 *
 * @return the id, or -1 where it is no whole number from 0 to FASTVLM_VOCAB_MAX_SIZE - 1
 */
int fastvlm_vocab_id_from_json(const json_t *value);

#endif
