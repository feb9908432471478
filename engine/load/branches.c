/*
 * Finds branches of training and folds them.
 *
 *     names -> modules with branches -> terms of each -> checked -> derived weight and bias
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/branches.h"

#include <fastvlm/error.h>
#include <math.h>
#include <string.h>

#include "base/text_file.h"
#include "load/layout.h"

#define BATCH_NORM_EPSILON 1e-5 /* torch.nn.BatchNorm2d's default, which the model keeps */
#define MAX_TERMS 16
#define MAX_KERNEL 31
#define MAX_CHANNELS 65536
#define P FASTVLM_VISION_PREFIX

enum { GAIN, SHIFT, MEAN, VARIANCE, N_NORMS };

static const char *const norm_suffixes[N_NORMS] = {".weight", ".bias", ".running_mean",
                                                   ".running_var"};

/** One branch: what it adds to the kernel and to the bias. */
typedef struct {
    const FastvlmTensorView *kernel;        /* [n, n_in, k, k]; NULL: the input as it is */
    const FastvlmTensorView *bias;          /* [n]; NULL: none, or that of the BatchNorm */
    const FastvlmTensorView *norm[N_NORMS]; /* [n] each; NULL: there is no BatchNorm */
    const FastvlmTensorView *scale;         /* [n, 1, 1], of the layer; may be NULL */
    gboolean is_subtracted;
} Term;

/** A module's branches. Shared by the derived weight and bias. */
typedef struct {
    gatomicrefcount references;
    Term terms[MAX_TERMS];
    int n_terms;
    gint64 n_out;
    gint64 n_in; /* of a group */
    int size;    /* of the kernel */
} Module;

typedef struct {
    FastvlmDerived derived;
    Module *module;
} Folded;

static void module_unref(Module *module)
{
    if (g_atomic_ref_count_dec(&module->references))
        g_free(module);
}

static void free_folded(FastvlmDerived *derived)
{
    module_unref(((Folded *)derived)->module);
    g_free(derived);
}

/* --- reading ----------------------------------------------------------------------------------- */

/** Rows of a term as they are added: kernel times `factor`, and `bias`. */
typedef struct {
    float *kernel;   /* [n_rows, n_in, k, k]; NULL: identity */
    double *factors; /* [n_rows] */
    double *biases;  /* [n_rows] */
} Rows;

static gboolean read_factors(const Term *term, gint64 first, gint64 n_rows, Rows rows,
                             GError **error)
{
    g_autofree float *numbers = g_new0(float, (gsize)n_rows *(N_NORMS + 2));
    float *bias = numbers + N_NORMS * n_rows, *scale = bias + n_rows;

    for (int i = 0; i < N_NORMS && term->norm[0]; i++)
        if (!fastvlm_view_read_rows(term->norm[i], first, n_rows, numbers + i * n_rows, error))
            return FALSE;
    if ((term->bias && !fastvlm_view_read_rows(term->bias, first, n_rows, bias, error)) ||
        (term->scale && !fastvlm_view_read_rows(term->scale, first, n_rows, scale, error)))
        return FALSE;
    for (gint64 i = 0; i < n_rows; i++) {
        const double outer = (term->scale ? scale[i] : 1.0) * (term->is_subtracted ? -1.0 : 1.0);
        double factor = 1.0, shift = bias[i];

        if (term->norm[0]) {
            const double variance = numbers[VARIANCE * n_rows + i];

            factor = numbers[GAIN * n_rows + i] / sqrt(MAX(variance, 0.0) + BATCH_NORM_EPSILON);
            shift += numbers[SHIFT * n_rows + i] - numbers[MEAN * n_rows + i] * factor;
        }
        rows.factors[i] = outer * factor;
        rows.biases[i] = outer * shift;
    }
    return TRUE;
}

