/*
 * What kernels are timed with: the model's own shapes, operands for them, threads and a clock.
 *
 * Shapes are those of the encoder at 1024 px and of the 0.5B decoder. Of a picture's convolution, and of a
 * product of many rows, a thread each takes half of the rows, otherwise half of the columns, as layers do.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TESTS_KERNELS_BENCH_H
#define FASTVLM_TESTS_KERNELS_BENCH_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

#define BENCH_N_THREADS 2
#define BENCH_STRIPE_ROWS 16
#define BENCH_TILE_ROWS 192  /* about what the layers hand over at once */
#define BENCH_MANY_ROWS 1024 /* which are enough to be split */
#ifndef BENCH_SECONDS
#define BENCH_SECONDS 0.1
#endif
#define BENCH_MIN_RUNS 4

typedef struct {
    const char *what;
    int n_rows, k, n_columns;
    int is_hidden; /* each tile's result goes where the last one's was, in the cache: a block's hidden rows */
} GemmShape;

static const GemmShape gemm_shapes[] = {
    {"stage 0 fc1", 8192, 96, 384, 1},       {"stage 0 fc2", 8192, 384, 96, 0},
    {"stage 1 fc1", 4096, 192, 768, 1},      {"stage 1 fc2", 4096, 768, 192, 0},
    {"stage 2 fc1", 2048, 384, 1536, 1},     {"stage 2 fc2", 2048, 1536, 384, 0},
    {"stage 3 qkv", 1024, 768, 2304, 0},     {"stage 3 fc1", 1024, 768, 3072, 0},
    {"stage 3 fc2", 1024, 3072, 768, 0},     {"stage 4 fc1", 256, 1536, 6144, 0},
    {"stage 4 fc2", 256, 6144, 1536, 0},     {"prefill qkv", 280, 896, 1152, 0},
    {"prefill gate, up", 280, 896, 9728, 0}, {"prefill down", 280, 4864, 896, 0},
    {"decode gate, up", 1, 896, 9728, 0},    {"decode down", 1, 4864, 896, 0},
    {"decode head", 1, 896, 65536, 0},
};

typedef struct {
    const char *what;
    int size, n_channels, multiplier, kernel_size, stride;
} ConvShape;

static const ConvShape conv_shapes[] = {
    {"stem 3x3 / 2", 512, 96, 1, 3, 2},     {"stage 0 3x3", 256, 96, 1, 3, 1},
    {"stage 1 3x3", 128, 192, 1, 3, 1},     {"stage 2 3x3", 64, 384, 1, 3, 1},
    {"stage 0 7x7", 256, 96, 1, 7, 1},      {"stage 1 7x7", 128, 192, 1, 7, 1},
    {"stage 2 7x7", 64, 384, 1, 7, 1},      {"stage 3 7x7", 32, 768, 1, 7, 1},
    {"stage 4 7x7", 16, 1536, 1, 7, 1},     {"embed 1 7x7 / 2", 256, 192, 2, 7, 2},
    {"embed 2 7x7 / 2", 128, 384, 2, 7, 2}, {"embed 3 7x7 / 2", 64, 768, 2, 7, 2},
    {"embed 4 7x7 / 2", 32, 1536, 2, 7, 2}, {"expand 3x3", 16, 3072, 2, 3, 1},
};

/** Memory of random floats; the program ends where there is none. */
static inline float *bench_floats(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 127) / 64 * 64);

    if (!x) {
        fprintf(stderr, "bench: no memory for %zu floats\n", n);
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i * 2654435761u % 1024) / 512.0f - 1.0f;
    return x;
}

/** Seconds that this thread has computed: whatever else the machine does is not counted. */
static inline double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/** What a thread does; `thread` of BENCH_N_THREADS. */
typedef void (*BenchFunc)(int thread, void *data);

typedef struct {
    BenchFunc func;
    void *data;
    int thread;
    double seconds; /* the least of all runs, after one to warm up */
    pthread_barrier_t *barrier;
} BenchThread;

static inline void *bench_thread(void *data)
{
    BenchThread *self = data;
    double total = 0.0;

    self->func(self->thread, self->data);
    self->seconds = 1e9;
    pthread_barrier_wait(self->barrier);
    for (int i = 0; i < BENCH_MIN_RUNS || total < BENCH_SECONDS; i++) {
        const double start = bench_now();
        double seconds;

        self->func(self->thread, self->data);
        seconds = bench_now() - start;
        self->seconds = seconds < self->seconds ? seconds : self->seconds;
        total += seconds;
    }
    return NULL;
}

