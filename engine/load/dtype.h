/*
 * Element types of stored tensors, by the names that safetensors gives them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_DTYPE_H
#define FASTVLM_LOAD_DTYPE_H

#include <glib.h>

/** Only F32, F16 and BF16 hold weights; the others may stand in a file beside them. */
typedef enum {
    FASTVLM_DTYPE_F32,
    FASTVLM_DTYPE_F16,
    FASTVLM_DTYPE_BF16,
    FASTVLM_DTYPE_F64,
    FASTVLM_DTYPE_I8,
    FASTVLM_DTYPE_I16,
    FASTVLM_DTYPE_I32,
    FASTVLM_DTYPE_I64,
    FASTVLM_DTYPE_U8,
    FASTVLM_DTYPE_U16,
    FASTVLM_DTYPE_U32,
    FASTVLM_DTYPE_U64,
    FASTVLM_DTYPE_BOOL,
    FASTVLM_N_DTYPES,
} FastvlmDtype;

/** "F32", "BF16", ... */
const char *fastvlm_dtype_to_string(FastvlmDtype dtype);

/** The inverse; FALSE and `dtype` untouched where `name` is none of them. */
gboolean fastvlm_dtype_from_string(const char *name, FastvlmDtype *dtype);

/** Bytes of one element. */
gsize fastvlm_dtype_size(FastvlmDtype dtype);

/** Whether weights may be stored so: F32, F16, BF16. */
gboolean fastvlm_dtype_is_weight(FastvlmDtype dtype);

/**
 * Converts `n` elements of a weight dtype at `source`, of any alignment and little-endian, to f32.
 *
 * @return FALSE where one of them is not finite; `out` is then of no use
 */
gboolean fastvlm_dtype_to_f32(FastvlmDtype dtype, const void *source, gsize n, float *out);

#endif
