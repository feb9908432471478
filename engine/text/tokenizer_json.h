/*
 * tokenizer.json: all of a tokenizer in one file, as newer versions of transformers save it.
 *
 *     {"model": {"type": "BPE", "vocab": {...}, "merges": ["a b", ...] or [["a", "b"], ...]},
 *      "added_tokens": [{"id", "content", "special", ...}], "normalizer", "pre_tokenizer", ...}
 *
 * Read where there is no vocab.json.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_TOKENIZER_JSON_H
#define FASTVLM_TEXT_TOKENIZER_JSON_H

#include <jansson.h>
#include <fastvlm/error.h>

#define FASTVLM_TOKENIZER_JSON "tokenizer.json"

/** Whether `directory` has that file and no vocab.json. */
gboolean fastvlm_tokenizer_json_is_used(const char *directory);

/** Whether `directory` has a tokenizer in either form. */
gboolean fastvlm_tokenizer_is_there(const char *directory);

/**
 * Reads the file in `directory` and checks that it is the tokenizer that this library computes: BPE over
 * bytes, with Qwen2's normalizer and expression.
 *
 * @return the file's object, to drop with json_decref(), or NULL
 * Errors: NOT_FOUND, READ, LIMIT, FORMAT, UNSUPPORTED.
 */
json_t *fastvlm_tokenizer_json_read(const char *directory, GError **error);

/** The vocabulary of such an object: piece to id; borrowed. */
json_t *fastvlm_tokenizer_json_get_vocab(json_t *object);

/**
 * Its merges as merges.txt has them; free with g_string_free().
 *
 * Errors: FORMAT.
 */
GString *fastvlm_tokenizer_json_spell_merges(json_t *object, const char *path, GError **error);

#endif
