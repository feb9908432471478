/*
 * FastViTHD: stem, five stages, expansion; then the projector.
 *
 * Activations are NHWC and go back and forth between the two buffers of the state: `x` is where
 * they are, `y` where the next layer writes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "vision/encoder.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "nn/attention.h"
#include "nn/norm.h"

#define LAYER_NORM_EPSILON 1e-5f
#define STEM_TILE_ROWS (32 * FASTVLM_ROW_GROUP)
#define STEM_INPUTS 27
#define STEM_STRIPE_ROWS 4 /* of the stem's second layer */

/** What an encode is about. */
typedef struct {
    const FastvlmVisionWeights *weights;
    FastvlmCompute *compute;
    FastvlmVisionState *state;
    float *x;
    float *y;
    int side; /* of the picture in x, pixels */
} Encode;

static void swap(Encode *encode)
{
    float *x = encode->x;

    encode->x = encode->y;
    encode->y = x;
}

void fastvlm_vision_state_clear(FastvlmVisionState *state)
{
    g_clear_pointer(&state->a, fastvlm_free_tensor);
    g_clear_pointer(&state->b, fastvlm_free_tensor);
    g_clear_pointer(&state->wide, fastvlm_free_tensor);
    g_clear_pointer(&state->vision, fastvlm_free_tensor);
    g_clear_pointer(&state->projected, fastvlm_free_tensor);
    state->resolution = 0;
    state->n_tokens = 0;
}

static gboolean reserve_stage(const FastvlmVisionStage *stage, FastvlmCompute *compute, int side,
                              GError **error)
{
    const FastvlmVisionBlock *block = &stage->blocks[0];
    const int n_rows = side * side;

    if (stage->has_attention && (!fastvlm_linear_reserve(compute, &block->qkv, n_rows, error) ||
                                 !fastvlm_linear_reserve(compute, &block->proj, n_rows, error)))
        return FALSE;
    return fastvlm_conv_ffn_reserve(compute, &block->ffn, side, side, error);
}

/** Memory for the rounded rows of all layers that take whole pictures. */
static gboolean reserve_layers(const FastvlmVisionWeights *weights, FastvlmCompute *compute,
                               int resolution, GError **error)
{
    int side = resolution / 4;

    if (!fastvlm_linear_reserve(compute, &weights->stem_mix, side * side, error))
        return FALSE;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++) {
        const FastvlmVisionStage *stage = &weights->stages[s];

        if (!reserve_stage(stage, compute, side, error))
            return FALSE;
        side = (side - 1) / 2 + 1;
        if (s < FASTVLM_VISION_STAGES - 1 &&
            !fastvlm_linear_reserve(compute, &stage->down_mix, side * side, error))
            return FALSE;
    }
    side = resolution / FASTVLM_VISION_STRIDE;
    return fastvlm_linear_reserve(compute, &weights->projector_in, side * side, error) &&
           fastvlm_linear_reserve(compute, &weights->projector_out, side * side, error);
}

static gsize count_floats(int side, int n_channels)
{
    return (gsize)fastvlm_pad_rows(side * side) * (gsize)n_channels;
}

/** The attention of a stage's blocks, over a picture of this side. */
static FastvlmAttention get_attention(const FastvlmVisionStage *stage, int side)
{
    return (FastvlmAttention){
        .n_rows = side * side,
        .n_heads = stage->n_channels / FASTVLM_VISION_HEAD_DIM,
        .head_dim = FASTVLM_VISION_HEAD_DIM,
        .is_bf16 = fastvlm_matrix_is_rounding(&stage->blocks[0].qkv.matrix),
    };
}

/** Floats of scratch that a stripe needs. */
static gsize count_stem_scratch(const FastvlmVisionWeights *weights, int resolution)
{
    const gsize n_pixels =
        (gsize)(2 * STEM_STRIPE_ROWS + 2) * (gsize)(resolution / 2) + FASTVLM_ROW_GROUP;

    return STEM_TILE_ROWS * STEM_INPUTS + n_pixels * (gsize)weights->stem.matrix.n_out;
}

