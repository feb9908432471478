/*
 * Norms: an item is a tile of rows.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/norm.h"

#define TILE_ROWS 32

typedef struct {
    const FastvlmKernels *kernels;
    const float *x;
    const float *weight;
    float epsilon;
    int n_rows;
    int n;
    float *out;
} NormRun;

static void run_tile(int tile, int worker, void *data)
{
    const NormRun *run = data;
    const int end = MIN((tile + 1) * TILE_ROWS, run->n_rows);

    for (int row = tile * TILE_ROWS; row < end; row++) {
        const float *x = run->x + (gsize)row * (gsize)run->n;
        float *out = run->out + (gsize)row * (gsize)run->n;

        if (run->weight)
            run->kernels->rms_norm_f32(x, run->weight, run->epsilon, out, (size_t)run->n);
        else
            run->kernels->layer_norm_f32(x, run->epsilon, out, (size_t)run->n);
    }
}

gboolean fastvlm_norm_run(const FastvlmCompute *compute, const float *x, const float *weight,
                          float epsilon, int n_rows, int n, float *out, GError **error)
{
    NormRun run = {compute->kernels, x, weight, epsilon, n_rows, n, out};

    return fastvlm_compute_run(compute, (n_rows + TILE_ROWS - 1) / TILE_ROWS, run_tile, &run,
                               error);
}
