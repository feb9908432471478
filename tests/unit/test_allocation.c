/*
 * Memory runs out while a model loads: at the n-th call for memory, for n from 1 on.
 *
 *     n -> child process -> malloc() and its kin of everything in it, GLib and Jansson included, fail once
 *       -> a GError | GLib's abort with its message | a model that answers as ever
 *
 * Nothing else may happen (but for one crash in PCRE, see below): no crash, no wrong answer, no error without a text. As a rule every 53rd n is
 * tried, with `-m thorough` all.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "synth.h"
#include "test_data.h"
#include "test_directory.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_OTHER_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_OTHER_MALLOC 1
#endif
#endif

#define STRIDE 53

static gint n_calls;      /* atomic: since the last reset */
static gint failing_call; /* 0: none */

#if defined(__GLIBC__) && !defined(HAS_OTHER_MALLOC)
#define CAN_FAIL TRUE
#define EXPORTED __attribute__((visibility("default")))

/* The allocator itself, by the names that glibc keeps for programs that replace malloc(). */
extern void *__libc_malloc(size_t n_bytes);
extern void *__libc_calloc(size_t n, size_t n_bytes);
extern void *__libc_realloc(void *memory, size_t n_bytes);
extern void *__libc_memalign(size_t alignment, size_t n_bytes);

static gboolean must_fail(void)
{
    const gint call = g_atomic_int_add(&n_calls, 1) + 1;

    if (call != failing_call)
        return FALSE;
    errno = ENOMEM;
    return TRUE;
}

EXPORTED void *malloc(size_t n_bytes)
{
    return must_fail() ? NULL : __libc_malloc(n_bytes);
}

EXPORTED void *calloc(size_t n, size_t n_bytes)
{
    return must_fail() ? NULL : __libc_calloc(n, n_bytes);
}

EXPORTED void *realloc(void *memory, size_t n_bytes)
{
    return must_fail() ? NULL : __libc_realloc(memory, n_bytes);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t n_bytes)
{
    return must_fail() ? NULL : __libc_memalign(alignment, n_bytes);
}

EXPORTED int posix_memalign(void **memory, size_t alignment, size_t n_bytes)
{
    void *block = must_fail() ? NULL : __libc_memalign(alignment, n_bytes);

    if (block)
        *memory = block;
    return block ? 0 : ENOMEM;
}
#else
#define CAN_FAIL FALSE
#endif

/* How a child ends. */
enum {
    ANSWERED = 0,
    REFUSED = 10,
    BAD_ERROR = 11,
    BAD_ANSWER = 12,
    PCRE_CRASHED = 13,
    CRASHED = 14
};

/*
 * GLib 2.74 hands PCRE what it could not allocate without looking, and PCRE reads at NULL: the one crash
 * that is not ours to mend. A crash anywhere else stays one.
 */
static void look_who_crashed(int signal)
{
    void *frames[8];
    const int n = backtrace(frames, G_N_ELEMENTS(frames));
    Dl_info info;

    for (int i = 0; i < MIN(n, 4); i++)
        if (dladdr(frames[i], &info) && info.dli_fname && strstr(info.dli_fname, "libpcre2"))
            _exit(PCRE_CRASHED);
    _exit(CRASHED);
}

static FastvlmModel *load(const char *directory, GError **error)
{
    const FastvlmModelParams params = {.precision = FASTVLM_PRECISION_INT8, .n_threads = 1};

    return fastvlm_model_load(directory, &params, error);
}

/* Two tokens after three; with memory for everything. */
static void answer(FastvlmModel *model, gint32 *ids)
{
    static const gint32 prompt[] = {1, 2, 3};
    const FastvlmGenerateParams params = {.prefix_ids = prompt,
                                          .n_prefix_ids = 3,
                                          .use_ids = TRUE,
                                          .ignore_stop = TRUE,
                                          .max_tokens = 2};
    FastvlmSession *session = fastvlm_session_new(model);
    FastvlmResult result;
    GError *error = NULL;

    fastvlm_session_generate(session, &params, &result, &error);
    g_assert_no_error(error);
    memcpy(ids, result.ids, 2 * sizeof *ids);
    fastvlm_result_clear(&result);
    fastvlm_session_free(session);
}

