/*
 * The tokens that a checkpoint adds to its vocabulary, found in a text by their names.
 *
 *     added_tokens.json {"<|im_end|>": 151645}
 *     tokenizer_config.json {"added_tokens_decoder": {"151645": {"content": "<|im_end|>", ...}}}
 *
 * Both files are optional; where both are there they must agree on what they share. A token is
 * special unless the second file says that it is not.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_ADDED_TOKENS_H
#define FASTVLM_TEXT_ADDED_TOKENS_H

#include <jansson.h>
#include <fastvlm/error.h>

/** Most tokens taken; the largest released checkpoint adds 22. */
#define FASTVLM_ADDED_TOKENS_MAX 4096

typedef struct {
    char *name;
    gsize n_bytes; /* of `name`, at least 1 */
    gint32 id;
    gboolean is_special; /* decodes to nothing */
} FastvlmAddedToken;

/** All zero is none. Immutable once loaded. */
typedef struct {
    GArray *tokens;       /* FastvlmAddedToken, longest name first */
    GHashTable *by_name;  /* name, owned by the token -> id + 1 */
    gboolean starts[256]; /* the bytes that names begin with */
} FastvlmAddedTokens;

/**
 * Loads what the directory `path` has of the two files.
 *
 * @return FALSE on error; `added` needs fastvlm_added_tokens_clear() either way
 * Errors: READ, LIMIT, FORMAT, UNSUPPORTED (a token with lstrip, rstrip or single_word, another
 * tokenizer's class).
 */
gboolean fastvlm_added_tokens_load(FastvlmAddedTokens *added, const char *path, GError **error);

/** Frees what `added` holds. */
void fastvlm_added_tokens_clear(FastvlmAddedTokens *added);

/** The id of the token `name`, or -1. */
int fastvlm_added_tokens_find(const FastvlmAddedTokens *added, const char *name);

/**
 * The first token in `text` [n_bytes]; of several at one place the longest.
 *
 * @param offset  where it begins, out
 * @return the token, or NULL where there is none
 */
const FastvlmAddedToken *fastvlm_added_tokens_search(const FastvlmAddedTokens *added,
                                                     const char *text, gsize n_bytes,
                                                     gsize *offset);

#endif
