/*
 * Element types and their conversion to f32.
 *
 * The loops are plain, so that the compiler vectorises them: the stored element is a pattern of
 * bits, f32 is another, and "not finite" is an OR over all of them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/dtype.h"

#include <string.h>

#if G_BYTE_ORDER != G_LITTLE_ENDIAN
#error "safetensors are little-endian, and so must this machine be"
#endif

static const struct {
    const char *name;
    gsize size;
} dtypes[FASTVLM_N_DTYPES] = {
    [FASTVLM_DTYPE_F32] = {"F32", 4},   [FASTVLM_DTYPE_F16] = {"F16", 2},
    [FASTVLM_DTYPE_BF16] = {"BF16", 2}, [FASTVLM_DTYPE_F64] = {"F64", 8},
    [FASTVLM_DTYPE_I8] = {"I8", 1},     [FASTVLM_DTYPE_I16] = {"I16", 2},
    [FASTVLM_DTYPE_I32] = {"I32", 4},   [FASTVLM_DTYPE_I64] = {"I64", 8},
    [FASTVLM_DTYPE_U8] = {"U8", 1},     [FASTVLM_DTYPE_U16] = {"U16", 2},
    [FASTVLM_DTYPE_U32] = {"U32", 4},   [FASTVLM_DTYPE_U64] = {"U64", 8},
    [FASTVLM_DTYPE_BOOL] = {"BOOL", 1},
};

const char *fastvlm_dtype_to_string(FastvlmDtype dtype)
{
    return dtypes[dtype].name;
}

gboolean fastvlm_dtype_from_string(const char *name, FastvlmDtype *dtype)
{
    for (int i = 0; i < FASTVLM_N_DTYPES; i++) {
        if (strcmp(name, dtypes[i].name) != 0)
            continue;
        *dtype = (FastvlmDtype)i;
        return TRUE;
    }
    return FALSE;
}

gsize fastvlm_dtype_size(FastvlmDtype dtype)
{
    return dtypes[dtype].size;
}

gboolean fastvlm_dtype_is_weight(FastvlmDtype dtype)
{
    return dtype == FASTVLM_DTYPE_F32 || dtype == FASTVLM_DTYPE_F16 || dtype == FASTVLM_DTYPE_BF16;
}

static guint16 load_u16(const guint8 *bytes)
{
    guint16 bits;

    memcpy(&bits, bytes, sizeof bits);
    return bits;
}

static float float_of_bits(guint32 bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static guint32 bits_of_float(float value)
{
    guint32 bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static gboolean convert_bf16(const guint8 *restrict source, gsize n, float *restrict out)
{
    guint32 n_bad = 0;

    for (gsize i = 0; i < n; i++) {
        const guint32 bits = (guint32)load_u16(source + 2 * i) << 16;

        n_bad |= (bits & 0x7f800000) == 0x7f800000;
        out[i] = float_of_bits(bits);
    }
    return n_bad == 0;
}

/**
 * Ten bits of mantissa go to the top of f32's 23, the exponent's bias from 15 to 127. A subnormal
 * m 2^-24 is (1 + m 2^-10) 2^-14 less 2^-14: no operand of that is subnormal in f32, so that a
 * processor told to flush those gives the same.
 */
static float widen_f16(guint32 half)
{
    const guint32 sign = (half & 0x8000) << 16;
    const guint32 magnitude = (half & 0x7fff) << 13;
    const float subnormal = float_of_bits(magnitude + (113u << 23)) - 0x1p-14f;
    const guint32 is_normal = 0u - (guint32)((half & 0x7c00) != 0);
    const guint32 normal = magnitude + (112u << 23);

    return float_of_bits((normal & is_normal) | (bits_of_float(subnormal) & ~is_normal) | sign);
}

static gboolean convert_f16(const guint8 *restrict source, gsize n, float *restrict out)
{
    guint32 n_bad = 0;

    for (gsize i = 0; i < n; i++) {
        const guint32 half = load_u16(source + 2 * i);

        n_bad |= (half & 0x7c00) == 0x7c00;
        out[i] = widen_f16(half);
    }
    return n_bad == 0;
}

static gboolean convert_f32(const guint8 *restrict source, gsize n, float *restrict out)
{
    guint32 n_bad = 0;

    for (gsize i = 0; i < n; i++) {
        guint32 bits;

        memcpy(&bits, source + 4 * i, sizeof bits);
        n_bad |= (bits & 0x7f800000) == 0x7f800000;
        out[i] = float_of_bits(bits);
    }
    return n_bad == 0;
}

gboolean fastvlm_dtype_to_f32(FastvlmDtype dtype, const void *source, gsize n, float *out)
{
    switch (dtype) {
    case FASTVLM_DTYPE_F32:
        return convert_f32(source, n, out);
    case FASTVLM_DTYPE_F16:
        return convert_f16(source, n, out);
    case FASTVLM_DTYPE_BF16:
        return convert_bf16(source, n, out);
    default:
        return FALSE;
    }
}
