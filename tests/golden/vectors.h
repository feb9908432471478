/*
 * Reads safetensors files of vectors, and compares with them.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef TESTS_GOLDEN_VECTORS_H
#define TESTS_GOLDEN_VECTORS_H

#include <glib.h>
#include <jansson.h>

/* How far f32 may be from the reference: vision and projected relative to the largest magnitude of
 * the reference, logits absolute; tokens are to be the same. */
#define VISION_BOUND 2e-5
#define PROJECTED_BOUND 2e-5
#define LOGITS_BOUND 2e-3

/** A file in memory. */
typedef struct {
    char *path;
    char *bytes;
    gsize data_offset;
    gsize n_data_bytes;
    json_t *header;
} Vectors;

/** What a tensor is; borrowed from its Vectors. */
typedef struct {
    const void *data; /* [n_rows, n_columns], float or gint32 */
    gboolean floats;
    int n_dims; /* 1 or 2 */
    int n_rows;
    int n_columns; /* 1 where there is one dimension */
} Vector;

/** Reads a file, or NULL with a message on standard error. */
Vectors *vectors_open(const char *path);

void vectors_free(Vectors *vectors);

/** Finds a tensor by name; FALSE where there is none. */
gboolean vectors_find(const Vectors *vectors, const char *name, Vector *vector);

/** The largest difference of two tensors of floats; NaN where one is not a number. */
double vectors_difference(const float *a, const float *b, gsize n);

/** The largest magnitude. */
double vectors_magnitude(const float *values, gsize n);

/**
 * Compares tensor NAME of `found` with tensor "SIZE.NAME" of `golden`: shape, then values within the
 * bound of NAME.
 *
 * @return NULL, or what is wrong, to free
 */
char *vectors_compare(const Vectors *golden, int size, const char *name, const Vector *found);

/**
 * Draws the test picture: R = x * 255 / (S - 1), G = y * 255 / (S - 1), B = (x ^ y) * 255 / (2 S - 1)
 * in integers.
 *
 * @return [size, size, 3] bytes to free
 */
guint8 *vectors_draw_picture(int size);

#endif
