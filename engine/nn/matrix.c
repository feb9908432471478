/*
 * Rounding, packing and multiplying weight matrices.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/matrix.h"

#include <fastvlm/error.h>

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/blas.h"
#include "nn/compute.h"

#define PANEL FASTVLM_PANEL_COLUMNS

const char *fastvlm_matrix_type_to_string(FastvlmMatrixType type)
{
    static const char *const names[FASTVLM_N_MATRIX_TYPES] = {"f32", "bf16", "int8", "f32"};

    return names[type];
}

static gsize count_units(FastvlmMatrixType type, int n_in)
{
    switch (type) {
    case FASTVLM_MATRIX_BF16:
        return FASTVLM_UNITS_BF16(n_in);
    case FASTVLM_MATRIX_INT8:
        return FASTVLM_UNITS_INT8(n_in);
    default:
        return FASTVLM_UNITS_F32(n_in);
    }
}

/** Rows of memory: whole panels, but for BLAS. */
static gsize count_rows(FastvlmMatrixType type, int n_out)
{
    return type == FASTVLM_MATRIX_BLAS ? (gsize)n_out : ((gsize)n_out + PANEL - 1) / PANEL * PANEL;
}

gsize fastvlm_matrix_count_bytes(FastvlmMatrixType type, int n_out, int n_in)
{
    const gsize n_rows = count_rows(type, n_out);
    const gsize extra = type == FASTVLM_MATRIX_INT8 ? sizeof(float) + sizeof(gint32) : 0;

    return n_rows * (count_units(type, n_in) * sizeof(guint32) + extra);
}

gboolean fastvlm_matrix_alloc(FastvlmMatrix *matrix, FastvlmMatrixType type, int n_out, int n_in,
                              const char *what, GError **error)
{
    const gsize n_rows = count_rows(type, n_out);

    *matrix = (FastvlmMatrix){.type = type, .n_out = n_out, .n_in = n_in};
    if (n_in > FASTVLM_GEMM_MAX_K) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT, "%s: %d inputs, expected at most %d",
                    what, n_in, FASTVLM_GEMM_MAX_K);
        return FALSE;
    }
    matrix->data = fastvlm_alloc_tensor(n_rows, count_units(type, n_in), what, error);
    if (matrix->data && type == FASTVLM_MATRIX_INT8) {
        matrix->scale = fastvlm_alloc_tensor(1, n_rows, what, error);
        matrix->offset =
            matrix->scale ? (gint32 *)fastvlm_alloc_tensor(1, n_rows, what, error) : NULL;
        return matrix->offset != NULL;
    }
    return matrix->data != NULL;
}

void fastvlm_matrix_clear(FastvlmMatrix *matrix)
{
    fastvlm_free_tensor(matrix->data);
    fastvlm_free_tensor(matrix->scale);
    fastvlm_free_tensor((float *)matrix->offset);
    *matrix = (FastvlmMatrix){0};
}

