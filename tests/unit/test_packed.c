/*
 * Packed copies: what was written is what is read, and nothing that is done to a file makes the engine
 * take it for what it is not, or read or write where it must not.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "load/cache.h"
#include "load/packed.h"
#include "synth.h"
#include "test_directory.h"
#include "text/tables.h"

#define KEY "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define N_FLIPS 4000

static int n_reads;
static const char *cut_path; /* NULL, or emptied before the read that makes n_reads 1 */

/* In the place of the C library's. */
ssize_t pread(int fd, void *bytes, size_t n_bytes, off_t offset)
{
    if (++n_reads == 1 && cut_path)
        g_assert_cmpint(truncate(cut_path, 0), ==, 0);
    return syscall(SYS_pread64, fd, bytes, n_bytes, offset);
}

/** A store of three blobs, and a file for it in a directory of its own. */
typedef struct {
    char *directory;
    char *path;
    FastvlmStore *store;
    GByteArray *tables;
    FastvlmPackedSpec spec;
} Fixture;

static void take_blobs(FastvlmStore *store, void **blobs)
{
    GError *error = NULL;

    g_assert_true(fastvlm_store_take(store, "a", "f32", 1, 7, 28, &blobs[0], &error));
    g_assert_true(fastvlm_store_take(store, "b c", "int8-panels", 33, 5, 384, &blobs[1], &error));
    g_assert_true(fastvlm_store_take(store, "d", "f32", 3, 1000, 12000, &blobs[2], &error));
    g_assert_no_error(error);
}

static void set_up(Fixture *fixture, gconstpointer data)
{
    void *blobs[3];

    fixture->directory = test_directory_make();
    fixture->path = g_build_filename(fixture->directory, "x.packed", NULL);
    fixture->store = fastvlm_store_new();
    take_blobs(fixture->store, blobs);
    g_assert_null(blobs[2]);
    fixture->tables = g_byte_array_new();
    for (int i = 0; i < 5000; i++)
        g_byte_array_append(fixture->tables, (const guint8[]){(guint8)(i * 7)}, 1);
    fixture->spec = (FastvlmPackedSpec){
        .key = KEY, .model = "/some/where", .precision = "int8", .store = fixture->store};
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    fastvlm_store_free(fixture->store);
    g_byte_array_unref(fixture->tables);
    test_directory_remove(fixture->directory);
    g_free(fixture->path);
}

/** Writes the file; blob 2 is 1000 rows of i / 3. */
static void write_copy(Fixture *fixture)
{
    GError *error = NULL;
    FastvlmPacked *packed =
        fastvlm_packed_create(fixture->path, &fixture->spec, fixture->tables, &error);
    void *blobs[3];

    g_assert_no_error(error);
    fastvlm_store_bind(fixture->store, fastvlm_packed_get_blobs(packed), FASTVLM_STORE_FILLING);
    take_blobs(fixture->store, blobs);
    for (int i = 0; i < 3000; i++) {
        g_assert_cmpfloat(((float *)blobs[2])[i], ==, 0.0f);
        ((float *)blobs[2])[i] = (float)i / 3;
    }
    fastvlm_packed_publish(packed);
    g_assert_true(fastvlm_packed_wait(packed));
    fastvlm_packed_free(packed);
}

static void assert_refused(Fixture *fixture, FastvlmError code, const char *part)
{
    GError *error = NULL;

    g_assert_null(fastvlm_packed_open(fixture->path, &fixture->spec, &error));
    g_assert_error(error, FASTVLM_ERROR, (int)code);
    if (part && !strstr(error->message, part))
        g_error("'%s' does not say '%s'", error->message, part);
    g_assert_null(strchr(error->message, '\n'));
    g_error_free(error);
}

