/*
 * Rounds a row of weights to 4 bits (kernels/gemm_int4.h).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_NN_INT4_H
#define FASTVLM_NN_INT4_H

#include <glib.h>

/**
 * `n` weights, one column of a packed matrix, to the words of that column. Of a few scales a group gets
 * the one with the least squared error.
 *
 * @param row    [n], finite
 * @param words  [FASTVLM_UNITS_INT4(n)], out
 */
void fastvlm_int4_round_row(const float *row, int n, guint32 *words);

#endif
