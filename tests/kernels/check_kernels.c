/*
 * Holds every kernel of every tier this processor runs against the scalar one.
 *
 * Sizes go around the vectors' widths and include primes; operands are misaligned by one float;
 * outputs stand between canaries. Tolerances follow from f32's rounding and the length of the sum.
 * --quick leaves out some of the sizes. Needs no GLib, so that it cross-builds and runs under an
 * emulator by itself. Prints TAP.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tiers.h"

#define CANARY 12345.678f
#define N_CANARIES 16
#define MAX_FLOATS (1 << 18)

typedef struct {
    float memory[MAX_FLOATS + 2 * N_CANARIES];
    size_t n;
} Buffer;

static Buffer input, weight, bias, expected, found;
static uint64_t random_state;
static int n_failed;
static size_t step = 1; /* of some loops over sizes */
static const FastvlmKernels *reference, *tier;

static float random_float(float scale)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return ((float)(random_state >> 40) * 0x1p-23f - 1.0f) * scale;
}

/** Fills with random numbers, or canaries alone where scale is 0; data begins one float off. */
static float *prepare(Buffer *buffer, size_t n, float scale)
{
    buffer->n = n;
    for (size_t i = 0; i < n + 2 * N_CANARIES; i++)
        buffer->memory[i] = CANARY;
    for (size_t i = 0; i < n && scale != 0.0f; i++)
        buffer->memory[N_CANARIES + i] = random_float(scale);
    return buffer->memory + N_CANARIES;
}

static void fail(const char *what, const char *detail, double value)
{
    if (n_failed++ < 20)
        printf("# %s %s: %s %g\n", fastvlm_tier_to_string(tier->tier), what, detail, value);
}

static void check_canaries(const char *what, const Buffer *buffer)
{
    for (size_t i = 0; i < N_CANARIES; i++)
        if (buffer->memory[i] != CANARY || buffer->memory[N_CANARIES + buffer->n + i] != CANARY)
            fail(what, "wrote outside, near element", (double)i);
}

/** |found - expected| <= absolute + relative * |expected|, and nothing written outside. */
static void compare(const char *what, double absolute, double relative)
{
    for (size_t i = 0; i < expected.n; i++) {
        const double e = expected.memory[N_CANARIES + i];
        const double f = found.memory[N_CANARIES + i];

        if (!(fabs(f - e) <= absolute + relative * fabs(e))) {
            fail(what, "differs by", f - e);
            break;
        }
    }
    check_canaries(what, &expected);
    check_canaries(what, &found);
}

static void copy_input(Buffer *to)
{
    memcpy(to->memory, input.memory, sizeof to->memory);
    to->n = input.n;
}

/** Rows y0 .. y1 - 1 of pixels x0 .. x1 - 1, with canaries between the rows of `out`. */
static void run_conv(const FastvlmKernels *kernels, const FastvlmConvDw *conv, Buffer *out, int y0,
                     int y1, int x0, int x1)
{
    const size_t row_step = (size_t)((x1 - x0) * conv->n_channels + N_CANARIES);
    const FastvlmConvTile tile = {y0, y1, x0, x1, NULL, row_step};
    FastvlmConvTile to = tile;

    to.out = prepare(out, (size_t)(y1 - y0) * row_step, 0.0f);
    kernels->conv_dw_f32(conv, &to);
}

static const char *name_conv(const FastvlmConvDw *conv)
{
    return conv->is_bf16 ? "conv_dw_f32, bf16" : "conv_dw_f32";
}

