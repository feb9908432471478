/*
 * Memory for tensors: aligned, zeroed, sizes checked, failure reported.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_ALLOC_H
#define FASTVLM_BASE_ALLOC_H

#include <glib.h>

/** Bytes to which tensors are aligned: a cache line. */
#define FASTVLM_TENSOR_ALIGNMENT 64

/**
 * Zeroed memory for `n_rows` * `n_columns` floats, to free with fastvlm_free_tensor().
 *
 * @param what  what it is for, in the error's message
 * @return NULL on failure
 * Errors: LIMIT.
 */
float *fastvlm_alloc_tensor(gsize n_rows, gsize n_columns, const char *what, GError **error);

/**
 * Bytes that this process can ever have: the machine's memory and swap, or what its control groups or
 * `ulimit -v` allow.
 */
guint64 fastvlm_memory_limit(void);

/** Frees `tensor`; NULL is fine. */
void fastvlm_free_tensor(float *tensor);

/** Zeros for what stays long and is large; all NULL and 0: none. */
typedef struct {
    char *memory; /* aligned to a huge page */
    char *map;
    gsize map_bytes;
} FastvlmPages;

/** Maps `n_bytes`, in huge pages where there are. FALSE with errno set where there is no memory. */
gboolean fastvlm_pages_map(FastvlmPages *pages, gsize n_bytes);

/** Whoever writes to it from now on is stopped by a signal: a fault of our own. */
void fastvlm_pages_seal(const FastvlmPages *pages);

/** Unmaps it; it is none then, which is fine too. */
void fastvlm_pages_unmap(FastvlmPages *pages);

#endif
