/*
 * Making, checking and reading a file of packed weights.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"

#define PAGE 4096
#define BYTE_ORDER_MARK 0x01020304
#define SPARE_BYTES ((guint64)256 << 20) /* left free on the disk */
#define PART_BYTES ((gsize)1 << 20)      /* read or written, then summed while it is in the cache */
#define N_LANES 8                        /* of a sum; the processor multiplies them side by side */

static const char magic[16] = "fastvlm packed\n";

typedef struct {
    char magic[16];
    guint32 byte_order;
    guint32 version;
    guint64 sum; /* of all before the blobs, while this is 0 */
    guint64 index_bytes;
    guint64 tables_bytes;
    guint64 blobs_bytes;
    guint64 blobs_sum;
    char key[FASTVLM_PACKED_KEY_DIGITS];
    FastvlmPackedLabel label;
} Head;

G_STATIC_ASSERT(sizeof(Head) <= PAGE);

struct _FastvlmPacked {
    char *path;      /* its place */
    char *temporary; /* where it is until it is published; else NULL */
    int fd;
    char *memory; /* [n_bytes], what the file holds or is to hold */
    FastvlmPages pages;
    gsize n_bytes;
    gsize index_offset;
    gsize tables_offset;
    gsize tables_bytes;
    gsize blobs_offset;
    GThread *publisher;
    gboolean is_published;
};

static gboolean fail(const char *path, FastvlmError code, GError **error, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

static gboolean fail(const char *path, FastvlmError code, GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error(error, FASTVLM_ERROR, (int)code, "%s: %s", path, text);
    return FALSE;
}

static guint64 align(guint64 n_bytes)
{
    return (n_bytes + PAGE - 1) & ~(guint64)(PAGE - 1);
}

/** FNV-1a over words of 8 bytes; `n_bytes` is a multiple of 8. */
static guint64 sum_bytes(const char *bytes, gsize n_bytes, guint64 sum)
{
    for (gsize i = 0; i < n_bytes; i += sizeof sum) {
        guint64 word;

        memcpy(&word, bytes + i, sizeof word);
        sum = (sum ^ word) * G_GUINT64_CONSTANT(0x100000001b3);
        sum ^= sum >> 32;
    }
    return sum;
}

/**
 * Adds a part of the blobs, a multiple of 8 bytes, to their sum. Each step can be undone, so that no
 * change of a single word goes unseen. This is against disks and accidents: whoever can write the file
 * can write the sum.
 */
static guint64 sum_part(const char *bytes, gsize n_bytes, guint64 sum)
{
    const gsize n_rows = n_bytes / sizeof(guint64[N_LANES]);
    guint64 lanes[N_LANES];
    guint64 row[N_LANES];

    for (int i = 0; i < N_LANES; i++)
        lanes[i] = (guint64)i;
    for (gsize r = 0; r < n_rows; r++) {
        memcpy(row, bytes + r * sizeof row, sizeof row);
        for (int i = 0; i < N_LANES; i++) {
            lanes[i] = (lanes[i] ^ row[i]) * G_GUINT64_CONSTANT(0x100000001b3);
            lanes[i] ^= lanes[i] >> 32;
        }
    }
    sum = sum_bytes((const char *)lanes, sizeof lanes, sum);
    return sum_bytes(bytes + n_rows * sizeof row, n_bytes - n_rows * sizeof row, sum);
}

/** Of everything before the blobs, the head's own field left out. */
static guint64 sum_front(const FastvlmPacked *packed, Head head)
{
    const gsize n_head = sizeof head & ~(gsize)7;
    guint64 sum = G_GUINT64_CONSTANT(0xcbf29ce484222325);

    head.sum = 0;
    sum = sum_bytes((const char *)&head, n_head, sum);
    return sum_bytes(packed->memory + n_head, packed->blobs_offset - n_head, sum);
}

guint64 fastvlm_packed_count_bytes(const FastvlmPackedSpec *spec, gsize n_table_bytes)
{
    return PAGE + align(fastvlm_store_get_index(spec->store)->len) + align(n_table_bytes) +
           align(fastvlm_store_get_size(spec->store));
}

static void set_offsets(FastvlmPacked *packed, const FastvlmPackedSpec *spec, gsize n_table_bytes)
{
    packed->index_offset = PAGE;
    packed->tables_offset = PAGE + (gsize)align(fastvlm_store_get_index(spec->store)->len);
    packed->tables_bytes = n_table_bytes;
    packed->blobs_offset = packed->tables_offset + (gsize)align(n_table_bytes);
}

static Head make_head(const FastvlmPackedSpec *spec, gsize n_table_bytes)
{
    Head head = {
        .byte_order = BYTE_ORDER_MARK,
        .version = FASTVLM_PACKED_VERSION,
        .index_bytes = fastvlm_store_get_index(spec->store)->len,
        .tables_bytes = n_table_bytes,
        .blobs_bytes = fastvlm_store_get_size(spec->store),
    };

    memcpy(head.magic, magic, sizeof head.magic);
    memcpy(head.key, spec->key, MIN(strlen(spec->key), sizeof head.key));
    g_strlcpy(head.label.model, spec->model, sizeof head.label.model);
    g_strlcpy(head.label.precision, spec->precision, sizeof head.label.precision);
    return head;
}

static gboolean has_format(const Head *head)
{
    return memcmp(head->magic, magic, sizeof magic) == 0 && head->byte_order == BYTE_ORDER_MARK &&
           head->version == FASTVLM_PACKED_VERSION;
}

gboolean fastvlm_packed_read_label(int fd, FastvlmPackedLabel *label)
{
    Head head;

    if (pread(fd, &head, sizeof head, 0) != (gssize)sizeof head || !has_format(&head))
        return FALSE;
    *label = head.label;
    label->model[sizeof label->model - 1] = '\0';
    label->precision[sizeof label->precision - 1] = '\0';
    return TRUE;
}

/** Opens `path` and looks at whose it is. */
static gboolean open_file(FastvlmPacked *packed, GError **error)
{
    struct stat status;

    packed->fd = open(packed->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (packed->fd < 0)
        return fail(packed->path, errno == ENOENT ? FASTVLM_ERROR_NOT_FOUND : FASTVLM_ERROR_READ,
                    error, "cannot open: %s", g_strerror(errno));
    flock(packed->fd, LOCK_SH | LOCK_NB);
    if (fstat(packed->fd, &status) != 0 || !S_ISREG(status.st_mode))
        return fail(packed->path, FASTVLM_ERROR_READ, error, "not a regular file");
    if (status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)))
        return fail(packed->path, FASTVLM_ERROR_READ, error,
                    "another user can write it, so it is not used");
    if (status.st_size < PAGE || (guint64)status.st_size > G_MAXSSIZE)
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error, "%" G_GINT64_FORMAT " bytes",
                    (gint64)status.st_size);
    packed->n_bytes = (gsize)status.st_size;
    return TRUE;
}

