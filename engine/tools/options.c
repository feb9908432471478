/*
 * Options of a subcommand, read by a table.
 *
 * Numbers are decimal and read without regard to the locale, so that a line means the same on every
 * machine; a number out of range is an error, never clipped.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/output.h"

static int print_help(const ToolCommand *command, const Option *options)
{
    printf("Usage: fastvlm %s %s\n\n%s\n\nOptions:\n", command->name, command->arguments,
           command->description);
    for (const Option *option = options; option->name; option++) {
        char *left = g_strdup_printf("--%s%s%s", option->name, option->metavar ? " " : "",
                                     option->metavar ? option->metavar : "");
        printf("  %-26s%s%s\n", left, strlen(left) > 24 ? "  " : "", option->help);
        g_free(left);
    }
    printf("  %-26s%s\n\nExamples:\n%s\n", "--help", "this text", command->examples);
    return output_finish();
}

/* Sets *message where `text` is not what the option takes. */
static gboolean read_number(const Option *option, const char *text, char **message)
{
    gint64 number = 0;
    gboolean read =
        g_ascii_string_to_signed(text, 10, (gint64)option->min, (gint64)option->max, &number, NULL);
    if (read && (!option->multiple || number % option->multiple == 0)) {
        *(int *)option->value = (int)number;
        return TRUE;
    }
    if (option->multiple)
        *message = g_strdup_printf("a multiple of %d from %.0f to %.0f", option->multiple,
                                   option->min, option->max);
    else
        *message = g_strdup_printf("a whole number from %.0f to %.0f", option->min, option->max);
    return FALSE;
}

static gboolean read_double(const Option *option, const char *text, char **message)
{
    char *end = NULL;
    double number = g_ascii_strtod(text, &end);
    gboolean plain = g_ascii_isdigit(text[0]) || text[0] == '.' || text[0] == '-';
    if (plain && *end == '\0' && isfinite(number) && number >= option->min &&
        number <= option->max) {
        *(double *)option->value = number;
        return TRUE;
    }
    *message = g_strdup_printf("a number from %g to %g", option->min, option->max);
    return FALSE;
}

static gboolean read_choice(const Option *option, const char *text, char **message)
{
    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(text, option->choices[i]) == 0) {
            *(int *)option->value = i;
            return TRUE;
        }
    }
    char *names = g_strjoinv(", ", (char **)option->choices);
    *message = g_strdup_printf("one of %s", names);
    g_free(names);
    return FALSE;
}

static gboolean read_ids(const Option *option, const char *text, char **message)
{
    GArray *ids = *(GArray **)option->value;
    g_array_set_size(ids, 0);
    char **words = g_strsplit(text, ",", -1);
    gboolean good = TRUE;
    for (char **word = words; good && *word; word++) {
        gint64 id = 0;
        good = g_ascii_string_to_signed(*word, 10, 0, G_MAXINT32, &id, NULL);
        gint32 narrow = (gint32)id;
        g_array_append_val(ids, narrow);
    }
    g_strfreev(words);
    if (!good)
        *message = g_strdup("token ids separated by commas, as 1,2,3");
    return good;
}

static gboolean read_value(const Option *option, const char *text, char **message)
{
    switch (option->kind) {
    case OPTION_INT:
        return read_number(option, text, message);
    case OPTION_UINT64:
        if (g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, option->value, NULL))
            return TRUE;
        *message = g_strdup_printf("a whole number from 0 to %" G_GUINT64_FORMAT, G_MAXUINT64);
        return FALSE;
    case OPTION_DOUBLE:
        return read_double(option, text, message);
    case OPTION_CHOICE:
        return read_choice(option, text, message);
    case OPTION_IDS:
        return read_ids(option, text, message);
    case OPTION_TEXT:
        *(const char **)option->value = text;
        if (!g_utf8_validate(text, -1, NULL))
            *message = g_strdup("UTF-8 text");
        return *message == NULL;
    case OPTION_PATH:
        *(const char **)option->value = text;
        if (!*text)
            *message = g_strdup("a file or directory");
        return *message == NULL;
    case OPTION_FLAG:
        break;
    }
    return FALSE;
}

/* `name` need not end where the option's name ends: "resolution=256". */
static const Option *find_option(const Option *options, const char *name, gsize length)
{
    for (const Option *option = options; option->name; option++) {
        if (strlen(option->name) == length && strncmp(name, option->name, length) == 0)
            return option;
    }
    return NULL;
}

static gboolean is_option(const Option *options, const char *word)
{
    return g_str_has_prefix(word, "--") && find_option(options, word + 2, strlen(word + 2));
}

/*
 * Reads the option at argv[*at] and its value; leaves *at on the last word used. Returns EXIT_OK or
 * the code to leave with.
 */
static int parse_option(const ToolCommand *command, const Option *options, int argc, char **argv,
                        int *at)
{
    const char *word = argv[*at] + 2;
    gsize length = strcspn(word, "=");
    const Option *option =
        g_str_has_prefix(argv[*at], "--") ? find_option(options, word, length) : NULL;
    if (!option)
        return tool_usage(command, "%s: no such option of %s", argv[*at], command->name);
    if (option->given)
        *option->given = TRUE;
    if (option->kind == OPTION_FLAG) {
        if (word[length])
            return tool_usage(command, "--%s: takes no value, found \"%s\"", option->name,
                              word + length + 1);
        *(gboolean *)option->value = TRUE;
        return EXIT_OK;
    }
    const char *text = word[length] ? word + length + 1 : NULL;
    if (!text) {
        if (*at + 1 >= argc || is_option(options, argv[*at + 1]))
            return tool_usage(command, "--%s: expected a value (%s), found %s", option->name,
                              option->metavar, *at + 1 < argc ? argv[*at + 1] : "nothing");
        text = argv[++*at];
    }
    char *expected = NULL;
    int code = EXIT_OK;
    if (!read_value(option, text, &expected)) {
        char *shown = g_utf8_make_valid(text, -1);
        code =
            tool_usage(command, "--%s: found \"%s\", expected %s", option->name, shown, expected);
        g_free(shown);
    }
    g_free(expected);
    return code;
}

gboolean options_parse(const ToolCommand *command, const Option *options, int argc, char **argv,
                       GPtrArray *arguments, int *exit_code)
{
    gboolean ended = FALSE;
    for (int i = 0; i < argc; i++) {
        if (ended || argv[i][0] != '-' || argv[i][1] == '\0') {
            g_ptr_array_add(arguments, argv[i]);
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            ended = TRUE;
            continue;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            *exit_code = print_help(command, options);
            return FALSE;
        }
        *exit_code = parse_option(command, options, argc, argv, &i);
        if (*exit_code != EXIT_OK)
            return FALSE;
    }
    return TRUE;
}
