/*
 * Opens a safetensors file and checks its header.
 *
 *     length of the header -> JSON -> a view for each tensor -> sorted by offset
 *         -> each begins where the one before ends, the last one with the file
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text_file.h"

#define LENGTH_BYTES 8 /* of the header's length */
#define FORMAT_U64 "%" G_GUINT64_FORMAT

static const char git_lfs_mark[] = "version https://git-lfs";

struct _FastvlmSafetensors {
    char *path;
    int fd;
    guint64 size;
    char *head; /* [data_begin]: length and header, as they stand in the file */
    gsize data_begin;
    struct stat status;
    json_t *header; /* names and metadata live here */
    GArray *views;  /* FastvlmTensorView, by offset */
    GHashTable *by_name;
};

void fastvlm_safetensors_free(FastvlmSafetensors *file)
{
    if (!file)
        return;
    g_clear_pointer(&file->by_name, g_hash_table_destroy);
    g_array_free(file->views, TRUE);
    json_decref(file->header);
    if (file->fd >= 0)
        close(file->fd);
    g_free(file->head);
    g_free(file->path);
    g_free(file);
}

/** Sets an error about the tensor `name`; `found` and what follows is the rest of the line. */
static gboolean fail_tensor(const FastvlmSafetensors *file, GError **error, FastvlmError code,
                            const char *name, const char *found, ...) G_GNUC_PRINTF(5, 6);

static gboolean fail_tensor(const FastvlmSafetensors *file, GError **error, FastvlmError code,
                            const char *name, const char *found, ...)
{
    g_autofree char *quoted = fastvlm_text_quote(name);
    g_autofree char *text = NULL;
    va_list arguments;

    va_start(arguments, found);
    text = g_strdup_vprintf(found, arguments);
    va_end(arguments);
    g_set_error(error, FASTVLM_ERROR, code, "%s: tensor %s: %s", file->path, quoted, text);
    return FALSE;
}

/** The same where `value`, the tensor's `field`, is not what it should be. */
static gboolean fail_field(const FastvlmSafetensors *file, GError **error, const char *name,
                           const char *field, const json_t *value, const char *expected)
{
    g_autofree char *found = fastvlm_text_spell(value);

    return fail_tensor(file, error, FASTVLM_ERROR_FORMAT, name, "%s: found %s, expected %s", field,
                       found, expected);
}

/** Bytes of the file from `offset` on, all of them or an error; `tensor` is what they are of, or NULL. */
static gboolean read_bytes(int fd, const char *path, const char *tensor, guint64 offset,
                           gsize n_bytes, void *out, GError **error)
{
    for (gsize done = 0; done < n_bytes;) {
        const gssize n = pread(fd, (char *)out + done, n_bytes - done, (off_t)(offset + done));
        g_autofree char *quoted = NULL;

        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0) {
            done += (gsize)n;
            continue;
        }
        quoted = tensor ? fastvlm_text_quote(tensor) : g_strdup("its header");
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                    "%s: %s%s: cannot read byte " FORMAT_U64 ": %s", path, tensor ? "tensor " : "",
                    quoted, offset + done,
                    n < 0 ? g_strerror(errno)
                          : "the file was cut short after it was opened, fetch it again");
        return FALSE;
    }
    return TRUE;
}

static gboolean open_file(FastvlmSafetensors *file, GError **error)
{
    file->fd = fastvlm_file_open(file->path, &file->size, error);
    if (file->fd < 0)
        return FALSE;
    if (file->size < LENGTH_BYTES) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: " FORMAT_U64
                    " bytes: not a safetensors file, expected at least %d: fetch it again",
                    file->path, file->size, LENGTH_BYTES);
        return FALSE;
    }
    if (fstat(file->fd, &file->status) == 0)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "%s: %s", file->path, g_strerror(errno));
    return FALSE;
}

static gboolean check_length(const FastvlmSafetensors *file, guint64 length, GError **error)
{
    char start[sizeof git_lfs_mark - 1];

    if (file->size >= sizeof start &&
        pread(file->fd, start, sizeof start, 0) == (gssize)sizeof start &&
        memcmp(start, git_lfs_mark, sizeof start) == 0) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: a Git LFS pointer, not the weights: fetch them by `git lfs pull`",
                    file->path);
        return FALSE;
    }
    if (length > file->size - LENGTH_BYTES) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: a header of " FORMAT_U64 " bytes in a file of " FORMAT_U64
                    ", expected at most " FORMAT_U64
                    ": cut short, or not a safetensors file, fetch it again",
                    file->path, length, file->size, file->size - LENGTH_BYTES);
        return FALSE;
    }
    if (length > FASTVLM_SAFETENSORS_MAX_HEADER) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "%s: a header of " FORMAT_U64 " bytes, expected at most %d", file->path, length,
                    FASTVLM_SAFETENSORS_MAX_HEADER);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_header(FastvlmSafetensors *file, GError **error)
{
    g_autofree char *where = g_strconcat(file->path, ": header", NULL);
    guint64 length;

    if (!read_bytes(file->fd, file->path, NULL, 0, sizeof length, &length, error))
        return FALSE;
    length = GUINT64_FROM_LE(length);
    if (!check_length(file, length, error))
        return FALSE;
    file->data_begin = LENGTH_BYTES + (gsize)length;
    file->head = g_malloc(file->data_begin);
    if (!read_bytes(file->fd, file->path, NULL, 0, file->data_begin, file->head, error))
        return FALSE;
    file->header =
        fastvlm_text_parse_object(file->head + LENGTH_BYTES, (gsize)length, where, error);
    return file->header != NULL;
}

