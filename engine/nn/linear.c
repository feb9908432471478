/*
 * Linear layers: rows rounded once, then a matrix product for each tile, which ends in bias, activation
 * and residual.
 *
 * A tile's rows fill about half a second-level cache, since they pass every panel of weights again; its
 * columns are as many as keep all threads busy and cancellation quick. Tiles of the same columns
 * follow each other, so that their weights are still in the cache. Gated, a tile goes through both
 * matrices a few columns at a time, which never leave the cache before they are one.
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
#define GATED_FLOATS (32 * 1024) /* of gate, and of up: together in the second-level cache */

G_STATIC_ASSERT(GATED_FLOATS >= MAX_TILE_ROWS * COLUMN_GROUP);

static int divide_up(int a, int b)
{
    return (a + b - 1) / b;
}

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
    const FastvlmLinear *linear; /* gated: gate */
    const FastvlmLinear *up;     /* gated: of the same shape; else NULL */
    const float *x;
    FastvlmRounded rounded;
    const float *residual;
    float *y;
    int n_rows;
    int tile_rows;
    int n_row_tiles;
    int n_column_tiles;
} LinearRun;

/** Where the columns of tile `index` begin: whole groups, as even as they go. */
static int find_column(const LinearRun *run, int index)
{
    const int n_out = run->linear->matrix.n_out;
    const gint64 n_groups = divide_up(n_out, COLUMN_GROUP);

    return MIN((int)(n_groups * index / run->n_column_tiles) * COLUMN_GROUP, n_out);
}

/** What an item of a run computes. */
typedef struct {
    int row, n_rows;
    int column, n_columns;
} Tile;

static Tile find_tile(const LinearRun *run, int item)
{
    const int row = item % run->n_row_tiles * run->tile_rows;
    const int column = find_column(run, item / run->n_row_tiles);

    return (Tile){
        .row = row,
        .n_rows = MIN(run->tile_rows, run->n_rows - row),
        .column = column,
        .n_columns = find_column(run, item / run->n_row_tiles + 1) - column,
    };
}

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
    const Tile tile = find_tile(run, item);
    const gsize n_in = (gsize)run->linear->matrix.n_in, n_out = (gsize)run->linear->matrix.n_out;
    const gsize at = (gsize)tile.row * n_out + (gsize)tile.column;

    multiply(run->compute->kernels, run->linear, run->x + (gsize)tile.row * n_in, n_in,
             fastvlm_rounded_skip(run->rounded, tile.row), tile.n_rows, tile.column, tile.n_columns,
             run->residual ? run->residual + at : NULL, run->y + at, n_out);
}

/** A tile of what fastvlm_linear_run_gated() computes, small enough for `scratch`. */
static void multiply_gated(const LinearRun *run, Tile tile, gboolean up_first, float *scratch)
{
    const FastvlmLinear *const linears[2] = {run->linear, run->up};
    float *const results[2] = {scratch, scratch + GATED_FLOATS}; /* [n_rows, n_columns] */
    const FastvlmKernels *kernels = run->compute->kernels;
    const gsize n_in = (gsize)run->linear->matrix.n_in, n_out = (gsize)run->linear->matrix.n_out;
    const gsize ld = (gsize)tile.n_columns;

    for (int i = 0; i < 2; i++) {
        const int j = up_first ? 1 - i : i;

        multiply(kernels, linears[j], run->x + (gsize)tile.row * n_in, n_in,
                 fastvlm_rounded_skip(run->rounded, tile.row), tile.n_rows, tile.column,
                 tile.n_columns, NULL, results[j], ld);
    }
    for (gsize i = 0; i < (gsize)tile.n_rows; i++)
        kernels->silu_mul_f32(results[0] + i * ld, results[1] + i * ld,
                              run->y + ((gsize)tile.row + i) * n_out + (gsize)tile.column, ld);
}

/** Goes on in the matrix where the columns before have ended: a product asks for the weights behind its own. */
static void multiply_gated_tile(int item, int worker, void *data)
{
    const LinearRun *run = data;
    const int n_at_once = GATED_FLOATS / run->tile_rows / COLUMN_GROUP * COLUMN_GROUP;
    Tile tile = find_tile(run, item);
    const int end = tile.column + tile.n_columns;
    gboolean up_first = FALSE;

    for (; tile.column < end; tile.column += n_at_once, up_first = !up_first) {
        tile.n_columns = MIN(n_at_once, end - tile.column);
        multiply_gated(run, tile, up_first, run->compute->scratch[worker]);
    }
}

/** Whole row groups of about TILE_BYTES, as even as they go. */
static int choose_tile_rows(const FastvlmMatrix *matrix, int n_rows)
{
    static const int element_bytes[FASTVLM_N_MATRIX_TYPES] = {4, 2, 1, 1, 4};
    const int n = TILE_BYTES / (matrix->n_in * element_bytes[matrix->type]);
    const int most = CLAMP(n, 2 * FASTVLM_ROW_GROUP, MAX_TILE_ROWS);

    return fastvlm_pad_rows(divide_up(n_rows, divide_up(n_rows, most)));
}

/** Tiles follow from the shape alone. Returns their number. */
static int plan_tiles(LinearRun *run)
{
    const FastvlmMatrix *matrix = &run->linear->matrix;
    gint64 macs; /* multiply-adds of a tile with all columns */

    run->tile_rows = choose_tile_rows(matrix, run->n_rows);
    run->n_row_tiles = divide_up(run->n_rows, run->tile_rows);
    macs = (gint64)run->tile_rows * matrix->n_out * matrix->n_in * (run->up ? 2 : 1);
    run->n_column_tiles =
        MAX(divide_up(N_TILES_WANTED, run->n_row_tiles), (int)(macs / MAX_TILE_MACS) + 1);
    run->n_column_tiles = MIN(run->n_column_tiles, divide_up(matrix->n_out, COLUMN_GROUP));
    return run->n_row_tiles * run->n_column_tiles;
}

static gboolean round_rows(LinearRun *run, GError **error)
{
    const FastvlmMatrix *matrix = &run->linear->matrix;

    g_assert(run->compute->shared_size_bytes >=
             fastvlm_matrix_count_rounded_bytes(matrix, run->n_rows));
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

    return round_rows(&run, error) &&
           fastvlm_compute_run(compute, n_tiles, multiply_tile, &run, error);
}

gboolean fastvlm_linear_reserve_gated(FastvlmCompute *compute, const FastvlmLinear *linear,
                                      int n_rows, GError **error)
{
    return fastvlm_compute_reserve(compute, 2 * GATED_FLOATS, error) &&
           fastvlm_linear_reserve(compute, linear, n_rows, error);
}

gboolean fastvlm_linear_run_gated(const FastvlmCompute *compute, const FastvlmLinear *gate,
                                  const FastvlmLinear *up, const float *x, int n_rows, float *y,
                                  GError **error)
{
    LinearRun run = {
        .compute = compute, .linear = gate, .up = up, .x = x, .y = y, .n_rows = n_rows};
    const int n_tiles = plan_tiles(&run);

    g_assert(compute->scratch_size_floats >= 2 * GATED_FLOATS);
    return round_rows(&run, error) &&
           fastvlm_compute_run(compute, n_tiles, multiply_gated_tile, &run, error);
}
