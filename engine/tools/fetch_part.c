/*
 * The part file of a fetch and the state beside it, which says what it is a part of.
 *
 * The state is written before the first byte and replaced whole, so that a part never has the state
 * of another file. A lock on the part keeps two processes from fetching into one file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/fetch_part.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STATE_GROUP "part"
#define MAX_STATE_BYTES 65536

static gboolean fail_file(const char *path, const char *what, int code, GError **error)
{
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                "%s: %s: %s; name another place with --to", path, what, g_strerror(code));
    return FALSE;
}

/* Takes over what the state file says, where it fits the part. */
static void read_state(FetchPart *part)
{
    struct stat info;
    g_autoptr(GKeyFile) state = g_key_file_new();
    if (g_stat(part->state_path, &info) != 0 || info.st_size > MAX_STATE_BYTES ||
        !g_key_file_load_from_file(state, part->state_path, G_KEY_FILE_NONE, NULL))
        return;
    part->url = g_key_file_get_string(state, STATE_GROUP, "url", NULL);
    part->validator = g_key_file_get_string(state, STATE_GROUP, "validator", NULL);
    part->n_total = g_key_file_get_uint64(state, STATE_GROUP, "total", NULL);
    if (part->n_total != 0 && part->n_bytes > part->n_total)
        g_clear_pointer(&part->url, g_free); /* not a part of that */
}

static gboolean write_state(FetchPart *part, GError **error)
{
    GError *cause = NULL;
    g_autoptr(GKeyFile) state = g_key_file_new();
    g_key_file_set_string(state, STATE_GROUP, "url", part->url);
    if (part->validator)
        g_key_file_set_string(state, STATE_GROUP, "validator", part->validator);
    g_key_file_set_uint64(state, STATE_GROUP, "total", part->n_total);
    if (g_key_file_save_to_file(state, part->state_path, &cause))
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                "%s: cannot be written: %s; name another place with --to", part->state_path,
                cause->message);
    g_error_free(cause);
    return FALSE;
}

/* The part, locked; -1 on failure. */
static int open_locked(const char *path, struct stat *info, GError **error)
{
    for (;;) {
        int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (descriptor < 0) {
            fail_file(path, "cannot be written", errno, error);
            return -1;
        }
        if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                        "%s: another process is fetching it; wait for that one, or stop it", path);
            close(descriptor);
            return -1;
        }
        /* One that its last owner removed between the two calls is no file any more. */
        if (fstat(descriptor, info) == 0 && info->st_nlink > 0 && S_ISREG(info->st_mode))
            return descriptor;
        close(descriptor);
    }
}

FetchPart *fetch_part_open(const char *path, GError **error)
{
    struct stat info;
    int descriptor = open_locked(path, &info, error);
    if (descriptor < 0)
        return NULL;
    FetchPart *part = g_new0(FetchPart, 1);
    part->path = g_strdup(path);
    part->state_path = g_strconcat(path, ".state", NULL);
    part->descriptor = descriptor;
    part->n_bytes = (guint64)info.st_size;
    read_state(part);
    return part;
}

int fetch_part_get_descriptor(const FetchPart *part)
{
    return part->descriptor;
}

void fetch_part_get_sizes(const FetchPart *part, guint64 *n_done, guint64 *n_total)
{
    *n_done = part->n_bytes;
    *n_total = part->n_total;
}

static void free_part(FetchPart *part)
{
    close(part->descriptor);
    g_free(part->path);
    g_free(part->state_path);
    g_free(part->url);
    g_free(part->validator);
    g_free(part);
}

void fetch_part_close(FetchPart *part)
{
    if (!part)
        return;
    if (part->n_bytes == 0)
        fetch_part_remove(part);
    else
        free_part(part);
}

void fetch_part_remove(FetchPart *part)
{
    g_unlink(part->state_path);
    g_unlink(part->path);
    free_part(part);
}

gboolean fetch_part_begin(FetchPart *part, const char *url, const char *validator, guint64 n_total,
                          GError **error)
{
    if (ftruncate(part->descriptor, 0) != 0)
        return fail_file(part->path, "cannot be emptied", errno, error);
    g_free(part->url);
    g_free(part->validator);
    part->url = g_strdup(url);
    part->validator = g_strdup(validator);
    part->n_bytes = 0;
    part->n_total = n_total;
    return write_state(part, error);
}

gboolean fetch_part_finish(FetchPart *part, GError **error)
{
    if (part->n_total == part->n_bytes)
        return TRUE;
    part->n_total = part->n_bytes;
    return write_state(part, error);
}

static gboolean fail_append(const FetchPart *part, int code, GError **error)
{
    if (code != ENOSPC && code != EDQUOT && code != EFBIG)
        return fail_file(part->path, "cannot be written", code, error);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                "%s: cannot be written: %s; make room and run the same command again, which goes "
                "on from %.1f MB",
                part->path, g_strerror(code), part->n_bytes / 1e6);
    return FALSE;
}

gboolean fetch_part_append(FetchPart *part, const void *bytes, gsize n_bytes, GError **error)
{
    const char *from = bytes;
    while (n_bytes > 0) {
        ssize_t n = pwrite(part->descriptor, from, n_bytes, (off_t)part->n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_append(part, n < 0 ? errno : ENOSPC, error);
        from += n;
        n_bytes -= (gsize)n;
        part->n_bytes += (guint64)n;
    }
    return TRUE;
}

gboolean fetch_part_check_space(const FetchPart *part, guint64 n_needed, GError **error)
{
    struct statvfs space;
    if (fstatvfs(part->descriptor, &space) != 0)
        return TRUE; /* then writing will tell */
    guint64 n_free = (guint64)space.f_bavail * space.f_frsize;
    if (n_free >= n_needed)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                "%s: fetching and unpacking take %.1f MB more, and %.1f MB are free there; make "
                "room, or name another place with --to",
                part->path, n_needed / 1e6, n_free / 1e6);
    return FALSE;
}

gboolean fetch_part_can_resume(const FetchPart *part, const char *url)
{
    return part->n_bytes > 0 && part->validator && g_strcmp0(part->url, url) == 0;
}
