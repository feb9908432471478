/*
 * The merges of byte-pair encoding: which two neighbours become one, and which pair goes first.
 *
 *     merges.txt line "Ġ t" -> (id of "Ġ", id of "t") -> rank = line, result = id of "Ġt"
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_MERGES_H
#define FASTVLM_TEXT_MERGES_H

#include <jansson.h>
#include <fastvlm/error.h>

/** One merge; rank counts up from 0, the lowest goes first. */
typedef struct {
    guint64 pair; /* left id << 32 | right id */
    guint32 rank;
    gint32 result; /* id; -1: an empty slot */
} FastvlmMerge;

/** An open hash table of merges; all zero is an empty one. Immutable once loaded. */
typedef struct {
    const FastvlmMerge *slots; /* [mask + 1], at most half full */
    guint32 mask;
    FastvlmMerge *own_slots; /* NULL: `slots` are someone else's */
} FastvlmMerges;

/**
 * Loads the file `path`.
 *
 * @param pieces  the object in vocab.json, piece to id, checked by fastvlm_vocab_init()
 * @return FALSE on error; `merges` needs fastvlm_merges_clear() either way
 * Errors: NOT_FOUND, READ, LIMIT, FORMAT with the line.
 */
gboolean fastvlm_merges_load(FastvlmMerges *merges, json_t *pieces, const char *path,
                             GError **error);

/**
 * The same from the text of such a file, which it cuts to pieces; valid UTF-8.
 *
 * @param path  where it comes from, for messages
 */
gboolean fastvlm_merges_parse(FastvlmMerges *merges, json_t *pieces, char *text, const char *path,
                              GError **error);

/** Frees what `merges` holds. */
void fastvlm_merges_clear(FastvlmMerges *merges);

/** The merge of `left` and `right`, or NULL. */
const FastvlmMerge *fastvlm_merges_find(const FastvlmMerges *merges, gint32 left, gint32 right);

#endif