/** A tile of it, with other neighbours, gives the same bytes as the whole picture. */
static void check_conv_tile(const FastvlmConvDw *conv, int y0, int y1, int x0, int x1, int width)
{
    const size_t n = (size_t)((x1 - x0) * conv->n_channels) * sizeof(float);
    const size_t whole_step = (size_t)(width * conv->n_channels + N_CANARIES);
    const size_t tile_step = (size_t)((x1 - x0) * conv->n_channels + N_CANARIES);

    run_conv(tier, conv, &expected, y0, y1, x0, x1);
    check_canaries(name_conv(conv), &expected);
    for (int y = y0; y < y1; y++) {
        const float *whole = found.memory + N_CANARIES + (size_t)y * whole_step;
        const float *tile = expected.memory + N_CANARIES + (size_t)(y - y0) * tile_step;

        if (memcmp(whole + x0 * conv->n_channels, tile, n) != 0)
            fail(name_conv(conv), "a tile differs, in row", y);
        for (int i = 0; i < N_CANARIES; i++)
            if (tile[(x1 - x0) * conv->n_channels + i] != CANARY)
                fail(name_conv(conv), "wrote behind a tile's row", y);
    }
}

static void check_conv_tiles(const FastvlmConvDw *conv, int height, int width)
{
    check_conv_tile(conv, 0, height, width / 3, width, width);
    check_conv_tile(conv, height / 3, height, 0, (width + 1) / 2, width);
    check_conv_tile(conv, height / 2, height / 2 + 1, width / 2, width / 2 + 1, width);
}

static void round_to_bf16(Buffer *buffer)
{
    for (size_t i = 0; i < buffer->n; i++) {
        float *value = &buffer->memory[N_CANARIES + i];

        *value = fastvlm_bf16_to_f32(fastvlm_bf16_from_f32(*value));
    }
}

static int is_rounding(const FastvlmConvDw *conv)
{
    return tier->tier == FASTVLM_TIER_AVX512_BF16 && conv->kernel_size == 7 && conv->stride == 1 &&
           conv->multiplier == 1 && conv->n_channels % 16 == 0;
}

/** Where values may be rounded: the exact convolution of rounded ones, or what it is without. */
static void check_rounded_conv(FastvlmConvDw *conv, int height, int width, double tolerance)
{
    conv->is_bf16 = 1;
    run_conv(tier, conv, &found, 0, height, 0, width);
    check_conv_tiles(conv, height, width);
    conv->is_bf16 = 0;
    if (is_rounding(conv)) {
        round_to_bf16(&input);
        round_to_bf16(&weight);
        run_conv(reference, conv, &expected, 0, height, 0, width);
        compare("conv_dw_f32, bf16", tolerance, 0.0);
        return;
    }
    run_conv(tier, conv, &expected, 0, height, 0, width);
    compare("conv_dw_f32, bf16", 0.0, 0.0);
}

static void check_conv(int n_channels, int multiplier, int kernel_size, int stride, int height,
                       int width)
{
    const int out_height = (height - 1) / stride + 1, out_width = (width - 1) / stride + 1;
    const int n_taps = kernel_size * kernel_size;
    FastvlmConvDw conv = {
        .input = prepare(&input, (size_t)(height * width * n_channels / multiplier), 1.0f),
        .weight = prepare(&weight, (size_t)(n_taps * n_channels), 1.0f),
        .bias = prepare(&bias, (size_t)n_channels, 1.0f),
        .height = height,
        .width = width,
        .n_channels = n_channels,
        .multiplier = multiplier,
        .kernel_size = kernel_size,
        .stride = stride,
    };

    run_conv(reference, &conv, &expected, 0, out_height, 0, out_width);
    run_conv(tier, &conv, &found, 0, out_height, 0, out_width);
    compare("conv_dw_f32", 1e-6 * n_taps, 0.0);
    check_conv_tiles(&conv, out_height, out_width);
    check_rounded_conv(&conv, out_height, out_width, 1e-6 * n_taps);
}