/** Floats that `a`, `b` and `wide` need, and the threads' scratch. */
static void measure(const FastvlmVisionWeights *weights, int resolution, gsize *n_narrow,
                    gsize *n_wide, gsize *n_scratch)
{
    int side = resolution / 4;
    const int n_tokens =
        (resolution / FASTVLM_VISION_STRIDE) * (resolution / FASTVLM_VISION_STRIDE);

    *n_wide = (gsize)fastvlm_pad_rows(n_tokens) * (gsize)weights->projector_in.matrix.n_out;
    *n_narrow = count_floats(side, weights->stem.matrix.n_out);
    *n_scratch = count_stem_scratch(weights, resolution);
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++, side = (side - 1) / 2 + 1) {
        const FastvlmVisionStage *stage = &weights->stages[s];
        const FastvlmConvFfn *ffn = &stage->blocks[0].ffn;

        *n_narrow = MAX(*n_narrow, count_floats(side, stage->n_channels));
        *n_wide = MAX(*n_wide, fastvlm_conv_ffn_hidden_size(ffn, side, side));
        *n_scratch = MAX(*n_scratch, fastvlm_conv_ffn_scratch_size(ffn, side, side));
        if (stage->has_attention) {
            const FastvlmAttention attention = get_attention(stage, side);

            *n_wide = MAX(*n_wide, count_floats(side, 4 * stage->n_channels) +
                                       fastvlm_attention_packed_size(&attention));
            *n_scratch = MAX(*n_scratch, fastvlm_attention_scratch_size(&attention));
        }
    }
}

static gboolean prepare(const FastvlmVisionWeights *weights, FastvlmCompute *compute,
                        int resolution, FastvlmVisionState *state, GError **error)
{
    const int n_tokens =
        (resolution / FASTVLM_VISION_STRIDE) * (resolution / FASTVLM_VISION_STRIDE);
    const gsize n_rows = (gsize)fastvlm_pad_rows(n_tokens);
    gsize n_narrow, n_wide, n_scratch;

    if (state->resolution == resolution)
        return TRUE;
    fastvlm_vision_state_clear(state);
    measure(weights, resolution, &n_narrow, &n_wide, &n_scratch);
    if (!fastvlm_compute_reserve(compute, n_scratch, error) ||
        !reserve_layers(weights, compute, resolution, error) ||
        !(state->a = fastvlm_alloc_tensor(1, n_narrow, "the encoder's activations", error)) ||
        !(state->b = fastvlm_alloc_tensor(1, n_narrow, "the encoder's activations", error)) ||
        !(state->wide = fastvlm_alloc_tensor(1, n_wide, "the encoder's activations", error)) ||
        !(state->vision = fastvlm_alloc_tensor(n_rows, (gsize)weights->expand.n_channels,
                                               "the encoder's output", error)) ||
        !(state->projected = fastvlm_alloc_tensor(
              n_rows, (gsize)weights->projector_out.matrix.n_out, "the projected picture", error)))
        return FALSE;
    state->resolution = resolution;
    return TRUE;
}

typedef struct {
    const Encode *encode;
    const guint8 *rgb;
    const float *zero_bias; /* GELU comes with a bias, which the convolution has added already */
    int resolution;
} StemRun;

/** The 27 values under the 3x3 window of output pixel (x, y), zero outside, bytes / 255. */
static void gather_window(const StemRun *run, int y, int x, float *window)
{
    for (int i = 0; i < 3; i++) {
        const int in_y = 2 * y + i - 1;

        for (int j = 0; j < 3; j++, window += 3) {
            const int in_x = 2 * x + j - 1;
            const guint8 *pixel;

            if (in_y < 0 || in_x < 0 || in_y >= run->resolution || in_x >= run->resolution) {
                memset(window, 0, 3 * sizeof *window);
                continue;
            }
            pixel = run->rgb + ((gsize)in_y * (gsize)run->resolution + (gsize)in_x) * 3;
            for (int c = 0; c < 3; c++)
                window[c] = (float)pixel[c] / 255.0f;
        }
    }
}

/** Stem rows first .. first + n - 1 of the picture in between, [n, R / 2, C], to `out`. */
static void compute_stem_rows(const StemRun *run, int first, int n, float *windows, float *out)
{
    const FastvlmLinear *stem = &run->encode->weights->stem;
    const gsize n_channels = (gsize)stem->matrix.n_out;
    const int side = run->resolution / 2;

    for (int i = 0; i < n * side; i += STEM_TILE_ROWS) {
        const int n_pixels = MIN(STEM_TILE_ROWS, n * side - i);

        for (int j = 0; j < n_pixels; j++)
            gather_window(run, first + (i + j) / side, (i + j) % side, windows + j * STEM_INPUTS);
        fastvlm_linear_tile(run->encode->compute->kernels, stem, windows, STEM_INPUTS, n_pixels,
                            NULL, NULL, out + (gsize)i * n_channels, n_channels);
    }
}

/**
 * A stripe of the stem's second layer. Output row y needs rows 2 y - 1 .. 2 y + 1 of the first layer,
 * which are computed here (one of them by the stripe above as well): the picture of half the side, the
 * largest of all, is never whole. The stripe's picture begins at an even row, so that strides agree;
 * its first row is then not looked at.
 */