static void test_round_trip(Fixture *fixture, gconstpointer data)
{
    GError *error = NULL;
    FastvlmPacked *packed;
    const void *tables;
    gsize n_tables;
    void *blobs[3];

    assert_refused(fixture, FASTVLM_ERROR_NOT_FOUND, NULL);
    write_copy(fixture);
    packed = fastvlm_packed_open(fixture->path, &fixture->spec, &error);
    g_assert_no_error(error);
    fastvlm_store_bind(fixture->store, fastvlm_packed_get_blobs(packed), FASTVLM_STORE_FILLED);
    take_blobs(fixture->store, blobs);
    for (int i = 0; i < 3000; i++)
        g_assert_cmpfloat(((float *)blobs[2])[i], ==, (float)i / 3);
    g_assert_cmpuint((gsize)blobs[1] % FASTVLM_STORE_ALIGNMENT, ==, 0);
    tables = fastvlm_packed_get_tables(packed, &n_tables);
    g_assert_cmpmem(tables, n_tables, fixture->tables->data, fixture->tables->len);
    fastvlm_packed_free(packed);
}

/** A store that is bound gives nothing that was not measured. */
static void test_other_blobs(Fixture *fixture, gconstpointer data)
{
    GError *error = NULL;
    void *blob;

    g_assert_true(fastvlm_store_bind_own(fixture->store, &error));
    g_assert_false(fastvlm_store_take(fixture->store, "a", "f32", 1, 8, 32, &blob, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT);
    g_assert_null(blob);
    g_clear_error(&error);
    g_assert_false(fastvlm_store_take(fixture->store, "a", "f32", 1, 7, G_MAXSIZE, &blob, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
    g_clear_error(&error);
}

static void test_other_spec(Fixture *fixture, gconstpointer data)
{
    FastvlmStore *store = fastvlm_store_new();
    void *blobs[3];

    write_copy(fixture);
    fixture->spec.key = "1" KEY;
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "was changed");
    fixture->spec.key = KEY;
    fixture->spec.store = store;
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "other shapes");
    g_assert_true(fastvlm_store_take(store, "a", "f32", 1, 7, 28, &blobs[0], NULL));
    g_assert_true(fastvlm_store_take(store, "b d", "int8-panels", 33, 5, 384, &blobs[1], NULL));
    g_assert_true(fastvlm_store_take(store, "d", "f32", 3, 1000, 12000, &blobs[2], NULL));
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "other tensors");
    fastvlm_store_free(store);
}

static void test_truncated(Fixture *fixture, gconstpointer data)
{
    static const int lengths[] = {0, 1, 15, 16, 100, 4095, 4096, 4097, 8191, 8192, 12288, 16384};
    struct stat status;

    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
        write_copy(fixture);
        g_assert_cmpint(truncate(fixture->path, lengths[i]), ==, 0);
        assert_refused(fixture, FASTVLM_ERROR_FORMAT, NULL);
    }
    for (int change = -1; change <= 1; change += 2) {
        write_copy(fixture);
        g_assert_cmpint(stat(fixture->path, &status), ==, 0);
        g_assert_cmpint(truncate(fixture->path, status.st_size + change), ==, 0);
        assert_refused(fixture, FASTVLM_ERROR_FORMAT, "expected");
    }
}

/** The n-th read finds the file cut short: an error and no signal, for it is read and never mapped. */
static void test_cut_while_read(Fixture *fixture, gconstpointer data)
{
    FastvlmPacked *packed;
    const void *tables;
    gsize n_tables;

    write_copy(fixture);
    n_reads = 0;
    packed = fastvlm_packed_open(fixture->path, &fixture->spec, NULL);
    g_assert_nonnull(packed);
    g_assert_cmpint(truncate(fixture->path, 0), ==, 0);
    tables = fastvlm_packed_get_tables(packed, &n_tables);
    g_assert_cmpmem(tables, n_tables, fixture->tables->data, fixture->tables->len);
    fastvlm_packed_free(packed);
    g_assert_cmpint(n_reads, >=, 3); /* head, front, blobs */
    for (int n = n_reads; n > 0; n--) {
        write_copy(fixture);
        cut_path = fixture->path;
        n_reads = -n + 1;
        assert_refused(fixture, FASTVLM_ERROR_FORMAT,
                       n > 1 ? "cut short while it was read: " : "no packed weights");
        cut_path = NULL;
    }
}

