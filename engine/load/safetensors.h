/*
 * One safetensors file.
 *
 *     u64 length of the header | header: JSON, name -> dtype, shape, data_offsets | data
 *
 * The format is that of github.com/huggingface/safetensors. Everything in the header is checked
 * when the file is opened: a view that this hands out lies inside the file, its size fits its shape,
 * no two views share a byte, and no byte of the data belongs to none.
 *
 * The file is read, never mapped: one that is cut short or cannot be read while it is in use is an error
 * of that read, where a mapping would end the process by SIGBUS.
 *
 * Immutable once open: all functions may be called from any thread at once.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_SAFETENSORS_H
#define FASTVLM_LOAD_SAFETENSORS_H

#include <fastvlm/error.h>

#include "load/dtype.h"

/** Largest rank taken; the released checkpoints have 4. */
#define FASTVLM_TENSOR_MAX_DIMS 8

/**
 * Largest header taken, in bytes. The format allows 100 MB, of which a JSON parser can make 5 GB in
 * memory; the largest released checkpoint has 0.1 MB.
 */
#define FASTVLM_SAFETENSORS_MAX_HEADER (16 << 20)

/** How a tensor is made that no file holds as it is; load/view.h. */
typedef struct _FastvlmDerived FastvlmDerived;

/** A tensor and where it lies in the file. Lives as long as the file is open. */
typedef struct {
    const char *name;
    const char *file; /* path, for messages */
    FastvlmDtype dtype;
    int n_dims; /* 0: a single number */
    gint64 shape[FASTVLM_TENSOR_MAX_DIMS];
    guint64 n_elements;            /* at least 1 */
    int fd;                        /* of the file */
    guint64 offset;                /* of the data in the file: [shape], little-endian */
    gsize n_bytes;                 /* in the file */
    const FastvlmDerived *derived; /* NULL: as it is stored; else there is no `fd` and `offset` */
} FastvlmTensorView;

typedef struct _FastvlmSafetensors FastvlmSafetensors;

/**
 * Opens the file at `path`.
 *
 * @return a file to close with fastvlm_safetensors_free(), or NULL
 * Errors: NOT_FOUND, READ (permission, not a regular file, I/O), FORMAT, LIMIT (a
 * header of more than FASTVLM_SAFETENSORS_MAX_HEADER bytes).
 */
FastvlmSafetensors *fastvlm_safetensors_open(const char *path, GError **error);

/** Closes; its views end. NULL is fine. */
void fastvlm_safetensors_free(FastvlmSafetensors *file);

/** Size of the file, in bytes. */
guint64 fastvlm_safetensors_get_size(const FastvlmSafetensors *file);

/**
 * Adds to `sum` what tells this file from another and from itself after a change: device, inode, size,
 * time of the last change, the whole header. The data are not read.
 */
void fastvlm_safetensors_fingerprint(const FastvlmSafetensors *file, GChecksum *sum);

/** Number of tensors. */
guint fastvlm_safetensors_get_n_tensors(const FastvlmSafetensors *file);

/** Tensor 0 .. n_tensors - 1, in the order of their data in the file. */
const FastvlmTensorView *fastvlm_safetensors_get_tensor(const FastvlmSafetensors *file,
                                                        guint index);

/** The tensor `name`, or NULL. */
const FastvlmTensorView *fastvlm_safetensors_find(const FastvlmSafetensors *file, const char *name);

/**
 * Reads `n_bytes` bytes of a tensor's data, from byte `first` on, which must be there.
 *
 * Errors: READ (the file was cut short after it was opened, I/O).
 */
gboolean fastvlm_tensor_view_read(const FastvlmTensorView *view, gsize first, gsize n_bytes,
                                  void *out, GError **error);

/** Tells the system that these bytes will be read soon. */
void fastvlm_tensor_view_expect(const FastvlmTensorView *view, gsize first, gsize n_bytes);

/** A text of the header's `__metadata__`, or NULL; owned by the file. */
const char *fastvlm_safetensors_get_metadata(const FastvlmSafetensors *file, const char *key);

#endif
