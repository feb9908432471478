/*
 * Reads safetensors files of vectors, and compares with them.
 *
 * A reader of its own, so that a fault in the engine's does not hide itself.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "vectors.h"

#include <math.h>
#include <string.h>

static gboolean parse(Vectors *vectors, gsize n_bytes)
{
    guint64 n_header = 0;
    if (n_bytes < sizeof n_header)
        return FALSE;
    memcpy(&n_header, vectors->bytes, sizeof n_header);
    n_header = GUINT64_FROM_LE(n_header);
    if (n_header > n_bytes - sizeof n_header)
        return FALSE;
    vectors->header = json_loadb(vectors->bytes + sizeof n_header, n_header, 0, NULL);
    vectors->data_offset = sizeof n_header + n_header;
    vectors->n_data_bytes = n_bytes - vectors->data_offset;
    return json_is_object(vectors->header);
}

Vectors *vectors_open(const char *path)
{
    Vectors *vectors = g_new0(Vectors, 1);
    vectors->path = g_strdup(path);
    gsize n_bytes = 0;
    GError *error = NULL;
    if (!g_file_get_contents(path, &vectors->bytes, &n_bytes, &error)) {
        g_printerr("%s\n", error->message);
        g_error_free(error);
        g_clear_pointer(&vectors, vectors_free);
    } else if (!parse(vectors, n_bytes)) {
        g_printerr("%s: not a safetensors file\n", path);
        g_clear_pointer(&vectors, vectors_free);
    }
    return vectors;
}

void vectors_free(Vectors *vectors)
{
    if (!vectors)
        return;
    json_decref(vectors->header);
    g_free(vectors->bytes);
    g_free(vectors->path);
    g_free(vectors);
}

gboolean vectors_find(const Vectors *vectors, const char *name, Vector *vector)
{
    json_t *entry = json_object_get(vectors->header, name);
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    json_t *shape = json_object_get(entry, "shape");
    json_t *offsets = json_object_get(entry, "data_offsets");
    if (!dtype || json_array_size(shape) < 1 || json_array_size(shape) > 2)
        return FALSE;
    vector->floats = strcmp(dtype, "F32") == 0;
    vector->n_dims = (int)json_array_size(shape);
    vector->n_rows = (int)json_integer_value(json_array_get(shape, 0));
    vector->n_columns = vector->n_dims == 2 ? (int)json_integer_value(json_array_get(shape, 1)) : 1;
    gsize begin = (gsize)json_integer_value(json_array_get(offsets, 0));
    gsize end = (gsize)json_integer_value(json_array_get(offsets, 1));
    gsize size = (gsize)vector->n_rows * (gsize)vector->n_columns * sizeof(float);
    vector->data = vectors->bytes + vectors->data_offset + begin;
    return (vector->floats || strcmp(dtype, "I32") == 0) && end - begin == size &&
           end <= vectors->n_data_bytes;
}

double vectors_difference(const float *a, const float *b, gsize n)
{
    double largest = 0;
    for (gsize i = 0; i < n; i++) {
        double difference = fabs((double)a[i] - b[i]);
        if (isnan(difference))
            return difference;
        largest = MAX(largest, difference);
    }
    return largest;
}

double vectors_magnitude(const float *values, gsize n)
{
    double largest = 0;
    for (gsize i = 0; i < n; i++)
        largest = MAX(largest, fabs((double)values[i]));
    return largest;
}

static char *compare_floats(const char *key, const char *name, const Vector *golden,
                            const Vector *found, gsize n)
{
    double difference = vectors_difference(golden->data, found->data, n);
    double bound = LOGITS_BOUND;
    if (strcmp(name, "logits") != 0)
        bound = (strcmp(name, "vision") == 0 ? VISION_BOUND : PROJECTED_BOUND) *
                vectors_magnitude(golden->data, n);
    if (difference <= bound) /* false for NaN */
        return NULL;
    return g_strdup_printf("%s: differs by %g, expected at most %g", key, difference, bound);
}

static char *compare_tokens(const char *key, const Vector *golden, const Vector *found, gsize n)
{
    const gint32 *expected = golden->data, *ids = found->data;
    for (gsize i = 0; i < n; i++) {
        if (ids[i] != expected[i])
            return g_strdup_printf("%s: token %" G_GSIZE_FORMAT " is %d, expected %d", key, i,
                                   ids[i], expected[i]);
    }
    return NULL;
}

char *vectors_compare(const Vectors *golden, int size, const char *name, const Vector *found)
{
    char *key = g_strdup_printf("%d.%s", size, name);
    char *wrong = NULL;
    Vector expected;
    if (!vectors_find(golden, key, &expected))
        wrong = g_strdup_printf("%s: not in %s", key, golden->path);
    else if (found->floats != expected.floats || found->n_dims != expected.n_dims ||
             found->n_rows != expected.n_rows || found->n_columns != expected.n_columns)
        wrong = g_strdup_printf("%s: %s [%d, %d] of %d dimensions, expected %s [%d, %d] of %d", key,
                                found->floats ? "F32" : "I32", found->n_rows, found->n_columns,
                                found->n_dims, expected.floats ? "F32" : "I32", expected.n_rows,
                                expected.n_columns, expected.n_dims);
    else {
        gsize n = (gsize)expected.n_rows * (gsize)expected.n_columns;
        wrong = expected.floats ? compare_floats(key, name, &expected, found, n)
                                : compare_tokens(key, &expected, found, n);
    }
    g_free(key);
    return wrong;
}

guint8 *vectors_draw_picture(int size)
{
    guint8 *picture = g_malloc((gsize)size * (gsize)size * 3);
    guint8 *pixel = picture;
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            *pixel++ = (guint8)(x * 255 / (size - 1));
            *pixel++ = (guint8)(y * 255 / (size - 1));
            *pixel++ = (guint8)((x ^ y) * 255 / (2 * size - 1));
        }
    }
    return picture;
}
