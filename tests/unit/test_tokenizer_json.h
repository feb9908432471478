/*
 * tokenizer.json of the small tokenizer's files (tests/data/text/tiny), merges spelled one way or the other.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_TEST_TOKENIZER_JSON_H
#define FASTVLM_TESTS_TEST_TOKENIZER_JSON_H

#include <jansson.h>
#include <string.h>

#include "test_data.h"

/* Free it with json_decref(). */
static inline json_t *test_tokenizer_make_json(gboolean are_pairs)
{
    g_autofree char *directory = test_data_path("text/tiny");
    g_autofree char *vocab = g_build_filename(directory, "vocab.json", NULL);
    g_autofree char *merges = g_build_filename(directory, "merges.txt", NULL);
    g_autofree char *added = g_build_filename(directory, "added_tokens.json", NULL);
    g_autofree char *text = NULL;
    json_t *list = json_array(), *tokens = json_array();
    json_t *names = json_load_file(added, 0, NULL), *id;
    const char *name;
    g_assert_true(g_file_get_contents(merges, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *blank = strchr(*line, ' ');
        if (blank == NULL || g_str_has_prefix(*line, "#version"))
            continue;
        if (are_pairs)
            json_array_append_new(list,
                                  json_pack("[s%, s]", *line, (size_t)(blank - *line), blank + 1));
        else
            json_array_append_new(list, json_string(*line));
    }
    json_object_foreach(names, name, id)
    {
        json_array_append_new(tokens, json_pack("{s:O, s:s, s:b, s:b}", "id", id, "content", name,
                                                "special", 1, "lstrip", 0));
    }
    json_decref(names);
    return json_pack("{s:{s:s, s:o, s:o, s:n, s:b}, s:o, s:{s:s}, s:{s:s, s:[{s:s, s:{s:s}}, "
                     "{s:s}]}}",
                     "model", "type", "BPE", "vocab", json_load_file(vocab, 0, NULL), "merges",
                     list, "dropout", "byte_fallback", 0, "added_tokens", tokens, "normalizer",
                     "type", "NFC", "pre_tokenizer", "type", "Sequence", "pretokenizers", "type",
                     "Split", "pattern", "Regex",
                     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                     "type", "ByteLevel");
}

#endif
