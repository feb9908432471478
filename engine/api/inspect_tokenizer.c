/*
 * Says how many ids a checkpoint's tokenizer knows, without loading it: parsing the released
 * vocab.json alone takes a fifth of a second, looking through it for the largest number a
 * hundredth of that.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/inspect.h"
#include "base/text_file.h"
#include "text/added_tokens.h"
#include "text/tokenizer_json.h"
#include "text/vocab.h"

/** The byte behind the string that begins at `*at`, which is a quotation mark. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : end;
}

/** One more than the largest number outside strings, or -1 where that is more than an id can be. */
static int find_size(const char *at, const char *end)
{
    gint64 size = 0;

    while (at < end) {
        gint64 number = 0;

        if (*at == '"') {
            at = skip_string(at, end);
        } else if (!g_ascii_isdigit(*at)) {
            at++;
        } else {
            for (; at < end && g_ascii_isdigit(*at); at++)
                number = MIN(10 * number + (*at - '0'), FASTVLM_VOCAB_MAX_SIZE);
            size = MAX(size, number + 1);
        }
    }
    return size <= FASTVLM_VOCAB_MAX_SIZE ? (int)size : -1;
}

static gboolean scan_vocab(const char *path, int *size, GError **error)
{
    gsize n_bytes;
    g_autofree char *bytes = fastvlm_text_file_read(path, &n_bytes, error);

    if (!bytes)
        return FALSE;
    *size = find_size(bytes, bytes + n_bytes);
    if (*size >= 0)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "%s: an id of %d or more, expected less", path, FASTVLM_VOCAB_MAX_SIZE);
    return FALSE;
}

/** The small files are read as the tokenizer will, so that what is wrong with them shows. */
static gboolean count_added(const char *directory, int *size, GError **error)
{
    FastvlmAddedTokens added = {0};
    const gboolean ok = fastvlm_added_tokens_load(&added, directory, error);

    for (guint i = 0; ok && i < added.tokens->len; i++)
        *size = MAX(*size, g_array_index(added.tokens, FastvlmAddedToken, i).id + 1);
    fastvlm_added_tokens_clear(&added);
    return ok;
}

/** There is no short cut through tokenizer.json: other numbers than ids stand in it. */
static gboolean measure_json(const char *directory, int *size, GError **error)
{
    FastvlmTokenizer *tokenizer = fastvlm_tokenizer_load(directory, error);
    const gboolean ok = tokenizer != NULL;

    if (ok)
        *size = fastvlm_tokenizer_get_size(tokenizer);
    fastvlm_tokenizer_free(tokenizer);
    return ok;
}

gboolean fastvlm_inspect_tokenizer(const char *directory, int *size, GError **error)
{
    g_autofree char *vocab = g_build_filename(directory, "vocab.json", NULL);
    g_autofree char *merges = g_build_filename(directory, "merges.txt", NULL);
    int found = 0;

    *size = 0;
    if (fastvlm_tokenizer_json_is_used(directory))
        return measure_json(directory, size, error);
    if (!fastvlm_file_is_there(vocab))
        return TRUE;
    if (!fastvlm_file_is_there(merges)) {
        g_set_error(
            error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND,
            "%s: not there, but vocab.json is: a tokenizer needs both; copy it from where that "
            "came from",
            merges);
        return FALSE;
    }
    if (!scan_vocab(vocab, &found, error) || !count_added(directory, &found, error))
        return FALSE;
    *size = found;
    return TRUE;
}
