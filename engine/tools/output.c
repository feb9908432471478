/*
 * Results out: JSON lines and files that are whole or not there.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/output.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/tool.h"

int output_finish(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_OK;
    return tool_fail("standard output: cannot be written: %s; nothing after this point is saved",
                     errno ? g_strerror(errno) : "an earlier write failed");
}

void output_json_line(json_t *object)
{
    char *line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    printf("%s\n", line ? line : "{}");
    fflush(stdout);
    free(line);
    json_decref(object);
}

json_t *output_json_real(double value, int n_decimals)
{
    double scale = pow(10, n_decimals);
    return isfinite(value) ? json_real(round(value * scale) / scale) : json_null();
}

json_t *output_json_path(const char *path)
{
    char *valid = g_utf8_make_valid(path, -1);
    json_t *string = json_string(valid);
    g_free(valid);
    return string;
}

static gboolean set_write_error(GError **error, const char *path, int code)
{
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                "%s: cannot be written: %s; name a file in a directory that you may write to", path,
                g_strerror(code));
    return FALSE;
}

gboolean output_file_begin(OutputFile *file, const char *path, GError **error)
{
    struct stat info;
    gboolean there = stat(path, &info) == 0;
    if (there && S_ISDIR(info.st_mode))
        return set_write_error(error, path, EISDIR);
    if (there && access(path, W_OK) != 0)
        return set_write_error(error, path, errno);
    *file = (OutputFile){.path = g_strdup(path)};
    if (there && !S_ISREG(info.st_mode))
        return TRUE;

    /* A link stays a link: what it points to is replaced. */
    char *target = there ? realpath(path, NULL) : NULL;
    file->temporary = g_strconcat(target ? target : path, ".XXXXXX", NULL);
    free(target);
    int descriptor = g_mkstemp_full(file->temporary, O_RDWR | O_CLOEXEC, 0666);
    if (descriptor < 0) {
        int code = errno;
        g_clear_pointer(&file->temporary, g_free);
        g_clear_pointer(&file->path, g_free);
        return set_write_error(error, path, code);
    }
    close(descriptor);
    return TRUE;
}

const char *output_file_name(const OutputFile *file)
{
    return file->temporary ? file->temporary : file->path;
}

gboolean output_file_write(const OutputFile *file, const char *text, GError **error)
{
    FILE *stream = g_fopen(output_file_name(file), "we");
    gboolean done = stream && fputs(text, stream) != EOF && fflush(stream) == 0;
    int code = errno;
    if (stream && fclose(stream) != 0 && done) {
        done = FALSE;
        code = errno;
    }
    return done || set_write_error(error, file->path, code);
}

gboolean output_file_commit(OutputFile *file, GError **error)
{
    gboolean done = TRUE;
    if (file->temporary) {
        char *target = realpath(file->path, NULL);
        done = g_rename(file->temporary, target ? target : file->path) == 0;
        if (!done)
            set_write_error(error, file->path, errno);
        else
            g_clear_pointer(&file->temporary, g_free);
        free(target);
    }
    output_file_abort(file);
    return done;
}

void output_file_abort(OutputFile *file)
{
    if (file->temporary)
        g_unlink(file->temporary);
    g_clear_pointer(&file->temporary, g_free);
    g_clear_pointer(&file->path, g_free);
}