/** Any change of a byte shows, wherever it is. */
static void test_flipped(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    FastvlmPacked *packed;
    char *bytes;
    gsize n_bytes;

    write_copy(fixture);
    g_assert_true(g_file_get_contents(fixture->path, &bytes, &n_bytes, NULL));
    for (int i = 0; i < N_FLIPS; i++) {
        const int at = i < 200   ? i
                       : i < 300 ? (int)n_bytes - 1 - i
                                 : g_rand_int_range(random, 0, (gint32)n_bytes);
        const int fd = open(fixture->path, O_WRONLY);
        const char flipped = (char)(bytes[at] ^ (1 << g_rand_int_range(random, 0, 8)));

        g_assert_cmpint(pwrite(fd, &flipped, 1, at), ==, 1);
        assert_refused(fixture, FASTVLM_ERROR_FORMAT, NULL);
        g_assert_cmpint(pwrite(fd, &bytes[at], 1, at), ==, 1);
        close(fd);
    }
    packed = fastvlm_packed_open(fixture->path, &fixture->spec, NULL);
    g_assert_nonnull(packed);
    fastvlm_packed_free(packed);
    g_free(bytes);
}

static void test_not_ours(Fixture *fixture, gconstpointer data)
{
    g_autofree char *other = g_strconcat(fixture->path, ".other", NULL);

    write_copy(fixture);
    g_assert_cmpint(chmod(fixture->path, 0666), ==, 0);
    assert_refused(fixture, FASTVLM_ERROR_READ, "another user can write it");
    g_assert_cmpint(chmod(fixture->path, 0600), ==, 0);
    g_assert_cmpint(rename(fixture->path, other), ==, 0);
    g_assert_cmpint(symlink(other, fixture->path), ==, 0);
    assert_refused(fixture, FASTVLM_ERROR_READ, "cannot open");
    g_assert_cmpint(unlink(fixture->path), ==, 0);
    g_assert_cmpint(mkfifo(fixture->path, 0600), ==, 0);
    assert_refused(fixture, FASTVLM_ERROR_READ, "not a regular file");
    g_assert_cmpint(unlink(fixture->path), ==, 0);
    g_assert_cmpint(mkdir(fixture->path, 0700), ==, 0);
    assert_refused(fixture, FASTVLM_ERROR_READ, NULL);
}

/** A file that is not finished leaves nothing, nor does one that cannot be. */
static void test_cannot_write(Fixture *fixture, gconstpointer data)
{
    const struct rlimit small = {8192, RLIM_INFINITY};
    struct rlimit before;
    GError *error = NULL;
    GPtrArray *left;

    fastvlm_packed_free(
        fastvlm_packed_create(fixture->path, &fixture->spec, fixture->tables, &error));
    g_assert_no_error(error);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
    g_assert_null(fastvlm_packed_create(fixture->path, &fixture->spec, fixture->tables, &error));
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
    g_clear_error(&error);
    g_setenv("FASTVLM_CACHE", fixture->directory, TRUE);
    left = fastvlm_cache_list(&error);
    g_assert_no_error(error);
    g_assert_cmpuint(left->len, ==, 0);
    g_ptr_array_unref(left);
    g_assert_cmpint(rmdir(fixture->directory), ==, 0); /* empty */
    g_assert_null(fastvlm_packed_create(fixture->path, &fixture->spec, fixture->tables, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ);
    g_clear_error(&error);
    g_assert_cmpint(mkdir(fixture->directory, 0700), ==, 0);
}

/** The copy unused for longest goes; one in use, and the one to be replaced, stay. */
static void test_room(Fixture *fixture, gconstpointer data)
{
    const struct timespec old[2] = {{1000, 0}, {1000, 0}}, older[2] = {{500, 0}, {500, 0}};
    FastvlmCacheConfig config = {.directory = fixture->directory};
    g_autofree char *second = g_build_filename(fixture->directory, "y.packed", NULL);
    g_autofree char *third = g_build_filename(fixture->directory, "z.packed", NULL);
    FastvlmPacked *used;
    GError *error = NULL;
    struct stat status;

    write_copy(fixture);
    g_assert_cmpint(stat(fixture->path, &status), ==, 0);
    g_assert_cmpint(rename(fixture->path, second), ==, 0);
    write_copy(fixture);
    used = fastvlm_packed_open(fixture->path, &fixture->spec, &error);
    g_assert_no_error(error);
    utimensat(AT_FDCWD, second, old, 0);
    utimensat(AT_FDCWD, fixture->path, older, 0);
    config.limit_bytes = 2 * (guint64)status.st_size;
    g_assert_true(fastvlm_cache_make_room(&config, second, (guint64)status.st_size, &error));
    g_assert_cmpint(access(second, F_OK), ==, 0);
    g_assert_true(fastvlm_cache_make_room(&config, third, (guint64)status.st_size, &error));
    g_assert_cmpint(access(second, F_OK), !=, 0);
    g_assert_cmpint(access(fixture->path, F_OK), ==, 0);
    g_assert_false(fastvlm_cache_make_room(&config, third, config.limit_bytes, &error));
    g_assert_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT);
    g_clear_error(&error);
    fastvlm_packed_free(used);
    g_assert_true(fastvlm_cache_make_room(&config, third, config.limit_bytes, &error));
    g_assert_cmpint(access(fixture->path, F_OK), !=, 0);
}