static void run_stem_stripe(int stripe, int worker, void *data)
{
    const StemRun *run = data;
    const Encode *encode = run->encode;
    const FastvlmKernels *kernels = encode->compute->kernels;
    const gsize n_channels = (gsize)encode->weights->stem.matrix.n_out;
    const int side = run->resolution / 4;
    const int y = stripe * STEM_STRIPE_ROWS;
    const int n_rows = MIN(STEM_STRIPE_ROWS, side - y);
    const int first = MAX(2 * y - 2, 0);
    float *windows = encode->compute->scratch[worker]; /* [STEM_TILE_ROWS, 27] */
    float *rows = windows + STEM_TILE_ROWS * STEM_INPUTS;
    const FastvlmConvDw conv =
        fastvlm_conv_bind(&encode->weights->stem_down, rows, 2 * (y + n_rows) - first, 2 * side);
    const gsize skipped = y > 0 ? (gsize)(2 * side) * n_channels : 0;
    float *out = encode->y + (gsize)y * (gsize)side * n_channels;

    compute_stem_rows(run, y > 0 ? first + 1 : 0, 2 * (y + n_rows) - first - (y > 0), windows,
                      rows + skipped);
    fastvlm_conv_pixels(kernels, &conv, (gint64)(y > 0) * side, n_rows * side, out);
    kernels->gelu_bias_f32(out, run->zero_bias, (size_t)(n_rows * side), n_channels);
}

/** rgb [R, R, 3] -> x [R / 4, R / 4, C]. */
static gboolean run_stem(Encode *encode, const guint8 *rgb, int resolution, GError **error)
{
    const FastvlmVisionWeights *weights = encode->weights;
    g_autofree float *zero_bias = g_new0(float, weights->stem_down.n_channels);
    StemRun run = {encode, rgb, zero_bias, resolution};

    encode->side = resolution / 4;
    return fastvlm_compute_run(encode->compute,
                               (encode->side + STEM_STRIPE_ROWS - 1) / STEM_STRIPE_ROWS,
                               run_stem_stripe, &run, error) &&
           fastvlm_linear_run(encode->compute, &weights->stem_mix, encode->y,
                              encode->side * encode->side, NULL, encode->x, error);
}

static gboolean run_conv(Encode *encode, const FastvlmConv *conv, gboolean gelu, GError **error)
{
    if (!fastvlm_conv_run(encode->compute, conv, encode->x, encode->side, encode->side, gelu,
                          encode->y, error))
        return FALSE;
    encode->side = fastvlm_conv_output_size(conv, encode->side);
    swap(encode);
    return TRUE;
}

static gboolean run_ffn(Encode *encode, const FastvlmConvFfn *ffn, GError **error)
{
    if (!fastvlm_conv_ffn_run(encode->compute, ffn, encode->x, encode->side, encode->side,
                              encode->y, encode->state->wide, error))
        return FALSE;
    swap(encode);
    return TRUE;
}

/** x += proj(attention(qkv(LayerNorm(x)))); y and `wide` hold what is between. */
static gboolean run_attention(Encode *encode, const FastvlmVisionStage *stage,
                              const FastvlmVisionBlock *block, GError **error)
{
    const FastvlmAttention attention = get_attention(stage, encode->side);
    const int n_rows = attention.n_rows;
    const int n_channels = block->proj.matrix.n_out;
    float *qkv = encode->state->wide;
    float *attended = qkv + count_floats(encode->side, 3 * n_channels);
    float *packed = attended + count_floats(encode->side, n_channels);

    if (!fastvlm_norm_run(encode->compute, encode->x, NULL, LAYER_NORM_EPSILON, n_rows, n_channels,
                          encode->y, error) ||
        !fastvlm_linear_run(encode->compute, &block->qkv, encode->y, n_rows, NULL, qkv, error) ||
        !fastvlm_attention_run(encode->compute, &attention, qkv, packed, attended, error) ||
        !fastvlm_linear_run(encode->compute, &block->proj, attended, n_rows, encode->x, encode->y,
                            error))
        return FALSE;
    swap(encode);
    return TRUE;
}

static gboolean run_stage(Encode *encode, const FastvlmVisionStage *stage, GError **error)
{
    if (stage->has_attention && !run_conv(encode, &stage->position, FALSE, error))
        return FALSE;
    for (int i = 0; i < stage->n_blocks; i++) {
        const FastvlmVisionBlock *block = &stage->blocks[i];

        if (!(stage->has_attention ? run_attention(encode, stage, block, error)
                                   : run_conv(encode, &block->mixer, FALSE, error)) ||
            !run_ffn(encode, &block->ffn, error))
            return FALSE;
    }
    return TRUE;
}

