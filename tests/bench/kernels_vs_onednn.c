/*
 * Our products and depthwise convolutions beside oneDNN's and OpenBLAS's, shape by shape, in turns.
 *
 *     each shape: ours, oneDNN, OpenBLAS, ours, oneDNN, OpenBLAS, ..  ->  the best of each
 *
 * 0 is for what a peer does not have. Everyone computes on two threads of ours, one half of the rows each,
 * with weights in its own favourite order; oneDNN convolves in the fastest of four layouts. Its int8 is
 * u8 * s8 -> f32 with scales given, without the rounding of rows that ours does; a line says where its sums
 * are not exact, as ours are: without VNNI it adds pairs of products in 16 bits, which saturate.
 * Built and run by kernels_vs_onednn.sh; oneDNN 2.6.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <cblas.h>
#include <math.h>
#include <oneapi/dnnl/dnnl.h>

#include "kernels/bench.h"

#define N_TURNS 3
#define N_WAYS 4 /* layouts of a convolution in oneDNN */
#define INT8_SCALE 0.01f

extern void omp_set_num_threads(int n);

static dnnl_engine_t engine;

static void check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "oneDNN: %s: status %d\n", what, status);
    exit(EXIT_FAILURE);
}

/** A primitive for each thread: half of the rows, its own memory. */
typedef struct {
    dnnl_primitive_t primitive[BENCH_N_THREADS];
    dnnl_stream_t stream[BENCH_N_THREADS];
    dnnl_exec_arg_t arguments[BENCH_N_THREADS][4];
    int n_arguments;
    const char *name; /* of a convolution's implementation */
} Peer;

static dnnl_memory_t memory_of(const dnnl_memory_desc_t *layout)
{
    dnnl_memory_t memory;
    void *data;

    check(dnnl_memory_create(&memory, layout, engine, DNNL_MEMORY_ALLOCATE), "memory");
    check(dnnl_memory_get_data_handle(memory, &data), "memory");
    memset(data, 1, dnnl_memory_desc_get_size(layout)); /* small numbers of any type */
    return memory;
}

static void add_argument(Peer *peer, int thread, int i, int argument,
                         const_dnnl_primitive_desc_t desc, dnnl_query_t query)
{
    peer->arguments[thread][i].arg = argument;
    peer->arguments[thread][i].memory = memory_of(dnnl_primitive_desc_query_md(desc, query, 0));
}

static void run_peer(int thread, void *data)
{
    Peer *peer = data;

    omp_set_num_threads(1);
    check(dnnl_primitive_execute(peer->primitive[thread], peer->stream[thread], peer->n_arguments,
                                 peer->arguments[thread]),
          "execute");
    check(dnnl_stream_wait(peer->stream[thread]), "wait");
}

static void finish_peer(Peer *peer, int thread, dnnl_primitive_desc_t desc)
{
    check(dnnl_primitive_create(&peer->primitive[thread], desc), "primitive");
    check(dnnl_stream_create(&peer->stream[thread], engine, dnnl_stream_default_flags), "stream");
    check(dnnl_primitive_desc_destroy(desc), "description");
}

static void free_peer(Peer *peer)
{
    for (int t = 0; t < BENCH_N_THREADS; t++) {
        for (int i = 0; i < peer->n_arguments; i++)
            dnnl_memory_destroy(peer->arguments[t][i].memory);
        dnnl_primitive_destroy(peer->primitive[t]);
        dnnl_stream_destroy(peer->stream[t]);
    }
}

