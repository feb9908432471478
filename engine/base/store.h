/*
 * One piece of memory for all tensors of a model, handed out one after the other.
 *
 *     measuring:  take() each blob -> an index and a size
 *     bound to memory, to be filled:  take() the same again -> zeroed memory to write to
 *     bound to memory that is filled: take() the same again -> what was written once
 *
 * Whoever takes blobs does so in an order that follows from the model alone, so the code that fills a
 * store is also the code that measures it and the code that finds its way in one that was kept in a
 * file. Not thread-safe; what it hands out may be used from any thread until the store goes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_STORE_H
#define FASTVLM_BASE_STORE_H

#include <glib.h>

/** Bytes to which blobs are aligned: a cache line. */
#define FASTVLM_STORE_ALIGNMENT 64

typedef struct _FastvlmStore FastvlmStore;

typedef enum {
    FASTVLM_STORE_MEASURING, /* blobs are NULL */
    FASTVLM_STORE_FILLING,   /* blobs are zeros */
    FASTVLM_STORE_FILLED,    /* blobs are to be read, and not to be trusted */
} FastvlmStoreState;

/** A store that measures; free with fastvlm_store_free(). Never NULL. */
FastvlmStore *fastvlm_store_new(void);

/** Frees it, and its memory where that is its own. NULL is fine. */
void fastvlm_store_free(FastvlmStore *store);

FastvlmStoreState fastvlm_store_get_state(const FastvlmStore *store);

/**
 * The next blob.
 *
 * @param name    of the tensor it is made from; no line break
 * @param type    how its bytes are to be read: "f32", "int8 panels", ...; no blank line or break
 * @param memory  out; NULL while measuring
 * Errors: LIMIT (sizes beyond what a process can hold), FORMAT (not what was measured).
 */
gboolean fastvlm_store_take(FastvlmStore *store, const char *name, const char *type, gsize n_rows,
                            gsize n_columns, gsize n_bytes, void **memory, GError **error);

/** The same for n_rows * n_columns floats. */
gboolean fastvlm_store_take_floats(FastvlmStore *store, const char *name, gsize n_rows,
                                   gsize n_columns, float **memory, GError **error);

/** Bytes of all blobs taken while measuring. */
gsize fastvlm_store_get_size(const FastvlmStore *store);

/** A line for each of them: offset, bytes, rows, columns, type, name. Owned by the store. */
const GString *fastvlm_store_get_index(const FastvlmStore *store);

/**
 * Ends measuring: memory of the store's own, to be filled.
 *
 * Errors: LIMIT (memory).
 */
gboolean fastvlm_store_bind_own(FastvlmStore *store, GError **error);

/**
 * Ends measuring, or starts anew: memory of someone else's, which outlives the store.
 *
 * @param memory  [fastvlm_store_get_size()], aligned to FASTVLM_STORE_ALIGNMENT; zeros where it is to
 *                be filled
 */
void fastvlm_store_bind(FastvlmStore *store, void *memory, FastvlmStoreState state);

#endif
