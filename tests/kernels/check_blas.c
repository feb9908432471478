/*
 * Holds what the engine builds on OpenBLAS: a row's bytes depend on its own operands alone.
 *
 *     all rows at once == tiles of whole groups == one tile with other neighbours
 *     two threads, a tile each == one thread
 *
 * Run with OpenBLAS's own choice of kernels and, where the processor has them, with its AVX2 ones
 * (OPENBLAS_CORETYPE). Prints TAP.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"

#define N_ROWS (32 * FASTVLM_BLAS_ROWS)
#define MAX_SIDE 3072
#define SMALL_PRODUCT 1200 /* rows * columns up to which OpenBLAS has other AVX-512 kernels */

static float *a, *b, *whole, *other;
static int n_columns, n_inner, next_test;
static int n_bad;

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(seed >> 40) * 0x1p-23f - 1.0f;
    }
}

static void multiply(int first, int n_rows, float *c)
{
    fastvlm_blas_multiply_nt(n_rows, n_columns, n_inner, a + (size_t)first * (size_t)n_inner,
                             (size_t)n_inner, b, (size_t)n_inner,
                             c + (size_t)first * (size_t)n_columns, (size_t)n_columns);
}

static size_t size_of_result(void)
{
    return (size_t)N_ROWS * (size_t)n_columns * sizeof(float);
}

static void report(int ok, const char *what)
{
    printf("%sok %d - %dx%dx%d %s\n", ok ? "" : "not ", ++next_test, N_ROWS, n_columns, n_inner,
           what);
    n_bad += !ok;
}

static int is_right(void)
{
    for (int row = 0; row < N_ROWS; row += 37)
        for (int column = 0; column < n_columns; column += 53) {
            double sum = 0.0, size = 0.0;

            for (int i = 0; i < n_inner; i++) {
                const double term = (double)a[row * n_inner + i] * b[column * n_inner + i];

                sum += term;
                size += fabs(term);
            }
            if (fabs(whole[row * n_columns + column] - sum) > 1e-6 * size)
                return 0;
        }
    return 1;
}

static int is_same_in_tiles(int tile_rows)
{
    memset(other, 0, size_of_result());
    for (int row = 0; row < N_ROWS; row += tile_rows)
        multiply(row, tile_rows < N_ROWS - row ? tile_rows : N_ROWS - row, other);
    return memcmp(whole, other, size_of_result()) == 0;
}

/** Rows of the lowest tile that is not a small product. */
static int lowest_tile(void)
{
    int n_rows = FASTVLM_BLAS_ROWS;

    while (n_rows * n_columns <= SMALL_PRODUCT)
        n_rows += FASTVLM_BLAS_ROWS;
    return n_rows;
}

static int is_same_beside_others(void)
{
    const size_t row = (size_t)n_columns * sizeof(float);

    fill(a + n_inner, (size_t)(N_ROWS - 1) * (size_t)n_inner, 99);
    multiply(0, lowest_tile(), other);
    fill(a, (size_t)N_ROWS * (size_t)n_inner, 1);
    return memcmp(whole, other, row) == 0;
}

static void *multiply_half(void *data)
{
    const int half = N_ROWS / 2;
    const int first = data ? half : 0;

    for (int row = first; row < first + half; row += 4 * FASTVLM_BLAS_ROWS)
        multiply(row, 4 * FASTVLM_BLAS_ROWS, other);
    return NULL;
}

static int is_same_on_two_threads(void)
{
    pthread_t thread;

    memset(other, 0, size_of_result());
    if (pthread_create(&thread, NULL, multiply_half, &n_bad) != 0)
        return 0;
    multiply_half(NULL);
    pthread_join(thread, NULL);
    return memcmp(whole, other, size_of_result()) == 0;
}

static void check_shape(int columns, int inner)
{
    n_columns = columns;
    n_inner = inner;
    fill(a, (size_t)N_ROWS * (size_t)n_inner, 1);
    fill(b, (size_t)n_columns * (size_t)n_inner, 2);
    multiply(0, N_ROWS, whole);
    report(is_right(), "is the product");
    report(is_same_in_tiles(lowest_tile()), "same in low tiles");
    report(is_same_in_tiles(2 * lowest_tile()), "same in tiles twice as high");
    report(is_same_in_tiles(24 * FASTVLM_BLAS_ROWS), "same in tiles of 24 groups");
    report(is_same_beside_others(), "same beside other rows");
    report(is_same_on_two_threads(), "same on two threads");
}

int main(void)
{
    static const int shapes[][2] = {{16, 16},   {96, 27},    {96, 96},   {384, 96},  {96, 384},
                                    {768, 192}, {384, 1536}, {896, 896}, {1000, 333}};
    const size_t n = (size_t)N_ROWS * MAX_SIDE * sizeof(float);

    a = malloc(n);
    b = malloc((size_t)MAX_SIDE * MAX_SIDE * sizeof(float));
    whole = malloc(n);
    other = malloc(n);
    if (!a || !b || !whole || !other)
        return EXIT_FAILURE;
    fastvlm_blas_init();
    printf("# %s\n", fastvlm_blas_describe());
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_shape(shapes[i][0], shapes[i][1]);
    printf("1..%d\n", next_test);
    free(a);
    free(b);
    free(whole);
    free(other);
    return n_bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
