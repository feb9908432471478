/*
 * Checkpoints that a stranger made, or that something happens to: each is an error of the load that
 * names file and item, says what was found and what to do, and never more than that.
 *
 * What one module alone decides is tested beside that module (test_safetensors.c, test_config.c, ...).
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "load/checkpoint.h"
#include "synth.h"
#include "test_data.h"
#include "test_directory.h"

#define NOBODY 65534

/* A small checkpoint with a tokenizer. */
typedef struct {
    char *directory;
    char *weights;   /* path */
    char *tokenizer; /* its source */
    SynthSpec spec;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer dtype)
{
    GError *error = NULL;

    g_assert_true(fastvlm_synth_spec("micro", &fixture->spec));
    fixture->spec.dtype = dtype ? dtype : "BF16";
    fixture->tokenizer = test_data_path("text/tiny");
    fixture->spec.tokenizer = fixture->tokenizer;
    fixture->directory = test_directory_make();
    fixture->weights = g_build_filename(fixture->directory, "model.safetensors", NULL);
    fastvlm_synth_write(fixture->directory, &fixture->spec, NULL, NULL, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    test_directory_remove(fixture->directory);
    g_free(fixture->weights);
    g_free(fixture->tokenizer);
}

static FastvlmModel *load(const char *directory, FastvlmPrecision precision, GError **error)
{
    const FastvlmModelParams params = {.precision = precision, .n_threads = 2};

    return fastvlm_model_load(directory, &params, error);
}

static void assert_refused(const char *directory, FastvlmError code, const char *where,
                           const char *found)
{
    GError *error = NULL;

    g_assert_null(load(directory, FASTVLM_PRECISION_INT8, &error));
    test_assert_error(error, code, where, found, NULL);
}

/* --- the file system --- */

static const char *const file_names[] = {"config.json",       "model.safetensors",
                                         "vocab.json",        "merges.txt",
                                         "added_tokens.json", "tokenizer_config.json"};

/* Puts what `make` makes in the place of each file in turn. */
static void replace_each(const Fixture *fixture, void (*make)(const char *path), FastvlmError code,
                         const char *found)
{
    for (guint i = 0; i < G_N_ELEMENTS(file_names); i++) {
        g_autofree char *path = g_build_filename(fixture->directory, file_names[i], NULL);
        g_autofree char *aside = g_strconcat(path, ".aside", NULL);

        g_assert_cmpint(rename(path, aside), ==, 0);
        make(path);
        assert_refused(fixture->directory, code, path, found);
        g_assert_cmpint(remove(path), ==, 0);
        g_assert_cmpint(rename(aside, path), ==, 0);
    }
}

static void make_loop(const char *path)
{
    g_assert_cmpint(symlink(path, path), ==, 0);
}

static void make_directory(const char *path)
{
    g_assert_cmpint(mkdir(path, 0700), ==, 0);
}

static void make_pipe(const char *path)
{
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
}

static void test_links(Fixture *fixture, gconstpointer data)
{
    g_autofree char *loop = g_build_filename(fixture->directory, "loop", NULL);
    g_autofree char *link = g_build_filename(fixture->directory, "link", NULL);
    FastvlmModel *model;
    GError *error = NULL;

    replace_each(fixture, make_loop, FASTVLM_ERROR_READ, g_strerror(ELOOP));
    make_loop(loop);
    assert_refused(loop, FASTVLM_ERROR_READ, loop, g_strerror(ELOOP));
    /* A link that leads somewhere is as good as the place. */
    g_assert_cmpint(symlink(fixture->directory, link), ==, 0);
    model = load(link, FASTVLM_PRECISION_INT8, &error);
    g_assert_no_error(error);
    fastvlm_model_unref(model);
    g_assert_cmpint(unlink(loop) + unlink(link), ==, 0);
}

static void test_not_files(Fixture *fixture, gconstpointer data)
{
    replace_each(fixture, make_directory, FASTVLM_ERROR_READ, "not a regular file");
    replace_each(fixture, make_pipe, FASTVLM_ERROR_READ, "not a regular file");
}

/* The message that a user without rights gets; root asks as another user. */
static char *refuse_to_nobody(const char *directory)
{
    int ends[2];
    char text[1024] = "";
    int status;
    pid_t child;

    g_assert_cmpint(pipe(ends), ==, 0);
    child = fork();
    if (child == 0) {
        GError *error = NULL;

        if (geteuid() == 0 &&
            (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(1);
        load(directory, FASTVLM_PRECISION_INT8, &error);
        if (!error || error->code != FASTVLM_ERROR_READ ||
            write(ends[1], error->message, strlen(error->message)) < 0)
            _exit(2);
        _exit(0);
    }
    close(ends[1]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(read(ends[0], text, sizeof text - 1), >=, 0);
    close(ends[0]);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
    g_test_message("%s", text);
    return g_strdup(text);
}

static void assert_no_permission(const char *directory, const char *path)
{
    g_autofree char *message = refuse_to_nobody(directory);

    g_assert_nonnull(strstr(message, path));
    g_assert_nonnull(strstr(message, "Permission denied: make it readable for this user"));
}

static void test_permission(Fixture *fixture, gconstpointer data)
{
    g_assert_cmpint(chmod(fixture->directory, 0755), ==, 0);
    for (guint i = 0; i < G_N_ELEMENTS(file_names); i++) {
        g_autofree char *path = g_build_filename(fixture->directory, file_names[i], NULL);

        g_assert_cmpint(chmod(path, 0), ==, 0);
        assert_no_permission(fixture->directory, path);
        g_assert_cmpint(chmod(path, 0644), ==, 0);
    }
    g_assert_cmpint(chmod(fixture->directory, 0), ==, 0);
    assert_no_permission(fixture->directory, fixture->directory);
    g_assert_cmpint(chmod(fixture->directory, 0700), ==, 0);
}

/* --- numbers that are none --- */

static void write_at(const char *path, guint64 offset, const void *bytes, gsize n_bytes)
{
    const int fd = open(path, O_WRONLY);

    g_assert_cmpint(pwrite(fd, bytes, n_bytes, (off_t)offset), ==, (gssize)n_bytes);
    close(fd);
}

static gboolean is_read(const FastvlmTensorView *view)
{
    return fastvlm_dtype_is_weight(view->dtype) && strcmp(view->name, "lm_head.weight") != 0 &&
           !strstr(view->name, "head.proj");
}

/*
 * Tensors that are read, with one element at the end that is infinite or not a number: all of them, or
 * without -m thorough one in five, other ones for each type.
 */
static void test_not_finite(Fixture *fixture, gconstpointer dtype)
{
    /* Top bytes of +inf, -inf and NaN; the rest of each is zeros or does not matter. */
    static const guint8 bf16[][2] = {{0x80, 0x7f}, {0x80, 0xff}, {0xc0, 0x7f}};
    static const guint8 f16[][2] = {{0x00, 0x7c}, {0x00, 0xfc}, {0x01, 0x7e}};
    FastvlmCheckpoint *checkpoint = fastvlm_checkpoint_open(fixture->directory, NULL);
    const guint n = fastvlm_checkpoint_get_n_tensors(checkpoint);

    for (guint i = g_test_thorough() ? 0 : strlen(dtype) % 3; i < n;
         i += g_test_thorough() ? 1 : 5) {
        const FastvlmTensorView *view = fastvlm_checkpoint_get_tensor(checkpoint, i);
        const guint8 *bad = strcmp(dtype, "F16") == 0 ? f16[i % 3] : bf16[i % 3];
        const guint64 last = view->offset + view->n_bytes - 2;
        guint8 good[2];
        g_autofree char *where = NULL;

        if (!is_read(view))
            continue;
        where = g_strdup_printf("tensor %s: element %" G_GUINT64_FORMAT " is not finite",
                                view->name, view->n_elements - 1);
        g_assert_true(fastvlm_tensor_view_read(view, view->n_bytes - 2, 2, good, NULL));
        write_at(fixture->weights, last, bad, 2);
        assert_refused(fixture->directory, FASTVLM_ERROR_FORMAT, fixture->weights, where);
        write_at(fixture->weights, last, good, 2);
    }
    fastvlm_checkpoint_free(checkpoint);
}

/* --- files that change meanwhile --- */

static gboolean cut(double fraction, gpointer path)
{
    return truncate(path, 1000) == 0;
}

static void test_cut_while_loading(Fixture *fixture, gconstpointer data)
{
    for (FastvlmPrecision p = FASTVLM_PRECISION_F32; p <= FASTVLM_PRECISION_INT8; p++) {
        const FastvlmModelParams params = {
            .precision = p, .n_threads = 2, .progress = cut, .progress_data = fixture->weights};
        GError *error = NULL;

        fastvlm_synth_write(fixture->directory, &fixture->spec, NULL, NULL, &error);
        g_assert_no_error(error);
        g_assert_null(fastvlm_model_load(fixture->directory, &params, &error));
        test_assert_error(error, FASTVLM_ERROR_READ, fixture->weights, "tensor ",
                          "cut short after it was opened, fetch it again", NULL);
    }
}

static gboolean answer(FastvlmModel *model, const FastvlmGenerateParams *params, GError **error)
{
    FastvlmSession *session = fastvlm_session_new(model);
    FastvlmResult result;
    const gboolean ok = fastvlm_session_generate(session, params, &result, error);

    if (ok)
        fastvlm_result_clear(&result);
    fastvlm_session_free(session);
    return ok;
}

/* Rows of the embedding are read when a token needs them. */
static void test_cut_after_loading(Fixture *fixture, gconstpointer data)
{
    static const gint32 ids[] = {1, 2, 3};
    const FastvlmGenerateParams params = {
        .prefix_ids = ids, .n_prefix_ids = 3, .use_ids = TRUE, .max_tokens = 2};
    GError *error = NULL;
    FastvlmModel *model = load(fixture->directory, FASTVLM_PRECISION_INT8, &error);

    g_assert_no_error(error);
    g_assert_true(answer(model, &params, &error));
    g_assert_true(cut(0.0, fixture->weights));
    g_assert_false(answer(model, &params, &error));
    test_assert_error(error, FASTVLM_ERROR_READ, fixture->weights,
                      "tensor \"model.embed_tokens.weight\"", "cut short", NULL);
    fastvlm_model_unref(model);
}

/* --- texts --- */

/* Text files above their limit, as sparse as they come: refused before anything is read. */
static void test_huge(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                        "tokenizer_config.json", "model.safetensors.index.json"};
    g_autofree char *aside = g_strconcat(fixture->weights, ".aside", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(fixture->directory, names[i], NULL);

        if (i == 4) {
            g_assert_cmpint(rename(fixture->weights, aside), ==, 0);
            test_directory_write(fixture->directory, names[i], "{}", -1);
        }
        g_assert_cmpint(truncate(path, 40 << 20), ==, 0);
        assert_refused(fixture->directory, FASTVLM_ERROR_LIMIT, path,
                       "41943040 bytes, expected at most ");
        fastvlm_synth_write(fixture->directory, &fixture->spec, NULL, NULL, NULL);
        if (i == 4)
            g_assert_cmpint(unlink(path), ==, 0);
    }
}

/* JSON nested deeper than any stack, in each file that holds JSON. */
static void test_deep(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = {"config.json", "vocab.json", "added_tokens.json",
                                        "tokenizer_config.json", "model.safetensors.index.json"};
    g_autofree char *text = g_strnfill(100000, '[');
    g_autofree char *aside = g_strconcat(fixture->weights, ".aside", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(fixture->directory, names[i], NULL);

        if (i == 4)
            g_assert_cmpint(rename(fixture->weights, aside), ==, 0);
        test_directory_write(fixture->directory, names[i], text, -1);
        assert_refused(fixture->directory, FASTVLM_ERROR_FORMAT, path,
                       "not valid JSON: maximum parsing depth reached");
        fastvlm_synth_write(fixture->directory, &fixture->spec, NULL, NULL, NULL);
    }
}

/* The tokenizer of another model: ids that the embedding does not have. */
static void test_other_tokenizer(Fixture *fixture, gconstpointer data)
{
    const FastvlmGenerateParams params = {.prompt = "Describe the image.", .max_tokens = 1};
    GError *error = NULL;
    FastvlmModel *model = load(fixture->directory, FASTVLM_PRECISION_INT8, &error);

    g_assert_no_error(error);
    g_assert_false(answer(model, &params, &error));
    test_assert_error(error, FASTVLM_ERROR_FORMAT, fixture->directory, "the tokenizer made id ",
                      "the embedding has 96 rows", "do not belong together", NULL);
    fastvlm_model_unref(model);
}

#define ADD(name, dtype, run) g_test_add("/hostile/" name, Fixture, dtype, set_up, run, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("links", NULL, test_links);
    ADD("not-files", NULL, test_not_files);
    ADD("permission", NULL, test_permission);
    ADD("not-finite/bf16", "BF16", test_not_finite);
    ADD("not-finite/f16", "F16", test_not_finite);
    ADD("not-finite/f32", "F32", test_not_finite);
    ADD("cut-while-loading", NULL, test_cut_while_loading);
    ADD("cut-after-loading", NULL, test_cut_after_loading);
    ADD("huge", NULL, test_huge);
    ADD("deep", NULL, test_deep);
    ADD("other-tokenizer", NULL, test_other_tokenizer);
    return g_test_run();
}