/* In the child: never returns. */
static void load_and_end(const char *directory, int call, const gint32 *expected)
{
    FastvlmModel *model;
    GError *error = NULL;
    gint32 ids[2];

    signal(SIGSEGV, look_who_crashed);
    g_atomic_int_set(&n_calls, 0);
    failing_call = call;
    model = load(directory, &error);
    failing_call = 0;
    if (!model) {
        fprintf(stderr, "%s\n", error ? error->message : "no error");
        _exit(error && error->domain == FASTVLM_ERROR && *error->message ? REFUSED : BAD_ERROR);
    }
    answer(model, ids);
    _exit(memcmp(ids, expected, sizeof ids) == 0 ? ANSWERED : BAD_ANSWER);
}

/* How the child ended; what it said goes to `said`. */
static int run_child(const char *directory, int call, const gint32 *expected, char *said,
                     gsize n_said)
{
    gssize n;
    int ends[2], status;
    pid_t child;

    g_assert_cmpint(pipe(ends), ==, 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        dup2(ends[1], STDOUT_FILENO); /* GLib's "Bail out!" is not ours */
        load_and_end(directory, call, expected);
    }
    close(ends[1]);
    n = read(ends[0], said, n_said - 1);
    said[MAX(n, 0)] = '\0';
    close(ends[0]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    return status;
}

static void test_loading(void)
{
    const int stride = g_test_thorough() ? 1 : STRIDE;
    g_autofree char *tokenizer = test_data_path("text/tiny");
    char *directory = test_directory_make();
    int n_answered = 0, n_refused = 0, n_aborted = 0, n_pcre = 0, n_all, n_tried = 0;
    gint32 expected[2];
    FastvlmModel *model;
    SynthSpec spec;

    g_assert_true(fastvlm_synth_spec("micro", &spec));
    spec.tokenizer = tokenizer;
    g_assert_true(fastvlm_synth_write(directory, &spec, NULL, NULL, NULL));
    model = load(directory, NULL); /* what is made once in a process */
    fastvlm_model_unref(model);
    g_atomic_int_set(&n_calls, 0);
    model = load(directory, NULL);
    n_all = g_atomic_int_get(&n_calls);
    answer(model, expected);
    fastvlm_model_unref(model);
    for (int call = 1; call <= n_all; call += stride) {
        char said[4096];
        const int status = run_child(directory, call, expected, said, sizeof said);
        const int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        const gboolean is_glib =
            (number == SIGTRAP || number == SIGABRT) && strstr(said, "allocat");

        n_aborted += is_glib;
        n_answered += WIFEXITED(status) && WEXITSTATUS(status) == ANSWERED;
        n_refused += WIFEXITED(status) && WEXITSTATUS(status) == REFUSED;
        if (*said && !is_glib)
            g_test_message("%d: %s", call, g_strchomp(said));
        n_pcre += WIFEXITED(status) && WEXITSTATUS(status) == PCRE_CRASHED;
        if (n_aborted + n_answered + n_refused + n_pcre != ++n_tried)
            g_error("call %d of %d: signal %d, status %d: %s", call, n_all, number,
                    WEXITSTATUS(status), said);
    }
    g_test_message(
        "%d of %d calls: %d errors, %d aborts of GLib, %d crashes in PCRE, %d loaded all "
        "the same",
        n_tried, n_all, n_refused, n_aborted, n_pcre, n_answered);
    g_assert_cmpint(n_refused, >, 0);
    g_assert_cmpint(n_aborted, >, 0);
    test_directory_remove(directory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!CAN_FAIL) {
        printf("1..0 # SKIP a sanitiser, or no glibc: malloc() cannot be made to fail here\n");
        return 0;
    }
    g_test_add_func("/allocation/loading", test_loading);
    return g_test_run();
}
