/*
 * Writes a small safetensors file: a header in JSON, then the tensors' bytes.
 *
 *     8 bytes header size | {"name": {"dtype", "shape", "data_offsets"}} | data, little-endian
 *
 * Format: github.com/huggingface/safetensors, README.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_SAFETENSORS_FILE_H
#define FASTVLM_TOOLS_SAFETENSORS_FILE_H

#include <glib.h>
#include <jansson.h>

G_BEGIN_DECLS

/** Tensors being gathered, in the order of the file. */
typedef struct {
    json_t *header;
    GByteArray *data;
} SafetensorsFile;

SafetensorsFile safetensors_file_new(void);

void safetensors_file_clear(SafetensorsFile *file);

/** Copies a tensor of 4-byte elements, "F32" or "I32"; n_columns 0: one dimension, [n_rows]. */
void safetensors_file_add(SafetensorsFile *file, const char *name, const char *dtype,
                          const void *elements, int n_rows, int n_columns);

/** Writes to `path`. Errors: READ, naming it. */
gboolean safetensors_file_write(const SafetensorsFile *file, const char *path, GError **error);

G_END_DECLS

#endif
