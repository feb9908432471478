/*
 * Packed matrix products and the rounding of their rows, plain C.
 *
 * Rounded rows here: bf16 as f32 of bf16 precision, int8 as int8.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

/** Column `column` of b: its words, one panel row apart. */
static const uint32_t *find_column(const FastvlmGemm *gemm, int column, size_t n_units)
{
    return gemm->b + (size_t)(column / FASTVLM_PANEL_COLUMNS) * n_units * FASTVLM_PANEL_COLUMNS +
           (size_t)(column % FASTVLM_PANEL_COLUMNS);
}

static float word_to_float(uint32_t word)
{
    float value;

    memcpy(&value, &word, sizeof value);
    return value;
}

void fastvlm_gemm_f32_scalar(const FastvlmGemm *gemm)
{
    const size_t k = (size_t)gemm->k;

    for (int row = 0; row < gemm->n_rows; row++)
        for (int column = 0; column < gemm->n_columns; column++) {
            const float *a = (const float *)gemm->a + (size_t)row * gemm->lda;
            const uint32_t *b = find_column(gemm, column, FASTVLM_UNITS_F32(k));
            float sum = 0.0f;

            for (size_t i = 0; i < k; i++)
                sum += a[i] * word_to_float(b[i * FASTVLM_PANEL_COLUMNS]);
            gemm->c[(size_t)row * gemm->ldc + (size_t)column] = sum;
        }
    fastvlm_gemm_finish(gemm, 0, gemm->n_rows, 0, gemm->n_columns);
}

void fastvlm_round_rows_bf16_scalar(const float *x, size_t ldx, int n_rows, int k, void *out)
{
    for (int row = 0; row < n_rows; row++) {
        float *to = (float *)((char *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k));

        for (int i = 0; i < k; i++)
            to[i] = fastvlm_bf16_to_f32(fastvlm_bf16_from_f32(x[(size_t)row * ldx + (size_t)i]));
        if (k % 2 == 1)
            to[k] = 0.0f;
    }
}

void fastvlm_gemm_bf16_scalar(const FastvlmGemm *gemm)
{
    const size_t n_units = FASTVLM_UNITS_BF16(gemm->k);

    for (int row = 0; row < gemm->n_rows; row++)
        for (int column = 0; column < gemm->n_columns; column++) {
            const float *a = (const float *)((const char *)gemm->a +
                                             (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(gemm->k));
            const uint32_t *b = find_column(gemm, column, n_units);
            float sum = 0.0f;

            for (size_t i = 0; i < n_units; i++) {
                const uint32_t word = b[i * FASTVLM_PANEL_COLUMNS];

                sum += a[2 * i] * word_to_float(word << 16);
                sum += a[2 * i + 1] * word_to_float(word & 0xffff0000u);
            }
            gemm->c[(size_t)row * gemm->ldc + (size_t)column] = sum;
        }
    fastvlm_gemm_finish(gemm, 0, gemm->n_rows, 0, gemm->n_columns);
}

/** The largest magnitude's bits, which order as the magnitudes do: NaN above all. */
static float find_largest(const float *x, int n)
{
    uint32_t largest = 0;

    for (int i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return word_to_float(largest);
}

void fastvlm_round_rows_int8_scalar(const float *x, size_t ldx, int n_rows, int k, void *out,
                                    float *scale)
{
    for (int row = 0; row < n_rows; row++, x += ldx) {
        int8_t *to = (int8_t *)out + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(k);
        float inverse;

        memset(to, 0, FASTVLM_UNITS_INT8(k) * 4);
        scale[row] = fastvlm_int8_scale(find_largest(x, k), &inverse);
        for (int i = 0; i < k && inverse > 0.0f; i++)
            to[i] = (int8_t)lrintf(x[i] * inverse);
    }
}

void fastvlm_gemm_int8_scalar(const FastvlmGemm *gemm)
{
    const size_t n_units = FASTVLM_UNITS_INT8(gemm->k);

    for (int row = 0; row < gemm->n_rows; row++)
        for (int column = 0; column < gemm->n_columns; column++) {
            const int8_t *a =
                (const int8_t *)gemm->a + (size_t)row * FASTVLM_ROUNDED_ROW_BYTES(gemm->k);
            const uint32_t *b = find_column(gemm, column, n_units);
            int32_t sum = 0;

            for (size_t i = 0; i < n_units; i++)
                for (int j = 0; j < 4; j++)
                    sum += a[4 * i + (size_t)j] *
                           (int8_t)(b[i * FASTVLM_PANEL_COLUMNS] >> (8 * j) & 0xff);
            gemm->c[(size_t)row * gemm->ldc + (size_t)column] =
                (float)sum * gemm->scale_a[row] * gemm->scale_b[column];
        }
    fastvlm_gemm_finish(gemm, 0, gemm->n_rows, 0, gemm->n_columns);
}
