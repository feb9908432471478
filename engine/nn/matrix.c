/*
 * Rounding, packing and multiplying weight matrices.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nn/matrix.h"

#include <fastvlm/error.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/blas.h"
#include "nn/compute.h"
#include "nn/int4.h"

#define PANEL FASTVLM_PANEL_COLUMNS

const char *fastvlm_matrix_type_to_string(FastvlmMatrixType type)
{
    static const char *const names[FASTVLM_N_MATRIX_TYPES] = {"f32", "bf16", "int8", "int4", "f32"};

    return names[type];
}

static gsize count_units(FastvlmMatrixType type, int n_in)
{
    switch (type) {
    case FASTVLM_MATRIX_BF16:
        return FASTVLM_UNITS_BF16(n_in);
    case FASTVLM_MATRIX_INT8:
        return FASTVLM_UNITS_INT8(n_in);
    case FASTVLM_MATRIX_INT4:
        return FASTVLM_UNITS_INT4(n_in);
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

/** What a store holds may come from a file: a damaged one makes no crash and no NaN. */
static gboolean check_columns(const FastvlmMatrix *matrix, gsize n_rows, const char *name,
                              GError **error)
{
    const gint32 largest = 128 * 127 * matrix->n_in;
    gboolean ok = TRUE;

    for (gsize i = 0; i < n_rows; i++)
        ok = ok && matrix->scale[i] >= 0.0f && matrix->scale[i] <= FLT_MAX &&
             matrix->offset[i] >= -largest && matrix->offset[i] <= largest;
    if (!ok)
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s: a scale or offset that no int8 matrix has", name);
    return ok;
}

static gboolean take_columns(FastvlmMatrix *matrix, gsize n_rows, FastvlmStore *store,
                             const char *name, GError **error)
{
    void *offset;

    if (!fastvlm_store_take_floats(store, name, 1, n_rows, &matrix->scale, error) ||
        !fastvlm_store_take(store, name, "s32", 1, n_rows, n_rows * sizeof(gint32), &offset, error))
        return FALSE;
    matrix->offset = offset;
    return fastvlm_store_get_state(store) != FASTVLM_STORE_FILLED ||
           check_columns(matrix, n_rows, name, error);
}

gboolean fastvlm_matrix_take(FastvlmMatrix *matrix, FastvlmMatrixType type, int n_out, int n_in,
                             FastvlmStore *store, const char *name, GError **error)
{
    static const char *const blobs[FASTVLM_N_MATRIX_TYPES] = {"f32-panels", "bf16-panels",
                                                              "int8-panels", "int4-panels", "f32"};
    const gsize n_rows = count_rows(type, n_out);
    const gsize n_bytes = n_rows * count_units(type, n_in) * sizeof(guint32);

    *matrix = (FastvlmMatrix){.type = type, .n_out = n_out, .n_in = n_in};
    if (n_in > FASTVLM_GEMM_MAX_K) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT, "%s: %d inputs, expected at most %d",
                    name, n_in, FASTVLM_GEMM_MAX_K);
        return FALSE;
    }
    return fastvlm_store_take(store, name, blobs[type], (gsize)n_out, (gsize)n_in, n_bytes,
                              &matrix->data, error) &&
           (type != FASTVLM_MATRIX_INT8 || take_columns(matrix, n_rows, store, name, error));
}

/** `n` floats to bf16; `to` has room for whole words. */
static void round_row_bf16(const float *row, int n, guint32 *to)
{
    for (int i = 0; i < n / 2; i++)
        to[i] = fastvlm_bf16_pair(row[2 * i], row[2 * i + 1]);
    if (n % 2)
        to[n / 2] = fastvlm_bf16_pair(row[n - 1], 0.0f);
}

/**
 * `n` floats to int8; `to` has room for whole words.
 *
 * @param sum  of the integers, out
 * @return the scale
 */
static float round_row_int8(const float *row, int n, guint32 *to, gint32 *sum)
{
    gint8 *bytes = (gint8 *)to;
    float largest = 0.0f;
    float scale, inverse;
    gint32 total = 0;

    for (int i = 0; i < n; i++)
        largest = MAX(largest, fabsf(row[i]));
    to[(n - 1) / 4] = 0;
    scale = fastvlm_int8_scale(largest, &inverse);
    for (int i = 0; i < n; i++) {
        /* To nearest even: the sum's lowest bit is worth 1. Plain, so that it is vectorised. */
        const float shifted = row[i] * inverse + 0x1.8p23f;
        gint32 bits;

        memcpy(&bits, &shifted, sizeof bits);
        bits -= 0x4b400000;
        bytes[i] = (gint8)bits;
        total += bits;
    }
    *sum = total;
    return scale;
}

/** Row `index` as words, rounded; scale and offset go to their places. */
static void round_row(FastvlmMatrix *matrix, int index, const float *row, guint32 *words)
{
    gint32 sum;

    switch (matrix->type) {
    case FASTVLM_MATRIX_BF16:
        round_row_bf16(row, matrix->n_in, words);
        break;
    case FASTVLM_MATRIX_INT8:
        matrix->scale[index] = round_row_int8(row, matrix->n_in, words, &sum);
        matrix->offset[index] = 128 * sum;
        break;
    case FASTVLM_MATRIX_INT4:
        fastvlm_int4_round_row(row, matrix->n_in, words);
        break;
    default:
        memcpy(words, row, (gsize)matrix->n_in * sizeof *row);
    }
}

