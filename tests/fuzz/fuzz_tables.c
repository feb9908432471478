/*
 * Any bytes as the tokenizer's tables of a packed copy: refused, or safe to encode and decode with.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "text/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static const char text[] = "I'll see <|im_end|> 42 caf\303\251s, qxq";
    guint8 *tables = g_memdup2(data, n_bytes); /* aligned */
    FastvlmTokenizer *tokenizer;
    GError *error = NULL;

    tokenizer =
        fastvlm_tokenizer_new_from_tables(FASTVLM_TEST_DATA "/text/none", tables, n_bytes, &error);
    fuzz_check_result(tokenizer != NULL, error);
    if (tokenizer) {
        GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));

        fuzz_assert(fastvlm_tokenizer_encode(tokenizer, text, -1, TRUE, ids, NULL));
        for (guint i = 0; i < ids->len; i++) {
            gsize n;

            fastvlm_tokenizer_decode(tokenizer, g_array_index(ids, gint32, i), &n);
        }
        g_array_unref(ids);
    }
    fastvlm_tokenizer_free(tokenizer);
    g_free(tables);
    return 0;
}
