/*
 * The fastvlm command: finds the subcommand and hands it the rest of the line.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>

#include "tools/output.h"

static const ToolCommand *const commands[] = {
    &tool_command_caption,    &tool_command_info, &tool_command_bench, &tool_command_tokenize,
    &tool_command_preprocess, &tool_command_dump, &tool_command_cache, &tool_command_pull,
};

static int print_help(void)
{
    printf("Usage: fastvlm COMMAND [ARGUMENT]...\n"
           "\n"
           "Says what pictures show, with a FastVLM model, on the CPU.\n"
           "\n"
           "Commands:\n");
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
        printf("  %-12s%s\n", commands[i]->name, commands[i]->summary);
    printf("\n"
           "fastvlm COMMAND --help   how to use one of them\n"
           "fastvlm --version        the version\n"
           "\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n");
    return output_finish();
}

static int print_version(void)
{
    printf("fastvlm %s\n", FASTVLM_VERSION);
    return output_finish();
}

static void write_line(const char *format, va_list values, const char *tail)
{
    char *message = g_strdup_vprintf(format, values);
    for (char *c = message; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    }
    fprintf(stderr, "fastvlm: %s%s\n", message, tail);
    g_free(message);
}

int tool_fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    write_line(format, values, "");
    va_end(values);
    return EXIT_FAILED;
}

int tool_usage(const ToolCommand *command, const char *format, ...)
{
    char *tail = command ? g_strdup_printf("; see fastvlm %s --help", command->name)
                         : g_strdup("; see fastvlm --help");
    va_list values;
    va_start(values, format);
    write_line(format, values, tail);
    va_end(values);
    g_free(tail);
    return EXIT_USAGE;
}

static const ToolCommand *find_command(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return tool_usage(NULL, "no command given");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help();
    if (strcmp(argv[1], "--version") == 0)
        return print_version();
    const ToolCommand *command = find_command(argv[1]);
    if (!command)
        return tool_usage(NULL, "%s: no such %s", argv[1],
                          argv[1][0] == '-' ? "option" : "command");
    return command->run(command, argc - 2, argv + 2);
}
