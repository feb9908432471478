/*
 * Options of a subcommand: a table in, values and arguments out.
 *
 *     argv + Option table -> values where the table points, positional arguments in a list
 *
 * Options are long: "--name value" or "--name=value"; "--" ends them; the last of a kind wins.
 * "--help" and "-h" are understood everywhere. What is wrong with a line is said in one line that
 * names the option, what was found and what was expected.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_OPTIONS_H
#define FASTVLM_TOOLS_OPTIONS_H

#include "tools/tool.h"

G_BEGIN_DECLS

typedef enum {
    OPTION_FLAG,   /* gboolean: no value, TRUE when it is there */
    OPTION_INT,    /* int, from min to max, a multiple of `multiple` where that is not 0 */
    OPTION_UINT64, /* guint64 */
    OPTION_DOUBLE, /* double, from min to max */
    OPTION_TEXT,   /* const char *: valid UTF-8, borrowed from argv */
    OPTION_PATH,   /* const char *: any bytes, not empty, borrowed from argv */
    OPTION_CHOICE, /* int: the place of the value in `choices` */
    OPTION_IDS,    /* GArray * of gint32, in place: "1,2,3"; may be empty */
} OptionKind;

typedef struct {
    const char *name; /* without the dashes */
    OptionKind kind;
    void *value;         /* of the kind's type; holds the default before, untouched if not given */
    const char *metavar; /* NULL for a flag */
    const char *help;    /* one line; at most 52 columns fit the page */
    double min;
    double max;
    int multiple;
    const char *const *choices; /* NULL-terminated */
    gboolean *given;            /* NULL, or set TRUE where the option is there */
} Option;

/** A row of a table; what only some kinds have follows as designated initialisers. */
#define OPTION_ROW(kind_, name_, value_, metavar_, help_, ...)                             \
    {                                                                                      \
        .name = name_, .kind = kind_, .value = value_, .metavar = metavar_, .help = help_, \
        __VA_ARGS__                                                                        \
    }
#define OPTION_END   \
    {                \
        .name = NULL \
    }

/**
 * Reads `argv` by the table `options`, which ends with a NULL name.
 *
 * @param arguments  positional arguments are appended; they point into argv
 * @param exit_code  set where FALSE is returned
 * @return FALSE where the command is to return at once: help was printed, or an error
 */
gboolean options_parse(const ToolCommand *command, const Option *options, int argc, char **argv,
                       GPtrArray *arguments, int *exit_code);

G_END_DECLS

#endif