/** Adds a row of a smaller kernel into the middle of the sum. */
static void add_kernel(const Module *module, const float *kernel, int size, double factor,
                       double *sum)
{
    const int border = (module->size - size) / 2;

    for (gint64 channel = 0; channel < module->n_in; channel++)
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++)
                sum[(channel * module->size + y + border) * module->size + x + border] +=
                    factor * kernel[(channel * size + y) * size + x];
}

/** The input itself: output channel o takes its own, which is channel o % n_in of its group. */
static void add_identity(const Module *module, gint64 row, double factor, double *sum)
{
    const int middle = module->size / 2;

    sum[((row % module->n_in) * module->size + middle) * module->size + middle] += factor;
}

static gboolean add_term(const Module *module, const Term *term, gint64 first, gint64 n_rows,
                         double *sums, GError **error)
{
    const gint64 row_size = module->n_in * module->size * module->size;
    const int size = term->kernel ? (int)term->kernel->shape[2] : 1;
    const gint64 kernel_size = module->n_in * size * size;
    g_autofree double *factors = g_new(double, (gsize)n_rows * 2);
    g_autofree float *kernel = term->kernel ? g_new(float, (gsize)(n_rows * kernel_size)) : NULL;
    const Rows rows = {kernel, factors, factors + n_rows};

    if (!read_factors(term, first, n_rows, rows, error) ||
        (kernel && !fastvlm_view_read_rows(term->kernel, first, n_rows, kernel, error)))
        return FALSE;
    for (gint64 i = 0; i < n_rows; i++)
        if (kernel)
            add_kernel(module, kernel + i * kernel_size, size, factors[i], sums + i * row_size);
        else
            add_identity(module, first + i, factors[i], sums + i * row_size);
    return TRUE;
}

static gboolean round_sums(const FastvlmTensorView *view, const double *sums, gint64 n, float *out,
                           GError **error)
{
    for (gint64 i = 0; i < n; i++) {
        out[i] = (float)sums[i];
        if (isfinite(out[i]))
            continue;
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: tensor %s, folded from the branches of training: an element is not "
                    "finite: the file is damaged",
                    view->file, view->name);
        return FALSE;
    }
    return TRUE;
}

static gboolean read_kernel(const FastvlmTensorView *view, gint64 first, gint64 n_rows, float *out,
                            GError **error)
{
    const Module *module = ((const Folded *)view->derived)->module;
    const gint64 n = n_rows * module->n_in * module->size * module->size;
    g_autofree double *sums = g_new0(double, (gsize)n);

    for (int i = 0; i < module->n_terms; i++)
        if (!add_term(module, &module->terms[i], first, n_rows, sums, error))
            return FALSE;
    return round_sums(view, sums, n, out, error);
}

static gboolean read_bias(const FastvlmTensorView *view, gint64 first, gint64 n_rows, float *out,
                          GError **error)
{
    const Module *module = ((const Folded *)view->derived)->module;
    g_autofree double *sums = g_new0(double, (gsize)n_rows);
    g_autofree double *factors = g_new(double, (gsize)n_rows * 2);
    const Rows rows = {NULL, factors, factors + n_rows};

    for (int i = 0; i < module->n_terms; i++) {
        if (!read_factors(&module->terms[i], first, n_rows, rows, error))
            return FALSE;
        for (gint64 row = 0; row < n_rows; row++)
            sums[row] += rows.biases[row];
    }
    return round_sums(view, sums, n_rows, out, error);
}

/* --- finding ----------------------------------------------------------------------------------- */

/** The search: modules by the name of what they are folded into, and the tensors they consist of. */
typedef struct {
    FastvlmTensorSet *set;
    GHashTable *modules; /* "...reparam_conv" -> Module, owned */
    GHashTable *parts;   /* names that are folded away */
    GError **error;
} Search;

static const FastvlmTensorView *take(Search *search, const char *prefix, const char *suffix)
{
    const FastvlmTensorView *view = fastvlm_tensor_set_find_joined(search->set, prefix, suffix);

    if (view)
        g_hash_table_add(search->parts, (gpointer)view->name);
    return view;
}