static void check_convs(void)
{
    static const int channels[] = {1, 2, 6, 7, 8, 10, 16, 22, 24, 30, 32, 46, 48, 96};
    static const int sizes[] = {1, 2, 3, 5, 6, 7, 8, 9, 11, 16, 17, 23, 29, 41};

    for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
        for (size_t s = c % step; s < sizeof sizes / sizeof *sizes; s += step)
            for (int shape = 0; shape < 12; shape++) {
                const int multiplier = 1 + shape % 3;
                const int height = sizes[(s * 5 + c) % (sizeof sizes / sizeof *sizes)];

                if (channels[c] % multiplier == 0)
                    check_conv(channels[c], multiplier, shape < 6 ? 7 : 3, shape % 6 < 3 ? 2 : 1,
                               height, sizes[s]);
            }
}

/** Few rows, whose parts are wide: around their borders. */
static void check_wide_convs(void)
{
    static const int widths[] = {71, 72, 73, 96, 97, 104, 105, 192, 193, 211};

    for (size_t w = 0; w < sizeof widths / sizeof *widths; w += step)
        for (int shape = 0; shape < 12; shape++)
            check_conv(shape % 4 == 1 ? 32 : 18, 1 + shape / 6, shape % 2 ? 7 : 3,
                       1 + shape / 2 % 2, 1 + shape % 5, widths[w]);
}

/** The released models' widths, which have code of their own, and others as wide. */
static void check_deep_convs(void)
{
    static const int channels[] = {96, 104, 192, 208, 384, 400};

    for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
        for (int shape = 0; shape < 8; shape++)
            check_conv(channels[c], 1, shape % 2 ? 7 : 3, 1 + shape / 2 % 2, 5 + shape / 4 * 4,
                       shape % 3 ? 21 : 16);
}

static void check_gelu(size_t n_rows, size_t n, float scale)
{
    const float *b = prepare(&bias, n, 0.1f);

    prepare(&input, n_rows * n, scale);
    copy_input(&expected);
    copy_input(&found);
    reference->gelu_bias_f32(expected.memory + N_CANARIES, b, n_rows, n);
    tier->gelu_bias_f32(found.memory + N_CANARIES, b, n_rows, n);
    compare("gelu_bias_f32", 5e-7, 3e-7);
}

/** Nothing stays nothing, what is not a number stays so, and far out it is v or 0. */
static void check_gelu_ends(void)
{
    static const float ends[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 40.0f, -40.0f, 1e30f, -1e30f, NAN};
    const size_t n = sizeof ends / sizeof *ends;
    const float *b = memset(prepare(&bias, n, 0.0f), 0, sizeof ends);
    float *x = prepare(&found, n, 0.0f);

    memcpy(x, ends, sizeof ends);
    tier->gelu_bias_f32(x, b, 1, n);
    for (size_t i = 0; i < n - 1; i++) {
        const float wanted = fmaxf(ends[i], 0.0f);
        const float most = ends[i] == 0.0f ? 0.0f : 5e-7f;

        if (!(fabsf(x[i] - wanted) <= most))
            fail("gelu_bias_f32", "far out or at 0 it is", x[i]);
    }
    if (!isnan(x[n - 1]))
        fail("gelu_bias_f32", "of NaN it is", x[n - 1]);
}

static void check_silu(size_t n, float scale)
{
    const float *up = prepare(&bias, n, 1.0f);

    prepare(&input, n, scale);
    copy_input(&expected);
    copy_input(&found);
    reference->silu_mul_f32(expected.memory + N_CANARIES, up, expected.memory + N_CANARIES, n);
    tier->silu_mul_f32(found.memory + N_CANARIES, up, found.memory + N_CANARIES, n);
    compare("silu_mul_f32", 1e-6, 1e-6);
}

static void check_softmax(size_t n, float scale)
{
    prepare(&input, n, scale);
    copy_input(&expected);
    copy_input(&found);
    reference->softmax_f32(expected.memory + N_CANARIES, n);
    tier->softmax_f32(found.memory + N_CANARIES, n);
    compare("softmax_f32", 1e-7, 1e-5);
}

