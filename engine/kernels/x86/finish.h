/*
 * The epilogues of products, in the vectors of the tier that includes this.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_X86_FINISH_H
#define FASTVLM_KERNELS_X86_FINISH_H

#include "kernels/gemm.h"
#include "kernels/x86/block.h"

/** What an epilogue does besides its bias: constants, of which loops are made. */
typedef struct {
    int has_scale;
    int has_gelu;
    int has_residual;
} FinishSteps;

/** finish_f32 for these steps. */
typedef void (*FinishStepsFunc)(const FastvlmGemm *gemm, int row, int n_rows, int column,
                                int n_columns, FinishSteps steps);

static BLOCK void finish_by_residual(const FastvlmGemm *gemm, int row, int n_rows, int column,
                                     int n_columns, int has_scale, int has_gelu,
                                     FinishStepsFunc finish)
{
    if (gemm->epilogue.residual)
        finish(gemm, row, n_rows, column, n_columns, (FinishSteps){has_scale, has_gelu, 1});
    else
        finish(gemm, row, n_rows, column, n_columns, (FinishSteps){has_scale, has_gelu, 0});
}

/** Calls `finish`, which is inlined, with the product's steps as constants. */
static BLOCK void finish_by_steps(const FastvlmGemm *gemm, int row, int n_rows, int column,
                                  int n_columns, FinishStepsFunc finish)
{
    if (gemm->epilogue.scale && gemm->epilogue.gelu)
        finish_by_residual(gemm, row, n_rows, column, n_columns, 1, 1, finish);
    else if (gemm->epilogue.scale)
        finish_by_residual(gemm, row, n_rows, column, n_columns, 1, 0, finish);
    else if (gemm->epilogue.gelu)
        finish_by_residual(gemm, row, n_rows, column, n_columns, 0, 1, finish);
    else
        finish_by_residual(gemm, row, n_rows, column, n_columns, 0, 0, finish);
}

#endif
