/*
 * The chat template of the released models: conv_qwen_2 of llava/conversation.py
 * (apple/ml-fastvlm).
 *
 *     <|im_start|>system\nSYSTEM<|im_end|>\n<|im_start|>user\n  | picture |  \nPROMPT<|im_end|>\n
 *     <|im_start|>assistant\n
 *     '-------------------- prefix --------------------------'  '------- suffix ------------'
 *
 * What people typed is encoded as plain text: it can become neither a special token nor a picture,
 * whatever it spells. It is joined with the text around it up to the next special token before it
 * is split into words, as the reference's tokenizer does, because a line break may join the blanks
 * behind it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_PROMPT_H
#define FASTVLM_TEXT_PROMPT_H

#include <fastvlm/tokenizer.h>

G_BEGIN_DECLS

/**
 * Appends the ids of a conversation's first turn to `prefix_ids` and `suffix_ids`, both GArrays of
 * gint32; between the two stand the picture's rows.
 *
 * @param system_prompt  UTF-8, NUL-terminated; "": no system turn, as in llava/conversation.py
 * @param prompt         UTF-8, NUL-terminated; "" is allowed
 * @param with_image     FALSE: no picture, and no line break in its place; the prefix then ends
 *                       with the last "<|im_start|>", because "user\nPROMPT" is one stretch of text
 *
 * The prefix depends on `system_prompt` and `with_image` alone. Thread-safe.
 * Errors: UNSUPPORTED (the tokenizer has no "<|im_start|>" or "<|im_end|>"), ARGUMENT (not UTF-8),
 * LIMIT (too long). On error both arrays are as they were.
 */
gboolean fastvlm_prompt_build(const FastvlmTokenizer *tokenizer, const char *system_prompt,
                              const char *prompt, gboolean with_image, GArray *prefix_ids,
                              GArray *suffix_ids, GError **error);

G_END_DECLS

#endif
