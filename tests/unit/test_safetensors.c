/*
 * One safetensors file: good ones, and each way in which one can lie.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <sys/stat.h>

#include "load/safetensors.h"
#include "test_directory.h"

/* A tensor of a file that a test writes. */
#define ENTRY(name, dtype, shape, begin, end)                                                      \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

/* Writes a header with its length and `n_data` bytes behind it. */
static char *write_file(const char *directory, const char *header, gsize n_header, gsize n_data)
{
    const guint64 length = GUINT64_TO_LE((guint64)n_header);
    GByteArray *bytes = g_byte_array_new();

    g_byte_array_append(bytes, (const guint8 *)&length, sizeof length);
    g_byte_array_append(bytes, (const guint8 *)header, (guint)n_header);
    for (gsize i = 0; i < n_data; i++)
        g_byte_array_append(bytes, (const guint8[]){(guint8)i}, 1);
    test_directory_write(directory, "w.safetensors", bytes->data, bytes->len);
    g_byte_array_unref(bytes);
    return g_build_filename(directory, "w.safetensors", NULL);
}

typedef struct {
    const char *name;
    const char *header;
    gsize n_data;
    FastvlmError code;
    const char *item;
    const char *found;
} BadFile;

static const BadFile bad_files[] = {
    {"json", "{\"a\":", 0, FASTVLM_ERROR_FORMAT, "header", "not valid JSON"},
    {"array", "[]", 0, FASTVLM_ERROR_FORMAT, "header", "found an array, expected a JSON object"},
    {"twice", "{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("a", "F32", "[1]", 4, 8) "}", 8,
     FASTVLM_ERROR_FORMAT, "header", "duplicate"},
    {"nul-in-name", "{\"a\\u0000\":1}", 0, FASTVLM_ERROR_FORMAT, "header", "not valid JSON"},
    {"not-an-object", "{\"a\":1}", 0, FASTVLM_ERROR_FORMAT, "tensor \"a\"",
     "its entry: found 1, expected an object"},
    {"name-with-newline", "{\"a\\nb\":1}", 0, FASTVLM_ERROR_FORMAT, "tensor \"a\\nb\"",
     "expected an object"},
    {"metadata", "{\"__metadata__\":[]}", 0, FASTVLM_ERROR_FORMAT, "__metadata__",
     "found an array, expected an object"},
    {"metadata-number", "{\"__metadata__\":{\"format\":1}}", 0, FASTVLM_ERROR_FORMAT, "\"format\"",
     "found 1, expected a text"},
    {"no-dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "dtype: found nothing, expected a text as \"BF16\""},
    {"dtype-number", "{\"a\":{\"dtype\":16}}", 4, FASTVLM_ERROR_FORMAT, "tensor \"a\"",
     "dtype: found 16, expected a text"},
    {"dtype", "{" ENTRY("a", "F8_E4M3", "[4]", 0, 4) "}", 4, FASTVLM_ERROR_UNSUPPORTED,
     "tensor \"a\"", "dtype \"F8_E4M3\", expected BF16, F16 or F32"},
    {"no-shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "shape: found nothing, expected an array of integers"},
    {"shape-real", "{" ENTRY("a", "F32", "[1.0]", 0, 4) "}", 4, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "dimension 0 of its shape: found 1.0, expected a positive integer"},
    {"shape-negative", "{" ENTRY("a", "F32", "[1,-1]", 0, 4) "}", 4, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "dimension 1 of its shape: found -1, expected a positive integer"},
    {"shape-zero", "{" ENTRY("a", "F32", "[0]", 0, 0) "}", 0, FASTVLM_ERROR_FORMAT, "tensor \"a\"",
     "dimension 0 of its shape: found 0, expected a positive integer"},
    {"shape-too-long", "{" ENTRY("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4,
     FASTVLM_ERROR_FORMAT, "tensor \"a\"", "9 dimensions, expected at most 8"},
    {"shape-overflow", "{" ENTRY("a", "F32", "[4294967296,4294967296]", 0, 4) "}", 4,
     FASTVLM_ERROR_FORMAT, "tensor \"a\"", "more than 2^64 elements, expected at most"},
    {"bytes-overflow", "{" ENTRY("a", "F64", "[2305843009213693952]", 0, 4) "}", 4,
     FASTVLM_ERROR_FORMAT, "tensor \"a\"",
     "4 bytes of data, expected 2305843009213693952 F64 elements"},
    {"no-offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "data_offsets: found nothing, expected begin and end"},
    {"offsets-negative", "{" ENTRY("a", "F32", "[1]", -4, 0) "}", 4, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "data_offsets: found -4 and 0, expected two integers, 0 <= begin <= end"},
    {"offsets-reversed", "{" ENTRY("a", "F32", "[1]", 4, 0) "}", 4, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "data_offsets: found 4 and 0, expected two integers, 0 <= begin <= end"},
    {"cut-short", "{" ENTRY("a", "F32", "[2]", 0, 8) "}", 7, FASTVLM_ERROR_READ, "tensor \"a\"",
     "its data end at 8, the file's at 7: the file was cut short, fetch it again"},
    {"size", "{" ENTRY("a", "F32", "[2]", 0, 4) "}", 4, FASTVLM_ERROR_FORMAT, "tensor \"a\"",
     "4 bytes of data, expected 2 F32 elements"},
    {"overlap", "{" ENTRY("a", "F32", "[2]", 0, 8) "," ENTRY("b", "F32", "[1]", 4, 8) "}", 8,
     FASTVLM_ERROR_FORMAT, "tensor \"b\"",
     "its data begin at 4 and overlap those of tensor \"a\", expected 8, where those end"},
    {"same-place", "{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("b", "F32", "[1]", 0, 4) "}", 4,
     FASTVLM_ERROR_FORMAT, "tensor \"", "overlap"},
    {"hole", "{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("b", "F32", "[1]", 8, 12) "}", 12,
     FASTVLM_ERROR_FORMAT, "tensor \"b\"",
     "4 bytes before its data belong to no tensor, expected none"},
    {"hole-in-front", "{" ENTRY("a", "F32", "[1]", 1, 5) "}", 5, FASTVLM_ERROR_FORMAT,
     "tensor \"a\"", "1 bytes before"},
    {"trailing", "{" ENTRY("a", "F32", "[1]", 0, 4) "}", 6, FASTVLM_ERROR_FORMAT, "w.safetensors",
     "2 bytes behind the last tensor belong to none, expected"},
    {"trailing-only", "{}", 1, FASTVLM_ERROR_FORMAT, "w.safetensors", "1 bytes behind"},
};

