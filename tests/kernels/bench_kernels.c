/*
 * The speed of every kernel of every tier this processor runs, at the model's shapes, two threads.
 *
 *     bench_kernels [TIER [gemm|round|conv|vectors]]
 *
 * Gop/s counts a multiply-add as two. GB/s of a product is its weights alone, once; of a vector kernel
 * what it reads and writes. A product's rows are rounded before; what that takes is a line of its own.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "bench.h"

#define N_VALUES \
    (96 * 1024) /* of vectors: three quarters of a MB, less than a second-level cache */

static void bench_gemms(const FastvlmKernels *kernels)
{
    static const char *const names[] = {"gemm_f32", "gemm_bf16", "gemm_int8", "gemm_int4"};

    for (size_t i = 0; i < sizeof gemm_shapes / sizeof *gemm_shapes; i++)
        for (int type = 0; type < 4; type++) {
            const GemmShape shape = gemm_shapes[i];
            OurGemm our = our_gemm_new(kernels, shape, type);
            const double seconds = bench_run(our_gemm_run, &our);
            const double bytes = 4.0 * (double)our_gemm_units(&our) * shape.n_columns;

            printf("%-12s %-10s %-17s %5d x %4d x %5d %9.1f Gop/s %6.1f GB/s\n",
                   fastvlm_tier_to_string(kernels->tier), names[type], shape.what, shape.n_rows,
                   shape.k, shape.n_columns,
                   2e-9 * shape.n_rows * shape.k * shape.n_columns / seconds,
                   1e-9 * bytes / seconds);
            our_gemm_free(&our);
        }
}

/** Rounding the rows of the products. GB/s: f32 read and what is written. */
static void bench_rounding(const FastvlmKernels *kernels)
{
    static const struct {
        const char *name;
        int type, bytes;
    } list[] = {{"round_bf16", 1, 2}, {"round_int8", 2, 1}, {"round_int4", 3, 1}};

    for (size_t i = 0; i < sizeof gemm_shapes / sizeof *gemm_shapes; i++)
        for (size_t j = 0; j < sizeof list / sizeof *list; j++) {
            const GemmShape shape = gemm_shapes[i];
            OurGemm our;
            double seconds;

            if (shape.n_rows == 1)
                continue;
            our = our_gemm_new(kernels, shape, list[j].type);
            seconds = bench_run(our_gemm_round, &our);
            printf("%-12s %-10s %-17s %5d x %4d %19.2f ms %9.1f GB/s\n",
                   fastvlm_tier_to_string(kernels->tier), list[j].name, shape.what, shape.n_rows,
                   shape.k, 1e3 * seconds,
                   1e-9 * (4 + list[j].bytes) * shape.n_rows * shape.k / seconds);
            our_gemm_free(&our);
        }
}

static void bench_conv(const FastvlmKernels *kernels, ConvShape shape, int is_bf16)
{
    OurConv our = our_conv_new(kernels, shape, is_bf16);
    const double seconds = bench_run(our_conv_run, &our);

    printf("%-12s %-12s %-17s %4d px, %4d channels %10.1f Gop/s\n",
           fastvlm_tier_to_string(kernels->tier), is_bf16 ? "conv_dw_bf16" : "conv_dw", shape.what,
           shape.size, shape.n_channels, 1e-9 * conv_shape_ops(shape) / seconds);
    our_conv_free(&our);
}

static void bench_convs(const FastvlmKernels *kernels)
{
    for (size_t i = 0; i < sizeof conv_shapes / sizeof *conv_shapes; i++) {
        bench_conv(kernels, conv_shapes[i], 0);
        bench_conv(kernels, conv_shapes[i], 1);
    }
}

typedef struct {
    const FastvlmKernels *kernels;
    float *x[BENCH_N_THREADS], *y[BENCH_N_THREADS];
    volatile float sink[BENCH_N_THREADS];
} Vectors;

static void run_gelu(int thread, void *data)
{
    Vectors *vectors = data;

    vectors->kernels->gelu_bias_f32(vectors->x[thread], vectors->y[thread], N_VALUES / 384, 384);
}

