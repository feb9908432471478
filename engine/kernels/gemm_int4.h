/*
 * Packed matrix products with weights of 4 bits, c = a * transpose(b): a FastvlmGemm as in gemm.h.
 *
 * k is cut into groups of 32; each column has a scale for each. A weight is scale * (nibble - 8), nibble
 * 0 .. 15. Two groups make a block of 9 words of a column, b is [panels][n_blocks][9][16] words, the
 * same on every tier:
 *
 *     word 0        the scales of both groups as bf16, the first in the low bits
 *     words 1 .. 4  the first group: byte j of word 1 + i holds element 4 i + j in its low bits and
 *                   element 16 + 4 i + j in its high ones
 *     words 5 .. 8  the second group
 *
 * What lies beyond k or beyond the columns has any nibble and, in a group or column of its own, a scale
 * of 0. Rounded rows are the same on every tier, too (round_rows_int4): [n_blocks * 64] int8, 0 beyond k, as of
 * round_rows_int8, then [n_blocks * 2] int32, -8 times each group's sum.
 *
 *     part  = sum over the group of nibble * integer - 8 * sum of integers: exact, 32 bits
 *     total = fma((float)part, scale, total), over rising groups from 0
 *     c     = total * scale_a: the same bytes on every tier, whatever is computed beside it
 *
 * 32 products of nibbles and integers stay below 2^16, those of two elements of k below 2^12: that
 * vpmaddubsw cannot saturate, nor its sums over a group in 16 bits (16 * 15 * 127 < 2^15).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_KERNELS_GEMM_INT4_H
#define FASTVLM_KERNELS_GEMM_INT4_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/gemm.h"

/** Elements of k with one scale. */
#define FASTVLM_INT4_GROUP 32

/** Words of a column in a block, and elements of k. */
#define FASTVLM_INT4_WORDS 9
#define FASTVLM_INT4_BLOCK (2 * FASTVLM_INT4_GROUP)

/** Blocks, and words of a column, for a k. */
#define FASTVLM_INT4_BLOCKS(k) (((size_t)(k) + FASTVLM_INT4_BLOCK - 1) / FASTVLM_INT4_BLOCK)
#define FASTVLM_UNITS_INT4(k) (FASTVLM_INT4_BLOCKS(k) * FASTVLM_INT4_WORDS)

/** Bytes of the integers of a rounded row; behind them stand -8 times the sums of its groups. */
#define FASTVLM_INT4_ROW_BYTES(k) (FASTVLM_INT4_BLOCKS(k) * FASTVLM_INT4_BLOCK)

#endif
