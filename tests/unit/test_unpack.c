/*
 * Archives of strangers: what a good one gives, and everything that must end in an error and leave
 * nothing outside the directory.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "test_directory.h"

#define MAX_ZIP_BYTES (1 << 20)

/* An archive being written, and where it is unpacked. */
typedef struct {
    struct archive *archive;
    guint8 *bytes;
    gsize n_bytes;
    char *directory;
    int descriptor;
    UnpackParams params;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->bytes = g_malloc(MAX_ZIP_BYTES);
    fixture->archive = archive_write_new();
    archive_write_set_format_zip(fixture->archive);
    g_assert_cmpint(archive_write_open_memory(fixture->archive, fixture->bytes, MAX_ZIP_BYTES,
                                              &fixture->n_bytes),
                    ==, ARCHIVE_OK);
    fixture->directory = test_directory_make();
    fixture->descriptor = open(fixture->directory, O_RDONLY | O_DIRECTORY);
    fixture->params = (UnpackParams){
        .shown_name = "model.zip",
        .max_bytes = 100000,
        .max_entries = 20,
    };
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    if (fixture->archive)
        archive_write_free(fixture->archive);
    close(fixture->descriptor);
    test_directory_remove(fixture->directory);
    g_free(fixture->bytes);
}

static void add_entry(Fixture *fixture, const char *path, int type, const void *bytes,
                      gsize n_bytes)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_filetype(entry, (unsigned)type);
    archive_entry_set_perm(entry, 06777);
    if (type == AE_IFLNK)
        archive_entry_set_symlink(entry, bytes);
    else
        archive_entry_set_size(entry, (la_int64_t)n_bytes);
    g_assert_cmpint(archive_write_header(fixture->archive, entry), ==, ARCHIVE_OK);
    if (type == AE_IFREG && n_bytes > 0)
        g_assert_cmpint(archive_write_data(fixture->archive, bytes, n_bytes), ==, n_bytes);
    archive_entry_free(entry);
}

static void add_file(Fixture *fixture, const char *path, const char *text)
{
    add_entry(fixture, path, AE_IFREG, text, strlen(text));
}

static void finish(Fixture *fixture)
{
    g_assert_cmpint(archive_write_close(fixture->archive), ==, ARCHIVE_OK);
    archive_write_free(fixture->archive);
    fixture->archive = NULL;
}

static gboolean unpack(Fixture *fixture, GError **error)
{
    if (fixture->archive)
        finish(fixture);
    return unpack_memory(fixture->bytes, fixture->n_bytes, fixture->descriptor, &fixture->params,
                         error);
}

