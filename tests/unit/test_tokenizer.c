/*
 * The tokenizer: vectors of the independent one in tests/data/text, hostile files, long texts.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/tokenizer.h>

#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>

#include "test_data.h"
#include "test_tokenizer_json.h"

static FastvlmTokenizer *load_tiny(void)
{
    g_autofree char *path = test_data_path("text/tiny");
    GError *error = NULL;
    FastvlmTokenizer *tokenizer = fastvlm_tokenizer_load(path, &error);
    g_assert_no_error(error);
    return tokenizer;
}

static char *spell(const GArray *ids)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < ids->len; i++)
        g_string_append_printf(text, "%s%d", i > 0 ? " " : "", g_array_index(ids, gint32, i));
    return g_string_free(text, FALSE);
}

static GArray *ids_from_json(const json_t *list)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    for (gsize i = 0; i < json_array_size(list); i++) {
        gint32 id = (gint32)json_integer_value(json_array_get(list, i));
        g_array_append_val(ids, id);
    }
    return ids;
}

/* Compares every line {"text", "ids", "special"} of the file; returns how many there were. */
static int compare_lines(const FastvlmTokenizer *tokenizer, const char *path)
{
    g_autofree char *contents = NULL;
    GError *error = NULL;
    g_file_get_contents(path, &contents, NULL, &error);
    g_assert_no_error(error);
    g_auto(GStrv) lines = g_strsplit(contents, "\n", -1);
    int n_lines = 0;
    for (char **line = lines; *line != NULL; line++) {
        if (**line == '\0')
            continue;
        json_t *object = json_loads(*line, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(object, "text");
        g_assert_nonnull(text);
        g_autoptr(GArray) expected = ids_from_json(json_object_get(object, "ids"));
        g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
        fastvlm_tokenizer_encode(tokenizer, json_string_value(text),
                                 (gssize)json_string_length(text),
                                 !json_is_false(json_object_get(object, "special")), ids, &error);
        g_assert_no_error(error);
        g_autofree char *found = spell(ids);
        g_autofree char *wanted = spell(expected);
        if (strcmp(found, wanted) != 0)
            g_test_message("%s", *line);
        g_assert_cmpstr(found, ==, wanted);
        json_decref(object);
        n_lines++;
    }
    return n_lines;
}

static void test_vectors(void)
{
    FastvlmTokenizer *tokenizer = load_tiny();
    g_autofree char *path = test_data_path("text/tiny/vectors.jsonl");
    g_assert_cmpint(compare_lines(tokenizer, path), >=, 60);
    fastvlm_tokenizer_free(tokenizer);
}

static void test_golden(void)
{
    g_autofree char *directory = test_shared_path("tokenizer-qwen2");
    g_autofree char *path = directory != NULL ? test_shared_path("golden/tokenizer.jsonl") : NULL;
    if (path == NULL)
        return;
    GError *error = NULL;
    FastvlmTokenizer *tokenizer = fastvlm_tokenizer_load(directory, &error);
    g_assert_no_error(error);
    g_assert_cmpint(fastvlm_tokenizer_get_size(tokenizer), ==, 151646);
    g_assert_cmpint(fastvlm_tokenizer_find_special(tokenizer, "<|im_end|>"), ==, 151645);
    g_assert_cmpint(compare_lines(tokenizer, path), >=, 31);
    fastvlm_tokenizer_free(tokenizer);
}

static void append_decoded(const FastvlmTokenizer *tokenizer, int id, GString *out)
{
    gsize n_bytes;
    const char *bytes = fastvlm_tokenizer_decode(tokenizer, id, &n_bytes);
    g_assert_nonnull(bytes);
    g_string_append_len(out, bytes, (gssize)n_bytes);
}

static void test_decode(void)
{
    static const char text[] = "Describe caf\303\251 \360\237\231\202\n\0\1 x";
    FastvlmTokenizer *tokenizer = load_tiny();
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    g_assert_true(fastvlm_tokenizer_encode(tokenizer, text, sizeof text - 1, TRUE, ids, NULL));
    g_autoptr(GString) out = g_string_new(NULL);
    for (guint i = 0; i < ids->len; i++)
        append_decoded(tokenizer, g_array_index(ids, gint32, i), out);
    g_assert_cmpmem(out->str, out->len, text, sizeof text - 1);
    fastvlm_tokenizer_free(tokenizer);
}

static void test_decode_special(void)
{
    FastvlmTokenizer *tokenizer = load_tiny();
    int size = fastvlm_tokenizer_get_size(tokenizer);
    int tool = fastvlm_tokenizer_find_special(tokenizer, "<tool>");
    int end = fastvlm_tokenizer_find_special(tokenizer, "<|im_end|>");
    g_assert_cmpint(tool, ==, size - 1);
    g_assert_cmpint(end, >, 0);
    g_assert_cmpint(fastvlm_tokenizer_find_special(tokenizer, "<|im_en"), ==, -1);
    g_assert_cmpint(fastvlm_tokenizer_find_special(tokenizer, ""), ==, -1);
    g_autoptr(GString) out = g_string_new(NULL);
    /* Special, holes before and behind it, out of range: all nothing. */
    const int silent[] = {end, tool - 1, end - 5, -1, size, G_MAXINT, G_MININT};
    for (gsize i = 0; i < G_N_ELEMENTS(silent); i++)
        append_decoded(tokenizer, silent[i], out);
    g_assert_cmpstr(out->str, ==, "");
    append_decoded(tokenizer, tool, out);
    g_assert_cmpstr(out->str, ==, "<tool>");
    fastvlm_tokenizer_free(tokenizer);
}

static void test_arguments(void)
{
    static const char *const bad[] = {"\377", "a\0\300\200", "\355\240\200", "caf\303"};
    static const gsize lengths[] = {1, 4, 3, 4};
    FastvlmTokenizer *tokenizer = load_tiny();
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    g_autoptr(GError) error = NULL;
    gint32 before = 7;
    g_array_append_val(ids, before);
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(
            fastvlm_tokenizer_encode(tokenizer, bad[i], (gssize)lengths[i], TRUE, ids, &error));
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT);
        g_clear_error(&error);
    }
    g_autofree char *large = g_strnfill(FASTVLM_TEXT_MAX_BYTES + 1, 'a');
    g_assert_false(fastvlm_tokenizer_encode(tokenizer, large, -1, TRUE, ids, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
    g_clear_error(&error);
    /* An error in the second stretch takes back what the first gave. */
    g_autoptr(GString) marks = g_string_new("abc<|im_end|>e");
    for (int i = 0; i < 2000; i++)
        g_string_append(marks, i % 2 ? "\314\201" : "\314\226");
    g_assert_false(fastvlm_tokenizer_encode(tokenizer, marks->str, -1, TRUE, ids, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
    g_assert_cmpuint(ids->len, ==, 1);
    g_assert_cmpint(g_array_index(ids, gint32, 0), ==, 7);
    fastvlm_tokenizer_free(tokenizer);
}

/* A prompt of 10 MB of blanks, on which a regular expression gives up, does not get that far. */
static void test_blanks(void)
{
    FastvlmTokenizer *tokenizer = load_tiny();
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    g_autofree char *blanks = g_strnfill(10 << 20, ' ');
    g_autoptr(GError) error = NULL;
    g_assert_false(fastvlm_tokenizer_encode(tokenizer, blanks, -1, TRUE, ids, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
    g_assert_cmpstr(error->message, ==,
                    "the text has 10485760 bytes, expected at most 1048576: shorten it");
    g_clear_error(&error);
    /* The longest run that is taken: encoded, or a limit that says where. */
    blanks[FASTVLM_TEXT_MAX_BYTES - 1] = 'x';
    if (!fastvlm_tokenizer_encode(tokenizer, blanks, FASTVLM_TEXT_MAX_BYTES, TRUE, ids, &error)) {
        g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
        g_assert_nonnull(strstr(error->message, "the text cannot be cut into words from byte 0"));
    }
    fastvlm_tokenizer_free(tokenizer);
}

/* The largest texts, of kinds that a quadratic step anywhere would take minutes or hours for. */
static void test_long(void)
{
    static const char *const units[] = {"a",          "qx",       " ",
                                        "\n",         " \n",      "\303\251",
                                        "!",          "1",        "e\314\201\314\226",
                                        "<|im_end|>", "<|im_end", "\340\244\271\340\244\277",
                                        "'S",         "a ",       "\360\237\231\202"};
    FastvlmTokenizer *tokenizer = load_tiny();
    gsize target = g_test_thorough() ? FASTVLM_TEXT_MAX_BYTES : 200000;
    for (gsize i = 0; i < G_N_ELEMENTS(units); i++) {
        g_autoptr(GString) text = g_string_new(NULL);
        while (text->len + strlen(units[i]) <= target)
            g_string_append(text, units[i]);
        g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
        g_autoptr(GError) error = NULL;
        gint64 start_us = g_get_monotonic_time();
        fastvlm_tokenizer_encode(tokenizer, text->str, (gssize)text->len, TRUE, ids, &error);
        g_assert_no_error(error);
        double seconds = (double)(g_get_monotonic_time() - start_us) / 1e6;
        g_autofree char *shown = g_strescape(units[i], NULL);
        g_test_message("\"%s\": %.3f s", shown, seconds);
        g_assert_cmpuint(ids->len, >, 0);
        g_assert_cmpfloat(seconds, <, 20);
    }
    fastvlm_tokenizer_free(tokenizer);
}

static gpointer encode_often(gpointer data)
{
    g_autofree char *path = test_data_path("text/tiny/vectors.jsonl");
    for (int i = 0; i < 30; i++)
        compare_lines(data, path);
    return NULL;
}

static void test_threads(void)
{
    FastvlmTokenizer *tokenizer = load_tiny();
    GThread *threads[4];
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("encode", encode_often, tokenizer);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    fastvlm_tokenizer_free(tokenizer);
}

/* --- damaged files --- */

/* A file of the small tokenizer and what to do to it. */
typedef struct {
    const char *file;
    const char *from; /* replaced once by `to`; NULL: the whole file is; must be there */
    const char *to;   /* NULL: the file is removed */
    int code;         /* -1: loads all the same */
    const char *says; /* part of the message */
} Damage;

static const Damage damages[] = {
    {"vocab.json", NULL, NULL, FASTVLM_ERROR_NOT_FOUND, "vocab.json"},
    {"merges.txt", NULL, NULL, FASTVLM_ERROR_NOT_FOUND, "merges.txt"},
    {"added_tokens.json", NULL, NULL, -1, NULL},
    {"tokenizer_config.json", NULL, NULL, -1, NULL},
    {"vocab.json", NULL, "", FASTVLM_ERROR_FORMAT, "vocab.json:"},
    {"vocab.json", NULL, "[]", FASTVLM_ERROR_FORMAT,
     "vocab.json: found an array, expected a JSON object"},
    {"vocab.json", NULL, "{}", FASTVLM_ERROR_FORMAT,
     "no piece for the byte 0x00, expected one for each of the 256"},
    {"vocab.json", "{", "", FASTVLM_ERROR_FORMAT, "JSON"},
    {"vocab.json", "{", "{\"A\": 5, ", FASTVLM_ERROR_FORMAT, "uplicate"},
    {"vocab.json", "{", "{\"\": 9999, ", FASTVLM_ERROR_FORMAT, "empty"},
    {"vocab.json", "{", "{\"a b\": 9999, ", FASTVLM_ERROR_FORMAT,
     "piece \"a b\" has the id 9999, but is empty or has characters outside GPT-2's byte "
     "alphabet, expected"},
    {"vocab.json", "{", "{\"\\u4e2d\": 9999, ", FASTVLM_ERROR_FORMAT, "alphabet"},
    {"vocab.json", "{", "{\"zzz\": -1, ", FASTVLM_ERROR_FORMAT,
     "vocab.json: piece \"zzz\" has the id -1, expected an integer from 0 to 1048575"},
    {"vocab.json", "{", "{\"zzz\": 1048576, ", FASTVLM_ERROR_FORMAT,
     "has the id 1048576, expected an integer from 0 to 1048575"},
    {"vocab.json", "{", "{\"zzz\": 99999999999999999999, ", FASTVLM_ERROR_FORMAT, "JSON"},
    {"vocab.json", "{", "{\"zzz\": 1.5, ", FASTVLM_ERROR_FORMAT, "has the id 1.5, expected"},
    {"vocab.json", "{", "{\"zzz\": \"5\", ", FASTVLM_ERROR_FORMAT, "has the id \"5\", expected"},
    {"vocab.json", "{", "{\"zzz\": 5, ", FASTVLM_ERROR_FORMAT,
     "has the id 5, which another piece has too, expected one of its own"},
    {"vocab.json", "{", "{\"zzz\": [[]], ", FASTVLM_ERROR_FORMAT, "has the id an array, expected"},
    {"vocab.json", "{", "{\"\377\": 9999, ", FASTVLM_ERROR_FORMAT, "vocab.json:1:"},
    {"vocab.json", "{", "{\"zzz\": 1048575, ", -1, NULL},
    {"vocab.json", "\"A\"", "\"AAAA\"", FASTVLM_ERROR_FORMAT, "byte 0x41"},
    {"vocab.json", "\"qx\"", "\"qq\"", FASTVLM_ERROR_FORMAT, "merges.txt:2: the piece \"qx\""},
    {"vocab.json", "{", "{\"\\ud800\": 1, ", FASTVLM_ERROR_FORMAT, "vocab.json:1"},
    {"merges.txt", "qx q\n", "qx q\nzz zz\n", FASTVLM_ERROR_FORMAT,
     "merges.txt:3: the piece \"zz\" is not in vocab.json: the two files are not of one"},
    {"merges.txt", "qx q\n", "qxq\n", FASTVLM_ERROR_FORMAT,
     "merges.txt:2: found \"qxq\", expected two pieces with one blank"},
    {"merges.txt", "qx q\n", "q x q\n", FASTVLM_ERROR_FORMAT, "merges.txt:2"},
    {"merges.txt", "qx q\n", " qx\n", FASTVLM_ERROR_FORMAT, "merges.txt:2"},
    {"merges.txt", "qx q\n", "qx q\nqx q\n", FASTVLM_ERROR_FORMAT,
     "merges.txt:3: found \"qxq\", which was there before, expected each merge once"},
    {"merges.txt", "qx q\n", "qx q\r\n\n", -1, NULL},
    {"merges.txt", "qx q\n", "\377 q\n", FASTVLM_ERROR_FORMAT, "merges.txt:2: found \"\\377 q"},
    {"merges.txt", NULL, "", -1, NULL},
    {"added_tokens.json", NULL, "7", FASTVLM_ERROR_FORMAT, "added_tokens.json:1:1: not valid JSON"},
    {"added_tokens.json", "{", "{\"\": 600,", FASTVLM_ERROR_FORMAT, "is empty, expected a text"},
    {"added_tokens.json", "{", "{\"<x>\": 3,", FASTVLM_ERROR_FORMAT,
     "token \"<x>\" has the id 3, which vocab.json gives otherwise: to another piece, expected"},
    {"added_tokens.json", "{", "{\"<x>\": 1e3,", FASTVLM_ERROR_FORMAT,
     "token \"<x>\" has the id 1000.0, expected an integer from 0 to 1048575"},
    {"added_tokens.json", "{", "{\"<x>\": 489,", FASTVLM_ERROR_FORMAT,
     "has the id 489, which another token, \"<x>\", has too, expected one of its own"},
    {"added_tokens.json", "{", "{\"A\": 600,", FASTVLM_ERROR_FORMAT,
     "token \"A\" has the id 600, which vocab.json gives otherwise: "},
    {"tokenizer_config.json", "<|im_end|>", "<|im_END|>", FASTVLM_ERROR_FORMAT, "<|im_END|>"},
    {"tokenizer_config.json", "\"<tool>\"", "7", FASTVLM_ERROR_FORMAT,
     "content: found 7, expected a text"},
    {"tokenizer_config.json", "\"special\": false", "\"lstrip\": true", FASTVLM_ERROR_UNSUPPORTED,
     "has \"lstrip\": true, expected false"},
    {"tokenizer_config.json", "Qwen2Tokenizer", "LlamaTokenizer", FASTVLM_ERROR_UNSUPPORTED,
     "tokenizer_class is \"LlamaTokenizer\", expected \"Qwen2Tokenizer\""},
    {"tokenizer_config.json", "\"add_prefix_space\": false", "\"add_prefix_space\": true",
     FASTVLM_ERROR_UNSUPPORTED, "add_prefix_space is true, expected false"},
    {"tokenizer_config.json", "\"added_tokens_decoder\": {", "\"added_tokens_decoder\": {\"x\": 1,",
     FASTVLM_ERROR_FORMAT, "content"},
    {"tokenizer_config.json", "\"added_tokens_decoder\": {",
     "\"added_tokens_decoder\": {\"+7\": {\"content\": \"<x>\"},", FASTVLM_ERROR_FORMAT,
     "token \"<x>\" has the id \"+7\", expected"},
    {"tokenizer_config.json", NULL, "{\"added_tokens_decoder\": []}", FASTVLM_ERROR_FORMAT,
     "added_tokens_decoder: found an array, expected an object"},
    {"tokenizer_config.json", NULL, "{\"tokenizer_class\": 7}", FASTVLM_ERROR_UNSUPPORTED,
     "tokenizer_class is 7, expected"},
};

static const char *const tiny_files[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                         "tokenizer_config.json"};

/* Writes the small tokenizer's files to `directory`, one of them damaged. */
static void write_damaged(const char *directory, const Damage *damage)
{
    for (gsize i = 0; i < G_N_ELEMENTS(tiny_files); i++) {
        g_autofree char *name = g_build_filename("text/tiny", tiny_files[i], NULL);
        g_autofree char *source = test_data_path(name);
        g_autofree char *target = g_build_filename(directory, tiny_files[i], NULL);
        g_autofree char *contents = NULL;
        gsize n_bytes;
        g_assert_true(g_file_get_contents(source, &contents, &n_bytes, NULL));
        g_autoptr(GString) text = g_string_new_len(contents, (gssize)n_bytes);
        gboolean is_meant = strcmp(tiny_files[i], damage->file) == 0;
        if (is_meant && damage->from != NULL)
            g_assert_cmpuint(g_string_replace(text, damage->from, damage->to, 1), ==, 1);
        else if (is_meant)
            g_string_assign(text, damage->to != NULL ? damage->to : "");
        if (is_meant && damage->to == NULL)
            g_unlink(target);
        else
            test_put_file(target, text->str, text->len);
    }
}

static void remove_directory(const char *directory)
{
    for (gsize i = 0; i < G_N_ELEMENTS(tiny_files); i++) {
        g_autofree char *path = g_build_filename(directory, tiny_files[i], NULL);
        g_remove(path);
    }
    g_assert_cmpint(g_rmdir(directory), ==, 0);
}

static void test_damaged(void)
{
    g_autofree char *directory = g_dir_make_tmp("fastvlm-tokenizer-XXXXXX", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(damages); i++) {
        const Damage *damage = &damages[i];
        write_damaged(directory, damage);
        g_autoptr(GError) error = NULL;
        FastvlmTokenizer *tokenizer = fastvlm_tokenizer_load(directory, &error);
        g_autofree char *shown = g_strescape(damage->to != NULL ? damage->to : "none", NULL);
        g_test_message("%s, \"%s\": %s", damage->file, shown,
                       error != NULL ? error->message : "loads");
        if (damage->code < 0) {
            g_assert_no_error(error);
            g_assert_nonnull(tokenizer);
            fastvlm_tokenizer_free(tokenizer);
            continue;
        }
        g_assert_null(tokenizer);
        g_assert_error(error, FASTVLM_ERROR, damage->code);
        if (strstr(error->message, damage->says) == NULL)
            g_error("%s: expected %s", error->message, damage->says);
        g_assert_nonnull(strstr(error->message, directory));
        g_assert_null(strchr(error->message, '\n'));
    }
    remove_directory(directory);
}

/* A directory where a file is expected, and a directory that is not there. */
static void test_no_files(void)
{
    g_autofree char *directory = g_dir_make_tmp("fastvlm-tokenizer-XXXXXX", NULL);
    g_autofree char *vocab = g_build_filename(directory, "vocab.json", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(g_mkdir(vocab, 0700), ==, 0);
    g_assert_null(fastvlm_tokenizer_load(directory, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ);
    g_clear_error(&error);
    g_assert_null(fastvlm_tokenizer_load("/nowhere/at/all", &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_NOT_FOUND);
    remove_directory(directory);
}

/* One file that says all is the same tokenizer. */
static void test_one_file(void)
{
    for (int are_pairs = 0; are_pairs < 2; are_pairs++) {
        g_autofree char *directory = g_dir_make_tmp("fastvlm-tokenizer-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(directory, "tokenizer.json", NULL);
        g_autofree char *config = g_build_filename(directory, "tokenizer_config.json", NULL);
        g_autofree char *its_config = test_data_path("text/tiny/tokenizer_config.json");
        g_autofree char *vectors = test_data_path("text/tiny/vectors.jsonl");
        g_autofree char *text = NULL;
        gsize n_bytes;
        json_t *object = test_tokenizer_make_json(are_pairs);
        GError *error = NULL;
        g_assert_cmpint(json_dump_file(object, path, 0), ==, 0);
        g_assert_true(g_file_get_contents(its_config, &text, &n_bytes, NULL));
        test_put_file(config, text, n_bytes);
        FastvlmTokenizer *tokenizer = fastvlm_tokenizer_load(directory, &error);
        g_assert_no_error(error);
        FastvlmTokenizer *tiny = load_tiny();
        g_assert_cmpint(fastvlm_tokenizer_get_size(tokenizer), ==,
                        fastvlm_tokenizer_get_size(tiny));
        g_assert_cmpint(compare_lines(tokenizer, vectors), >, 10);
        g_assert_cmpint(fastvlm_tokenizer_find_special(tokenizer, "<|im_end|>"), ==,
                        fastvlm_tokenizer_find_special(tiny, "<|im_end|>"));
        fastvlm_tokenizer_free(tiny);
        fastvlm_tokenizer_free(tokenizer);
        json_decref(object);
        g_remove(path);
        g_remove(config);
        g_assert_cmpint(g_rmdir(directory), ==, 0);
    }
}

/* What one file may say that this library does not compute, or that is no tokenizer. */
static void test_bad_file(void)
{
    static const struct {
        const char *section; /* whose `key` is set to `value`; NULL: the top's */
        const char *key;
        const char *value;
        FastvlmError code;
        const char *message;
    } changes[] = {
        {"model", "type", "\"Unigram\"", FASTVLM_ERROR_UNSUPPORTED,
         "model.type: found \"Unigram\", expected \"BPE\""},
        {"model", "byte_fallback", "true", FASTVLM_ERROR_UNSUPPORTED, "model.byte_fallback is on"},
        {"model", "vocab", "[]", FASTVLM_ERROR_FORMAT,
         "model.vocab: found an array, expected an object"},
        {"model", "merges", "{}", FASTVLM_ERROR_FORMAT,
         "model.merges: found an object, expected an array"},
        {"model", "vocab", "{\"a\": -1}", FASTVLM_ERROR_FORMAT, "tokenizer.json: piece \"a\""},
        {"model", "merges", "[[\"a\"]]", FASTVLM_ERROR_FORMAT,
         "model.merges: number 0: found an array, expected \"LEFT RIGHT\""},
        {"model", "merges", "[\"a b\\nc d\"]", FASTVLM_ERROR_FORMAT,
         "model.merges: number 0: found \"a b\\nc d\", expected"},
        {"model", "merges", "[\"zzz zzz\"]", FASTVLM_ERROR_FORMAT, "tokenizer.json:2: the piece"},
        {"normalizer", "type", "\"NFKC\"", FASTVLM_ERROR_UNSUPPORTED,
         "normalizer.type: found \"NFKC\", expected \"NFC\""},
        {NULL, "pre_tokenizer", "{\"type\": \"Whitespace\"}", FASTVLM_ERROR_UNSUPPORTED,
         "pre_tokenizer: found nothing, expected a split by Qwen2's expression"},
        {NULL, "added_tokens", "[{\"id\": \"x\", \"content\": \"a\"}]", FASTVLM_ERROR_FORMAT,
         "tokenizer.json: token \"a\""},
    };
    g_autofree char *directory = g_dir_make_tmp("fastvlm-tokenizer-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(directory, "tokenizer.json", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(changes); i++) {
        json_t *object = test_tokenizer_make_json(FALSE);
        json_t *section =
            changes[i].section != NULL ? json_object_get(object, changes[i].section) : object;
        GError *error = NULL;
        json_object_set_new(section, changes[i].key,
                            json_loads(changes[i].value, JSON_DECODE_ANY, NULL));
        g_assert_cmpint(json_dump_file(object, path, 0), ==, 0);
        g_assert_null(fastvlm_tokenizer_load(directory, &error));
        g_assert_error(error, FASTVLM_ERROR, (int)changes[i].code);
        if (strstr(error->message, changes[i].message) == NULL)
            g_error("%s: expected %s", error->message, changes[i].message);
        g_error_free(error);
        json_decref(object);
    }
    g_remove(path);
    g_rmdir(directory);
}

/* Files cut short at every place, or with one byte changed: an error or a tokenizer, no crash. */
static void test_mutated(void)
{
    g_autofree char *directory = g_dir_make_tmp("fastvlm-tokenizer-XXXXXX", NULL);
    const Damage none = {"", NULL, NULL, -1, NULL};
    int n_loaded = 0, n_refused = 0;
    for (int round = 0; round < 400; round++) {
        write_damaged(directory, &none);
        g_autofree char *path =
            g_build_filename(directory, tiny_files[(guint)round % G_N_ELEMENTS(tiny_files)], NULL);
        g_autofree char *contents = NULL;
        gsize n_bytes;
        g_assert_true(g_file_get_contents(path, &contents, &n_bytes, NULL));
        gsize at = (gsize)g_test_rand_int_range(0, (gint32)n_bytes);
        if (round / 4 % 2)
            n_bytes = at;
        else
            contents[at] = (char)g_test_rand_int_range(0, 256);
        test_put_file(path, contents, n_bytes);
        g_autoptr(GError) error = NULL;
        FastvlmTokenizer *tokenizer = fastvlm_tokenizer_load(directory, &error);
        g_assert_true((tokenizer == NULL) == (error != NULL));
        *(tokenizer != NULL ? &n_loaded : &n_refused) += 1;
        fastvlm_tokenizer_free(tokenizer);
    }
    g_test_message("%d loaded, %d refused", n_loaded, n_refused);
    g_assert_cmpint(n_refused, >, 100);
    remove_directory(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tokenizer/vectors", test_vectors);
    g_test_add_func("/tokenizer/golden", test_golden);
    g_test_add_func("/tokenizer/decode", test_decode);
    g_test_add_func("/tokenizer/decode-special", test_decode_special);
    g_test_add_func("/tokenizer/arguments", test_arguments);
    g_test_add_func("/tokenizer/blanks", test_blanks);
    g_test_add_func("/tokenizer/long", test_long);
    g_test_add_func("/tokenizer/threads", test_threads);
    g_test_add_func("/tokenizer/damaged", test_damaged);
    g_test_add_func("/tokenizer/no-files", test_no_files);
    g_test_add_func("/tokenizer/one-file", test_one_file);
    g_test_add_func("/tokenizer/bad-file", test_bad_file);
    g_test_add_func("/tokenizer/mutated", test_mutated);
    return g_test_run();
}
