/*
 * Reading prompts; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmprompts.h"

#include <string.h>

#define TYPE "(string)"

/* Takes `prompt`. */
static void add(GPtrArray *prompts, char *prompt)
{
    if (*g_strstrip(prompt) != '\0') {
        g_ptr_array_add(prompts, prompt);
    } else {
        g_free(prompt);
    }
}

static const char *skip_blanks(const char *at)
{
    while (g_ascii_isspace(*at)) {
        at++;
    }
    return at;
}

/* The first of `stops` that no backslash stands before; NULL: there is none. */
static const char *find_end(const char *at, const char *stops)
{
    while (*at != '\0' && strchr(stops, *at) == NULL) {
        at += *at == '\\' && at[1] != '\0' ? 2 : 1;
    }
    return *at != '\0' ? at : NULL;
}

/* One string: in quotes, or behind its type a word, either with a backslash before what is special.
 * Returns what follows it; NULL: it is none. */
static const char *read_item(GPtrArray *prompts, const char *at)
{
    const gboolean has_type = g_str_has_prefix(at, TYPE);
    const char *start = skip_blanks(has_type ? at + strlen(TYPE) : at);
    const gboolean is_quoted = *start == '"';

    if (!is_quoted && !has_type) {
        return NULL;
    }
    start += is_quoted;
    const char *end = find_end(start, is_quoted ? "\"" : " ,>\"<");
    if (end == NULL) {
        return NULL;
    }
    char *escaped = g_strndup(start, (gsize)(end - start));
    char *item = g_strcompress(escaped);
    g_free(escaped);
    const gboolean is_text = g_utf8_validate(item, -1, NULL);
    if (is_text) {
        add(prompts, item);
    } else {
        g_free(item);
    }
    return is_text ? skip_blanks(end + is_quoted) : NULL;
}

/* FALSE where `text` is no array; then `prompts` may hold some of it. */
static gboolean read_array(GPtrArray *prompts, const char *text)
{
    const char *at = skip_blanks(text);

    if (*at != '<') {
        return FALSE;
    }
    do {
        at = read_item(prompts, skip_blanks(at + 1));
    } while (at != NULL && *at == ',');
    return at != NULL && *at == '>' && *skip_blanks(at + 1) == '\0';
}

static void read_lines(GPtrArray *prompts, const char *text)
{
    char **lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line != NULL; line++) {
        add(prompts, *line);
    }
    g_free(lines);
}

char **gst_fastvlm_prompts_parse(const char *text)
{
    GPtrArray *prompts = g_ptr_array_new_with_free_func(g_free);

    if (text != NULL && !read_array(prompts, text)) {
        g_ptr_array_set_size(prompts, 0);
        read_lines(prompts, text);
    }
    g_ptr_array_set_free_func(prompts, NULL);
    g_ptr_array_add(prompts, NULL);
    return (char **)g_ptr_array_free(prompts, FALSE);
}
