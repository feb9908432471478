/*
 * The chat template. See prompt.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/prompt.h"

/* What a conversation is put together with. */
typedef struct {
    const FastvlmTokenizer *tokenizer;
    gint32 start; /* <|im_start|> */
    gint32 end;   /* <|im_end|> */
} Template;

static gboolean find_special(const FastvlmTokenizer *tokenizer, const char *name, gint32 *id,
                             GError **error)
{
    *id = fastvlm_tokenizer_find_special(tokenizer, name);
    if (*id >= 0)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                "the tokenizer has no token \"%s\": a FastVLM checkpoint's added_tokens.json "
                "names it",
                name);
    return FALSE;
}

/* Appends `before` + `text`, all of it plain, as one stretch. */
static gboolean append_text(const Template *parts, const char *before, const char *text,
                            GArray *ids, GError **error)
{
    g_autofree char *joined = g_strconcat(before, text, NULL);
    return fastvlm_tokenizer_encode(parts->tokenizer, joined, -1, FALSE, ids, error);
}

static gboolean build_prefix(const Template *parts, const char *system_prompt, gboolean with_image,
                             GArray *ids, GError **error)
{
    if (*system_prompt != '\0') {
        g_array_append_val(ids, parts->start);
        if (!append_text(parts, "system\n", system_prompt, ids, error))
            return FALSE;
        g_array_append_val(ids, parts->end);
        if (!append_text(parts, "\n", "", ids, error))
            return FALSE;
    }
    g_array_append_val(ids, parts->start);
    return !with_image || append_text(parts, "user\n", "", ids, error);
}

static gboolean build_suffix(const Template *parts, const char *prompt, gboolean with_image,
                             GArray *ids, GError **error)
{
    if (!append_text(parts, with_image ? "\n" : "user\n", prompt, ids, error))
        return FALSE;
    g_array_append_val(ids, parts->end);
    if (!append_text(parts, "\n", "", ids, error))
        return FALSE;
    g_array_append_val(ids, parts->start);
    return append_text(parts, "assistant\n", "", ids, error);
}

gboolean fastvlm_prompt_build(const FastvlmTokenizer *tokenizer, const char *system_prompt,
                              const char *prompt, gboolean with_image, GArray *prefix_ids,
                              GArray *suffix_ids, GError **error)
{
    Template parts = {.tokenizer = tokenizer};
    if (!find_special(tokenizer, "<|im_start|>", &parts.start, error) ||
        !find_special(tokenizer, "<|im_end|>", &parts.end, error))
        return FALSE;
    guint n_prefix = prefix_ids->len, n_suffix = suffix_ids->len;
    if (build_prefix(&parts, system_prompt, with_image, prefix_ids, error) &&
        build_suffix(&parts, prompt, with_image, suffix_ids, error))
        return TRUE;
    g_array_set_size(prefix_ids, n_prefix);
    g_array_set_size(suffix_ids, n_suffix);
    return FALSE;
}