static void check_sum_exp(size_t n, float scale)
{
    const float *x = prepare(&input, n, scale);
    float max = x[0];
    double sum = 0.0, difference;

    for (size_t i = 1; i < n; i++)
        max = fmaxf(max, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)max);
    difference = (double)tier->sum_exp_f32(x, max, n) / sum - 1.0;
    if (!(fabs(difference) <= 1e-6 * sqrt((double)n)))
        fail("sum_exp_f32", "is off by a share of", difference);
}

static void check_largest(size_t n)
{
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    float *x = prepare(&input, n, 1.0f);
    float expected_largest = x[0], largest;

    for (size_t i = 1; i < n; i++)
        expected_largest = fmaxf(expected_largest, x[i]);
    largest = tier->largest_f32(x, n);
    if (largest != expected_largest)
        fail("largest_f32", "differs by", (double)largest - (double)expected_largest);
    for (size_t i = 0; i < n; i++)
        x[i] = -1.0f - fabsf(x[i]);
    x[n / 2] = -0.5f;
    if (tier->largest_f32(x, n) != -0.5f)
        fail("largest_f32", "of negative ones is", (double)tier->largest_f32(x, n));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        x[n - 1 - i % n] = bad[i];
        if (!isnan(tier->largest_f32(x, n)))
            fail("largest_f32", "is, with one that is not finite,",
                 (double)tier->largest_f32(x, n));
        x[n - 1 - i % n] = 0.0f;
    }
}

static void check_vectors(size_t n)
{
    const float *x = prepare(&input, n, 1.0f);
    const float *w = prepare(&weight, n, 1.0f);
    float *e = prepare(&expected, n, 0.0f), *f = prepare(&found, n, 0.0f);
    const double difference = tier->dot_f32(x, w, n) - reference->dot_f32(x, w, n);

    if (!(fabs(difference) <= 1e-6 * (double)(n + 1)))
        fail("dot_f32", "differs by", difference);
    reference->rms_norm_f32(x, w, 1e-6f, e, n);
    tier->rms_norm_f32(x, w, 1e-6f, f, n);
    compare("rms_norm_f32", 1e-6, 1e-5);
    reference->layer_norm_f32(x, 1e-5f, e, n);
    tier->layer_norm_f32(x, 1e-5f, f, n);
    compare("layer_norm_f32", 2e-6, 1e-5);
}

static void check_rows(void)
{
    for (size_t n = 1; n <= 130; n += n < 20 ? 1 : step) {
        check_vectors(n);
        check_largest(n);
        for (float scale = 0.5f; scale <= 64.0f; scale *= 2.0f * (float)(step * step)) {
            check_gelu(3, n, scale);
            check_silu(n, scale);
            check_softmax(n, scale);
            check_sum_exp(n, scale);
        }
    }
    check_vectors(1009);
    check_largest(4097);
    check_vectors(4864);
    check_softmax(1023, 10.0f);
    check_sum_exp(4096, 10.0f);
    check_gelu(1, 100003, 8.0f);
    check_gelu_ends();
}

int main(int argc, char **argv)
{
    int n_tests = 0, n_bad = 0;

    if (argc > 1 && strcmp(argv[1], "--quick") == 0)
        step = 3;
    reference = fastvlm_kernels_get(FASTVLM_TIER_SCALAR);
    for (int t = 0; t < FASTVLM_N_TIERS; t++) {
        tier = fastvlm_kernels_get(t);
        n_failed = 0;
        random_state = 1;
        if (!tier_is_built((FastvlmTier)t))
            continue;
        n_tests++;
        if (!tier_is_run((FastvlmTier)t)) {
            printf("ok %d - %s # SKIP this processor has no %s\n", n_tests,
                   fastvlm_tier_to_string(t), fastvlm_tier_to_string(t));
            continue;
        }
        check_convs();
        check_wide_convs();
        check_deep_convs();
        check_rows();
        printf("%sok %d - %s\n", n_failed ? "not " : "", n_tests, fastvlm_tier_to_string(t));
        n_bad += n_failed != 0;
    }
    printf("1..%d\n", n_tests);
    return n_bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
