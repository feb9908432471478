/*
 * Packed matrix products with weights of 4 bits and the rounding of their rows, plain C.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

void fastvlm_round_rows_int4_scalar(const float *x, size_t ldx, int n_rows, int k, void *out,
                                    float *scale)
{
    const size_t row_bytes = FASTVLM_ROUNDED_ROW_BYTES(k);

    fastvlm_round_rows_int8_scalar(x, ldx, n_rows, k, out, scale);
    for (int row = 0; row < n_rows; row++) {
        int8_t *values = (int8_t *)out + (size_t)row * row_bytes;
        int32_t *offset = (int32_t *)(void *)(values + FASTVLM_INT4_ROW_BYTES(k));

        memset(values + k, 0, FASTVLM_INT4_ROW_BYTES(k) - (size_t)k);
        for (size_t group = 0; group < 2 * FASTVLM_INT4_BLOCKS(k); group++) {
            offset[group] = 0;
            for (size_t i = 0; i < FASTVLM_INT4_GROUP; i++)
                offset[group] -= 8 * values[group * FASTVLM_INT4_GROUP + i];
        }
    }
}

/** The sum of a group's products; b points to its first word, those of a column a panel row apart. */
static int32_t multiply_group(const int8_t *a, const uint32_t *b, int32_t offset)
{
    int32_t sum = offset;

    for (int i = 0; i < FASTVLM_INT4_GROUP / 2; i++) {
        const uint32_t byte = b[i / 4 * FASTVLM_PANEL_COLUMNS] >> (8 * (i % 4)) & 0xff;

        sum += a[i] * (int32_t)(byte & 15);
        sum += a[FASTVLM_INT4_GROUP / 2 + i] * (int32_t)(byte >> 4);
    }
    return sum;
}

static float multiply(const int8_t *a, const int32_t *offset, const uint32_t *b, size_t n_blocks)
{
    float total = 0.0f;

    for (size_t block = 0; block < n_blocks; block++) {
        const uint32_t scales = *b;

        b += FASTVLM_PANEL_COLUMNS;
        for (int group = 0; group < 2; group++) {
            const float scale = fastvlm_bf16_to_f32((uint16_t)(scales >> (16 * group)));

            total = fmaf((float)multiply_group(a, b, *offset++), scale, total);
            a += FASTVLM_INT4_GROUP;
            b += FASTVLM_INT4_GROUP / 8 * FASTVLM_PANEL_COLUMNS;
        }
    }
    return total;
}

void fastvlm_gemm_int4_scalar(const FastvlmGemm *gemm)
{
    const size_t n_blocks = FASTVLM_INT4_BLOCKS(gemm->k);
    const size_t panel_words = n_blocks * FASTVLM_INT4_WORDS * FASTVLM_PANEL_COLUMNS;

    for (int row = 0; row < gemm->n_rows; row++) {
        const int8_t *a =
            (const int8_t *)gemm->a + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(gemm->k);
        const int32_t *offset =
            (const int32_t *)(const void *)(a + FASTVLM_INT4_ROW_BYTES(gemm->k));

        for (int column = 0; column < gemm->n_columns; column++) {
            const uint32_t *b = gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * panel_words +
                                (size_t)(column % FASTVLM_PANEL_COLUMNS);

            gemm->c[(size_t)row * gemm->ldc + (size_t)column] =
                multiply(a, offset, b, n_blocks) * gemm->scale_a[row];
        }
    }
    fastvlm_gemm_finish(gemm, 0, gemm->n_rows, 0, gemm->n_columns);
}
