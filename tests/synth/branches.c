/*
 * The branches that the encoder is trained with, and what they amount to.
 *
 * A branch here is what it computes: the convolution of a picture that is 1 in one place, run through
 * the branch as it stands, gives the kernel that is put into the release's layout. So a mistake in
 * folding is not made a second time.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "private.h"

#include <math.h>
#include <string.h>

#define V "model.vision_tower.vision_tower.model."
#define EPSILON 1e-5

/** A module at work. */
typedef struct {
    const SynthSpec *spec;
    GPtrArray *branches; /* list that the branches are added to */
    gint64 n_out;
    gint64 n_in;      /* of a group */
    int size;         /* of the whole kernel */
    double *response; /* [n_out, n_in, size, size]: output in the middle to a 1 at that place */
    double *constant; /* [n_out]: output to nothing */
} Module;

/** Adds a tensor PREFIX SUFFIX to the branches; returns its numbers. */
static float *add(const Module *module, const char *prefix, const char *suffix, int n_dims,
                  gint64 n_in, gint64 size)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);
    SynthTensor *tensor =
        fastvlm_synth_tensor_new(name, "F32", n_dims, (gint64[4]){module->n_out, n_in, size, size});

    g_ptr_array_add(module->branches, tensor);
    return fastvlm_synth_read(module->spec, tensor);
}

/** A BatchNorm PREFIX with its four vectors: y = (x - mean) / sqrt(variance + eps) * gain + shift. */
typedef struct {
    float *gain, *shift, *mean, *variance;
} Norm;

static Norm add_norm(const Module *module, const char *prefix)
{
    g_autofree char *counter = g_strconcat(prefix, ".num_batches_tracked", NULL);

    g_ptr_array_add(module->branches, fastvlm_synth_tensor_new(counter, "I64", 0, (gint64[4]){0}));
    return (Norm){add(module, prefix, ".weight", 1, 0, 0), add(module, prefix, ".bias", 1, 0, 0),
                  add(module, prefix, ".running_mean", 1, 0, 0),
                  add(module, prefix, ".running_var", 1, 0, 0)};
}

static double run_norm(const Norm *norm, gint64 channel, double x)
{
    return (x - (double)norm->mean[channel]) / sqrt((double)norm->variance[channel] + EPSILON) *
               (double)norm->gain[channel] +
           (double)norm->shift[channel];
}

static void clear_norm(Norm *norm)
{
    g_free(norm->gain);
    g_free(norm->shift);
    g_free(norm->mean);
    g_free(norm->variance);
}

/** What a branch's convolution gives in the middle for a 1 at (input, y, x); NULL: the input itself. */
static double convolve(const Module *module, const float *kernel, int size, gint64 channel,
                       gint64 input, int y, int x)
{
    const int middle = module->size / 2;
    const int ky = y - middle + size / 2, kx = x - middle + size / 2;

    if (!kernel)
        return y == middle && x == middle && channel % module->n_in == input ? 1.0 : 0.0;
    if (ky < 0 || kx < 0 || ky >= size || kx >= size)
        return 0.0;
    return (double)kernel[((channel * module->n_in + input) * size + ky) * size + kx];
}

/** Adds `weight` (by channel, times `sign`) of what a branch answers to every place. */
static void respond(Module *module, const float *kernel, int size, const Norm *norm,
                    const float *weight, double sign)
{
    double *at = module->response;

    for (gint64 channel = 0; channel < module->n_out; channel++) {
        const double factor = sign * (weight ? (double)weight[channel] : 1.0);
        const double rest = norm ? run_norm(norm, channel, 0.0) : 0.0;

        module->constant[channel] += factor * rest;
        for (gint64 input = 0; input < module->n_in; input++)
            for (int y = 0; y < module->size; y++)
                for (int x = 0; x < module->size; x++, at++) {
                    const double sum = convolve(module, kernel, size, channel, input, y, x);

                    *at += factor * (norm ? run_norm(norm, channel, sum) - rest : sum);
                }
    }
}

/** PREFIX.conv and PREFIX.bn. */
static void add_conv_norm(Module *module, const char *prefix, int size, const float *weight,
                          double sign)
{
    g_autofree char *bn = g_strconcat(prefix, ".bn", NULL);
    g_autofree float *kernel = add(module, prefix, ".conv.weight", 4, module->n_in, size);
    Norm norm = add_norm(module, bn);

    respond(module, kernel, size, &norm, weight, sign);
    clear_norm(&norm);
}

static void add_skip(Module *module, const char *prefix, const float *weight, double sign)
{
    g_autofree char *skip = g_strconcat(prefix, ".rbr_skip", NULL);
    Norm norm = add_norm(module, skip);

    respond(module, NULL, 1, &norm, weight, sign);
    clear_norm(&norm);
}