/** Seconds of one run on all threads side by side: what the slowest takes at its best. */
static inline double bench_run(BenchFunc func, void *data)
{
    BenchThread threads[BENCH_N_THREADS];
    pthread_t ids[BENCH_N_THREADS];
    pthread_barrier_t barrier;
    double slowest = 0.0;

    pthread_barrier_init(&barrier, NULL, BENCH_N_THREADS);
    for (int i = 0; i < BENCH_N_THREADS; i++) {
        threads[i] = (BenchThread){func, data, i, 0.0, &barrier};
        pthread_create(&ids[i], NULL, bench_thread, &threads[i]);
    }
    for (int i = 0; i < BENCH_N_THREADS; i++) {
        pthread_join(ids[i], NULL);
        slowest = threads[i].seconds > slowest ? threads[i].seconds : slowest;
    }
    pthread_barrier_destroy(&barrier);
    return slowest;
}

/** A product, of rows that are rounded once; and how they are. */
typedef struct {
    const FastvlmKernels *kernels;
    GemmShape shape;
    int type; /* 0 f32, 1 bf16, 2 int8, 3 int4 */
    float *x;
    char *rounded;
    float *scale_a;
    float *b;
    float *scale_b;
    int32_t *offset_b;
    float *c;
} OurGemm;

static inline size_t our_gemm_units(const OurGemm *our)
{
    return our->type == 0   ? FASTVLM_UNITS_F32(our->shape.k)
           : our->type == 1 ? FASTVLM_UNITS_BF16(our->shape.k)
           : our->type == 2 ? FASTVLM_UNITS_INT8(our->shape.k)
                            : FASTVLM_UNITS_INT4(our->shape.k);
}

/** Half of the rows, or the only one; `data` is an OurGemm. */
static inline void our_gemm_round(int thread, void *data)
{
    const OurGemm *our = data;
    const size_t k = (size_t)our->shape.k;
    const int row = our->shape.n_rows > 1 ? our->shape.n_rows * thread / BENCH_N_THREADS : 0;
    const int end = our->shape.n_rows > 1 ? our->shape.n_rows * (thread + 1) / BENCH_N_THREADS : 1;
    const float *x = our->x + (size_t)row * k;
    char *rounded = our->rounded + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k);

    if (our->type == 1)
        our->kernels->round_rows_bf16(x, k, end - row, our->shape.k, rounded);
    else if (our->type == 2)
        our->kernels->round_rows_int8(x, k, end - row, our->shape.k, rounded, our->scale_a + row);
    else if (our->type == 3)
        our->kernels->round_rows_int4(x, k, end - row, our->shape.k, rounded, our->scale_a + row);
}

static inline OurGemm our_gemm_new(const FastvlmKernels *kernels, GemmShape shape, int type)
{
    OurGemm our = {.kernels = kernels, .shape = shape, .type = type};
    const size_t n_columns = ((size_t)shape.n_columns + 15) / 16 * 16;

    our.x = bench_floats((size_t)shape.n_rows * (size_t)shape.k);
    our.rounded =
        (char *)bench_floats((size_t)shape.n_rows * FASTVLM_ROUNDED_ROW_BYTES(shape.k) / 4);
    our.scale_a = bench_floats((size_t)shape.n_rows);
    our.b = bench_floats(n_columns * our_gemm_units(&our));
    our.scale_b = bench_floats(n_columns);
    our.offset_b = (int32_t *)bench_floats(n_columns);
    our.c = bench_floats((size_t)shape.n_rows * (size_t)shape.n_columns);
    for (int thread = 0; thread < BENCH_N_THREADS; thread++)
        our_gemm_round(thread, &our);
    return our;
}

static inline void our_gemm_free(OurGemm *our)
{
    free(our->x);
    free(our->rounded);
    free(our->scale_a);
    free(our->b);
    free(our->scale_b);
    free(our->offset_b);
    free(our->c);
}

