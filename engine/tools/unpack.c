/*
 * Takes a checkpoint out of a zip archive. Two passes, which libarchive's zip reader makes cheap: the
 * first reads the list of entries at the archive's end, judges every one of them and finds the folder
 * of config.json; the second writes that folder's files and holds each to what the list said. The
 * reader checks the CRC of each.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define COPIED_BYTES (256 * 1024)
#define READ_BLOCK_BYTES (64 * 1024)
#define MAX_NAME_BYTES 255
#define CHECKPOINT_FILE "config.json"
/* Kept free beside the files, so that an almost full disk stays usable. */
#define SPARE_BYTES ((guint64)16 << 20)

/* Where the archive is, so that both passes can open it. */
typedef struct {
    int descriptor; /* -1: in memory */
    const void *data;
    gsize n_bytes;
} Source;

/* What the first pass found, and how far the second is. */
typedef struct {
    const UnpackParams *params;
    int directory;
    char *folder;      /* of config.json, "" at the top; NULL: not seen yet */
    GHashTable *files; /* path -> NULL: every regular file */
    guint n_entries;   /* seen by the first pass */
    guint64 n_total;   /* bytes of the files beside config.json */
    guint64 n_done;
} Unpacking;

/* What a pass does with an entry. */
typedef gboolean (*EntryFunc)(Unpacking *unpacking, struct archive *archive,
                              struct archive_entry *entry, GError **error);

G_GNUC_PRINTF(4, 5)
static gboolean fail(const UnpackParams *params, FastvlmError code, GError **error,
                     const char *format, ...)
{
    va_list values;
    va_start(values, format);
    g_autofree char *message = g_strdup_vprintf(format, values);
    va_end(values);
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    /* libarchive quotes what it found: a terminal must not take that for commands. */
    for (char *c = valid; *c; c++)
        if (g_ascii_iscntrl(*c))
            *c = '?';
    g_set_error(error, FASTVLM_ERROR, code, "%s: %s", params->shown_name, valid);
    return FALSE;
}

static gboolean fail_archive(const UnpackParams *params, struct archive *archive, GError **error)
{
    const char *said = archive_error_string(archive);
    return fail(params, FASTVLM_ERROR_FORMAT, error, "the archive is damaged: %s; fetch it again",
                said ? said : "it cannot be read");
}

/* The reader of a source, at its first entry; NULL on failure. */
static struct archive *open_archive(const Source *source, const UnpackParams *params,
                                    GError **error)
{
    struct archive *archive = archive_read_new();
    /* The list at the end only: the local headers of a zip may tell another story. */
    archive_read_support_format_zip_seekable(archive);
    int status = ARCHIVE_OK;
    if (source->descriptor < 0)
        status = archive_read_open_memory(archive, source->data, source->n_bytes);
    else if (lseek(source->descriptor, 0, SEEK_SET) == 0)
        status = archive_read_open_fd(archive, source->descriptor, READ_BLOCK_BYTES);
    else
        status = ARCHIVE_FATAL;
    if (status == ARCHIVE_OK)
        return archive;
    fail(params, FASTVLM_ERROR_FORMAT, error,
         "it is no whole zip archive: %s; fetch it again, or see whether the address is right",
         archive_error_string(archive) ? archive_error_string(archive) : "no such format");
    archive_read_free(archive);
    return NULL;
}

/* "" for a path without folders; free it. */
static char *get_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? g_strndup(path, (gsize)(slash - path)) : g_strdup("");
}

static const char *get_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *get_path(struct archive_entry *entry)
{
    const char *path = archive_entry_pathname_utf8(entry);
    return path ? path : archive_entry_pathname(entry);
}

/* Why `path` is none to trust, or NULL. */
static const char *find_path_problem(const char *path)
{
    if (!path || !*path)
        return "its name is empty or not UTF-8";
    if (!g_utf8_validate(path, -1, NULL))
        return "its name is not UTF-8";
    if (path[0] == '/' || path[0] == '\\' || (g_ascii_isalpha(path[0]) && path[1] == ':'))
        return "its path is absolute";
    for (const char *c = path; *c; c++) {
        if (g_ascii_iscntrl(*c) || *c == '\\')
            return "its name has a control character or a backslash";
    }
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (char **part = parts; *part; part++) {
        if (strcmp(*part, "..") == 0)
            return "its path leads out of the archive";
        if (strcmp(*part, ".") == 0 || (!**part && part[1]))
            return "its path has an empty part";
        if (strlen(*part) > MAX_NAME_BYTES)
            return "its name is too long";
    }
    return NULL;
}

/* What an entry that is no file is called. */
static const char *find_type_problem(struct archive_entry *entry)
{
    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return "it is a link";
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
    case AE_IFDIR:
        return NULL;
    case AE_IFLNK:
        return "it is a link";
    default:
        return "it is a device or a socket";
    }
}

/* What a Mac puts beside files, and what hides. */
static gboolean is_left_out(const char *path)
{
    return g_str_has_prefix(path, "__MACOSX/") || get_name(path)[0] == '.';
}