/** Zeros for the whole file, in huge pages where there are: see the header. */
static gboolean take_memory(FastvlmPacked *packed, GError **error)
{
    if (!fastvlm_pages_map(&packed->pages, packed->n_bytes))
        return fail(packed->path, FASTVLM_ERROR_LIMIT, error,
                    "no memory for %" G_GSIZE_FORMAT " bytes: %s", packed->n_bytes,
                    g_strerror(errno));
    packed->memory = packed->pages.memory;
    return TRUE;
}

/** Bytes `first` to `end` - 1 of the file into their place. */
static gboolean read_bytes(FastvlmPacked *packed, gsize first, gsize end, GError **error)
{
    while (first < end) {
        const gssize n = pread(packed->fd, packed->memory + first, end - first, (off_t)first);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(packed->path, FASTVLM_ERROR_READ, error, "cannot read: %s",
                        g_strerror(errno));
        if (n == 0)
            return fail(packed->path, FASTVLM_ERROR_FORMAT, error,
                        "cut short while it was read: %" G_GSIZE_FORMAT
                        " bytes, expected %" G_GSIZE_FORMAT,
                        first, packed->n_bytes);
        first += (gsize)n;
    }
    return TRUE;
}

/** Every field but the sum and the labels is known beforehand. Reads nothing but the head. */
static gboolean check_head(FastvlmPacked *packed, const FastvlmPackedSpec *spec, GError **error)
{
    Head expected, head;

    if (pread(packed->fd, &head, sizeof head, 0) != (gssize)sizeof head || !has_format(&head))
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error,
                    "no packed weights, or of another version");
    if (head.tables_bytes > packed->n_bytes)
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error, "cut short");
    expected = make_head(spec, (gsize)head.tables_bytes);
    if (memcmp(head.key, expected.key, sizeof head.key) != 0)
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error,
                    "the checkpoint was changed after it was packed");
    if (head.index_bytes != expected.index_bytes || head.blobs_bytes != expected.blobs_bytes)
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error, "packed for other shapes");
    if (packed->n_bytes != fastvlm_packed_count_bytes(spec, (gsize)head.tables_bytes))
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error,
                    "%" G_GSIZE_FORMAT " bytes, expected %" G_GUINT64_FORMAT, packed->n_bytes,
                    fastvlm_packed_count_bytes(spec, (gsize)head.tables_bytes));
    set_offsets(packed, spec, (gsize)head.tables_bytes);
    return TRUE;
}

