/*
 * The Qwen2 tokenizer: text to token ids and back.
 *
 *     text -> split out special tokens -> NFC -> pre-tokenizer's expression -> byte map -> BPE -> ids
 *
 * Reads vocab.json, merges.txt, added_tokens.json and tokenizer_config.json of a checkpoint
 * directory. Special tokens are whatever those files add; they are found by name, never by number.
 *
 * A tokenizer is immutable: all functions may be called from any thread at once.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOKENIZER_H
#define FASTVLM_TOKENIZER_H

#include <fastvlm/error.h>

G_BEGIN_DECLS

typedef struct _FastvlmTokenizer FastvlmTokenizer;

/** Longest text tokenized in one call, in bytes. */
#define FASTVLM_TEXT_MAX_BYTES (1 << 20)

/**
 * Loads the tokenizer files of the directory `path`; nothing else need be there.
 *
 * @return a tokenizer to free with fastvlm_tokenizer_free(), or NULL
 * Errors: NOT_FOUND, READ, FORMAT; the message names the file.
 */
FASTVLM_API FastvlmTokenizer *fastvlm_tokenizer_load(const char *path, GError **error);

/** Frees `tokenizer`; NULL is fine. */
FASTVLM_API void fastvlm_tokenizer_free(FastvlmTokenizer *tokenizer);

/**
 * Number of ids this tokenizer can produce or decode: one more than the largest id of any file. The
 * model's embedding may have more rows; those ids are never chosen.
 */
FASTVLM_API int fastvlm_tokenizer_get_size(const FastvlmTokenizer *tokenizer);

/**
 * Appends the ids of `text` to `ids` (a GArray of gint32).
 *
 * @param text           UTF-8 of `n_bytes` bytes, NUL bytes allowed; n_bytes < 0: NUL-terminated
 * @param parse_special  TRUE: the names of special tokens in the text become those tokens;
 *                       FALSE: they are plain text (whatever a user typed)
 *
 * Errors: ARGUMENT (not UTF-8), LIMIT (longer than FASTVLM_TEXT_MAX_BYTES, or a run of characters
 * the expression gives up on). On error `ids` is as it was.
 */
FASTVLM_API gboolean fastvlm_tokenizer_encode(const FastvlmTokenizer *tokenizer, const char *text,
                                              gssize n_bytes, gboolean parse_special, GArray *ids,
                                              GError **error);

/**
 * The bytes of one token, which need not be whole UTF-8 characters. Special tokens and ids that are
 * not in the vocabulary have none.
 *
 * @param n_bytes  number of bytes, out
 * @return bytes owned by the tokenizer, never NULL
 */
FASTVLM_API const char *fastvlm_tokenizer_decode(const FastvlmTokenizer *tokenizer, int id,
                                                 gsize *n_bytes);

/** The id of the special token `name`, as "<|im_end|>", or -1. */
FASTVLM_API int fastvlm_tokenizer_find_special(const FastvlmTokenizer *tokenizer, const char *name);

G_END_DECLS

#endif