static void test_bad(gconstpointer data)
{
    const BadFile *bad = data;
    char *directory = test_directory_make();
    g_autofree char *path = write_file(directory, bad->header, strlen(bad->header), bad->n_data);
    GError *error = NULL;

    g_assert_null(fastvlm_safetensors_open(path, &error));
    test_assert_error(error, bad->code, path, bad->item, bad->found, NULL);
    test_directory_remove(directory);
}

/* Files whose first bytes are no header at all. */
static void test_bad_start(void)
{
    static const struct {
        const char *bytes;
        gssize n_bytes;
        FastvlmError code;
        const char *found;
    } starts[] = {
        {"", 0, FASTVLM_ERROR_FORMAT,
         "0 bytes: not a safetensors file, expected at least 8: fetch it"},
        {"1234567", 7, FASTVLM_ERROR_FORMAT, "7 bytes: not a safetensors file"},
        {"\0\0\0\0\0\0\0\0", 8, FASTVLM_ERROR_FORMAT, "not valid JSON"},
        {"\3\0\0\0\0\0\0\0{}", 10, FASTVLM_ERROR_FORMAT,
         "a header of 3 bytes in a file of 10, expected at most 2: cut short"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, FASTVLM_ERROR_FORMAT,
         "a header of 18446744073709551615 bytes"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", -1, FASTVLM_ERROR_FORMAT,
         "Git LFS pointer"},
    };
    char *directory = test_directory_make();
    g_autofree char *path = g_build_filename(directory, "w.safetensors", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(starts); i++) {
        GError *error = NULL;

        test_directory_write(directory, "w.safetensors", starts[i].bytes, starts[i].n_bytes);
        g_assert_null(fastvlm_safetensors_open(path, &error));
        test_assert_error(error, starts[i].code, path, starts[i].found, NULL);
    }
    test_directory_remove(directory);
}

