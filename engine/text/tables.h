/*
 * The tokenizer's tables as bytes that can be kept in a file and used where they lie.
 *
 *     vocab.json, merges.txt -> vocab, merges -> bytes -> a file -> memory -> vocab, merges
 *
 * Parsing the two files takes 0.2 s, checking their tables a hundredth of that.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_TABLES_H
#define FASTVLM_TEXT_TABLES_H

#include <fastvlm/tokenizer.h>

#include "text/merges.h"
#include "text/vocab.h"

/** Alignment of the bytes where they are used. */
#define FASTVLM_TABLES_ALIGNMENT 8

/** Appends the tables to `out`. */
void fastvlm_tables_write(const FastvlmVocab *vocab, const FastvlmMerges *merges, GByteArray *out);

/**
 * Checks `tables` and lets `vocab` and `merges`, both zeroed, use them where they lie. Nothing that
 * the bytes say can make encoding or decoding leave them.
 *
 * Errors: FORMAT.
 */
gboolean fastvlm_tables_bind(const void *tables, gsize n_bytes, FastvlmVocab *vocab,
                             FastvlmMerges *merges, GError **error);

/** Appends the tables of `tokenizer` to `out`. */
void fastvlm_tokenizer_write_tables(const FastvlmTokenizer *tokenizer, GByteArray *out);

/**
 * A tokenizer on such bytes, which must outlive it; the added tokens are read from the directory
 * `path`.
 *
 * @return to free with fastvlm_tokenizer_free(), or NULL
 * Errors: FORMAT, and as fastvlm_tokenizer_load().
 */
FastvlmTokenizer *fastvlm_tokenizer_new_from_tables(const char *path, const void *tables,
                                                    gsize n_bytes, GError **error);

#endif
