/*
 * Linear layers: a matrix product for each tile, then bias and activation while it is in the cache.
 * A single row, which a decoder's step is, is a product with a vector: it reads the weights once, at
 * the speed of memory, where a matrix product would copy them first.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/linear.h"

#include "base/alloc.h"
#include "kernels/blas.h"

#define MAX_TILE_ROWS (32 * FASTVLM_ROW_GROUP)
#define N_TILES_WANTED 16
#define COLUMN_GROUP 32                 /* a tile's columns: whole registers on every tier */
#define MAX_TILE_MACS ((gint64)1 << 30) /* some 20 ms: how soon a cancellation is heard */

void fastvlm_linear_clear(FastvlmLinear *linear)
{
    g_clear_pointer(&linear->weight, fastvlm_free_tensor);
    g_clear_pointer(&linear->bias, fastvlm_free_tensor);
}

static void add_bias(float *y, const float *bias, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += bias[i];
}

static void finish(const FastvlmKernels *kernels, const FastvlmLinear *linear, int column,
                   int n_columns, float *y)
{
    if (!linear->bias)
        return;
    if (linear->activation == FASTVLM_ACTIVATION_GELU)
        kernels->gelu_bias_f32(y, linear->bias + column, 1, (size_t)n_columns);
    else
        add_bias(y, linear->bias + column, n_columns);
}

/** Output channels column .. column + n_columns - 1 of `n_rows` rows. */
static void compute_tile(const FastvlmKernels *kernels, const FastvlmLinear *linear, const float *x,
                         int n_rows, int column, int n_columns, float *y)
{
    const gsize n_out = (gsize)linear->n_out;
    const gsize n_in = (gsize)linear->n_in;

    fastvlm_blas_multiply_nt(n_rows, n_columns, linear->n_in, x, n_in,
                             linear->weight + (gsize)column * n_in, n_in, y + column, n_out);
    for (int row = 0; row < n_rows; row++)
        finish(kernels, linear, column, n_columns, y + (gsize)row * n_out + column);
}

/** The same of one row. */
static void compute_row(const FastvlmKernels *kernels, const FastvlmLinear *linear, const float *x,
                        int column, int n_columns, float *y)
{
    const gsize n_in = (gsize)linear->n_in;

    for (int i = column; i < column + n_columns; i++)
        y[i] = kernels->dot_f32(linear->weight + (gsize)i * n_in, x, n_in);
    finish(kernels, linear, column, n_columns, y + column);
}

void fastvlm_linear_tile(const FastvlmKernels *kernels, const FastvlmLinear *linear, const float *x,
                         int n_rows, float *y)
{
    compute_tile(kernels, linear, x, n_rows, 0, linear->n_out, y);
}

typedef struct {
    const FastvlmCompute *compute;
    const FastvlmLinear *linear;
    const float *x;
    float *y;
    int n_rows; /* 1, or padded */
    int tile_rows;
    int tile_columns;
    int n_column_tiles;
} LinearRun;

static void run_item(int item, int worker, void *data)
{
    const LinearRun *run = data;
    const int row = item / run->n_column_tiles * run->tile_rows;
    const int column = item % run->n_column_tiles * run->tile_columns;
    const int n_columns = MIN(run->tile_columns, run->linear->n_out - column);
    const float *x = run->x + (gsize)row * (gsize)run->linear->n_in;
    float *y = run->y + (gsize)row * (gsize)run->linear->n_out;

    if (run->n_rows == 1)
        compute_row(run->compute->kernels, run->linear, x, column, n_columns, y);
    else
        compute_tile(run->compute->kernels, run->linear, x, MIN(run->tile_rows, run->n_rows - row),
                     column, n_columns, y);
}

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

gboolean fastvlm_linear_run(const FastvlmCompute *compute, const FastvlmLinear *linear,
                            const float *x, int n_rows, float *y, GError **error)
{
    LinearRun run = {.compute = compute, .linear = linear, .x = x, .y = y};
    gint64 macs; /* multiply-adds of a tile with all columns */
    int n_row_tiles, n_column_tiles;

    /* Rows first: each tile packs the weights anew, so tiles are tall; columns make up the rest. */
    run.n_rows = n_rows == 1 ? 1 : fastvlm_pad_rows(n_rows);
    run.tile_rows = MIN(run.n_rows, MAX_TILE_ROWS);
    n_row_tiles = divide_up(run.n_rows, run.tile_rows);
    macs = (gint64)run.tile_rows * linear->n_out * linear->n_in;
    n_column_tiles = MAX(divide_up(N_TILES_WANTED, n_row_tiles), (int)(macs / MAX_TILE_MACS) + 1);
    run.tile_columns =
        divide_up(divide_up(linear->n_out, n_column_tiles), COLUMN_GROUP) * COLUMN_GROUP;
    run.n_column_tiles = divide_up(linear->n_out, run.tile_columns);
    return fastvlm_compute_run(compute, n_row_tiles * run.n_column_tiles, run_item, &run, error);
}
