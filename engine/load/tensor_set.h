/*
 * The tensors of a checkpoint by the names of Apple's release, whatever layout the files are in.
 *
 *     views of files -> renamed (naming.h) -> quantized ones joined (quantized.h)
 *                    -> branches of training folded (branches.h)
 *
 * Immutable once it is made; views of files must outlive it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_TENSOR_SET_H
#define FASTVLM_LOAD_TENSOR_SET_H

#include "load/naming.h"
#include "load/view.h"

typedef struct {
    const FastvlmNaming *naming; /* that the files have */
    GPtrArray *views;            /* const FastvlmTensorView, in the order of the files */
    GHashTable *by_name;
    GPtrArray *made;     /* FastvlmTensorView, owned: those that are no file's own */
    GStringChunk *names; /* of these */
    guint bits;          /* 1 << B for each width of quantized words; 0: none is quantized */
    int group_size;      /* of quantized weights */
    gboolean is_folded;  /* branches of training were found */
} FastvlmTensorSet;

/**
 * Makes the set of `views` (const FastvlmTensorView, of one checkpoint's files, no name twice).
 *
 * @param group_size  of quantized weights, as config.json says
 * @return a set to free with fastvlm_tensor_set_free(), or NULL
 * Errors: FORMAT, UNSUPPORTED.
 */
FastvlmTensorSet *fastvlm_tensor_set_new(const GPtrArray *views, int group_size, GError **error);

/** NULL is fine. */
void fastvlm_tensor_set_free(FastvlmTensorSet *set);

/** The tensor of this name, or NULL. */
const FastvlmTensorView *fastvlm_tensor_set_find(const FastvlmTensorSet *set, const char *name);

/** The one that is called PREFIX SUFFIX. */
const FastvlmTensorView *fastvlm_tensor_set_find_joined(const FastvlmTensorSet *set,
                                                        const char *prefix, const char *suffix);

/**
 * Adds a tensor that is made for the set.
 *
 * @param view     copied, its name too
 * @param derived  becomes the set's, also on error; NULL: the view is of a file
 * Errors: FORMAT (there is one of this name).
 */
gboolean fastvlm_tensor_set_add(FastvlmTensorSet *set, const FastvlmTensorView *view,
                                FastvlmDerived *derived, GError **error);

/** Takes out those whose names are in `names`. */
void fastvlm_tensor_set_remove(FastvlmTensorSet *set, GHashTable *names);

/** Replaces all whose names begin with `prefix` by those of `other`, which must outlive the set. */
void fastvlm_tensor_set_replace(FastvlmTensorSet *set, const char *prefix,
                                const FastvlmTensorSet *other);

/** Whether there is one whose name begins with `prefix`. */
gboolean fastvlm_tensor_set_has(const FastvlmTensorSet *set, const char *prefix);

#endif