/** type as OurGemm's: 0 f32, 1 bf16, 2 int8. Returns 0 where this processor has no such product. */
static int make_gemm(Peer *peer, GemmShape shape, int type)
{
    static const dnnl_data_type_t a_types[] = {dnnl_f32, dnnl_bf16, dnnl_u8};
    static const dnnl_data_type_t b_types[] = {dnnl_f32, dnnl_bf16, dnnl_s8};
    const int rows = shape.n_rows > 1 ? shape.n_rows / BENCH_N_THREADS : 1;
    const int columns = shape.n_rows > 1 ? shape.n_columns : shape.n_columns / BENCH_N_THREADS;
    const dnnl_dims_t a_dims = {rows, shape.k}, b_dims = {shape.k, columns},
                      c_dims = {rows, columns};
    const float scale = INT8_SCALE;
    dnnl_primitive_attr_t attributes;
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t matmul;

    dnnl_memory_desc_init_by_tag(&a, 2, a_dims, a_types[type], dnnl_ab);
    dnnl_memory_desc_init_by_tag(&b, 2, b_dims, b_types[type], dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&c, 2, c_dims, dnnl_f32, dnnl_ab);
    check(dnnl_matmul_desc_init(&matmul, &a, &b, NULL, &c), "matmul");
    check(dnnl_primitive_attr_create(&attributes), "attributes");
    if (type == 2)
        check(dnnl_primitive_attr_set_output_scales(attributes, 1, 0, &scale), "scales");
    peer->n_arguments = 3;
    for (int t = 0; t < BENCH_N_THREADS; t++) {
        dnnl_primitive_desc_t desc;

        if (dnnl_primitive_desc_create(&desc, &matmul, attributes, engine, NULL) != dnnl_success) {
            dnnl_primitive_attr_destroy(attributes);
            return 0;
        }
        add_argument(peer, t, 0, DNNL_ARG_SRC, desc, dnnl_query_src_md);
        add_argument(peer, t, 1, DNNL_ARG_WEIGHTS, desc, dnnl_query_weights_md);
        add_argument(peer, t, 2, DNNL_ARG_DST, desc, dnnl_query_dst_md);
        finish_peer(peer, t, desc);
    }
    dnnl_primitive_attr_destroy(attributes);
    return 1;
}

/** Rows of input that a thread's half of the output reads, and how many of them lie outside the picture. */
typedef struct {
    int n_rows; /* inside */
    int n_above;
    int n_below;
} Half;

static Half find_half(ConvShape shape, int thread)
{
    const int n_out = shape.size / shape.stride;
    const int begin = n_out * thread / BENCH_N_THREADS * shape.stride - shape.kernel_size / 2;
    const int end = (n_out * (thread + 1) / BENCH_N_THREADS - 1) * shape.stride -
                    shape.kernel_size / 2 + shape.kernel_size;
    const int first = begin > 0 ? begin : 0, last = end < shape.size ? end : shape.size;

    return (Half){last - first, first - begin, end - last};
}

/** In layout number `way`; NULL where there is nothing for it. */
static dnnl_primitive_desc_t describe_conv(ConvShape shape, Half half,
                                           const dnnl_memory_desc_t *bias, int way)
{
    /* Its own choice, pixel by pixel as ours, groups of 16 and of 8 channels. */
    static const dnnl_format_tag_t layouts[N_WAYS] = {dnnl_format_tag_any, dnnl_acdb, dnnl_aBcd16b,
                                                      dnnl_aBcd8b};
    const int pad = shape.kernel_size / 2;
    const int n = shape.n_channels, n_inputs = shape.n_channels / shape.multiplier;
    const int n_out = shape.size / shape.stride;
    const dnnl_dims_t in = {1, n_inputs, half.n_rows, shape.size};
    const dnnl_dims_t weight = {n_inputs, shape.multiplier, 1, shape.kernel_size,
                                shape.kernel_size};
    const dnnl_dims_t out = {1, n, n_out / BENCH_N_THREADS, n_out};
    const dnnl_dims_t strides = {shape.stride, shape.stride}, left = {half.n_above, pad};
    const dnnl_dims_t right = {half.n_below,
                               (n_out - 1) * shape.stride + shape.kernel_size - pad - shape.size};
    dnnl_memory_desc_t source, weights, target;
    dnnl_convolution_desc_t conv;
    dnnl_primitive_desc_t desc;

    dnnl_memory_desc_init_by_tag(&source, 4, in, dnnl_f32, layouts[way]);
    dnnl_memory_desc_init_by_tag(&weights, 5, weight, dnnl_f32, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&target, 4, out, dnnl_f32, layouts[way]);
    check(dnnl_convolution_forward_desc_init(&conv, dnnl_forward_inference, dnnl_convolution_direct,
                                             &source, &weights, bias, &target, strides, left,
                                             right),
          "convolution");
    if (dnnl_primitive_desc_create(&desc, &conv, NULL, engine, NULL) != dnnl_success)
        return NULL;
    return desc;
}

