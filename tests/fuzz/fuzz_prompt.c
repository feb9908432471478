/*
 * A byte for whether there is a picture, then system prompt and prompt with a NUL between: the template
 * has its own special tokens and no others, whatever people typed.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "fuzz.h"

#include "text/prompt.h"
#include "tokenizer.h"

static int count(const GArray *ids, const char *name)
{
    const int id = fastvlm_tokenizer_find_special(fuzz_tokenizer(), name);
    int n = 0;

    for (guint i = 0; i < ids->len; i++)
        n += g_array_index(ids, gint32, i) == id;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const gboolean with_image = n_bytes > 0 && (data[0] & 1);
    GArray *prefix = g_array_new(FALSE, FALSE, sizeof(gint32));
    GArray *suffix = g_array_new(FALSE, FALSE, sizeof(gint32));
    char *text = g_new0(char, n_bytes + 2);
    const char *prompt;
    GError *error = NULL;
    gboolean ok;

    if (n_bytes > 1)
        memcpy(text, data + 1, n_bytes - 1);
    prompt = strlen(text) + 1 < n_bytes ? text + strlen(text) + 1 : "";
    ok = fastvlm_prompt_build(fuzz_tokenizer(), text, prompt, with_image, prefix, suffix, &error);
    fuzz_check_result(ok, error);
    if (ok) {
        const int n_system = *text ? 1 : 0;

        fuzz_assert(count(prefix, "<|im_start|>") + count(suffix, "<|im_start|>") == 2 + n_system);
        fuzz_assert(count(prefix, "<|im_end|>") + count(suffix, "<|im_end|>") == 1 + n_system);
        fuzz_assert(count(prefix, "<tool>") + count(suffix, "<tool>") == 0);
    } else {
        fuzz_assert(prefix->len + suffix->len == 0);
    }
    g_array_unref(prefix);
    g_array_unref(suffix);
    g_free(text);
    return 0;
}
