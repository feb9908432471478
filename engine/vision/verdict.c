/*
 * All stages int8 first; where that is too far off, each stage alone, and the worst ones go until the
 * rest is close enough.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "vision/verdict.h"

#include <math.h>
#include <string.h>

#define RESOLUTION 256
#define N_PICTURES 3

/** One set of weights and the memory it lies in. */
typedef struct {
    FastvlmStore *store;
    FastvlmVisionWeights weights;
} Loaded;

typedef struct {
    const FastvlmReader *reader; /* which tells of progress */
    FastvlmCompute *compute;
    FastvlmVisionState state;
    Loaded safe;
    Loaded int8;
    guint8 *pictures[N_PICTURES]; /* [RESOLUTION, RESOLUTION, 3] */
    float *vision[N_PICTURES];    /* of the safe encoder, [n_tokens, 2C] */
    float *projected[N_PICTURES]; /* [n_tokens, hidden] */
} Measurement;

/** 0 .. 255, the same for the same three numbers (Wellons' lowbias32). */
static guint8 hash(guint32 a, guint32 b, guint32 c)
{
    guint32 x = a * 73856093u ^ b * 19349663u ^ c * 83492791u;

    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return (guint8)(x >> 24);
}

/**
 * Channel c of pixel (x, y): smooth gradients; patches of flat colours with grain; stripes and
 * bars of all widths.
 */
static guint8 draw(int picture, guint32 x, guint32 y, guint32 c)
{
    switch (picture) {
    case 0:
        return (guint8)(c == 0 ? x : c == 1 ? y : (x ^ y) / 2);
    case 1:
        return (guint8)(hash(x / 37, y / 29, c) / 8 * 7 + hash(x, y, c) / 8);
    default:
        return ((x * x / (16 + y / 4) + y * c) & 32 ? 230 : 20) + hash(x / 8, y / 8, 9) / 16;
    }
}

static guint8 *make_picture(int picture)
{
    guint8 *rgb = g_new(guint8, RESOLUTION * RESOLUTION * 3);

    for (guint32 i = 0; i < RESOLUTION * RESOLUTION * 3; i++)
        rgb[i] = draw(picture, i / 3 % RESOLUTION, i / 3 / RESOLUTION, i % 3);
    return rgb;
}

static void clear(Measurement *m)
{
    fastvlm_vision_state_clear(&m->state);
    fastvlm_vision_weights_clear(&m->safe.weights);
    fastvlm_vision_weights_clear(&m->int8.weights);
    fastvlm_store_free(m->safe.store);
    fastvlm_store_free(m->int8.store);
    for (int i = 0; i < N_PICTURES; i++) {
        g_free(m->pictures[i]);
        g_free(m->vision[i]);
        g_free(m->projected[i]);
    }
}

static gboolean load(const FastvlmReader *source, const FastvlmVisionPlan *plan, Loaded *loaded,
                     GError **error)
{
    FastvlmReader reader = *source;

    reader.store = loaded->store = fastvlm_store_new();
    if (!fastvlm_vision_weights_read(&loaded->weights, &reader, plan, error) ||
        !fastvlm_store_bind_own(loaded->store, error))
        return FALSE;
    fastvlm_vision_weights_clear(&loaded->weights);
    return fastvlm_vision_weights_read(&loaded->weights, &reader, plan, error);
}

/** The safe encoder with some stages' layers in int8; shares what both own. */
static FastvlmVisionWeights mix(const Measurement *m, const gboolean *is_int8)
{
    const FastvlmVisionWeights *choice[2] = {&m->safe.weights, &m->int8.weights};
    const int last = FASTVLM_VISION_STAGES - 1;
    FastvlmVisionWeights mixed = m->safe.weights;

    mixed.stem_mix = choice[is_int8[0]]->stem_mix;
    for (int s = 0; s <= last; s++) {
        mixed.stages[s] = choice[is_int8[s]]->stages[s];
        if (s < last)
            mixed.stages[s].down_mix = choice[is_int8[s + 1]]->stages[s].down_mix;
    }
    mixed.projector_in = choice[is_int8[last]]->projector_in;
    mixed.projector_out = choice[is_int8[last]]->projector_out;
    return mixed;
}