/** Returns 0 where there is nothing for layout number `way`, or only what nobody would time. */
static int make_conv(Peer *peer, ConvShape shape, int way)
{
    const dnnl_dims_t bias_dims = {shape.n_channels};
    dnnl_memory_desc_t bias;

    dnnl_memory_desc_init_by_tag(&bias, 1, bias_dims, dnnl_f32, dnnl_a);
    peer->n_arguments = 4;
    for (int t = 0; t < BENCH_N_THREADS; t++) {
        const dnnl_primitive_desc_t desc = describe_conv(shape, find_half(shape, t), &bias, way);

        if (!desc)
            return 0;
        check(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &peer->name), "name");
        if (strstr(peer->name, "ref")) {
            dnnl_primitive_desc_destroy(desc);
            return 0;
        }
        add_argument(peer, t, 0, DNNL_ARG_SRC, desc, dnnl_query_src_md);
        add_argument(peer, t, 1, DNNL_ARG_WEIGHTS, desc, dnnl_query_weights_md);
        add_argument(peer, t, 2, DNNL_ARG_BIAS, desc, dnnl_query_weights_md);
        dnnl_memory_destroy(peer->arguments[t][2].memory);
        peer->arguments[t][2].memory = memory_of(&bias);
        add_argument(peer, t, 3, DNNL_ARG_DST, desc, dnnl_query_dst_md);
        finish_peer(peer, t, desc);
    }
    return 1;
}

static void run_blas(int thread, void *data)
{
    const OurGemm *our = data;
    const GemmShape *shape = &our->shape;
    const int rows = shape->n_rows > 1 ? shape->n_rows / BENCH_N_THREADS : 1;
    const int columns = shape->n_rows > 1 ? shape->n_columns : shape->n_columns / BENCH_N_THREADS;
    const size_t row = shape->n_rows > 1 ? (size_t)(thread * rows) : 0;
    const size_t column = shape->n_rows > 1 ? 0 : (size_t)(thread * columns);

    omp_set_num_threads(1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, shape->k, 1.0f,
                our->x + row * (size_t)shape->k, shape->k, our->b + column * (size_t)shape->k,
                shape->k, 0.0f, our->c + row * (size_t)shape->n_columns + column, shape->n_columns);
}

