/*
 * Reading a tensor's rows as f32, whatever it is stored as.
 *
 *     stored as it is -------------------------------> rows of the file -> f32
 *     derived (quantized words, branches of training) -> rows of the tensors it is made of -> f32
 *
 * A derived tensor is computed anew for each row that is asked for, so that it takes no memory. Thread-safe.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_VIEW_H
#define FASTVLM_LOAD_VIEW_H

#include "load/safetensors.h"

/** What a derived tensor's own struct begins with. */
struct _FastvlmDerived {
    /** As fastvlm_view_read_rows(). */
    gboolean (*read_rows)(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows,
                          float *out, GError **error);
    /** As fastvlm_view_expect_rows(); may be NULL. */
    void (*expect_rows)(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows);
    void (*free)(FastvlmDerived *derived);
};

/** Elements of a row, which is what one index of the first dimension counts. */
gsize fastvlm_view_count_row_elements(const FastvlmTensorView *view);

/** Tells the system that rows first_row .. first_row + n_rows - 1 will be read soon. */
void fastvlm_view_expect_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows);

/**
 * Reads rows, which must be there, of a tensor of a weight's dtype.
 *
 * @param out  [n_rows, elements of a row]
 * Errors: FORMAT (an element is not finite), READ (the file was cut short meanwhile, I/O).
 */
gboolean fastvlm_view_read_rows(const FastvlmTensorView *view, gint64 first_row, gint64 n_rows,
                                float *out, GError **error);

/** Type and shape for a message, "nothing" of NULL; free with g_free(). */
char *fastvlm_view_spell(const FastvlmTensorView *view);

#endif
