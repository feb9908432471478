/*
 * Writes a small safetensors file.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/safetensors_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fastvlm/error.h>

#if G_BYTE_ORDER != G_LITTLE_ENDIAN
#error "tensors are written as they lie in memory, which must be little-endian"
#endif

SafetensorsFile safetensors_file_new(void)
{
    return (SafetensorsFile){.header = json_object(), .data = g_byte_array_new()};
}

void safetensors_file_clear(SafetensorsFile *file)
{
    json_decref(file->header);
    g_byte_array_unref(file->data);
    *file = (SafetensorsFile){0};
}

void safetensors_file_add(SafetensorsFile *file, const char *name, const char *dtype,
                          const void *elements, int n_rows, int n_columns)
{
    json_t *shape = json_array();
    json_array_append_new(shape, json_integer(n_rows));
    if (n_columns > 0)
        json_array_append_new(shape, json_integer(n_columns));
    guint size = 4u * (guint)n_rows * (guint)MAX(n_columns, 1);
    json_t *offsets = json_array();
    json_array_append_new(offsets, json_integer(file->data->len));
    json_array_append_new(offsets, json_integer((json_int_t)file->data->len + size));
    json_t *entry = json_object();
    json_object_set_new(entry, "dtype", json_string(dtype));
    json_object_set_new(entry, "shape", shape);
    json_object_set_new(entry, "data_offsets", offsets);
    json_object_set_new(file->header, name, entry);
    g_byte_array_append(file->data, elements, size);
}

static gboolean write_parts(const SafetensorsFile *file, FILE *out)
{
    char *header = json_dumps(file->header, JSON_COMPACT);
    gsize length = strlen(header);
    guint64 padded = (length + 7) / 8 * 8;
    gboolean done = fwrite(&padded, sizeof padded, 1, out) == 1 &&
                    fwrite(header, 1, length, out) == length &&
                    fwrite("        ", 1, padded - length, out) == padded - length &&
                    fwrite(file->data->data, 1, file->data->len, out) == file->data->len;
    free(header);
    return done;
}

gboolean safetensors_file_write(const SafetensorsFile *file, const char *path, GError **error)
{
    FILE *out = fopen(path, "wb");
    gboolean done = out && write_parts(file, out);
    int code = errno;
    if (out && fclose(out) != 0) {
        code = done ? errno : code;
        done = FALSE;
    }
    if (!done)
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ,
                    "%s: cannot be written: %s; make room or name another file", path,
                    g_strerror(code));
    return done;
}
