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

/** Frees `tensor`; NULL is fine. */
void fastvlm_free_tensor(float *tensor);

#endif