/** The patch embedding between two stages: half the side, more channels. */
static gboolean run_down(Encode *encode, const FastvlmVisionStage *stage, GError **error)
{
    if (!run_conv(encode, &stage->down, TRUE, error) ||
        !fastvlm_linear_run(encode->compute, &stage->down_mix, encode->x,
                            encode->side * encode->side, NULL, encode->y, error))
        return FALSE;
    swap(encode);
    return TRUE;
}

static void average_rows(const float *x, int n_rows, int n, float *mean)
{
    g_autofree double *sum = g_new0(double, n);

    for (int row = 0; row < n_rows; row++)
        for (int i = 0; i < n; i++)
            sum[i] += x[(gsize)row * (gsize)n + (gsize)i];
    for (int i = 0; i < n; i++)
        mean[i] = (float)(sum[i] / n_rows);
}

/** Squeeze-and-excitation: gate [n] = sigmoid(excite(relu(squeeze(mean over pixels of x)))). */
static void compute_gate(const Encode *encode, const float *x, int n_rows, float *gate)
{
    const FastvlmVisionWeights *weights = encode->weights;
    const FastvlmKernels *kernels = encode->compute->kernels;
    const int n = weights->excite.matrix.n_out;
    const int n_squeezed = weights->squeeze.matrix.n_out;
    g_autofree float *mean = g_new(float, n);
    g_autofree float *squeezed = g_new(float, n_squeezed);

    average_rows(x, n_rows, n, mean);
    fastvlm_linear_tile(kernels, &weights->squeeze, mean, (gsize)n, 1, NULL, NULL, squeezed,
                        (gsize)n_squeezed);
    for (int i = 0; i < n_squeezed; i++)
        squeezed[i] = MAX(squeezed[i], 0.0f);
    fastvlm_linear_tile(kernels, &weights->excite, squeezed, (gsize)n_squeezed, 1, NULL, NULL, gate,
                        (gsize)n);
    for (int i = 0; i < n; i++)
        gate[i] = 1.0f / (1.0f + expf(-gate[i]));
}

/** x -> vision [n_tokens, 2C]. */
static gboolean run_expansion(Encode *encode, GError **error)
{
    const FastvlmConv *expand = &encode->weights->expand;
    const int n = expand->n_channels;
    const int n_rows = encode->side * encode->side;
    float *vision = encode->state->vision;
    g_autofree float *gate = g_new(float, n);
    g_autofree float *zero = g_new0(float, n);

    if (!fastvlm_conv_run(encode->compute, expand, encode->x, encode->side, encode->side, FALSE,
                          vision, error))
        return FALSE;
    compute_gate(encode, vision, n_rows, gate);
    for (int row = 0; row < n_rows; row++) {
        float *x = vision + (gsize)row * (gsize)n;

        for (int i = 0; i < n; i++)
            x[i] *= gate[i];
        encode->compute->kernels->gelu_bias_f32(x, zero, 1, (size_t)n);
    }
    encode->state->n_tokens = n_rows;
    return TRUE;
}

static gboolean run_projector(Encode *encode, GError **error)
{
    const FastvlmVisionState *state = encode->state;
    const FastvlmVisionWeights *weights = encode->weights;

    return fastvlm_linear_run(encode->compute, &weights->projector_in, state->vision,
                              state->n_tokens, NULL, state->wide, error) &&
           fastvlm_linear_run(encode->compute, &weights->projector_out, state->wide,
                              state->n_tokens, NULL, state->projected, error);
}

gboolean fastvlm_vision_encode(const FastvlmVisionWeights *weights, FastvlmCompute *compute,
                               const guint8 *rgb, int resolution, FastvlmVisionState *state,
                               GError **error)
{
    Encode encode = {.weights = weights, .compute = compute, .state = state};

    state->n_tokens = 0;
    if (!prepare(weights, compute, resolution, state, error))
        return FALSE;
    encode.x = state->a;
    encode.y = state->b;
    if (!run_stem(&encode, rgb, resolution, error))
        return FALSE;
    for (int s = 0; s < FASTVLM_VISION_STAGES; s++) {
        const FastvlmVisionStage *stage = &weights->stages[s];

        if (!run_stage(&encode, stage, error) ||
            (s < FASTVLM_VISION_STAGES - 1 && !run_down(&encode, stage, error)))
            return FALSE;
    }
    return run_expansion(&encode, error) && run_projector(&encode, error);
}