/* Notes a regular file in the list; FALSE where it is not to be trusted. */
static gboolean note_file(Unpacking *unpacking, const char *path, struct archive_entry *entry,
                          GError **error)
{
    const UnpackParams *params = unpacking->params;
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0)
        return fail(params, FASTVLM_ERROR_FORMAT, error, "%s: the archive does not say its size",
                    path);
    guint64 size = (guint64)archive_entry_size(entry);
    if (size > params->max_bytes)
        return fail(params, FASTVLM_ERROR_LIMIT, error,
                    "%s: %" G_GUINT64_FORMAT " bytes, expected at most %" G_GUINT64_FORMAT
                    "; this is not the model",
                    path, size, params->max_bytes);
    if (!g_hash_table_insert(unpacking->files, g_strdup(path), GSIZE_TO_POINTER((gsize)size)))
        return fail(params, FASTVLM_ERROR_FORMAT, error, "%s: the archive has it twice", path);
    if (strcmp(get_name(path), CHECKPOINT_FILE) != 0)
        return TRUE;
    if (unpacking->folder) {
        return fail(params, FASTVLM_ERROR_FORMAT, error,
                    "%s: a second %s; expected one checkpoint in the archive", path,
                    CHECKPOINT_FILE);
    }
    unpacking->folder = get_folder(path);
    return TRUE;
}

static gboolean note_entry(Unpacking *unpacking, struct archive *archive,
                           struct archive_entry *entry, GError **error)
{
    const UnpackParams *params = unpacking->params;
    if (unpacking->n_entries++ >= params->max_entries)
        return fail(params, FASTVLM_ERROR_LIMIT, error,
                    "more than %u entries; this is not the model", params->max_entries);
    const char *path = get_path(entry);
    const char *problem = find_path_problem(path);
    if (!problem)
        problem = find_type_problem(entry);
    if (problem) {
        g_autofree char *shown = g_strescape(path ? path : "", NULL);
        return fail(params, FASTVLM_ERROR_FORMAT, error,
                    "\"%.80s\": %s; nothing of this archive is trusted", shown, problem);
    }
    if (archive_entry_filetype(entry) == AE_IFDIR || is_left_out(path))
        return TRUE;
    return note_file(unpacking, path, entry, error);
}

/* Whether `path` is one of the files to write. */
static gboolean is_wanted(const Unpacking *unpacking, const char *path)
{
    g_autofree char *folder = get_folder(path);
    return strcmp(folder, unpacking->folder) == 0;
}

/* Adds up what will be written. */
static gboolean measure(Unpacking *unpacking, GError **error)
{
    const UnpackParams *params = unpacking->params;
    GHashTableIter iter;
    gpointer path, size;
    if (!unpacking->folder)
        return fail(params, FASTVLM_ERROR_FORMAT, error,
                    "there is no %s in it; this archive holds no checkpoint", CHECKPOINT_FILE);
    g_hash_table_iter_init(&iter, unpacking->files);
    while (g_hash_table_iter_next(&iter, &path, &size)) {
        if (!is_wanted(unpacking, path))
            continue;
        unpacking->n_total += GPOINTER_TO_SIZE(size);
        if (unpacking->n_total > params->max_bytes)
            return fail(params, FASTVLM_ERROR_LIMIT, error,
                        "its files are larger than %" G_GUINT64_FORMAT
                        " bytes together; this is not the model",
                        params->max_bytes);
    }
    return TRUE;
}

static gboolean check_space(const Unpacking *unpacking, GError **error)
{
    struct statvfs space;
    if (fstatvfs(unpacking->directory, &space) != 0)
        return TRUE; /* then writing will tell */
    guint64 n_free = (guint64)space.f_bavail * space.f_frsize;
    if (n_free >= unpacking->n_total + SPARE_BYTES)
        return TRUE;
    return fail(unpacking->params, FASTVLM_ERROR_LIMIT, error,
                "unpacking takes %.1f MB, and %.1f MB are free; make room and run the same "
                "command again: the archive is kept",
                (unpacking->n_total + SPARE_BYTES) / 1e6, n_free / 1e6);
}

static gboolean fail_write(const Unpacking *unpacking, const char *name, int code, GError **error)
{
    gboolean full = code == ENOSPC || code == EDQUOT || code == EFBIG;
    if (full)
        return fail(unpacking->params, FASTVLM_ERROR_LIMIT, error,
                    "%s: cannot be unpacked: %s, %.1f of %.1f MB written; make room and run the "
                    "same command again: the archive is kept",
                    name, g_strerror(code), unpacking->n_done / 1e6, unpacking->n_total / 1e6);
    return fail(unpacking->params, FASTVLM_ERROR_READ, error, "%s: cannot be unpacked: %s", name,
                g_strerror(code));
}

static gboolean write_all(int descriptor, const guint8 *bytes, gsize n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = write(descriptor, bytes, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FALSE;
        bytes += n;
        n_bytes -= (gsize)n;
    }
    return TRUE;
}