static void add_mobile_one(Module *module, const char *prefix, gboolean has_skip,
                           const float *weight)
{
    g_autofree char *conv = g_strconcat(prefix, ".rbr_conv.0", NULL);
    g_autofree char *scale = g_strconcat(prefix, ".rbr_scale", NULL);

    add_conv_norm(module, conv, module->size, weight, 1.0);
    if (module->size > 1)
        add_conv_norm(module, scale, 1, weight, 1.0);
    if (has_skip)
        add_skip(module, prefix, weight, 1.0);
}

/** x + layer_scale * (mixer(x) - norm(x)). */
static void add_rep_mixer(Module *module, const char *prefix)
{
    g_autofree char *mixer = g_strconcat(prefix, ".mixer", NULL);
    g_autofree char *norm = g_strconcat(prefix, ".norm", NULL);
    g_autofree char *name = g_strconcat(prefix, ".layer_scale", NULL);
    SynthTensor *scale =
        fastvlm_synth_tensor_new(name, "F32", 3, (gint64[4]){module->n_out, 1, 1, 0});
    g_autofree float *weight = fastvlm_synth_read(module->spec, scale);

    g_ptr_array_add(module->branches, scale);
    respond(module, NULL, 1, NULL, NULL, 1.0);
    add_mobile_one(module, mixer, TRUE, weight);
    add_skip(module, norm, weight, -1.0);
}

static void add_large_kernel(Module *module, const char *prefix)
{
    g_autofree char *large = g_strconcat(prefix, ".lkb_origin", NULL);
    g_autofree char *small = g_strconcat(prefix, ".small_conv", NULL);

    add_conv_norm(module, large, module->size, NULL, 1.0);
    add_conv_norm(module, small, 3, NULL, 1.0);
}

/** pe(x) + x. */
static void add_position(Module *module, const char *prefix)
{
    g_autofree char *position = g_strconcat(prefix, ".pe", NULL);
    g_autofree float *kernel = add(module, position, ".weight", 4, 1, module->size);
    g_autofree float *bias = add(module, position, ".bias", 1, 0, 0);

    respond(module, kernel, module->size, NULL, NULL, 1.0);
    respond(module, NULL, 1, NULL, NULL, 1.0);
    for (gint64 i = 0; i < module->n_out; i++)
        module->constant[i] += (double)bias[i];
}

static void run(Module *module, const char *prefix, const char *folded)
{
    const gboolean is_square = module->size == 1;

    if (g_str_has_suffix(prefix, ".token_mixer"))
        add_rep_mixer(module, prefix);
    else if (strcmp(folded, ".lkb_reparam") == 0)
        add_large_kernel(module, prefix);
    else if (module->size == 7)
        add_position(module, prefix);
    else
        add_mobile_one(module, prefix, is_square, NULL);
}

static float *to_floats(const double *numbers, gint64 n)
{
    float *floats = g_new(float, (gsize)n);

    for (gint64 i = 0; i < n; i++)
        floats[i] = (float)numbers[i];
    return floats;
}

static SynthTensor *find(const GPtrArray *tensors, const char *prefix, const char *suffix)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);

    for (guint i = 0; i < tensors->len; i++) {
        SynthTensor *tensor = tensors->pdata[i];

        if (strcmp(tensor->name, name) == 0)
            return tensor;
    }
    g_error("no tensor %s", name);
}

static void set_values(SynthTensor *tensor, float *values)
{
    tensor->dtype = "F32";
    g_free(tensor->values);
    tensor->values = values;
}

/** Unfolds the convolution NAME of the release. */
static void unfold(const SynthSpec *spec, GPtrArray *branches, GPtrArray *released,
                   const char *name)
{
    const char *folded = strrchr(name, '.');
    g_autofree char *prefix = g_strndup(name, (gsize)(folded - name));
    SynthTensor *weight = find(released, name, ".weight");
    const gint64 *shape = weight->shape;
    Module module = {.spec = spec,
                     .branches = branches,
                     .n_out = shape[0],
                     .n_in = shape[1],
                     .size = (int)shape[2]};
    const gint64 n = (gint64)fastvlm_synth_count_elements(weight);

    module.response = g_new0(double, (gsize)n);
    module.constant = g_new0(double, (gsize)module.n_out);
    g_ptr_array_remove(branches, find(branches, name, ".weight"));
    g_ptr_array_remove(branches, find(branches, name, ".bias"));
    run(&module, prefix, folded);
    set_values(weight, to_floats(module.response, n));
    set_values(find(released, name, ".bias"), to_floats(module.constant, module.n_out));
    g_free(module.response);
    g_free(module.constant);
}

void fastvlm_synth_add_branches(const SynthSpec *spec, GPtrArray *branches, GPtrArray *released)
{
    for (guint i = 0; i < released->len; i++) {
        const SynthTensor *tensor = released->pdata[i];
        g_autofree char *base = NULL;

        if (!g_str_has_prefix(tensor->name, V) ||
            (!g_str_has_suffix(tensor->name, "reparam_conv.weight") &&
             !g_str_has_suffix(tensor->name, "lkb_reparam.weight")))
            continue;
        base = g_strndup(tensor->name, strlen(tensor->name) - strlen(".weight"));
        unfold(spec, branches, released, base);
    }
}