/** The metadata of the format are texts and nothing else. */
static gboolean check_metadata(const FastvlmSafetensors *file, json_t *metadata, GError **error)
{
    const char *key;
    json_t *value;

    if (!json_is_object(metadata)) {
        g_autofree char *found = fastvlm_text_spell(metadata);

        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: __metadata__: found %s, expected an object", file->path, found);
        return FALSE;
    }
    json_object_foreach(metadata, key, value)
    {
        g_autofree char *quoted = NULL;
        g_autofree char *found = NULL;

        if (json_is_string(value))
            continue;
        quoted = fastvlm_text_quote(key);
        found = fastvlm_text_spell(value);
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: __metadata__: %s: found %s, expected a text", file->path, quoted, found);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_dtype(const FastvlmSafetensors *file, const json_t *entry,
                           FastvlmTensorView *view, GError **error)
{
    const json_t *dtype = json_object_get(entry, "dtype");
    const char *name = json_string_value(dtype);
    g_autofree char *quoted = NULL;

    if (!name)
        return fail_field(file, error, view->name, "dtype", dtype, "a text as \"BF16\"");
    if (fastvlm_dtype_from_string(name, &view->dtype))
        return TRUE;
    quoted = fastvlm_text_quote(name);
    return fail_tensor(file, error, FASTVLM_ERROR_UNSUPPORTED, view->name,
                       "dtype %s, expected BF16, F16 or F32 (or F64, an integer type or BOOL in "
                       "tensors that are not read)",
                       quoted);
}

static gboolean read_shape(const FastvlmSafetensors *file, const json_t *entry,
                           FastvlmTensorView *view, GError **error)
{
    const json_t *shape = json_object_get(entry, "shape");

    if (!json_is_array(shape))
        return fail_field(file, error, view->name, "shape", shape, "an array of integers");
    if (json_array_size(shape) > FASTVLM_TENSOR_MAX_DIMS)
        return fail_tensor(file, error, FASTVLM_ERROR_FORMAT, view->name,
                           "a shape of %" G_GSIZE_FORMAT " dimensions, expected at most %d",
                           json_array_size(shape), FASTVLM_TENSOR_MAX_DIMS);
    view->n_dims = (int)json_array_size(shape);
    view->n_elements = 1;
    for (int i = 0; i < view->n_dims; i++) {
        const json_t *size = json_array_get(shape, (gsize)i);

        if (!json_is_integer(size) || json_integer_value(size) < 1) {
            g_autofree char *field = g_strdup_printf("dimension %d of its shape", i);

            return fail_field(file, error, view->name, field, size, "a positive integer");
        }
        view->shape[i] = json_integer_value(size);
        if (!g_uint64_checked_mul(&view->n_elements, view->n_elements, (guint64)view->shape[i]))
            return fail_tensor(
                file, error, FASTVLM_ERROR_FORMAT, view->name,
                "its shape has more than 2^64 elements, expected at most the " FORMAT_U64
                " bytes of its file",
                file->size);
    }
    return TRUE;
}

/** The two offsets, counted from the end of the header. */
static gboolean read_offsets(const FastvlmSafetensors *file, const json_t *entry,
                             FastvlmTensorView *view, GError **error)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0);
    const json_t *end = json_array_get(offsets, 1);
    const guint64 n_data = file->size - file->data_begin;
    guint64 n_bytes;

    if (json_array_size(offsets) != 2)
        return fail_field(file, error, view->name, "data_offsets", offsets, "begin and end");
    if (!json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
        json_integer_value(end) < json_integer_value(begin)) {
        g_autofree char *from = fastvlm_text_spell(begin);
        g_autofree char *to = fastvlm_text_spell(end);

        return fail_tensor(
            file, error, FASTVLM_ERROR_FORMAT, view->name,
            "data_offsets: found %s and %s, expected two integers, 0 <= begin <= end", from, to);
    }
    if ((guint64)json_integer_value(end) > n_data)
        return fail_tensor(file, error, FASTVLM_ERROR_READ, view->name,
                           "its data end at " FORMAT_U64 ", the file's at " FORMAT_U64
                           ": the file was cut short, fetch it again",
                           (guint64)json_integer_value(end), n_data);
    view->n_bytes = (gsize)(json_integer_value(end) - json_integer_value(begin));
    if (!g_uint64_checked_mul(&n_bytes, view->n_elements, fastvlm_dtype_size(view->dtype)) ||
        n_bytes != view->n_bytes)
        return fail_tensor(file, error, FASTVLM_ERROR_FORMAT, view->name,
                           "%" G_GSIZE_FORMAT " bytes of data, expected " FORMAT_U64 " %s elements",
                           view->n_bytes, view->n_elements, fastvlm_dtype_to_string(view->dtype));
    view->offset = file->data_begin + (guint64)json_integer_value(begin);
    return TRUE;
}