static gboolean fail(Search *search, const char *prefix, const char *problem)
{
    const FastvlmTensorView *any = search->set->views->pdata[0];
    g_autofree char *quoted = fastvlm_text_quote(prefix);

    g_set_error(search->error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT, "%s: tensors under %s: %s",
                any->file, quoted, problem);
    return FALSE;
}

static gboolean take_norm(Search *search, const char *prefix, Term *term)
{
    for (int i = 0; i < N_NORMS; i++) {
        term->norm[i] = take(search, prefix, norm_suffixes[i]);
        if (!term->norm[i]) {
            g_autofree char *problem = g_strdup_printf(
                "branches of training with a BatchNorm without %s, expected .weight, "
                ".bias, .running_mean and .running_var",
                norm_suffixes[i]);
            return fail(search, prefix, problem);
        }
    }
    return TRUE;
}

static Term *add(Search *search, Module *module, const char *prefix)
{
    if (module->n_terms < MAX_TERMS)
        return &module->terms[module->n_terms++];
    fail(search, prefix, "more branches of training, expected at most 16");
    return NULL;
}

/** PREFIX.conv and PREFIX.bn, if they are there. */
static gboolean add_conv_norm(Search *search, Module *module, const char *prefix)
{
    g_autofree char *norm = g_strconcat(prefix, ".bn", NULL);
    const FastvlmTensorView *kernel = take(search, prefix, ".conv.weight");
    Term *term;

    if (!kernel)
        return TRUE;
    term = add(search, module, prefix);
    if (!term)
        return FALSE;
    term->kernel = kernel;
    return take_norm(search, norm, term);
}

/** The branches of a MobileOneBlock, if it has them. */
static gboolean add_mobile_one(Search *search, Module *module, const char *prefix)
{
    g_autofree char *scale = g_strconcat(prefix, ".rbr_scale", NULL);
    g_autofree char *skip = g_strconcat(prefix, ".rbr_skip", NULL);
    Term *term;

    for (int i = 0, before = -1; i <= MAX_TERMS && before != module->n_terms; i++) {
        g_autofree char *conv = g_strdup_printf("%s.rbr_conv.%d", prefix, i);

        before = module->n_terms;
        if (!add_conv_norm(search, module, conv))
            return FALSE;
    }
    if (!add_conv_norm(search, module, scale))
        return FALSE;
    if (!fastvlm_tensor_set_find_joined(search->set, skip, ".weight"))
        return TRUE;
    term = add(search, module, prefix);
    return term && take_norm(search, skip, term);
}

/** x + layer_scale * (mixer(x) - norm(x)). */
static gboolean add_rep_mixer(Search *search, Module *module, const char *prefix)
{
    g_autofree char *mixer = g_strconcat(prefix, ".mixer", NULL);
    g_autofree char *norm = g_strconcat(prefix, ".norm", NULL);
    const FastvlmTensorView *scale = take(search, prefix, ".layer_scale");
    int n_mixed;

    module->n_terms = 1; /* the identity, without BatchNorm */
    if (!add_mobile_one(search, module, mixer))
        return FALSE;
    n_mixed = module->n_terms;
    if (!add_mobile_one(search, module, norm))
        return FALSE;
    for (int i = 1; i < module->n_terms; i++) {
        module->terms[i].scale = scale;
        module->terms[i].is_subtracted = i >= n_mixed;
    }
    if (n_mixed > 1 && module->n_terms > n_mixed)
        return TRUE;
    return fail(search, prefix,
                n_mixed > 1 ? "no branches of training under .norm, expected some as under .mixer"
                            : "no branches of training under .mixer, expected some");
}