static void assert_content(Fixture *fixture, const char *name, const char *expected)
{
    g_autofree char *path = g_build_filename(fixture->directory, name, NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
}

static guint count_files(Fixture *fixture)
{
    GDir *directory = g_dir_open(fixture->directory, 0, NULL);
    guint n = 0;
    while (g_dir_read_name(directory))
        n++;
    g_dir_close(directory);
    return n;
}

/* Must fail before anything is written, with `text` in its message. */
static void assert_refused(Fixture *fixture, FastvlmError code, const char *text)
{
    GError *error = NULL;
    g_assert_false(unpack(fixture, &error));
    test_assert_error(error, code, "model.zip", text, NULL);
    g_assert_cmpuint(count_files(fixture), ==, 0);
}

static void add_checkpoint(Fixture *fixture)
{
    add_entry(fixture, "model_stage3/", AE_IFDIR, NULL, 0);
    add_file(fixture, "model_stage3/config.json", "{}");
    add_file(fixture, "model_stage3/vocab.json", "words");
}

static void test_good(Fixture *fixture, gconstpointer data)
{
    GError *error = NULL;
    struct stat info;
    add_checkpoint(fixture);
    add_file(fixture, "model_stage3/empty", "");
    add_file(fixture, "model_stage3/deeper/other.json", "not beside config.json");
    add_file(fixture, "model_stage3/.DS_Store", "hidden");
    add_file(fixture, "__MACOSX/model_stage3/config.json", "a Mac's second copy");
    g_assert_true(unpack(fixture, &error));
    g_assert_no_error(error);
    assert_content(fixture, "config.json", "{}");
    assert_content(fixture, "vocab.json", "words");
    assert_content(fixture, "empty", "");
    g_assert_cmpuint(count_files(fixture), ==, 3);
    g_assert_cmpint(fstatat(fixture->descriptor, "config.json", &info, 0), ==, 0);
    g_assert_cmpuint(info.st_mode & 07133, ==, 0); /* the archive gives no permissions */
}

static void test_descriptor(Fixture *fixture, gconstpointer data)
{
    GError *error = NULL;
    char path[] = "/tmp/fastvlm-unpack-XXXXXX";
    int descriptor = g_mkstemp(path);
    add_file(fixture, "config.json", "at the top");
    finish(fixture);
    g_assert_cmpint(write(descriptor, fixture->bytes, fixture->n_bytes), ==, fixture->n_bytes);
    g_assert_true(unpack_descriptor(descriptor, fixture->descriptor, &fixture->params, &error));
    g_assert_no_error(error);
    assert_content(fixture, "config.json", "at the top");
    close(descriptor);
    g_unlink(path);
}

static void test_path(Fixture *fixture, gconstpointer path)
{
    add_checkpoint(fixture);
    add_file(fixture, path, "evil");
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "nothing of this archive is trusted");
}

static void test_link(Fixture *fixture, gconstpointer target)
{
    add_checkpoint(fixture);
    add_entry(fixture, "model_stage3/model.safetensors", AE_IFLNK, target, 0);
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "it is a link");
}

/* Finds the entry's record in the archive's list and returns it. */
static guint8 *find_record(Fixture *fixture, const char *path)
{
    for (gsize i = 0; i + 46 < fixture->n_bytes; i++) {
        if (memcmp(fixture->bytes + i, "PK\1\2", 4) == 0 &&
            memcmp(fixture->bytes + i + 46, path, strlen(path)) == 0)
            return fixture->bytes + i;
    }
    g_assert_not_reached();
}

static void test_device(Fixture *fixture, gconstpointer mode)
{
    add_checkpoint(fixture);
    finish(fixture);
    guint8 *record = find_record(fixture, "model_stage3/vocab.json");
    guint16 type = (guint16)GPOINTER_TO_UINT(mode);
    record[40] = (guint8)type; /* external attributes: the mode is the upper half */
    record[41] = (guint8)(type >> 8);
    /* libarchive's writer says it in a field of its own ("xl") too, which would win. */
    for (gsize i = 0; i + 1 < fixture->n_bytes; i++) {
        if (memcmp(fixture->bytes + i, "xl", 2) == 0)
            memcpy(fixture->bytes + i, "zz", 2);
    }
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "it is a device or a socket");
}

static void test_twice(Fixture *fixture, gconstpointer data)
{
    add_checkpoint(fixture);
    add_file(fixture, "model_stage3/vocab.json", "other words");
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "the archive has it twice");
}

static void test_two_checkpoints(Fixture *fixture, gconstpointer data)
{
    add_checkpoint(fixture);
    add_file(fixture, "other/config.json", "{}");
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "other/config.json: a second config.json");
}

static void test_no_checkpoint(Fixture *fixture, gconstpointer data)
{
    add_file(fixture, "holiday/beach.jpg", "sand");
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "there is no config.json in it");
}

/* Zeros, which pack a thousandfold. */
static void test_bomb(Fixture *fixture, gconstpointer data)
{
    g_autofree char *zeros = g_malloc0(100001);
    add_checkpoint(fixture);
    add_entry(fixture, "model_stage3/model.safetensors", AE_IFREG, zeros, 100001);
    finish(fixture);
    g_assert_cmpuint(fixture->n_bytes, <, 2000);
    assert_refused(fixture, FASTVLM_ERROR_LIMIT, "100001 bytes, expected at most 100000");
}