/** Head, index and tables as they were read. */
static gboolean check_front(FastvlmPacked *packed, const FastvlmPackedSpec *spec, GError **error)
{
    const GString *index = fastvlm_store_get_index(spec->store);
    Head head;

    memcpy(&head, packed->memory, sizeof head);
    if (memcmp(packed->memory + packed->index_offset, index->str, index->len) != 0)
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error, "packed for other tensors");
    if (sum_front(packed, head) != head.sum)
        return fail(packed->path, FASTVLM_ERROR_FORMAT, error, "damaged: its head has another sum");
    return TRUE;
}

static gboolean read_blobs(FastvlmPacked *packed, GError **error)
{
    guint64 sum = 0;
    Head head;

    for (gsize first = packed->blobs_offset; first < packed->n_bytes; first += PART_BYTES) {
        const gsize n = MIN(PART_BYTES, packed->n_bytes - first);

        if (!read_bytes(packed, first, first + n, error))
            return FALSE;
        sum = sum_part(packed->memory + first, n, sum);
    }
    memcpy(&head, packed->memory, sizeof head);
    return sum == head.blobs_sum ||
           fail(packed->path, FASTVLM_ERROR_FORMAT, error, "damaged: its weights have another sum");
}

/** The rest is read only once the front is what it must be. */
static gboolean read_file(FastvlmPacked *packed, const FastvlmPackedSpec *spec, GError **error)
{
    return check_head(packed, spec, error) && take_memory(packed, error) &&
           read_bytes(packed, 0, packed->blobs_offset, error) && check_front(packed, spec, error) &&
           read_blobs(packed, error);
}

FastvlmPacked *fastvlm_packed_open(const char *path, const FastvlmPackedSpec *spec, GError **error)
{
    FastvlmPacked *packed = g_new0(FastvlmPacked, 1);

    packed->path = g_strdup(path);
    packed->fd = -1;
    if (!open_file(packed, error) || !read_file(packed, spec, error))
        g_clear_pointer(&packed, fastvlm_packed_free);
    else
        futimens(packed->fd, NULL); /* the time of last use */
    return packed;
}

/** An empty file beside the place, locked. */
static gboolean make_file(FastvlmPacked *packed, GError **error)
{
    g_autofree char *temporary = g_strconcat(packed->path, ".XXXXXX.part", NULL);

    packed->fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, 0600);
    if (packed->fd < 0)
        return fail(packed->path, FASTVLM_ERROR_READ, error, "cannot be made: %s",
                    g_strerror(errno));
    packed->temporary = g_steal_pointer(&temporary);
    flock(packed->fd, LOCK_SH | LOCK_NB);
    return TRUE;
}

/**
 * Takes the file's whole space, so that a full disk shows before weights are packed. A limit on file
 * sizes is looked at first: to run into it would be a signal.
 */
static gboolean take_space(const FastvlmPacked *packed, GError **error)
{
    struct statvfs disk;
    struct rlimit limit;
    int code;

    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        packed->n_bytes > limit.rlim_cur)
        return fail(packed->path, FASTVLM_ERROR_LIMIT, error,
                    "%" G_GSIZE_FORMAT " bytes, more than this process may write (ulimit -f)",
                    packed->n_bytes);
    if (fstatvfs(packed->fd, &disk) == 0 &&
        (guint64)disk.f_bavail * disk.f_frsize < packed->n_bytes + SPARE_BYTES)
        return fail(packed->path, FASTVLM_ERROR_LIMIT, error,
                    "%" G_GSIZE_FORMAT " bytes would fill the disk", packed->n_bytes);
    do
        code = posix_fallocate(packed->fd, 0, (off_t)packed->n_bytes);
    while (code == EINTR);
    return code == 0 || fail(packed->path, FASTVLM_ERROR_LIMIT, error,
                             "%" G_GSIZE_FORMAT " bytes: %s", packed->n_bytes, g_strerror(code));
}