static gboolean add_large_kernel(Search *search, Module *module, const char *prefix)
{
    g_autofree char *large = g_strconcat(prefix, ".lkb_origin", NULL);
    g_autofree char *small = g_strconcat(prefix, ".small_conv", NULL);

    return add_conv_norm(search, module, large) && add_conv_norm(search, module, small);
}

/** pe(x) + x. */
static gboolean add_position(Search *search, Module *module, const char *prefix)
{
    g_autofree char *position = g_strconcat(prefix, ".pe", NULL);

    module->n_terms = 2;
    module->terms[1].kernel = take(search, position, ".weight");
    module->terms[1].bias = take(search, position, ".bias");
    return module->terms[1].kernel && module->terms[1].bias
               ? TRUE
               : fail(search, position, "expected .weight and .bias");
}

/** What a name under the encoder's prefix gives away about the module it belongs to. */
static const struct {
    const char *mark;
    const char *folded; /* the convolution that comes of it */
    gboolean (*add)(Search *search, Module *module, const char *prefix);
} kinds[] = {
    {".token_mixer.mixer.", ".token_mixer.reparam_conv", add_rep_mixer},
    {".token_mixer.norm.", ".token_mixer.reparam_conv", add_rep_mixer},
    {".rbr_", ".reparam_conv", add_mobile_one},
    {".lkb_origin.", ".lkb_reparam", add_large_kernel},
    {".small_conv.", ".lkb_reparam", add_large_kernel},
    {".pe.", ".reparam_conv", add_position},
};

/* --- checking ---------------------------------------------------------------------------------- */

static gboolean is_vector(const FastvlmTensorView *view, gint64 n)
{
    if (!view)
        return TRUE;
    return view->n_dims >= 1 && view->shape[0] == n && view->n_elements == (guint64)n &&
           fastvlm_dtype_is_weight(view->dtype);
}

static gboolean is_kernel(const FastvlmTensorView *view, const Module *module)
{
    if (!view)
        return TRUE;
    return view->n_dims == 4 && view->shape[0] == module->n_out && view->shape[1] == module->n_in &&
           view->shape[2] == view->shape[3] && view->shape[2] <= module->size &&
           view->shape[2] % 2 == 1 && fastvlm_dtype_is_weight(view->dtype);
}

/** The sizes that the largest kernel has. */
static gboolean find_sizes(Module *module)
{
    for (int i = 0; i < module->n_terms; i++) {
        const FastvlmTensorView *view = module->terms[i].kernel;

        if (!view || view->n_dims != 4 || view->shape[2] <= module->size)
            continue;
        if (view->shape[2] > MAX_KERNEL || view->shape[2] % 2 == 0 ||
            view->shape[0] > MAX_CHANNELS || view->shape[1] > MAX_CHANNELS)
            return FALSE;
        module->n_out = view->shape[0];
        module->n_in = view->shape[1];
        module->size = (int)view->shape[2];
    }
    return module->size > 0;
}

/** The first tensor of a branch that has another type or size than it should, or NULL. */
static const FastvlmTensorView *find_misfit(const Term *term, const Module *module)
{
    if (!is_kernel(term->kernel, module))
        return term->kernel;
    if (!is_vector(term->bias, module->n_out))
        return term->bias;
    if (!is_vector(term->scale, module->n_out))
        return term->scale;
    for (int k = 0; k < N_NORMS; k++)
        if (!is_vector(term->norm[k], module->n_out))
            return term->norm[k];
    return NULL;
}

static gboolean check_module(Search *search, Module *module, const char *name)
{
    const FastvlmTensorView *misfit = NULL;
    const gboolean has_sizes = find_sizes(module);
    g_autofree char *found = NULL;
    g_autofree char *problem = NULL;

    for (int i = 0; has_sizes && !misfit && i < module->n_terms; i++)
        misfit = find_misfit(&module->terms[i], module);
    if (has_sizes && !misfit)
        return TRUE;
    found = fastvlm_view_spell(misfit);
    problem = g_strdup_printf("its branches of training do not fit one another: %s%s%s, expected "
                              "convolutions [n, n_in, k, k] with odd k of equal n and n_in, and "
                              "BatchNorms of n, in BF16, F16 or F32",
                              misfit ? misfit->name : "no convolution", misfit ? " is " : "",
                              misfit ? found : "");
    return fail(search, name, problem);
}