/** Rows and columns of the product, to rows of c from `c_row` on. */
static inline void our_gemm_part(OurGemm *our, int row, int c_row, int n_rows, int column,
                                 int n_columns)
{
    const GemmShape *shape = &our->shape;
    const size_t row_bytes = FASTVLM_ROUNDED_ROW_BYTES(shape->k);
    const float *x = our->x + (size_t)row * (size_t)shape->k;
    FastvlmGemm gemm = {
        .a = our->type == 0 ? (const void *)x : our->rounded + (size_t)row * row_bytes,
        .lda = (size_t)shape->k,
        .scale_a = our->scale_a + row,
        .b = (const uint32_t *)our->b + (size_t)column * our_gemm_units(our),
        .scale_b = our->scale_b + column,
        .offset_b = our->offset_b + column,
        .c = our->c + (size_t)c_row * (size_t)shape->n_columns + column,
        .ldc = (size_t)shape->n_columns,
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = shape->k,
    };

    if (our->type == 0)
        our->kernels->gemm_f32(&gemm);
    else if (our->type == 1)
        our->kernels->gemm_bf16(&gemm);
    else if (our->type == 2)
        our->kernels->gemm_int8(&gemm);
    else
        our->kernels->gemm_int4(&gemm);
}

static inline void our_gemm_run(int thread, void *data)
{
    OurGemm *our = data;
    const GemmShape *shape = &our->shape;
    const int is_split_by_rows = shape->n_rows >= BENCH_MANY_ROWS;
    const int n_columns =
        is_split_by_rows ? shape->n_columns : shape->n_columns / BENCH_N_THREADS / 16 * 16;
    const int column = is_split_by_rows ? 0 : thread * n_columns;
    const int begin = is_split_by_rows ? shape->n_rows * thread / BENCH_N_THREADS : 0;
    const int end =
        is_split_by_rows ? shape->n_rows * (thread + 1) / BENCH_N_THREADS : shape->n_rows;

    for (int row = begin; row < end; row += BENCH_TILE_ROWS)
        our_gemm_part(our, row, shape->is_hidden ? begin : row,
                      end - row < BENCH_TILE_ROWS ? end - row : BENCH_TILE_ROWS, column, n_columns);
}

typedef struct {
    const FastvlmKernels *kernels;
    FastvlmConvDw conv;
    float *input, *weight, *bias, *out;
} OurConv;

static inline OurConv our_conv_new(const FastvlmKernels *kernels, ConvShape shape, int is_bf16)
{
    const size_t n_taps = (size_t)(shape.kernel_size * shape.kernel_size);
    const size_t n_pixels = (size_t)shape.size * (size_t)shape.size;
    const size_t n = (size_t)shape.n_channels;
    OurConv our = {
        .kernels = kernels,
        .input = bench_floats(n_pixels * n / (size_t)shape.multiplier),
        .weight = bench_floats(n_taps * n),
        .bias = bench_floats(n),
        .out = bench_floats(n_pixels / (size_t)(shape.stride * shape.stride) * n),
    };

    our.conv = (FastvlmConvDw){our.input,    our.weight,       our.bias,         shape.size,
                               shape.size,   shape.n_channels, shape.multiplier, shape.kernel_size,
                               shape.stride, is_bf16};
    return our;
}

static inline void our_conv_free(OurConv *our)
{
    free(our->input);
    free(our->weight);
    free(our->bias);
    free(our->out);
}

static inline void our_conv_run(int thread, void *data)
{
    const OurConv *our = data;
    const int size = our->conv.height / our->conv.stride;
    const int begin = size * thread / BENCH_N_THREADS, end = size * (thread + 1) / BENCH_N_THREADS;
    const size_t row_step = (size_t)size * (size_t)our->conv.n_channels;

    for (int y = begin; y < end; y += BENCH_STRIPE_ROWS) {
        const FastvlmConvTile tile = {
            .y0 = y,
            .y1 = end - y < BENCH_STRIPE_ROWS ? end : y + BENCH_STRIPE_ROWS,
            .x0 = 0,
            .x1 = size,
            .out = our->out + (size_t)y * row_step,
            .row_step = row_step,
        };

        our->kernels->conv_dw_f32(&our->conv, &tile);
    }
}

static inline double conv_shape_ops(ConvShape shape)
{
    return 2.0 * shape.size * shape.size / (shape.stride * shape.stride) * shape.n_channels *
           shape.kernel_size * shape.kernel_size;
}

#endif
