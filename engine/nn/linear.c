/*
 * Linear layers: rows rounded once, then a matrix product for each tile, which ends in bias, activation
 * and residual.
 *
 * A tile's rows fill about half a second-level cache, since they pass every panel of weights again; its
 * columns are as many as keep all threads busy and cancellation quick. Tiles of the same columns
 * follow each other, so that their weights are still in the cache.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/linear.h"

#define TILE_BYTES (256 * 1024)
#define MAX_TILE_ROWS (32 * FASTVLM_ROW_GROUP)
#define N_TILES_WANTED 16
#define COLUMN_GROUP 32                 /* a tile's columns: whole blocks on every tier */
#define MAX_TILE_MACS ((gint64)1 << 28) /* some 10 ms: how soon a cancellation is heard */
#define ROUND_TILE_ROWS 24

/** For rows from `row` and columns from `column` on, with their residual. */
static FastvlmEpilogue get_epilogue(const FastvlmLinear *linear, int column, const float *residual,
                                    gsize ldr)
{
    return (FastvlmEpilogue){
        .scale = linear->scale ? linear->scale + column : NULL,
        .bias = linear->bias ? linear->bias + column : NULL,
        .gelu = linear->activation == FASTVLM_ACTIVATION_GELU,
        .residual = residual,
        .ldr = ldr,
    };
}

static void multiply(const FastvlmKernels *kernels, const FastvlmLinear *linear, const float *x,
                     gsize ldx, FastvlmRounded rounded, int n_rows, int column, int n_columns,
                     const float *residual, float *y, gsize ldy)
{
    const FastvlmEpilogue epilogue = get_epilogue(linear, column, residual, ldy);
    const gboolean is_plain =
        !epilogue.scale && !epilogue.bias && !epilogue.gelu && !epilogue.residual;

    fastvlm_matrix_multiply(kernels, &linear->matrix, x, ldx, rounded, n_rows, column, n_columns,
                            is_plain ? NULL : &epilogue, y, ldy);
}

gsize fastvlm_linear_tile_bytes(const FastvlmLinear *linear, int n_rows)
{
    return fastvlm_matrix_count_rounded_bytes(&linear->matrix, n_rows);
}

void fastvlm_linear_tile(const FastvlmKernels *kernels, const FastvlmLinear *linear, const float *x,
                         gsize ldx, int n_rows, const float *residual, void *scratch, float *y,
                         gsize ldy)
{
    const FastvlmMatrix *matrix = &linear->matrix;
    FastvlmRounded rounded = fastvlm_matrix_bind_rounded(matrix, n_rows, scratch);

    fastvlm_matrix_round(kernels, matrix, x, ldx, n_rows, &rounded);
    multiply(kernels, linear, x, ldx, rounded, n_rows, 0, matrix->n_out, residual, y, ldy);
}

gboolean fastvlm_linear_reserve(FastvlmCompute *compute, const FastvlmLinear *linear, int n_rows,
                                GError **error)
{
    return fastvlm_compute_reserve_shared(
        compute, fastvlm_matrix_count_rounded_bytes(&linear->matrix, n_rows), error);
}

typedef struct {
    const FastvlmCompute *compute;
    const FastvlmLinear *linear;
    const float *x;
    FastvlmRounded rounded;
    const float *residual;
    float *y;
    int n_rows;
    int tile_rows;
    int n_row_tiles;
    int tile_columns;
} LinearRun;

static void round_tile(int tile, int worker, void *data)
{
    const LinearRun *run = data;
    const FastvlmMatrix *matrix = &run->linear->matrix;
    const int row = tile * ROUND_TILE_ROWS;
    FastvlmRounded rounded = fastvlm_rounded_skip(run->rounded, row);

    fastvlm_matrix_round(run->compute->kernels, matrix, run->x + (gsize)row * (gsize)matrix->n_in,
                         (gsize)matrix->n_in, MIN(ROUND_TILE_ROWS, run->n_rows - row), &rounded);
}

static void multiply_tile(int item, int worker, void *data)
{
    const LinearRun *run = data;
    const FastvlmMatrix *matrix = &run->linear->matrix;
    const int row = item % run->n_row_tiles * run->tile_rows;
    const int n_rows = MIN(run->tile_rows, run->n_rows - row);
    const int column = item / run->n_row_tiles * run->tile_columns;
    const int n_columns = MIN(run->tile_columns, matrix->n_out - column);
    const gsize n_in = (gsize)matrix->n_in, n_out = (gsize)matrix->n_out;
    const gsize at = (gsize)row * n_out + (gsize)column;

    multiply(run->compute->kernels, run->linear, run->x + (gsize)row * n_in, n_in,
             fastvlm_rounded_skip(run->rounded, row), n_rows, column, n_columns,
             run->residual ? run->residual + at : NULL, run->y + at, n_out);
}

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

/** Whole row groups of about TILE_BYTES. */
static int choose_tile_rows(const FastvlmMatrix *matrix, int n_rows)
{
    static const int element_bytes[FASTVLM_N_MATRIX_TYPES] = {4, 2, 1, 1, 4};
    const int n = TILE_BYTES / (matrix->n_in * element_bytes[matrix->type]);

    return MIN(fastvlm_pad_rows(n_rows),
               fastvlm_pad_rows(CLAMP(n, 2 * FASTVLM_ROW_GROUP, MAX_TILE_ROWS)));
}

/** Tiles follow from the shape alone. Returns their number. */
static int plan_tiles(LinearRun *run)
{
    const FastvlmMatrix *matrix = &run->linear->matrix;
    int n_column_tiles;
    gint64 macs; /* multiply-adds of a tile with all columns */

    run->tile_rows = choose_tile_rows(matrix, run->n_rows);
    run->n_row_tiles = divide_up(run->n_rows, run->tile_rows);
    macs = (gint64)run->tile_rows * matrix->n_out * matrix->n_in;
    n_column_tiles =
        MAX(divide_up(N_TILES_WANTED, run->n_row_tiles), (int)(macs / MAX_TILE_MACS) + 1);
    run->tile_columns =
        divide_up(divide_up(matrix->n_out, n_column_tiles), COLUMN_GROUP) * COLUMN_GROUP;
    return run->n_row_tiles * divide_up(matrix->n_out, run->tile_columns);
}

static gboolean round_rows(LinearRun *run, GError **error)
{
    const FastvlmMatrix *matrix = &run->linear->matrix;

    run->rounded = fastvlm_matrix_bind_rounded(matrix, run->n_rows, run->compute->shared);
    return !fastvlm_matrix_is_rounding(matrix) ||
           fastvlm_compute_run(run->compute, divide_up(run->n_rows, ROUND_TILE_ROWS), round_tile,
                               run, error);
}

gboolean fastvlm_linear_run(const FastvlmCompute *compute, const FastvlmLinear *linear,
                            const float *x, int n_rows, const float *residual, float *y,
                            GError **error)
{
    LinearRun run = {.compute = compute,
                     .linear = linear,
                     .x = x,
                     .residual = residual,
                     .y = y,
                     .n_rows = n_rows};
    const int n_tiles = plan_tiles(&run);

    g_assert(compute->shared_size_bytes >=
             fastvlm_matrix_count_rounded_bytes(&linear->matrix, n_rows));
    return round_rows(&run, error) &&
           fastvlm_compute_run(compute, n_tiles, multiply_tile, &run, error);
}