/* --- joining ----------------------------------------------------------------------------------- */

static gboolean add_derived(Search *search, Module *module, const char *name, const char *suffix,
                            gboolean is_bias)
{
    g_autofree char *full = g_strconcat(name, suffix, NULL);
    Folded *folded = g_new0(Folded, 1);
    FastvlmTensorView view = {.name = full, .dtype = FASTVLM_DTYPE_F32};

    for (int i = 0; i < module->n_terms; i++) {
        const Term *term = &module->terms[i];

        if (term->kernel && !view.file)
            view.file = term->kernel->file;
        if (term->kernel && !is_bias)
            view.n_bytes += term->kernel->n_bytes;
    }
    view.n_dims = is_bias ? 1 : 4;
    view.shape[0] = module->n_out;
    view.shape[1] = module->n_in;
    view.shape[2] = view.shape[3] = module->size;
    view.n_elements = (guint64)module->n_out;
    if (!is_bias)
        view.n_elements *= (guint64)(module->n_in * module->size * module->size);
    folded->derived = (FastvlmDerived){is_bias ? read_bias : read_kernel, NULL, free_folded};
    folded->module = module;
    g_atomic_ref_count_inc(&module->references);
    return fastvlm_tensor_set_add(search->set, &view, &folded->derived, search->error);
}

/** Gathers the module that the tensor `name` is a branch of, unless that was done. */
static gboolean gather(Search *search, const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const char *at = strstr(name, kinds[i].mark);
        g_autofree char *base = at ? g_strndup(name, (gsize)(at - name)) : NULL;
        g_autofree char *folded = at ? g_strconcat(base, kinds[i].folded, NULL) : NULL;
        g_autofree char *prefix = NULL;
        Module *module;

        if (!at)
            continue;
        if (g_hash_table_contains(search->modules, folded))
            return TRUE;
        prefix = g_strndup(folded, strlen(folded) - strlen(strrchr(folded, '.')));
        module = g_new0(Module, 1);
        g_atomic_ref_count_init(&module->references);
        g_hash_table_insert(search->modules, g_strdup(folded), module);
        return kinds[i].add(search, module, prefix) && check_module(search, module, folded);
    }
    return TRUE;
}

static gboolean run(Search *search)
{
    FastvlmTensorSet *set = search->set;
    GHashTableIter iterator;
    gpointer name, module;
    gboolean ok = TRUE;

    for (guint i = 0; ok && i < set->views->len; i++) {
        const FastvlmTensorView *view = set->views->pdata[i];

        if (g_str_has_prefix(view->name, P) && !g_str_has_suffix(view->name, "num_batches_tracked"))
            ok = gather(search, view->name);
    }
    if (!ok || g_hash_table_size(search->modules) == 0)
        return ok;
    set->is_folded = TRUE;
    fastvlm_tensor_set_remove(set, search->parts);
    g_hash_table_iter_init(&iterator, search->modules);
    while (ok && g_hash_table_iter_next(&iterator, &name, &module))
        ok = add_derived(search, module, name, ".weight", FALSE) &&
             add_derived(search, module, name, ".bias", TRUE);
    return ok;
}

gboolean fastvlm_branches_fold(FastvlmTensorSet *set, GError **error)
{
    Search search = {
        .set = set,
        .modules =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)module_unref),
        .parts = g_hash_table_new(g_str_hash, g_str_equal),
        .error = error,
    };
    const gboolean ok = run(&search);

    g_hash_table_destroy(search.parts);
    g_hash_table_destroy(search.modules);
    return ok;
}
