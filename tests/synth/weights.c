/*
 * The weight function, and rounding to the dtypes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "private.h"

#include <math.h>
#include <string.h>

#define GOLDEN G_GUINT64_CONSTANT(0x9E3779B97F4A7C15)

static guint64 hash_name(const char *name)
{
    guint64 hash = G_GUINT64_CONSTANT(0xCBF29CE484222325);

    for (; *name; name++)
        hash = (hash ^ (guint8)*name) * G_GUINT64_CONSTANT(0x100000001B3);
    return hash;
}

static float draw(guint64 hash, guint64 i)
{
    guint64 z = hash + (i + 1) * GOLDEN;

    z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94D049BB133111EB);
    z ^= z >> 31;
    return 2.0f * ((float)(z >> 40) * 0x1p-24f) - 1.0f;
}

/** Convolutions that carry their block's skip: RepMixer's and the positional ones. */
static gboolean holds_identity(const char *name)
{
    return g_str_has_suffix(name, "token_mixer.reparam_conv.weight") ||
           g_regex_match_simple("\\.model\\.network\\.\\d+\\.reparam_conv\\.weight$", name, 0, 0);
}

static gboolean ends_with_any(const char *name, const char *const *suffixes)
{
    for (; *suffixes; suffixes++)
        if (g_str_has_suffix(name, *suffixes))
            return TRUE;
    return FALSE;
}

static double scale_of_matrix(const SynthTensor *tensor)
{
    static const char *const peaked[] = {"q_proj.weight", "k_proj.weight", "o_proj.weight", NULL};
    const char *name = tensor->weight_name;
    double fan_in = 1.0;
    double scale;

    for (int i = 1; i < tensor->n_dims; i++)
        fan_in *= (double)tensor->shape[i];
    if (g_str_has_suffix(name, "head.proj"))
        fan_in = (double)tensor->shape[0];
    scale = pow(3.0 / fan_in, 0.5);
    if (holds_identity(name))
        scale *= 0.2;
    return ends_with_any(name, peaked) ? scale * 2.0 : scale;
}

/** What a tensor's role makes of a draw. */
static void find_rule(const SynthTensor *tensor, float *offset, float *scale)
{
    static const char *const norms[] = {"norm.weight", ".bn.weight", NULL};
    static const char *const peaked[] = {"q_proj.bias", "k_proj.bias", NULL};
    const char *name = tensor->weight_name;

    *offset = 0.0f;
    if (g_str_has_suffix(name, "running_var")) {
        *offset = 1.0f;
        *scale = 0.5f;
    } else if (g_str_has_suffix(name, "running_mean")) {
        *scale = 0.1f;
    } else if (strstr(name, "layer_scale")) {
        *offset = 0.3f;
        *scale = 0.1f;
    } else if (ends_with_any(name, norms)) {
        *offset = 1.0f;
        *scale = 0.1f;
    } else if (ends_with_any(name, peaked)) {
        *scale = 0.5f;
    } else if (g_str_has_suffix(name, ".bias")) {
        *scale = 0.02f;
    } else if (strstr(name, "embed_tokens") || g_str_has_prefix(name, "lm_head")) {
        *scale = (float)(0.1 * pow(3.0, 0.5));
    } else {
        *scale = (float)scale_of_matrix(tensor);
    }
}

void fastvlm_synth_weights(const SynthSpec *spec, const SynthTensor *tensor, guint64 first, gsize n,
                           float *out)
{
    const gint64 *shape = tensor->shape;
    const guint64 n_taps = tensor->n_dims == 4 ? (guint64)(shape[2] * shape[3]) : 0;
    const guint64 centre = n_taps / 2;
    const gboolean has_identity = n_taps > 0 && holds_identity(tensor->weight_name);
    const guint64 hash = hash_name(tensor->weight_name) ^ (spec->seed * GOLDEN);
    float offset, scale;

    find_rule(tensor, &offset, &scale);
    for (gsize i = 0; i < n; i++) {
        const float scaled = scale * draw(hash, first + i);

        out[i] = offset + scaled;
        if (has_identity && (first + i) % n_taps == centre)
            out[i] += 1.0f;
    }
}

static guint16 round_to_bf16(float value)
{
    guint32 bits;

    memcpy(&bits, &value, sizeof bits);
    return (guint16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/** By libm: the value as a whole number of the half's smallest steps at its size. */
static guint16 round_to_f16(float value)
{
    const guint16 sign = signbit(value) ? 0x8000 : 0;
    int exponent;
    double steps;

    frexp(value, &exponent); /* |value| is in [2^(exponent - 1), 2^exponent) */
    exponent = MAX(exponent - 1, -14);
    steps = nearbyint(ldexp(fabs((double)value), 10 - exponent));
    if (value == 0.0f)
        return sign;
    /* A mantissa that rounds up to 2048 steps carries into the exponent by itself. */
    return (guint16)(sign + ((exponent + 14) << 10) + (int)steps);
}

gsize fastvlm_synth_store(const char *dtype, float value, guint8 *out)
{
    const guint16 half = strcmp(dtype, "BF16") == 0 ? round_to_bf16(value) : round_to_f16(value);

    if (strcmp(dtype, "F32") == 0) {
        memcpy(out, &value, sizeof value);
        return sizeof value;
    }
    memcpy(out, &half, sizeof half);
    return sizeof half;
}

float fastvlm_synth_round(const char *dtype, float value)
{
    guint32 bits;
    guint16 half;
    int exponent;

    if (strcmp(dtype, "F32") == 0)
        return value;
    fastvlm_synth_store(dtype, value, (guint8 *)&half);
    if (strcmp(dtype, "BF16") == 0) {
        bits = (guint32)half << 16;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    exponent = (half >> 10) & 31;
    value = ldexpf((float)((half & 1023) + (exponent ? 1024 : 0)), MAX(exponent, 1) - 25);
    return half & 0x8000 ? -value : value;
}