static void test_bomb_of_many(Fixture *fixture, gconstpointer data)
{
    g_autofree char *zeros = g_malloc0(60000);
    add_checkpoint(fixture);
    add_entry(fixture, "model_stage3/a", AE_IFREG, zeros, 60000);
    add_entry(fixture, "model_stage3/b", AE_IFREG, zeros, 60000);
    assert_refused(fixture, FASTVLM_ERROR_LIMIT, "larger than 100000 bytes together");
}

/* Its list says a size below the limit, its data go on. */
static void test_lying_bomb(Fixture *fixture, gconstpointer said)
{
    GError *error = NULL;
    g_autofree char *zeros = g_malloc0(500000);
    guint32 size = GUINT32_TO_LE(GPOINTER_TO_UINT(said));
    add_checkpoint(fixture);
    add_entry(fixture, "model_stage3/model.safetensors", AE_IFREG, zeros, 500000);
    finish(fixture);
    memcpy(find_record(fixture, "model_stage3/model.safetensors") + 24, &size, 4);
    g_assert_false(unpack(fixture, &error));
    g_assert_nonnull(error);
    test_assert_error(
        error, error->code == FASTVLM_ERROR_LIMIT ? FASTVLM_ERROR_LIMIT : FASTVLM_ERROR_FORMAT,
        "model.zip", NULL);
    struct stat info;
    if (fstatat(fixture->descriptor, "model.safetensors", &info, 0) == 0)
        g_assert_cmpint(info.st_size, <=, 100000);
}

static void test_many_entries(Fixture *fixture, gconstpointer data)
{
    for (int i = 0; i < 30; i++) {
        g_autofree char *path = g_strdup_printf("folder/%d", i);
        add_file(fixture, path, "");
    }
    assert_refused(fixture, FASTVLM_ERROR_LIMIT, "more than 20 entries");
}

static void test_no_zip(Fixture *fixture, gconstpointer text)
{
    finish(fixture);
    fixture->n_bytes = strlen(text);
    memcpy(fixture->bytes, text, fixture->n_bytes);
    assert_refused(fixture, FASTVLM_ERROR_FORMAT, "it is no whole zip archive");
}

/* However much is missing, it is noticed. */
static void test_cut(Fixture *fixture, gconstpointer data)
{
    add_checkpoint(fixture);
    finish(fixture);
    for (gsize n_bytes = fixture->n_bytes; n_bytes-- > 0;) {
        GError *error = NULL;
        if (unpack_memory(fixture->bytes, n_bytes, fixture->descriptor, &fixture->params, &error)) {
            g_error("%" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT " bytes were enough", n_bytes,
                    fixture->n_bytes);
        }
        g_clear_error(&error);
        unlinkat(fixture->descriptor, "config.json", 0);
        unlinkat(fixture->descriptor, "vocab.json", 0);
    }
}

/* A byte turned over anywhere gives the same files or an error, never other files. */
static void test_damaged(Fixture *fixture, gconstpointer data)
{
    add_checkpoint(fixture);
    finish(fixture);
    for (gsize i = 0; i < fixture->n_bytes; i++) {
        GError *error = NULL;
        fixture->bytes[i] ^= 0x55;
        if (unpack(fixture, &error)) {
            assert_content(fixture, "config.json", "{}");
            g_autofree char *path = g_build_filename(fixture->directory, "vocab.json", NULL);
            if (g_file_test(path, G_FILE_TEST_EXISTS)) /* else it has another name or folder */
                assert_content(fixture, "vocab.json", "words");
        }
        g_clear_error(&error);
        fixture->bytes[i] ^= 0x55;
        char *old = g_strdup(fixture->directory);
        close(fixture->descriptor);
        test_directory_remove(fixture->directory);
        g_assert_cmpint(g_mkdir(old, 0700), ==, 0);
        fixture->directory = old;
        fixture->descriptor = open(old, O_RDONLY | O_DIRECTORY);
    }
}