/** The upper half of a f32, rounded to nearest even. */
static guint32 round_to_bf16(float value)
{
    guint32 bits;

    memcpy(&bits, &value, sizeof bits);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/** Words of one column lie a panel row apart, from `to` on. */
static void pack_f32(const float *row, int n_in, guint32 *to)
{
    for (int i = 0; i < n_in; i++)
        memcpy(&to[i * PANEL], &row[i], sizeof *to);
}

static void pack_bf16(const float *row, int n_in, guint32 *to)
{
    for (int i = 0; i < n_in; i += 2, to += PANEL)
        *to = round_to_bf16(row[i]) | (i + 1 < n_in ? round_to_bf16(row[i + 1]) << 16 : 0);
}

/** The scale of the column; `sum` of its integers. */
static float pack_int8(const float *row, int n_in, guint32 *to, gint32 *sum)
{
    float largest = 0.0f;
    float inverse;

    *sum = 0;
    for (int i = 0; i < n_in; i++)
        largest = MAX(largest, fabsf(row[i]));
    if (largest < FASTVLM_GEMM_SMALLEST)
        return 0.0f;
    inverse = 127.0f / largest;
    for (int i = 0; i < n_in; i += 4, to += PANEL) {
        guint32 word = 0;

        for (int j = 0; j < 4 && i + j < n_in; j++) {
            const gint32 integer = (gint32)lrintf(row[i + j] * inverse);

            word |= (guint32)(guint8)integer << (8 * j);
            *sum += integer;
        }
        *to = word;
    }
    return largest / 127.0f;
}

static void set_row(FastvlmMatrix *matrix, int index, const float *row)
{
    const gsize n_units = count_units(matrix->type, matrix->n_in);
    guint32 *to =
        (guint32 *)matrix->data + (gsize)(index / PANEL) * n_units * PANEL + (gsize)(index % PANEL);
    gint32 sum;

    switch (matrix->type) {
    case FASTVLM_MATRIX_F32:
        pack_f32(row, matrix->n_in, to);
        break;
    case FASTVLM_MATRIX_BF16:
        pack_bf16(row, matrix->n_in, to);
        break;
    case FASTVLM_MATRIX_INT8:
        matrix->scale[index] = pack_int8(row, matrix->n_in, to, &sum);
        matrix->offset[index] = 128 * sum;
        break;
    default:
        memcpy((float *)matrix->data + (gsize)index * (gsize)matrix->n_in, row,
               (gsize)matrix->n_in * sizeof *row);
    }
}

void fastvlm_matrix_set_rows(FastvlmMatrix *matrix, int first, int n_rows, const float *rows)
{
    for (int i = 0; i < n_rows; i++)
        set_row(matrix, first + i, rows + (gsize)i * (gsize)matrix->n_in);
}

/** Bytes of the row scales, in front of the rounded rows. */
static gsize count_scale_bytes(int n_rows)
{
    return ((gsize)n_rows * sizeof(float) + 63) & ~(gsize)63;
}

/** `n_rows` rows by OpenBLAS, whose memory is whole groups; one row without it. */
static void multiply_plain(const FastvlmKernels *kernels, const FastvlmMatrix *matrix,
                           const float *x, int n_rows, int first, int n_columns, float *y,
                           gsize ldy)
{
    const gsize n_in = (gsize)matrix->n_in;
    const float *weight = (const float *)matrix->data + (gsize)first * n_in;

    if (n_rows > 1)
        fastvlm_blas_multiply_nt(fastvlm_pad_rows(n_rows), n_columns, matrix->n_in, x, n_in, weight,
                                 n_in, y, ldy);
    for (int i = 0; n_rows == 1 && i < n_columns; i++)
        y[i] = kernels->dot_f32(weight + (gsize)i * n_in, x, n_in);
}

void fastvlm_matrix_round(const FastvlmKernels *kernels, const FastvlmMatrix *matrix,
                          const float *x, int n_rows, FastvlmRounded *rounded)
{
    const gsize n_in = (gsize)matrix->n_in;

    if (matrix->type == FASTVLM_MATRIX_BF16)
        kernels->round_rows_bf16(x, n_in, n_rows, matrix->n_in, rounded->rows);
    else if (matrix->type == FASTVLM_MATRIX_INT8)
        kernels->round_rows_int8(x, n_in, n_rows, matrix->n_in, rounded->rows, rounded->scale);
}

gboolean fastvlm_matrix_is_rounding(const FastvlmMatrix *matrix)
{
    return matrix->type == FASTVLM_MATRIX_BF16 || matrix->type == FASTVLM_MATRIX_INT8;
}

gsize fastvlm_matrix_count_rounded_bytes(const FastvlmMatrix *matrix, int n_rows)
{
    if (!fastvlm_matrix_is_rounding(matrix))
        return 0;
    return count_scale_bytes(n_rows) + (gsize)n_rows * FASTVLM_ROUNDED_ROW_BYTES(matrix->n_in);
}

FastvlmRounded fastvlm_matrix_bind_rounded(const FastvlmMatrix *matrix, int n_rows, void *memory)
{
    FastvlmRounded rounded = {NULL, NULL, FASTVLM_ROUNDED_ROW_BYTES(matrix->n_in)};

    if (fastvlm_matrix_is_rounding(matrix)) {
        rounded.scale = memory;
        rounded.rows = (char *)memory + count_scale_bytes(n_rows);
    }
    return rounded;
}

FastvlmRounded fastvlm_rounded_skip(FastvlmRounded rounded, int n_rows)
{
    if (rounded.rows) {
        rounded.rows += (gsize)n_rows * rounded.row_bytes;
        rounded.scale += n_rows;
    }
    return rounded;
}

void fastvlm_matrix_multiply(const FastvlmKernels *kernels, const FastvlmMatrix *matrix,
                             const float *x, FastvlmRounded rounded, int n_rows, int first,
                             int n_columns, float *y, gsize ldy)
{
    const gsize n_units = count_units(matrix->type, matrix->n_in);
    const FastvlmGemm gemm = {
        .a = rounded.rows ? (const void *)rounded.rows : x,
        .lda = (gsize)matrix->n_in,
        .scale_a = rounded.scale,
        .b = (const guint32 *)matrix->data + (gsize)first * n_units,
        .scale_b = matrix->scale ? matrix->scale + first : NULL,
        .offset_b = matrix->offset ? matrix->offset + first : NULL,
        .c = y,
        .ldc = ldy,
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = matrix->n_in,
    };

    switch (matrix->type) {
    case FASTVLM_MATRIX_F32:
        kernels->gemm_f32(&gemm);
        break;
    case FASTVLM_MATRIX_BF16:
        kernels->gemm_bf16(&gemm);
        break;
    case FASTVLM_MATRIX_INT8:
        kernels->gemm_int8(&gemm);
        break;
    default:
        multiply_plain(kernels, matrix, x, n_rows, first, n_columns, y, ldy);
    }
}
