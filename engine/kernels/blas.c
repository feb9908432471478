/*
 * Matrix products by OpenBLAS.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/blas.h"

#include <assert.h>
#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int takes_turns;
static int forgets; /* an OpenMP build: the number of threads holds for the thread that set it */
static char description[96];

static void init(void)
{
    const char *config = openblas_get_config(); /* "OpenBLAS 0.3.21 NO_LAPACKE ..." */
    const char *version_end = strchr(config + strcspn(config, " ") + 1, ' ');
    const int version_length = version_end ? (int)(version_end - config) : (int)strlen(config);

    takes_turns = openblas_get_parallel() == OPENBLAS_SEQUENTIAL;
    forgets = openblas_get_parallel() == OPENBLAS_OPENMP;
    openblas_set_num_threads(1);
    snprintf(description, sizeof description, "%.*s (%s%s)", version_length, config,
             openblas_get_corename(),
             takes_turns ? ", serial build"
             : forgets   ? ", OpenMP build"
                         : "");
}

void fastvlm_blas_init(void)
{
    pthread_once(&once, init);
}

const char *fastvlm_blas_describe(void)
{
    fastvlm_blas_init();
    return description;
}

static void hold_this_thread(void)
{
    static _Thread_local int is_held;

    if (is_held)
        return;
    pthread_mutex_lock(&turn);
    openblas_set_num_threads(1);
    pthread_mutex_unlock(&turn);
    is_held = 1;
}

static void multiply(CBLAS_TRANSPOSE transpose_b, int n_rows, int n_columns, int n_inner,
                     const float *a, size_t lda, const float *b, size_t ldb, float *c, size_t ldc)
{
    assert(n_rows % FASTVLM_BLAS_ROWS == 0);
    if (forgets)
        hold_this_thread();
    if (takes_turns)
        pthread_mutex_lock(&turn);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose_b, n_rows, n_columns, n_inner, 1.0f, a,
                (int)lda, b, (int)ldb, 0.0f, c, (int)ldc);
    if (takes_turns)
        pthread_mutex_unlock(&turn);
}

void fastvlm_blas_multiply_nt(int n_rows, int n_columns, int n_inner, const float *a, size_t lda,
                              const float *b, size_t ldb, float *c, size_t ldc)
{
    multiply(CblasTrans, n_rows, n_columns, n_inner, a, lda, b, ldb, c, ldc);
}

void fastvlm_blas_multiply_nn(int n_rows, int n_columns, int n_inner, const float *a, size_t lda,
                              const float *b, size_t ldb, float *c, size_t ldc)
{
    multiply(CblasNoTrans, n_rows, n_columns, n_inner, a, lda, b, ldb, c, ldc);
}

#define CHECK_ROWS (2 * FASTVLM_BLAS_ROWS)
#define CHECK_COLUMNS 50
#define CHECK_INNER 70

/** A product of small integers, exact in f32, against plain loops. */
static int is_right(void)
{
    static float a[CHECK_ROWS * CHECK_INNER], b[CHECK_COLUMNS * CHECK_INNER];
    static float c[CHECK_ROWS * CHECK_COLUMNS];

    for (int i = 0; i < CHECK_ROWS * CHECK_INNER; i++)
        a[i] = (float)(i * 7 % 19 - 9);
    for (int i = 0; i < CHECK_COLUMNS * CHECK_INNER; i++)
        b[i] = (float)(i * 5 % 23 - 11);
    fastvlm_blas_multiply_nt(CHECK_ROWS, CHECK_COLUMNS, CHECK_INNER, a, CHECK_INNER, b, CHECK_INNER,
                             c, CHECK_COLUMNS);
    for (int i = 0; i < CHECK_ROWS; i++)
        for (int j = 0; j < CHECK_COLUMNS; j++) {
            float sum = 0.0f;

            for (int k = 0; k < CHECK_INNER; k++)
                sum += a[i * CHECK_INNER + k] * b[j * CHECK_INNER + k];
            if (c[i * CHECK_COLUMNS + j] != sum)
                return 0;
        }
    return 1;
}

static int check_result;

static void check(void)
{
    check_result = is_right();
}

int fastvlm_blas_is_wanted(FastvlmTier tier)
{
    static pthread_once_t check_once = PTHREAD_ONCE_INIT;
    const char *wanted = getenv("FASTVLM_BLAS");

    if (tier != FASTVLM_TIER_SCALAR && !(wanted && strcmp(wanted, "openblas") == 0))
        return 0;
    fastvlm_blas_init();
    pthread_once(&check_once, check);
    return check_result;
}
