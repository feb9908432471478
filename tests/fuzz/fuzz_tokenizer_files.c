/*
 * A byte that says which of the tokenizer's files the rest is; the others are those of tests/data. What
 * loads must encode, decode, and be the same from packed tables.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "text/tables.h"

static const char *const names[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                    "tokenizer_config.json"};

static void copy_file(gsize i)
{
    char *source = g_build_filename("text", "tiny", names[i], NULL);

    fuzz_copy(source, names[i]);
    g_free(source);
}

static GArray *encode(const FastvlmTokenizer *tokenizer)
{
    static const char text[] = "I'll see <|im_end|> 42 caf\303\251s,\n\n qxq <tool> abc";
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));

    fuzz_assert(fastvlm_tokenizer_encode(tokenizer, text, -1, TRUE, ids, NULL));
    for (guint i = 0; i < ids->len; i++) {
        const gint32 id = g_array_index(ids, gint32, i);
        gsize n_bytes;

        fuzz_assert(id >= 0 && id < fastvlm_tokenizer_get_size(tokenizer));
        fuzz_assert(fastvlm_tokenizer_decode(tokenizer, id, &n_bytes) != NULL);
    }
    return ids;
}

static void check_tables(const FastvlmTokenizer *tokenizer, const GArray *ids)
{
    GByteArray *tables = g_byte_array_new();
    FastvlmTokenizer *again;
    GError *error = NULL;
    GArray *same;

    fastvlm_tokenizer_write_tables(tokenizer, tables);
    again = fastvlm_tokenizer_new_from_tables(fuzz_directory(), tables->data, tables->len, &error);
    fuzz_assert(again && !error);
    same = encode(again);
    fuzz_assert(same->len == ids->len && memcmp(same->data, ids->data, 4 * ids->len) == 0);
    g_array_unref(same);
    fastvlm_tokenizer_free(again);
    g_byte_array_unref(tables);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static int before = -1; /* which file is not the good one; -1: there are none yet */
    const int which = n_bytes > 0 ? data[0] % (int)G_N_ELEMENTS(names) : 0;
    FastvlmTokenizer *tokenizer;
    GError *error = NULL;

    for (int i = 0; i < (int)G_N_ELEMENTS(names); i++)
        if (i != which && (before < 0 || i == before))
            copy_file((gsize)i);
    before = which;
    fuzz_write(names[which], data + 1, n_bytes > 0 ? n_bytes - 1 : 0);
    tokenizer = fastvlm_tokenizer_load(fuzz_directory(), &error);
    fuzz_check_result(tokenizer != NULL, error);
    if (tokenizer) {
        GArray *ids = encode(tokenizer);

        check_tables(tokenizer, ids);
        g_array_unref(ids);
    }
    fastvlm_tokenizer_free(tokenizer);
    return 0;
}