static void run_silu(int thread, void *data)
{
    Vectors *vectors = data;

    vectors->kernels->silu_mul_f32(vectors->x[thread], vectors->y[thread], vectors->x[thread],
                                   N_VALUES);
}

static void run_softmax(int thread, void *data)
{
    Vectors *vectors = data;

    for (int row = 0; row < N_VALUES / 1024; row++)
        vectors->kernels->softmax_f32(vectors->x[thread] + row * 1024, 1024);
}

static void run_sum_exp(int thread, void *data)
{
    Vectors *vectors = data;

    vectors->sink[thread] = vectors->kernels->sum_exp_f32(vectors->x[thread], 1.0f, N_VALUES);
}

static void run_largest(int thread, void *data)
{
    Vectors *vectors = data;

    vectors->sink[thread] = vectors->kernels->largest_f32(vectors->x[thread], N_VALUES);
}

static void run_dot(int thread, void *data)
{
    Vectors *vectors = data;

    vectors->sink[thread] =
        vectors->kernels->dot_f32(vectors->x[thread], vectors->y[thread], N_VALUES);
}

static void run_rms_norm(int thread, void *data)
{
    Vectors *vectors = data;

    for (int row = 0; row < N_VALUES / 1024; row++)
        vectors->kernels->rms_norm_f32(vectors->x[thread] + row * 1024, vectors->y[thread], 1e-6f,
                                       vectors->y[thread] + row * 1024, 1024);
}

static void run_layer_norm(int thread, void *data)
{
    Vectors *vectors = data;

    for (int row = 0; row < N_VALUES / 1024; row++)
        vectors->kernels->layer_norm_f32(vectors->x[thread] + row * 1024, 1e-6f,
                                         vectors->y[thread] + row * 1024, 1024);
}

static void bench_vectors(const FastvlmKernels *kernels)
{
    static const struct {
        const char *name;
        BenchFunc func;
        int n_streams; /* of floats, read or written */
    } list[] = {
        {"gelu_bias", run_gelu, 2},    {"silu_mul", run_silu, 3},
        {"softmax", run_softmax, 2},   {"sum_exp", run_sum_exp, 1},
        {"largest", run_largest, 1},   {"dot", run_dot, 2},
        {"rms_norm", run_rms_norm, 2}, {"layer_norm", run_layer_norm, 2},
    };

    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        Vectors vectors = {.kernels = kernels};
        double rate;

        for (int t = 0; t < BENCH_N_THREADS; t++) {
            vectors.x[t] = bench_floats(N_VALUES);
            vectors.y[t] = bench_floats(N_VALUES);
        }
        rate = 1e-9 * BENCH_N_THREADS * N_VALUES / bench_run(list[i].func, &vectors);
        printf("%-12s %-10s %38.2f G values/s %6.1f GB/s\n", fastvlm_tier_to_string(kernels->tier),
               list[i].name, rate, 4.0 * list[i].n_streams * rate);
        for (int t = 0; t < BENCH_N_THREADS; t++) {
            free(vectors.x[t]);
            free(vectors.y[t]);
        }
    }
}

int main(int argc, char **argv)
{
    const char *tier_name = argc > 1 ? argv[1] : NULL, *family = argc > 2 ? argv[2] : NULL;

    for (int t = 1; t < FASTVLM_N_TIERS; t++) {
        const FastvlmTier tier = (FastvlmTier)t;

        if (!fastvlm_tier_is_supported(tier) ||
            (tier_name && strcmp(tier_name, fastvlm_tier_to_string(tier)) != 0))
            continue;
        if (!family || strcmp(family, "gemm") == 0)
            bench_gemms(fastvlm_kernels_get(tier));
        if (!family || strcmp(family, "round") == 0)
            bench_rounding(fastvlm_kernels_get(tier));
        if (!family || strcmp(family, "conv") == 0)
            bench_convs(fastvlm_kernels_get(tier));
        if (!family || strcmp(family, "vectors") == 0)
            bench_vectors(fastvlm_kernels_get(tier));
    }
    return 0;
}
