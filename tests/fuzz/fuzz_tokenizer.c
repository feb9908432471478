/*
 * Any bytes as text: what is encoded decodes to its own NFC, and plain text makes no special token.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "text/normalize.h"
#include "tokenizer.h"

static void check_plain(const char *text, gsize n_bytes, const GArray *ids)
{
    GString *out = g_string_new(NULL), *normal = g_string_new(NULL);

    fuzz_assert(fastvlm_normalize_nfc(text, n_bytes, normal, NULL));
    for (guint i = 0; i < ids->len; i++) {
        gsize n;
        const char *bytes =
            fastvlm_tokenizer_decode(fuzz_tokenizer(), g_array_index(ids, gint32, i), &n);

        g_string_append_len(out, bytes, (gssize)n);
    }
    fuzz_assert(g_string_equal(out, normal));
    g_string_free(normal, TRUE);
    g_string_free(out, TRUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char *text = (const char *)data;

    for (int parse_special = 0; parse_special < 2; parse_special++) {
        GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));
        GError *error = NULL;
        const gboolean ok = fastvlm_tokenizer_encode(fuzz_tokenizer(), text, (gssize)n_bytes,
                                                     parse_special, ids, &error);

        fuzz_check_result(ok, error);
        fuzz_assert(ok || ids->len == 0);
        if (ok && !parse_special)
            check_plain(text, n_bytes, ids);
        g_array_unref(ids);
    }
    return 0;
}