/* A header above the limit is refused before a parser sees it; the file is sparse. */
static void test_long_header(void)
{
    const guint64 length = GUINT64_TO_LE((guint64)FASTVLM_SAFETENSORS_MAX_HEADER + 1);
    char *directory = test_directory_make();
    g_autofree char *path = g_build_filename(directory, "w.safetensors", NULL);
    GError *error = NULL;

    test_directory_write(directory, "w.safetensors", &length, sizeof length);
    g_assert_cmpint(truncate(path, 2 * (off_t)FASTVLM_SAFETENSORS_MAX_HEADER), ==, 0);
    g_assert_null(fastvlm_safetensors_open(path, &error));
    test_assert_error(error, FASTVLM_ERROR_LIMIT, path, "16777217 bytes, expected at most 16777216",
                      NULL);
    test_directory_remove(directory);
}

/* JSON nested deeper than any stack. */
static void test_deep(void)
{
    const gsize depth = 1000000;
    char *directory = test_directory_make();
    g_autofree char *header = g_malloc(depth);
    g_autofree char *path = NULL;
    GError *error = NULL;

    memset(header, '[', depth);
    memcpy(header, "{\"a\":", 5);
    path = write_file(directory, header, depth, 0);
    g_assert_null(fastvlm_safetensors_open(path, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, path, "not valid JSON", NULL);
    test_directory_remove(directory);
}

static void test_not_a_file(void)
{
    char *directory = test_directory_make();
    g_autofree char *pipe = g_build_filename(directory, "pipe", NULL);
    g_autofree char *absent = g_build_filename(directory, "absent", NULL);
    GError *error = NULL;

    g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
    g_assert_null(fastvlm_safetensors_open(absent, &error));
    test_assert_error(error, FASTVLM_ERROR_NOT_FOUND, absent, NULL);
    error = NULL;
    g_assert_null(fastvlm_safetensors_open(directory, &error));
    test_assert_error(error, FASTVLM_ERROR_READ, directory, NULL);
    error = NULL;
    g_assert_null(fastvlm_safetensors_open(pipe, &error));
    test_assert_error(error, FASTVLM_ERROR_READ, pipe, "not a regular file", NULL);
    test_directory_remove(directory);
}

/* Tensors out of order in the header, an odd header length, a scalar, metadata. */
static void test_good(void)
{
    static const char header[] =
        "{" ENTRY("b", "BF16", "[2,3]", 8, 20) ",\"__metadata__\":{\"format\":\"pt\"}," ENTRY(
            "a", "I64", "[]", 0, 8) "," ENTRY("c", "U8", "[1,1,1,1,1,1,1,3]", 20, 23) "} ";
    char *directory = test_directory_make();
    g_autofree char *path = write_file(directory, header, sizeof header - 1, 23);
    GError *error = NULL;
    FastvlmSafetensors *file = fastvlm_safetensors_open(path, &error);
    const FastvlmTensorView *view;
    guint8 bytes[3];

    g_assert_no_error(error);
    g_assert_cmpuint(fastvlm_safetensors_get_size(file), ==, 8 + sizeof header - 1 + 23);
    g_assert_cmpuint(fastvlm_safetensors_get_n_tensors(file), ==, 3);
    g_assert_cmpstr(fastvlm_safetensors_get_tensor(file, 0)->name, ==, "a");
    g_assert_cmpint(fastvlm_safetensors_get_tensor(file, 0)->n_dims, ==, 0);
    g_assert_cmpuint(fastvlm_safetensors_get_tensor(file, 0)->n_elements, ==, 1);
    view = fastvlm_safetensors_find(file, "b");
    g_assert_true(view == fastvlm_safetensors_get_tensor(file, 1));
    g_assert_cmpint(view->dtype, ==, FASTVLM_DTYPE_BF16);
    g_assert_cmpint(view->n_dims, ==, 2);
    g_assert_cmpint(view->shape[0], ==, 2);
    g_assert_cmpint(view->shape[1], ==, 3);
    g_assert_cmpuint(view->n_bytes, ==, 12);
    g_assert_true(fastvlm_tensor_view_read(view, 1, 3, bytes, &error));
    g_assert_cmpmem(bytes, 3, ((const guint8[]){9, 10, 11}), 3);
    g_assert_cmpstr(view->file, ==, path);
    g_assert_cmpint(fastvlm_safetensors_get_tensor(file, 2)->n_dims, ==, 8);
    g_assert_null(fastvlm_safetensors_find(file, "__metadata__"));
    g_assert_null(fastvlm_safetensors_find(file, "d"));
    g_assert_cmpstr(fastvlm_safetensors_get_metadata(file, "format"), ==, "pt");
    g_assert_null(fastvlm_safetensors_get_metadata(file, "license"));
    fastvlm_safetensors_free(file);
    test_directory_remove(directory);
}

/* A file that is cut while it is open: an error of the read, never a signal. */
static void test_cut_while_open(void)
{
    static const char header[] = "{" ENTRY("a", "F32", "[4]", 0, 16) "}";
    char *directory = test_directory_make();
    g_autofree char *path = write_file(directory, header, sizeof header - 1, 16);
    FastvlmSafetensors *file = fastvlm_safetensors_open(path, NULL);
    const FastvlmTensorView *view = fastvlm_safetensors_find(file, "a");
    GError *error = NULL;
    guint8 bytes[16];

    g_assert_true(fastvlm_tensor_view_read(view, 0, 16, bytes, NULL));
    g_assert_cmpint(truncate(path, (off_t)view->offset + 5), ==, 0);
    g_assert_true(fastvlm_tensor_view_read(view, 0, 5, bytes, NULL));
    g_assert_false(fastvlm_tensor_view_read(view, 0, 16, bytes, &error));
    test_assert_error(error, FASTVLM_ERROR_READ, path, "tensor \"a\"",
                      "cut short after it was opened, fetch it again", NULL);
    fastvlm_safetensors_free(file);
    test_directory_remove(directory);
}

/* Whatever is done to a good file's bytes, it opens soundly or fails with an error. */
static void test_fuzz(void)
{
    static const char header[] = "{" ENTRY("ab", "F32", "[2,1]", 0, 8) "," ENTRY(
        "c", "BF16", "[3]", 8, 14) ",\"__metadata__\":{\"format\":\"pt\"}}";
    char *directory = test_directory_make();
    g_autofree char *path = write_file(directory, header, sizeof header - 1, 14);
    g_autofree char *bytes = NULL;
    GRand *random = g_rand_new_with_seed(3);
    gsize n_bytes;
    int n_opened = 0;

    g_assert_true(g_file_get_contents(path, &bytes, &n_bytes, NULL));
    for (int round = 0; round < 3000; round++) {
        g_autofree char *damaged = g_memdup2(bytes, n_bytes);
        GError *error = NULL;
        FastvlmSafetensors *file;

        for (int i = g_rand_int_range(random, 1, 4); i > 0; i--)
            damaged[g_rand_int_range(random, 0, (gint32)n_bytes)] = (char)g_rand_int(random);
        test_directory_write(directory, "w.safetensors", damaged, (gssize)n_bytes);
        file = fastvlm_safetensors_open(path, &error);
        g_assert_true((file == NULL) == (error != NULL));
        for (guint i = 0; file && i < fastvlm_safetensors_get_n_tensors(file); i++) {
            const FastvlmTensorView *view = fastvlm_safetensors_get_tensor(file, i);
            g_autofree void *copy = g_malloc(view->n_bytes);

            g_assert_true(fastvlm_tensor_view_read(view, 0, view->n_bytes, copy, NULL));
        }
        n_opened += file != NULL;
        fastvlm_safetensors_free(file);
        g_clear_error(&error);
    }
    g_test_message("%d of 3000 opened", n_opened);
    g_rand_free(random);
    test_directory_remove(directory);
}

/* Every half there is, against the definition: (-1)^s 2^(e - 25) (1024 + m), or 2^-24 m. */
static void test_f16(void)
{
    for (int half = 0; half < 65536; half++) {
        const guint16 bits = (guint16)half;
        const int exponent = (half >> 10) & 31;
        const double magnitude =
            ldexp((half & 1023) + (exponent ? 1024 : 0), exponent ? exponent - 25 : -24);
        const double expected = half & 0x8000 ? -magnitude : magnitude;
        float value;

        if (!fastvlm_dtype_to_f32(FASTVLM_DTYPE_F16, &bits, 1, &value)) {
            g_assert_cmpint(exponent, ==, 31);
            continue;
        }
        g_assert_cmpint(exponent, !=, 31);
        g_assert_true(value == expected && !signbit(value) == !signbit(expected));
    }
}

/* Every bf16 there is: its bits are the upper half of the f32's. */
static void test_bf16(void)
{
    for (guint32 bits = 0; bits < 65536; bits++) {
        const guint16 half = (guint16)bits;
        guint32 found;
        float value;
        const gboolean finite = fastvlm_dtype_to_f32(FASTVLM_DTYPE_BF16, &half, 1, &value);

        memcpy(&found, &value, sizeof found);
        g_assert_cmphex(found, ==, bits << 16);
        g_assert_cmpint(finite, ==, isfinite(value) != 0);
    }
}

/* Long, unaligned runs take the vectorised loops; one bad element anywhere in them is seen. */
static void test_runs(void)
{
    static const FastvlmDtype dtypes[] = {FASTVLM_DTYPE_BF16, FASTVLM_DTYPE_F16, FASTVLM_DTYPE_F32};
    enum { N = 67 };
    guint8 bytes[4 * N + 1];
    float whole[N], single;

    for (guint d = 0; d < G_N_ELEMENTS(dtypes); d++) {
        const gsize size = fastvlm_dtype_size(dtypes[d]);

        for (gsize i = 0; i < sizeof bytes; i++)
            bytes[i] = (guint8)(37 * i) & 0x3f;
        g_assert_true(fastvlm_dtype_to_f32(dtypes[d], bytes + 1, N, whole));
        for (gsize i = 0; i < N; i++) {
            g_assert_true(fastvlm_dtype_to_f32(dtypes[d], bytes + 1 + i * size, 1, &single));
            g_assert_true(single == whole[i]);
        }
        for (gsize i = 0; i < N; i++) {
            g_autofree guint8 *damaged = g_memdup2(bytes, sizeof bytes);

            memset(damaged + 1 + i * size, 0xff, size);
            g_assert_false(fastvlm_dtype_to_f32(dtypes[d], damaged + 1, N, whole));
        }
    }
}

static void test_names(void)
{
    FastvlmDtype dtype;

    for (int i = 0; i < FASTVLM_N_DTYPES; i++) {
        g_assert_true(fastvlm_dtype_from_string(fastvlm_dtype_to_string((FastvlmDtype)i), &dtype));
        g_assert_cmpint(dtype, ==, i);
        g_assert_cmpuint(fastvlm_dtype_size(dtype), >=, 1);
    }
    g_assert_false(fastvlm_dtype_from_string("f32", &dtype));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(bad_files); i++) {
        g_autofree char *name = g_strconcat("/safetensors/bad/", bad_files[i].name, NULL);

        g_test_add_data_func(name, &bad_files[i], test_bad);
    }
    g_test_add_func("/safetensors/bad-start", test_bad_start);
    g_test_add_func("/safetensors/long-header", test_long_header);
    g_test_add_func("/safetensors/deep", test_deep);
    g_test_add_func("/safetensors/not-a-file", test_not_a_file);
    g_test_add_func("/safetensors/good", test_good);
    g_test_add_func("/safetensors/cut-while-open", test_cut_while_open);
    g_test_add_func("/safetensors/fuzz", test_fuzz);
    g_test_add_func("/dtype/f16", test_f16);
    g_test_add_func("/dtype/bf16", test_bf16);
    g_test_add_func("/dtype/runs", test_runs);
    g_test_add_func("/dtype/names", test_names);
    return g_test_run();
}