static gboolean read_entry(FastvlmSafetensors *file, const char *name, json_t *entry,
                           GError **error)
{
    FastvlmTensorView view = {.name = name, .file = file->path, .fd = file->fd};

    if (!json_is_object(entry))
        return fail_field(file, error, name, "its entry", entry,
                          "an object with dtype, shape and data_offsets");
    if (!read_dtype(file, entry, &view, error) || !read_shape(file, entry, &view, error) ||
        !read_offsets(file, entry, &view, error))
        return FALSE;
    g_array_append_val(file->views, view);
    return TRUE;
}

static int compare_views(const void *a, const void *b)
{
    const guint64 offset_a = ((const FastvlmTensorView *)a)->offset;
    const guint64 offset_b = ((const FastvlmTensorView *)b)->offset;

    return offset_a < offset_b ? -1 : offset_a > offset_b;
}

/** Each tensor must begin where the one before ends. */
static gboolean check_order(const FastvlmSafetensors *file, GError **error)
{
    guint64 expected = file->data_begin;
    const char *before = NULL;

    for (guint i = 0; i < file->views->len; i++) {
        const FastvlmTensorView *view = &g_array_index(file->views, FastvlmTensorView, i);

        if (view->offset < expected) {
            g_autofree char *other = fastvlm_text_quote(before);

            return fail_tensor(file, error, FASTVLM_ERROR_FORMAT, view->name,
                               "its data begin at " FORMAT_U64 " and overlap those of tensor %s, "
                               "expected " FORMAT_U64 ", where those end",
                               view->offset - file->data_begin, other, expected - file->data_begin);
        }
        if (view->offset > expected)
            return fail_tensor(file, error, FASTVLM_ERROR_FORMAT, view->name,
                               FORMAT_U64
                               " bytes before its data belong to no tensor, expected none",
                               view->offset - expected);
        expected = view->offset + view->n_bytes;
        before = view->name;
    }
    if (expected == file->size)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "%s: " FORMAT_U64 " bytes behind the last tensor belong to none, "
                "expected the file to end with it",
                file->path, file->size - expected);
    return FALSE;
}

static gboolean read_views(FastvlmSafetensors *file, GError **error)
{
    const char *name;
    json_t *entry;

    json_object_foreach(file->header, name, entry)
    {
        const gboolean ok = strcmp(name, "__metadata__") == 0
                                ? check_metadata(file, entry, error)
                                : read_entry(file, name, entry, error);

        if (!ok)
            return FALSE;
    }
    g_array_sort(file->views, compare_views);
    if (!check_order(file, error))
        return FALSE;
    for (guint i = 0; i < file->views->len; i++) {
        FastvlmTensorView *view = &g_array_index(file->views, FastvlmTensorView, i);

        g_hash_table_insert(file->by_name, (char *)view->name, view);
    }
    return TRUE;
}

FastvlmSafetensors *fastvlm_safetensors_open(const char *path, GError **error)
{
    FastvlmSafetensors *file = g_new0(FastvlmSafetensors, 1);

    file->path = g_strdup(path);
    file->fd = -1;
    file->views = g_array_new(FALSE, FALSE, sizeof(FastvlmTensorView));
    file->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    if (!open_file(file, error) || !read_header(file, error) || !read_views(file, error))
        g_clear_pointer(&file, fastvlm_safetensors_free);
    return file;
}

guint64 fastvlm_safetensors_get_size(const FastvlmSafetensors *file)
{
    return file->size;
}

void fastvlm_safetensors_fingerprint(const FastvlmSafetensors *file, GChecksum *sum)
{
    fastvlm_file_add_status(&file->status, sum);
    g_checksum_update(sum, (const guchar *)file->head, (gssize)file->data_begin);
}

guint fastvlm_safetensors_get_n_tensors(const FastvlmSafetensors *file)
{
    return file->views->len;
}

const FastvlmTensorView *fastvlm_safetensors_get_tensor(const FastvlmSafetensors *file, guint index)
{
    return &g_array_index(file->views, FastvlmTensorView, index);
}

const FastvlmTensorView *fastvlm_safetensors_find(const FastvlmSafetensors *file, const char *name)
{
    return g_hash_table_lookup(file->by_name, name);
}

gboolean fastvlm_tensor_view_read(const FastvlmTensorView *view, gsize first, gsize n_bytes,
                                  void *out, GError **error)
{
    return read_bytes(view->fd, view->file, view->name, view->offset + first, n_bytes, out, error);
}

void fastvlm_tensor_view_expect(const FastvlmTensorView *view, gsize first, gsize n_bytes)
{
    posix_fadvise(view->fd, (off_t)(view->offset + first), (off_t)n_bytes, POSIX_FADV_WILLNEED);
}

const char *fastvlm_safetensors_get_metadata(const FastvlmSafetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}
