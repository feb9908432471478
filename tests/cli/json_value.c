/*
 * json_value PATH...: reads JSON objects from standard input, one a line, and writes the values at
 * each PATH ("vision.resolution"), blanks between, a line for each object. Numbers and texts are
 * written as they are, anything else as JSON. Fails where a line is no JSON object or lacks a path.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

static json_t *find(json_t *object, const char *path)
{
    char **keys = g_strsplit(path, ".", -1);
    for (char **key = keys; *key && object; key++)
        object = json_object_get(object, *key);
    g_strfreev(keys);
    return object;
}

static void write_value(const json_t *value)
{
    if (json_is_string(value)) {
        fputs(json_string_value(value), stdout);
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(12));
    fputs(text, stdout);
    free(text);
}

static gboolean write_values(const char *line, size_t n_bytes, char **paths)
{
    json_error_t error;
    json_t *object = json_loadb(line, n_bytes, JSON_REJECT_DUPLICATES, &error);
    gboolean good = json_is_object(object);
    if (!good)
        fprintf(stderr, "not a JSON object: %s: %.*s\n", error.text, (int)n_bytes, line);
    for (char **path = paths; good && *path; path++) {
        json_t *value = find(object, *path);
        good = value != NULL;
        if (!good)
            fprintf(stderr, "no \"%s\" in %.*s\n", *path, (int)n_bytes, line);
        else if (path != paths)
            putchar(' ');
        if (good)
            write_value(value);
    }
    putchar('\n');
    json_decref(object);
    return good;
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t capacity = 0;
    gboolean good = TRUE;
    int n_lines = 0;
    for (ssize_t n; good && (n = getline(&line, &capacity, stdin)) > 0; n_lines++)
        good = write_values(line, (size_t)n, argv + 1);
    free(line);
    if (n_lines == 0)
        fprintf(stderr, "no line of JSON\n");
    return good && n_lines > 0 ? 0 : 1;
}