/** What part of its true value an int8 product of the largest numbers has in oneDNN: 1 if it is exact. */
static double measure_exactness(Peer *peer, GemmShape shape)
{
    static const int largest[] = {255, 127};
    void *data;

    for (int i = 0; i < 2; i++) {
        const dnnl_memory_t memory = peer->arguments[0][i].memory;
        const dnnl_memory_desc_t *layout;

        check(dnnl_memory_get_memory_desc(memory, &layout), "layout");
        check(dnnl_memory_get_data_handle(memory, &data), "memory");
        memset(data, largest[i], dnnl_memory_desc_get_size(layout));
    }
    run_peer(0, peer);
    check(dnnl_memory_get_data_handle(peer->arguments[0][2].memory, &data), "memory");
    return *(const float *)data / (255.0 * 127.0 * INT8_SCALE * shape.k);
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

/** With its whole result, which the peers write too. */
static GemmShape whole_shape(GemmShape shape)
{
    shape.is_hidden = 0;
    return shape;
}

static void compare_gemms(const FastvlmKernels *kernels)
{
    static const char *const names[] = {"f32", "bf16", "int8"};

    printf("%-5s %-17s %-20s %9s %9s %9s   ours / best peer\n", "type", "product",
           "rows x k x columns", "ours", "oneDNN", "OpenBLAS");
    for (int type = 0; type < 3; type++)
        for (size_t i = 0; i < sizeof gemm_shapes / sizeof *gemm_shapes; i++) {
            const GemmShape shape = whole_shape(gemm_shapes[i]);
            const double ops = 2e-9 * shape.n_rows * shape.k * shape.n_columns;
            OurGemm our = our_gemm_new(kernels, shape, type);
            double ours = 1e9, dnnl = 1e9, blas = 1e9;
            Peer peer = {.n_arguments = 0};
            const int has_peer = make_gemm(&peer, shape, type);

            for (int turn = 0; turn < N_TURNS; turn++) {
                ours = least(ours, bench_run(our_gemm_run, &our));
                if (has_peer)
                    dnnl = least(dnnl, bench_run(run_peer, &peer));
                if (type == 0)
                    blas = least(blas, bench_run(run_blas, &our));
            }
            printf("%-5s %-17s %5d x %4d x %5d %9.1f %9.1f %9.1f   %.2f\n", names[type], shape.what,
                   shape.n_rows, shape.k, shape.n_columns, ops / ours, has_peer ? ops / dnnl : 0.0,
                   type == 0 ? ops / blas : 0.0, has_peer ? least(dnnl, blas) / ours : 0.0);
            if (has_peer && type == 2) {
                const double exactness = measure_exactness(&peer, shape);

                if (fabs(exactness - 1.0) > 1e-3)
                    printf("      oneDNN's sums saturate: of the largest numbers %.2f of the true "
                           "one\n",
                           exactness);
            }
            fflush(stdout);
            if (has_peer)
                free_peer(&peer);
            our_gemm_free(&our);
        }
}

static void compare_conv(const FastvlmKernels *kernels, ConvShape shape)
{
    const double ops = 1e-9 * conv_shape_ops(shape);
    OurConv our = our_conv_new(kernels, shape, 0);
    double ours = 1e9, dnnl = 1e9;
    const char *name = "none";
    Peer peers[N_WAYS];
    int n_ways = 0;

    if (shape.multiplier == 1) /* 2.6 crashes on two outputs a group */
        for (int way = 0; way < N_WAYS; way++)
            n_ways += make_conv(&peers[n_ways], shape, way);
    for (int turn = 0; turn < N_TURNS; turn++) {
        ours = least(ours, bench_run(our_conv_run, &our));
        for (int i = 0; i < n_ways; i++) {
            const double seconds = bench_run(run_peer, &peers[i]);

            if (seconds < dnnl) {
                dnnl = seconds;
                name = peers[i].name;
            }
        }
    }
    printf("%-23s %4d px, %4d       %9.1f %9.1f   %.2f  %s\n", shape.what, shape.size,
           shape.n_channels, ops / ours, n_ways ? ops / dnnl : 0.0, n_ways ? dnnl / ours : 0.0,
           name);
    fflush(stdout);
    while (n_ways > 0)
        free_peer(&peers[--n_ways]);
    our_conv_free(&our);
}

static void compare_convs(const FastvlmKernels *kernels)
{
    printf("%-23s %-20s %9s %9s   ours / oneDNN, its fastest way\n", "convolution",
           "pixels, channels", "ours", "oneDNN");
    for (size_t i = 0; i < sizeof conv_shapes / sizeof *conv_shapes; i++)
        compare_conv(kernels, conv_shapes[i]);
}

int main(int argc, char **argv)
{
    const FastvlmKernels *kernels = fastvlm_kernels_get(fastvlm_tier_in_use());

    openblas_set_num_threads(1);
    /* oneDNN asks when a primitive is made, too: with more, a helper's time would not be counted. */
    omp_set_num_threads(1);
    check(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    printf("Gop/s, %d threads, %s; OpenBLAS %s\n", BENCH_N_THREADS,
           fastvlm_tier_to_string(kernels->tier), openblas_get_corename());
    if (argc < 2 || strcmp(argv[1], "conv") == 0)
        compare_convs(kernels);
    if (argc < 2 || strcmp(argv[1], "gemm") == 0)
        compare_gemms(kernels);
    dnnl_engine_destroy(engine);
    return 0;
}
