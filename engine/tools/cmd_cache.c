/*
 * fastvlm cache: the packed copies that loading keeps on the disk.
 *
 *     list   what there is, the one used last first
 *     clear  remove all of it
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>
#include <string.h>

#include <fastvlm/cache.h>

#include "tools/options.h"
#include "tools/output.h"

/* As text that a terminal can take: what a file says is anything. */
static char *make_printable(const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);
    for (char *c = valid; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    }
    return valid;
}

static char *format_time(gint64 seconds)
{
    GDateTime *time = g_date_time_new_from_unix_local(seconds);
    char *text = time ? g_date_time_format(time, "%Y-%m-%d %H:%M") : NULL;
    if (time)
        g_date_time_unref(time);
    return text ? text : g_strdup("?");
}

static void write_entry_json(const FastvlmCacheEntry *entry)
{
    output_json_line(
        json_pack("{s:o, s:o, s:o, s:I, s:I, s:b}", "path", output_json_path(entry->path), "model",
                  entry->model ? output_json_path(entry->model) : json_null(), "precision",
                  entry->precision ? output_json_path(entry->precision) : json_null(), "bytes",
                  (json_int_t)entry->n_bytes, "last_used", (json_int_t)entry->last_used_s, "in_use",
                  entry->in_use));
}

static void write_entry(const FastvlmCacheEntry *entry)
{
    char *time = format_time(entry->last_used_s);
    char *model = make_printable(entry->model ? entry->model : entry->path);
    char *precision = make_printable(entry->precision ? entry->precision : "?");
    printf("%-16s  %9.1f MB  %-6s  %s%s%s\n", time, entry->n_bytes / 1e6, precision, model,
           entry->in_use ? " (in use)" : "",
           entry->model ? "" : " (damaged, or of another version)");
    g_free(precision);
    g_free(model);
    g_free(time);
}

static int fail_with(GError *error)
{
    int code = tool_fail("%s", error->message);
    g_error_free(error);
    return code;
}

static int list(gboolean json)
{
    GError *error = NULL;
    GPtrArray *entries = fastvlm_cache_list(&error);
    if (!entries)
        return fail_with(error);
    FastvlmCacheConfig *config = fastvlm_cache_get_config();
    guint64 n_bytes = 0;
    for (guint i = 0; i < entries->len; i++) {
        const FastvlmCacheEntry *entry = entries->pdata[i];
        n_bytes += entry->n_bytes;
        if (json)
            write_entry_json(entry);
        else
            write_entry(entry);
    }
    if (!json && config->directory) {
        char *directory = make_printable(config->directory);
        printf("%u packed %s, %.1f of at most %.1f MB, in %s\n", entries->len,
               entries->len == 1 ? "copy" : "copies", n_bytes / 1e6, config->limit_bytes / 1e6,
               directory);
        g_free(directory);
    } else if (!json) {
        printf("no packed copies: %s\n", config->problem);
    }
    fastvlm_cache_config_free(config);
    g_ptr_array_unref(entries);
    return output_finish();
}

static int clear(gboolean json)
{
    GError *error = NULL;
    guint n_removed;
    guint64 n_bytes;
    if (!fastvlm_cache_clear(&n_removed, &n_bytes, &error))
        return fail_with(error);
    if (json)
        output_json_line(
            json_pack("{s:i, s:I}", "removed", (int)n_removed, "bytes", (json_int_t)n_bytes));
    else
        printf("removed %u packed %s, %.1f MB\n", n_removed, n_removed == 1 ? "copy" : "copies",
               n_bytes / 1e6);
    return output_finish();
}

static int run_cache(const ToolCommand *command, int argc, char **argv)
{
    gboolean json = FALSE;
    const Option options[] = {
        OPTION_ROW(OPTION_FLAG, "json", &json, NULL, "write JSON, one object a line"), OPTION_END};
    GPtrArray *arguments = g_ptr_array_new();
    int code = EXIT_OK;
    if (options_parse(command, options, argc, argv, arguments, &code)) {
        const char *what = arguments->len > 0 ? arguments->pdata[0] : "nothing";
        if (arguments->len == 1 && strcmp(what, "list") == 0)
            code = list(json);
        else if (arguments->len == 1 && strcmp(what, "clear") == 0)
            code = clear(json);
        else
            code = tool_usage(command, "cache: found %s, expected one of list, clear",
                              arguments->len > 1 ? "several words" : what);
    }
    g_ptr_array_unref(arguments);
    return code;
}

const ToolCommand tool_command_cache = {
    .name = "cache",
    .arguments = "list|clear [OPTION]...",
    .summary = "list or remove the packed copies of models",
    .description =
        "Loading a model leaves a packed copy of its weights on the disk, which the next\n"
        "load takes a moment to use. list says what there is: last use, size, precision\n"
        "and checkpoint. clear removes all of it, also what is in use: that goes on\n"
        "undisturbed.\n"
        "\n"
        "Copies are kept in fastvlm in the user's cache directory, or where the variable\n"
        "FASTVLM_CACHE says (off: nowhere), up to FASTVLM_CACHE_SIZE (default 8G) in all;\n"
        "those not used for longest go first. Models smaller than FASTVLM_CACHE_MIN_SIZE\n"
        "(64M) are not kept: they load as fast without.",
    .examples = "  fastvlm cache list\n"
                "  fastvlm cache clear",
    .run = run_cache,
};