static void write_front(FastvlmPacked *packed, const FastvlmPackedSpec *spec,
                        const GByteArray *tables)
{
    const GString *index = fastvlm_store_get_index(spec->store);
    const Head head = make_head(spec, tables->len);

    memcpy(packed->memory, &head, sizeof head);
    memcpy(packed->memory + packed->index_offset, index->str, index->len);
    if (tables->len > 0)
        memcpy(packed->memory + packed->tables_offset, tables->data, tables->len);
}

FastvlmPacked *fastvlm_packed_create(const char *path, const FastvlmPackedSpec *spec,
                                     const GByteArray *tables, GError **error)
{
    FastvlmPacked *packed = g_new0(FastvlmPacked, 1);

    packed->path = g_strdup(path);
    packed->n_bytes = (gsize)fastvlm_packed_count_bytes(spec, tables->len);
    set_offsets(packed, spec, tables->len);
    if (!make_file(packed, error) || !take_space(packed, error) || !take_memory(packed, error)) {
        fastvlm_packed_free(packed);
        return NULL;
    }
    write_front(packed, spec, tables);
    return packed;
}

void *fastvlm_packed_get_blobs(FastvlmPacked *packed)
{
    return packed->memory + packed->blobs_offset;
}

const void *fastvlm_packed_get_tables(const FastvlmPacked *packed, gsize *n_bytes)
{
    *n_bytes = packed->tables_bytes;
    return packed->memory + packed->tables_offset;
}

static gboolean write_bytes(int fd, const char *bytes, gsize n_bytes, gsize offset)
{
    while (n_bytes > 0) {
        const gssize n = pwrite(fd, bytes, n_bytes, (off_t)offset);

        if (n < 0 && errno != EINTR)
            return FALSE;
        bytes += MAX(n, 0);
        offset += (gsize)MAX(n, 0);
        n_bytes -= (gsize)MAX(n, 0);
    }
    return TRUE;
}

/** The blobs are summed on their way; the head, which says the sums, comes last. */
static gboolean write_file(const FastvlmPacked *packed)
{
    Head head;

    memcpy(&head, packed->memory, sizeof head);
    for (gsize first = packed->blobs_offset; first < packed->n_bytes; first += PART_BYTES) {
        const gsize n = MIN(PART_BYTES, packed->n_bytes - first);

        if (!write_bytes(packed->fd, packed->memory + first, n, first))
            return FALSE;
        head.blobs_sum = sum_part(packed->memory + first, n, head.blobs_sum);
    }
    head.sum = sum_front(packed, head);
    return write_bytes(packed->fd, packed->memory, packed->blobs_offset, 0) &&
           write_bytes(packed->fd, (const char *)&head, sizeof head, 0);
}

/** To the disk first: after a power cut a name must not stand for half a file. */
static gpointer put_in_place(gpointer data)
{
    FastvlmPacked *packed = data;

    packed->is_published = write_file(packed) && fsync(packed->fd) == 0 &&
                           rename(packed->temporary, packed->path) == 0;
    if (!packed->is_published)
        unlink(packed->temporary);
    return NULL;
}

void fastvlm_packed_publish(FastvlmPacked *packed)
{
    fastvlm_pages_seal(&packed->pages);
    packed->publisher = g_thread_try_new("fastvlm-cache", put_in_place, packed, NULL);
    if (!packed->publisher) {
        put_in_place(packed);
        g_clear_pointer(&packed->temporary, g_free);
    }
}

gboolean fastvlm_packed_wait(FastvlmPacked *packed)
{
    if (packed->publisher) {
        g_thread_join(g_steal_pointer(&packed->publisher));
        g_clear_pointer(&packed->temporary, g_free);
    }
    return packed->is_published;
}

void fastvlm_packed_free(FastvlmPacked *packed)
{
    if (!packed)
        return;
    fastvlm_packed_wait(packed);
    if (packed->temporary)
        unlink(packed->temporary);
    fastvlm_pages_unmap(&packed->pages);
    if (packed->fd >= 0)
        close(packed->fd);
    g_free(packed->temporary);
    g_free(packed->path);
    g_free(packed);
}