/* The entry's bytes into `descriptor`, all `n_expected` of them and no more. */
static gboolean copy_entry(Unpacking *unpacking, struct archive *archive, const char *name,
                           guint64 n_expected, int descriptor, GChecksum *checksum, GError **error)
{
    const UnpackParams *params = unpacking->params;
    g_autofree guint8 *buffer = g_malloc(COPIED_BYTES);
    guint64 n_copied = 0;
    for (;;) {
        la_ssize_t n = archive_read_data(archive, buffer, COPIED_BYTES);
        if (n < 0)
            return fail_archive(params, archive, error);
        if (n == 0)
            break;
        n_copied += (guint64)n;
        if (n_copied > n_expected)
            break;
        if (!write_all(descriptor, buffer, (gsize)n))
            return fail_write(unpacking, name, errno, error);
        if (checksum)
            g_checksum_update(checksum, buffer, n);
        unpacking->n_done += (guint64)n;
        if (params->progress &&
            !params->progress(unpacking->n_done, unpacking->n_total, params->progress_data))
            return fail(params, FASTVLM_ERROR_CANCELLED, error, "cancelled");
    }
    if (n_copied != n_expected)
        return fail(params, FASTVLM_ERROR_FORMAT, error,
                    "%s: %s than the %" G_GUINT64_FORMAT " bytes that the archive's list says; "
                    "fetch it again",
                    name, n_copied > n_expected ? "more" : "less", n_expected);
    return TRUE;
}

static const char *find_hash(const UnpackParams *params, const char *name)
{
    for (const UnpackHash *hash = params->hashes; hash && hash->name; hash++) {
        if (strcmp(hash->name, name) == 0)
            return hash->sha256;
    }
    return NULL;
}

static gboolean write_file(Unpacking *unpacking, struct archive *archive, const char *name,
                           guint64 size, GError **error)
{
    const char *expected = find_hash(unpacking->params, name);
    g_autoptr(GChecksum) checksum = expected ? g_checksum_new(G_CHECKSUM_SHA256) : NULL;
    int descriptor = openat(unpacking->directory, name,
                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return fail_write(unpacking, name, errno, error);
    gboolean good = copy_entry(unpacking, archive, name, size, descriptor, checksum, error);
    /* On the disk before the directory gets its name, or a power cut leaves half a model. */
    if (good && fsync(descriptor) != 0 && errno != EINVAL)
        good = fail_write(unpacking, name, errno, error);
    if (close(descriptor) != 0 && good)
        good = fail_write(unpacking, name, errno, error);
    if (good && expected && strcmp(g_checksum_get_string(checksum), expected) != 0)
        good = fail(unpacking->params, FASTVLM_ERROR_FORMAT, error,
                    "%s: SHA-256 %s, expected %s; fetch it again, or take it all the same with "
                    "--no-verify",
                    name, g_checksum_get_string(checksum), expected);
    return good;
}

/* One of the files to write; only what the first pass approved of: the archive could be changing meanwhile. */
static gboolean write_entry(Unpacking *unpacking, struct archive *archive,
                            struct archive_entry *entry, GError **error)
{
    const char *path = get_path(entry);
    gpointer size;
    return !path || !g_hash_table_lookup_extended(unpacking->files, path, NULL, &size) ||
           !is_wanted(unpacking, path) ||
           write_file(unpacking, archive, get_name(path), GPOINTER_TO_SIZE(size), error);
}

/* One pass over the archive. */
static gboolean walk(Unpacking *unpacking, const Source *source, EntryFunc take, GError **error)
{
    struct archive *archive = open_archive(source, unpacking->params, error);
    if (!archive)
        return FALSE;
    struct archive_entry *entry;
    gboolean good = TRUE;
    int status = ARCHIVE_OK;
    while (good && (status = archive_read_next_header(archive, &entry)) == ARCHIVE_OK)
        good = take(unpacking, archive, entry, error);
    if (good && status != ARCHIVE_EOF)
        good = fail_archive(unpacking->params, archive, error);
    archive_read_free(archive);
    return good;
}

/* All is there that the first pass saw. */
static gboolean check_end(const Unpacking *unpacking, GError **error)
{
    return unpacking->n_done == unpacking->n_total ||
           fail(unpacking->params, FASTVLM_ERROR_FORMAT, error,
                "it changed while it was unpacked; run the same command again");
}

static gboolean unpack(const Source *source, int directory, const UnpackParams *params,
                       GError **error)
{
    Unpacking unpacking = {
        .params = params,
        .directory = directory,
        .files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    gboolean good = walk(&unpacking, source, note_entry, error) && measure(&unpacking, error) &&
                    check_space(&unpacking, error) &&
                    walk(&unpacking, source, write_entry, error) && check_end(&unpacking, error);
    g_hash_table_unref(unpacking.files);
    g_free(unpacking.folder);
    return good;
}

gboolean unpack_descriptor(int descriptor, int directory, const UnpackParams *params,
                           GError **error)
{
    return unpack(&(Source){.descriptor = descriptor}, directory, params, error);
}

gboolean unpack_memory(const void *data, gsize n_bytes, int directory, const UnpackParams *params,
                       GError **error)
{
    return unpack(&(Source){.descriptor = -1, .data = data, .n_bytes = n_bytes}, directory, params,
                  error);
}
