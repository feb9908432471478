/*
 * Opening files, reading small text files and JSON. See text_file.h.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of a name that a message shows. */
#define QUOTE_MAX_BYTES 120

gboolean fastvlm_file_is_there(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

int fastvlm_file_open(const char *path, guint64 *n_bytes, GError **error)
{
    /* Without O_NONBLOCK a named pipe would hold the caller up for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int number = errno;
        int code =
            number == ENOENT || number == ENOTDIR ? FASTVLM_ERROR_NOT_FOUND : FASTVLM_ERROR_READ;
        g_set_error(error, FASTVLM_ERROR, code, "%s: cannot open: %s%s", path, g_strerror(number),
                    number == EACCES ? ": make it readable for this user" : "");
        return -1;
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                    "%s: not a regular file, expected one", path);
        close(fd);
        return -1;
    }
    *n_bytes = (guint64)status.st_size;
    return fd;
}

static gboolean read_all(int fd, const char *path, char *bytes, gsize size, GError **error)
{
    gsize n_read = 0;
    while (n_read < size) {
        gssize n = read(fd, bytes + n_read, size - n_read);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "%s: cannot read: %s", path,
                        n < 0 ? g_strerror(errno) : "it became shorter meanwhile");
            return FALSE;
        }
        n_read += (gsize)n;
    }
    bytes[size] = '\0';
    return TRUE;
}

static char *read_up_to(const char *path, gsize max_bytes, gsize *n_bytes, GError **error)
{
    guint64 size;
    int fd = fastvlm_file_open(path, &size, error);
    if (fd < 0)
        return NULL;
    if (size > max_bytes) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "%s: %" G_GUINT64_FORMAT " bytes, expected at most %" G_GSIZE_FORMAT, path,
                    size, max_bytes);
        close(fd);
        return NULL;
    }
    char *bytes = g_malloc((gsize)size + 1);
    if (!read_all(fd, path, bytes, (gsize)size, error))
        g_clear_pointer(&bytes, g_free);
    close(fd);
    *n_bytes = (gsize)size;
    return bytes;
}

char *fastvlm_text_file_read(const char *path, gsize *n_bytes, GError **error)
{
    return read_up_to(path, FASTVLM_TEXT_FILE_MAX_BYTES, n_bytes, error);
}

/*
 * A string for which Jansson 2.14 gets no memory it goes on to read, and to write, past the end: where
 * memory runs out it has to end the process, as GLib does. Functions that the program has set stay.
 */
static void guard_memory(void)
{
    static gsize is_done;
    json_malloc_t allocate;
    json_free_t release;
    if (!g_once_init_enter(&is_done))
        return;
    json_get_alloc_funcs(&allocate, &release);
    if (allocate == malloc)
        json_set_alloc_funcs(g_malloc, release);
    g_once_init_leave(&is_done, 1);
}

json_t *fastvlm_text_parse_object(const char *bytes, gsize n_bytes, const char *path,
                                  GError **error)
{
    json_error_t problem;
    guard_memory();
    json_t *object = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (object == NULL) {
        /* It quotes the file as it is: a terminal must not take that for commands. */
        g_autofree char *what = g_strescape(problem.text, "\"");
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT, "%s:%d:%d: not valid JSON: %s",
                    path, problem.line, problem.column, what);
        return NULL;
    }
    if (!json_is_object(object)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: found an array, expected a JSON object at the top", path);
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *fastvlm_text_file_read_small_object(const char *path, gsize max_bytes, GError **error)
{
    gsize n_bytes;
    char *bytes = read_up_to(path, max_bytes, &n_bytes, error);
    if (bytes == NULL)
        return NULL;
    json_t *object = fastvlm_text_parse_object(bytes, n_bytes, path, error);
    g_free(bytes);
    return object;
}

json_t *fastvlm_text_file_read_object(const char *path, GError **error)
{
    return fastvlm_text_file_read_small_object(path, FASTVLM_TEXT_FILE_MAX_BYTES, error);
}

void fastvlm_file_add_status(const struct stat *status, GChecksum *sum)
{
    g_autofree char *text =
        g_strdup_printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT
                        " %" G_GINT64_FORMAT ".%09ld\n",
                        (guint64)status->st_dev, (guint64)status->st_ino, (gint64)status->st_size,
                        (gint64)status->st_mtim.tv_sec, (long)status->st_mtim.tv_nsec);

    g_checksum_update(sum, (const guchar *)text, -1);
}

char *fastvlm_text_spell(const json_t *value)
{
    if (value == NULL)
        return g_strdup("nothing");
    if (json_is_string(value))
        return fastvlm_text_quote(json_string_value(value));
    if (json_is_object(value) || json_is_array(value))
        return g_strdup(json_is_object(value) ? "an object" : "an array");
    char *dumped = json_dumps(value, JSON_ENCODE_ANY);
    char *text = g_strdup(dumped != NULL ? dumped : "?");
    free(dumped);
    return text;
}

char *fastvlm_text_quote(const char *text)
{
    gsize n_bytes = strnlen(text, QUOTE_MAX_BYTES + 1);
    gboolean is_long = n_bytes > QUOTE_MAX_BYTES;
    g_autofree char *start = g_strndup(text, is_long ? QUOTE_MAX_BYTES : n_bytes);
    /* Bytes above 0x7f come out octal: safe wherever the message goes. */
    g_autofree char *escaped = g_strescape(start, NULL);
    return g_strdup_printf("\"%s%s\"", escaped, is_long ? "..." : "");
}