/** What a process that died left goes after a while, what one is writing does not. */
static void test_parts(Fixture *fixture, gconstpointer data)
{
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    FastvlmCacheConfig config = {.directory = fixture->directory, .limit_bytes = 1 << 20};
    g_autofree char *dead = g_strconcat(fixture->path, ".abc.part", NULL);
    FastvlmPacked *live;
    GError *error = NULL;

    g_assert_true(g_file_set_contents(dead, "x", 1, NULL));
    g_assert_true(fastvlm_cache_make_room(&config, fixture->path, 1, &error));
    g_assert_cmpint(access(dead, F_OK), ==, 0);
    utimensat(AT_FDCWD, dead, old, 0);
    live = fastvlm_packed_create(fixture->path, &fixture->spec, fixture->tables, &error);
    g_assert_true(fastvlm_cache_make_room(&config, fixture->path, 1, &error));
    g_assert_cmpint(access(dead, F_OK), !=, 0);
    fastvlm_packed_publish(live);
    g_assert_true(fastvlm_packed_wait(live));
    fastvlm_packed_free(live);
    g_assert_no_error(error);
}

/** Damaged tables are refused, or still safe to encode with: ASan watches. */
static void test_tables(void)
{
    g_autofree char *demo = g_test_build_filename(G_TEST_DIST, "..", "..", "models", "demo", NULL);
    g_autoptr(GRand) random = g_rand_new_with_seed(2);
    GError *error = NULL;
    FastvlmTokenizer *tokenizer = fastvlm_tokenizer_load(demo, &error);
    GByteArray *tables = g_byte_array_new();
    GArray *expected = g_array_new(FALSE, FALSE, sizeof(gint32));
    guint n_taken = 0;

    g_assert_no_error(error);
    fastvlm_tokenizer_write_tables(tokenizer, tables);
    g_assert_true(
        fastvlm_tokenizer_encode(tokenizer, "a red circle, 42", -1, TRUE, expected, NULL));
    for (int i = 0; i <= N_FLIPS; i++) {
        const guint at = (guint)g_rand_int_range(
            random, 0, (gint32)(i % 2 ? MIN(tables->len, 2000) : tables->len));
        g_autofree guint8 *copy = g_memdup2(tables->data, tables->len);
        GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));
        FastvlmTokenizer *damaged;
        gsize n_bytes;

        if (i > 0)
            copy[at] ^= (guint8)g_rand_int_range(random, 1, 256);
        damaged = fastvlm_tokenizer_new_from_tables(demo, copy, tables->len, NULL);
        if (damaged) {
            fastvlm_tokenizer_encode(damaged, "a red circle, 42", -1, TRUE, ids, NULL);
            for (guint j = 0; j < ids->len; j++)
                fastvlm_tokenizer_decode(damaged, g_array_index(ids, gint32, j), &n_bytes);
            n_taken++;
        }
        if (i == 0)
            g_assert_cmpmem(ids->data, ids->len * 4, expected->data, expected->len * 4);
        fastvlm_tokenizer_free(damaged);
        g_array_unref(ids);
    }
    g_assert_cmpuint(n_taken, <, N_FLIPS);
    for (gsize n = 0; n < 3000; n += 7)
        g_assert_null(fastvlm_tokenizer_new_from_tables(demo, tables->data, n, NULL));
    g_array_unref(expected);
    g_byte_array_unref(tables);
    fastvlm_tokenizer_free(tokenizer);
}