/** Words [n, n_units] to columns of a panel: a kilobyte of it at a time, which the cache holds. */
static void scatter_words(const guint32 *words, int n, gsize n_units, guint32 *to)
{
    for (gsize first = 0; first < n_units; first += PANEL) {
        const gsize n_block = MIN((gsize)PANEL, n_units - first);

        for (int row = 0; row < n; row++)
            for (gsize i = first; i < first + n_block; i++)
                to[i * PANEL + (gsize)row] = words[(gsize)row * n_units + i];
    }
}

static void set_panel_rows(FastvlmMatrix *matrix, int first, int n, const float *rows,
                           guint32 *words)
{
    const gsize n_units = count_units(matrix->type, matrix->n_in);
    guint32 *to =
        (guint32 *)matrix->data + (gsize)(first / PANEL) * n_units * PANEL + (gsize)(first % PANEL);

    for (int i = 0; i < n; i++)
        round_row(matrix, first + i, rows + (gsize)i * (gsize)matrix->n_in,
                  words + (gsize)i * n_units);
    scatter_words(words, n, n_units, to);
}

void fastvlm_matrix_set_rows(FastvlmMatrix *matrix, int first, int n_rows, const float *rows)
{
    const gsize n_in = (gsize)matrix->n_in;
    g_autofree guint32 *words = NULL;

    if (matrix->type == FASTVLM_MATRIX_BLAS) {
        memcpy((float *)matrix->data + (gsize)first * n_in, rows,
               (gsize)n_rows * n_in * sizeof *rows);
        return;
    }
    words = g_new(guint32, count_units(matrix->type, matrix->n_in) * PANEL);
    while (n_rows > 0) {
        const int n = MIN(n_rows, PANEL - first % PANEL);

        set_panel_rows(matrix, first, n, rows, words);
        rows += (gsize)n * n_in;
        first += n;
        n_rows -= n;
    }
}

/** Bytes of the row scales, in front of the rounded rows. */
static gsize count_scale_bytes(int n_rows)
{
    return ((gsize)n_rows * sizeof(float) + 63) & ~(gsize)63;
}

/** `gemm` by OpenBLAS, whose memory is whole groups of rows; one row without it. */
static void multiply_plain(const FastvlmKernels *kernels, const FastvlmGemm *gemm,
                           const float *weight)
{
    const gsize n_in = (gsize)gemm->k;

    if (gemm->n_rows > 1)
        fastvlm_blas_multiply_nt(fastvlm_pad_rows(gemm->n_rows), gemm->n_columns, gemm->k, gemm->a,
                                 gemm->lda, weight, n_in, gemm->c, gemm->ldc);
    for (int i = 0; gemm->n_rows == 1 && i < gemm->n_columns; i++)
        gemm->c[i] = kernels->dot_f32(weight + (gsize)i * n_in, gemm->a, n_in);
    fastvlm_gemm_finish(gemm, 0, gemm->n_rows, 0, gemm->n_columns);
}

void fastvlm_matrix_round(const FastvlmKernels *kernels, const FastvlmMatrix *matrix,
                          const float *x, gsize ldx, int n_rows, FastvlmRounded *rounded)
{
    if (matrix->type == FASTVLM_MATRIX_BF16)
        kernels->round_rows_bf16(x, ldx, n_rows, matrix->n_in, rounded->rows);
    else if (matrix->type == FASTVLM_MATRIX_INT8)
        kernels->round_rows_int8(x, ldx, n_rows, matrix->n_in, rounded->rows, rounded->scale);
    else if (matrix->type == FASTVLM_MATRIX_INT4)
        kernels->round_rows_int4(x, ldx, n_rows, matrix->n_in, rounded->rows, rounded->scale);
}

gboolean fastvlm_matrix_is_rounding(const FastvlmMatrix *matrix)
{
    return matrix->type == FASTVLM_MATRIX_BF16 || matrix->type == FASTVLM_MATRIX_INT8 ||
           matrix->type == FASTVLM_MATRIX_INT4;
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
                             const float *x, gsize ldx, FastvlmRounded rounded, int n_rows,
                             int first, int n_columns, const FastvlmEpilogue *epilogue, float *y,
                             gsize ldy)
{
    const gsize n_units = count_units(matrix->type, matrix->n_in);
    const FastvlmGemm gemm = {
        .a = rounded.rows ? (const void *)rounded.rows : x,
        .lda = ldx,
        .scale_a = rounded.scale,
        .b = (const guint32 *)matrix->data + (gsize)first * n_units,
        .scale_b = matrix->scale ? matrix->scale + first : NULL,
        .offset_b = matrix->offset ? matrix->offset + first : NULL,
        .c = y,
        .ldc = ldy,
        .n_rows = n_rows,
        .n_columns = n_columns,
        .k = matrix->n_in,
        .epilogue = epilogue ? *epilogue : (FastvlmEpilogue){0},
        .finish = epilogue ? kernels->finish_f32 : NULL,
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
    case FASTVLM_MATRIX_INT4:
        kernels->gemm_int4(&gemm);
        break;
    default:
        multiply_plain(kernels, &gemm,
                       (const float *)matrix->data + (gsize)first * (gsize)matrix->n_in);
    }
}