static void test_hash(Fixture *fixture, gconstpointer data)
{
    GError *error = NULL;
    const UnpackHash good[] = {
        {"vocab.json", "a9ef23b9f06c35d7a32c1e5d76c9f0fdb9a4dbb4d70ff15ffbd6a1f0b7de5a3a"},
        {NULL, NULL},
    };
    UnpackHash hashes[] = {good[0], good[1]};
    g_autofree char *right = g_compute_checksum_for_string(G_CHECKSUM_SHA256, "words", -1);
    add_checkpoint(fixture);
    finish(fixture);
    fixture->params.hashes = hashes;
    g_assert_false(unpack(fixture, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, "vocab.json: SHA-256", right, good[0].sha256,
                      "--no-verify", NULL);
    unlinkat(fixture->descriptor, "config.json", 0);
    unlinkat(fixture->descriptor, "vocab.json", 0);
    hashes[0].sha256 = right;
    error = NULL;
    g_assert_true(unpack(fixture, &error));
    g_assert_no_error(error);
}

static gboolean stop(guint64 n_done, guint64 n_total, gpointer data)
{
    g_assert_cmpuint(n_done, <=, n_total);
    return FALSE;
}

static void test_cancel(Fixture *fixture, gconstpointer data)
{
    GError *error = NULL;
    add_checkpoint(fixture);
    fixture->params.progress = stop;
    g_assert_false(unpack(fixture, &error));
    test_assert_error(error, FASTVLM_ERROR_CANCELLED, "model.zip", NULL);
}

#define ADD(path, data, function) \
    g_test_add("/unpack/" path, Fixture, data, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("good", NULL, test_good);
    ADD("descriptor", NULL, test_descriptor);
    ADD("path/up", "../evil", test_path);
    ADD("path/up-inside", "model_stage3/../../evil", test_path);
    ADD("path/up-last", "model_stage3/..", test_path);
    ADD("path/absolute", "/tmp/evil", test_path);
    ADD("path/drive", "C:/evil", test_path);
    ADD("path/backslash", "model_stage3\\..\\evil", test_path);
    ADD("path/line", "model_stage3/a\nb", test_path);
    ADD("path/escape", "model_stage3/a\033[2Jb", test_path);
    ADD("path/empty-part", "model_stage3//evil", test_path);
    ADD("link/file", "/etc/passwd", test_link);
    ADD("link/up", "..", test_link);
    ADD("device", GUINT_TO_POINTER(S_IFBLK | 0644), test_device);
    ADD("device/character", GUINT_TO_POINTER(S_IFCHR | 0644), test_device);
    ADD("device/socket", GUINT_TO_POINTER(S_IFSOCK | 0644), test_device);
    ADD("twice", NULL, test_twice);
    ADD("two-checkpoints", NULL, test_two_checkpoints);
    ADD("no-checkpoint", NULL, test_no_checkpoint);
    ADD("bomb", NULL, test_bomb);
    ADD("bomb/of-many", NULL, test_bomb_of_many);
    ADD("bomb/lying", GUINT_TO_POINTER(1000), test_lying_bomb);
    ADD("bomb/lying-zero", GUINT_TO_POINTER(0), test_lying_bomb);
    ADD("bomb/lying-high", GUINT_TO_POINTER(99000), test_lying_bomb);
    ADD("many-entries", NULL, test_many_entries);
    ADD("no-zip/empty", "", test_no_zip);
    ADD("no-zip/page", "<html><body>Sign in to go on</body></html>", test_no_zip);
    ADD("cut", NULL, test_cut);
    ADD("damaged", NULL, test_damaged);
    ADD("hash", NULL, test_hash);
    ADD("cancel", NULL, test_cancel);
    return g_test_run();
}