static gboolean count_bytes(const char *path, guint64 n_bytes, gpointer told)
{
    *(guint64 *)told += n_bytes;
    return TRUE;
}

static gboolean decline(const char *path, guint64 n_bytes, gpointer told)
{
    return FALSE;
}

static void assert_note(const char *model_path, const FastvlmModelParams *params, const char *note)
{
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load(model_path, params, &error);

    g_assert_no_error(error);
    if (!g_str_has_prefix(fastvlm_model_get_cache_note(model), note))
        g_error("'%s' is not '%s'", fastvlm_model_get_cache_note(model), note);
    fastvlm_model_unref(model);
}

/** Turns one bit of the only copy, well inside its weights. */
static void flip_copy(void)
{
    GPtrArray *copies = fastvlm_cache_list(NULL);
    const FastvlmCacheEntry *copy = copies->pdata[0];
    const int fd = open(copy->path, O_RDWR);
    const off_t at = (off_t)copy->n_bytes / 2;
    char byte;

    g_assert_cmpuint(copies->len, ==, 1);
    g_assert_cmpint(pread(fd, &byte, 1, at), ==, 1);
    byte ^= 4;
    g_assert_cmpint(pwrite(fd, &byte, 1, at), ==, 1);
    close(fd);
    g_ptr_array_unref(copies);
}

/** A whole model: hit, miss, a touched file, no cache, a directory that is read-only. */
static void test_model(Fixture *fixture, gconstpointer data)
{
    g_autofree char *model = g_build_filename(fixture->directory, "model", NULL);
    g_autofree char *cache = g_build_filename(fixture->directory, "cache", NULL);
    g_autofree char *weights = g_build_filename(model, "model.safetensors", NULL);
    guint64 told = 0;
    FastvlmModelParams params = {.precision = FASTVLM_PRECISION_INT8,
                                 .cache_notice = count_bytes,
                                 .cache_notice_data = &told};
    const struct timespec other[2] = {{1000, 0}, {1000, 0}};
    SynthSpec spec;

    g_assert_true(fastvlm_synth_spec("micro", &spec));
    g_assert_true(fastvlm_synth_write(model, &spec, NULL, NULL, NULL));
    g_setenv("FASTVLM_CACHE", cache, TRUE);
    assert_note(model, &params, "none: a model this small");
    g_setenv("FASTVLM_CACHE_MIN_SIZE", "0", TRUE);
    params.cache_notice = decline;
    assert_note(model, &params, "none: declined");
    params.cache_notice = count_bytes;
    g_assert_cmpuint(told, ==, 0);
    assert_note(model, &params, "written to ");
    g_assert_cmpuint(told, >, 100000);
    assert_note(model, &params, "read from ");
    flip_copy();
    assert_note(model, &params, "written to "); /* packed anew, not used */
    assert_note(model, &params, "read from ");
    params.precision = FASTVLM_PRECISION_INT4;
    assert_note(model, &params, "written to ");
    assert_note(model, &params, "read from ");
    params.precision = FASTVLM_PRECISION_F32;
    assert_note(model, &params, "written to ");
    assert_note(model, &params, "read from ");
    utimensat(AT_FDCWD, weights, other, 0);
    assert_note(model, &params, "written to ");
    params.no_cache = TRUE;
    assert_note(model, &params, "none: switched off");
    params.no_cache = FALSE;
    g_setenv("FASTVLM_CACHE", "/proc/nowhere", TRUE);
    assert_note(model, &params, "none: /proc/nowhere");
    g_unsetenv("FASTVLM_CACHE_MIN_SIZE");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(Fixture *, gconstpointer);
    } tests[] = {
        {"/packed/round-trip", test_round_trip},
        {"/packed/other-blobs", test_other_blobs},
        {"/packed/other-spec", test_other_spec},
        {"/packed/truncated", test_truncated},
        {"/packed/cut-while-read", test_cut_while_read},
        {"/packed/flipped", test_flipped},
        {"/packed/not-ours", test_not_ours},
        {"/packed/cannot-write", test_cannot_write},
        {"/packed/room", test_room},
        {"/packed/parts", test_parts},
        {"/packed/model", test_model},
    };

    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Fixture, NULL, set_up, tests[i].run, tear_down);
    g_test_add_func("/packed/tables", test_tables);
    return g_test_run();
}