static gboolean encode(Measurement *m, const FastvlmVisionWeights *weights, int picture,
                       GError **error)
{
    fastvlm_vision_state_clear(&m->state); /* what it reserves follows from the weights */
    return fastvlm_reader_tell(m->reader, error) &&
           fastvlm_vision_encode(weights, m->compute, m->pictures[picture], RESOLUTION, &m->state,
                                 error);
}

static gsize count_vision(const Measurement *m)
{
    return (gsize)m->state.n_tokens * (gsize)m->safe.weights.expand.n_channels;
}

static gsize count_projected(const Measurement *m)
{
    return (gsize)m->state.n_tokens * (gsize)m->safe.weights.projector_out.matrix.n_out;
}

static gboolean encode_safely(Measurement *m, GError **error)
{
    for (int i = 0; i < N_PICTURES; i++) {
        m->pictures[i] = make_picture(i);
        if (!encode(m, &m->safe.weights, i, error))
            return FALSE;
        m->vision[i] = g_memdup2(m->state.vision, count_vision(m) * sizeof(float));
        m->projected[i] = g_memdup2(m->state.projected, count_projected(m) * sizeof(float));
    }
    return TRUE;
}

/** 0 where one is not finite or all zero and the other is not. */
static double measure_cosine(const float *a, const float *b, gsize n)
{
    double ab = 0.0, aa = 0.0, bb = 0.0, cosine;

    for (gsize i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    if (aa == 0.0 && bb == 0.0)
        return 1.0;
    cosine = ab / sqrt(aa * bb);
    return isfinite(cosine) ? cosine : 0.0;
}

/** The lowest cosine of both outputs over all pictures. */
static gboolean try_stages(Measurement *m, const gboolean *is_int8, double *lowest, GError **error)
{
    const FastvlmVisionWeights mixed = mix(m, is_int8);

    *lowest = 1.0;
    for (int i = 0; i < N_PICTURES; i++) {
        double vision, projected;

        if (!encode(m, &mixed, i, error))
            return FALSE;
        vision = measure_cosine(m->vision[i], m->state.vision, count_vision(m));
        projected = measure_cosine(m->projected[i], m->state.projected, count_projected(m));
        *lowest = MIN(*lowest, MIN(vision, projected));
    }
    return TRUE;
}

static gboolean try_each_stage(Measurement *m, double *alone, GError **error)
{
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++) {
        gboolean is_int8[FASTVLM_VISION_STAGES] = {FALSE};

        is_int8[s] = TRUE;
        if (!try_stages(m, is_int8, &alone[s], error))
            return FALSE;
    }
    return TRUE;
}

/** The int8 stage that does worst alone; -1: there is none. */
static int find_worst(const gboolean *is_int8, const double *alone)
{
    int worst = -1;

    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        if (is_int8[s] && (worst < 0 || alone[s] < alone[worst]))
            worst = s;
    return worst;
}

static gboolean choose(Measurement *m, FastvlmVisionVerdict *verdict, GError **error)
{
    double alone[FASTVLM_VISION_STAGES];

    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        verdict->is_int8[s] = TRUE;
    if (!try_stages(m, verdict->is_int8, &verdict->cosine, error))
        return FALSE;
    if (verdict->cosine >= FASTVLM_VERDICT_LEAST_COSINE)
        return TRUE;
    if (!try_each_stage(m, alone, error))
        return FALSE;
    while (verdict->cosine < FASTVLM_VERDICT_LEAST_COSINE) {
        verdict->is_int8[find_worst(verdict->is_int8, alone)] = FALSE;
        if (find_worst(verdict->is_int8, alone) < 0) {
            verdict->cosine = 1.0;
            return TRUE;
        }
        if (!try_stages(m, verdict->is_int8, &verdict->cosine, error))
            return FALSE;
    }
    return TRUE;
}

gboolean fastvlm_vision_measure(const FastvlmReader *source, FastvlmCompute *compute,
                                const FastvlmVisionPlan *safe, FastvlmVisionVerdict *verdict,
                                GError **error)
{
    FastvlmVisionPlan int8 = *safe;
    Measurement m = {.reader = source, .compute = compute};
    gboolean ok;

    for (int s = 0; s < FASTVLM_VISION_STAGES; s++)
        int8.stages[s] = FASTVLM_MATRIX_INT8;
    *verdict = (FastvlmVisionVerdict){0};
    ok = load(source, safe, &m.safe, error) && load(source, &int8, &m.int8, error) &&
         encode_safely(&m, error) && choose(&m, verdict, error);
    clear(&m);
    return ok;
}
