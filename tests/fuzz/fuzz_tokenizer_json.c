/*
 * Any bytes as tokenizer.json, alone in its directory: refused, or a tokenizer that is counted as it loads
 * and gives ids of its own.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include <fastvlm/tokenizer.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static const char text[] = "I'll see <|im_end|> 42 caf\303\251s,\n\n qxq <tool> abc";
    FastvlmTokenizer *tokenizer;
    GError *error = NULL;

    fuzz_write("tokenizer.json", data, n_bytes);
    tokenizer = fastvlm_tokenizer_load(fuzz_directory(), &error);
    fuzz_check_result(tokenizer != NULL, error);
    if (tokenizer) {
        GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));

        fuzz_assert(fastvlm_tokenizer_encode(tokenizer, text, -1, TRUE, ids, NULL));
        for (guint i = 0; i < ids->len; i++) {
            const gint32 id = g_array_index(ids, gint32, i);
            gsize n;

            fuzz_assert(id >= 0 && id < fastvlm_tokenizer_get_size(tokenizer));
            fuzz_assert(fastvlm_tokenizer_decode(tokenizer, id, &n) != NULL);
        }
        g_array_unref(ids);
    }
    fastvlm_tokenizer_free(tokenizer);
    return 0;
}
