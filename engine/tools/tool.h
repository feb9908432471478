/*
 * What the parts of the fastvlm command share: the commands themselves, exit codes, error lines.
 *
 *     main.c -> cmd_NAME.c -> options, loading, progress, interrupt, output -> libfastvlm
 *
 * Standard output carries results alone; errors and progress go to standard error.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_TOOL_H
#define FASTVLM_TOOLS_TOOL_H

#include <glib.h>

G_BEGIN_DECLS

/** What the process returns; a command that was interrupted returns 128 + the signal's number. */
enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
};

typedef struct ToolCommand ToolCommand;

/** One subcommand. */
struct ToolCommand {
    const char *name;
    const char *arguments;   /* what stands behind the name, as "IMAGE... [OPTION]..." */
    const char *summary;     /* a line for `fastvlm --help` */
    const char *description; /* paragraphs of `fastvlm NAME --help`, at most 80 columns wide */
    const char *examples;    /* lines of shell for the same, two blanks before each */

    /* `argv` starts behind the command's name. Returns the exit code. */
    int (*run)(const ToolCommand *command, int argc, char **argv);
};

extern const ToolCommand tool_command_caption;
extern const ToolCommand tool_command_bench;
extern const ToolCommand tool_command_tokenize;
extern const ToolCommand tool_command_preprocess;
extern const ToolCommand tool_command_dump;
extern const ToolCommand tool_command_info;
extern const ToolCommand tool_command_cache;
extern const ToolCommand tool_command_pull;

/**
 * Writes the line "fastvlm: MESSAGE" to standard error, line breaks and control characters made
 * blanks.
 *
 * @return EXIT_FAILED
 */
int tool_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);

/**
 * As tool_fail(), for a command line that makes no sense: the line ends by naming `command`'s
 * --help.
 *
 * @return EXIT_USAGE
 */
int tool_usage(const ToolCommand *command, const char *format, ...) G_GNUC_PRINTF(2, 3);

G_END_DECLS

#endif
