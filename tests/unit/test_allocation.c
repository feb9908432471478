/*
 * Memory runs out while a model loads: at the n-th call for memory, for n from 1 on, on each way to load.
 *
 *     n -> child process -> malloc() and its kin of everything in it, GLib and Jansson included, fail once
 *       -> a GError | GLib's abort with its message | a model that answers as ever
 *
 * Nothing else may happen (but for one crash in PCRE, see below): no crash, no wrong answer, no error without
 * a text; and a process that goes on has back all memory and all files that loading took. Some of the n are
 * tried, as a rule every 53rd from a random one on (--seed), with `-m thorough` all.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <fastvlm/fastvlm.h>

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/text_file.h"
#include "synth.h"
#include "test_data.h"
#include "test_directory.h"
#include "test_tokenizer_json.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_OTHER_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_OTHER_MALLOC 1
#endif
#endif

#define STRIDE 53
#define N_FILES 64 /* descriptors that are looked at */

/* A way to load. */
typedef struct {
    const char *name;
    const char *layout; /* NULL: the release's */
    int n_shards;       /* 0: model.safetensors alone */
    FastvlmPrecision precision;
    gboolean one_file;  /* tokenizer.json alone */
    gboolean has_cache; /* a packed copy is written */
    gboolean is_packed; /* and read */
    gboolean is_text;   /* no model: a JSON text with a long string */
} Way;

/* The same with its files. */
typedef struct {
    const Way *way;
    char *root;
    char *model;
    char *vision; /* NULL: it has its own */
    char *cache;
    gint32 expected[2];
} Bench;

static gint n_blocks;     /* atomic: taken and not given back */
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
extern void __libc_free(void *memory);

static gboolean must_fail(void)
{
    const gint call = g_atomic_int_add(&n_calls, 1) + 1;

    if (call != failing_call)
        return FALSE;
    errno = ENOMEM;
    return TRUE;
}

static void *count(void *block)
{
    if (block)
        g_atomic_int_inc(&n_blocks);
    return block;
}

EXPORTED void *malloc(size_t n_bytes)
{
    return must_fail() ? NULL : count(__libc_malloc(n_bytes));
}

EXPORTED void *calloc(size_t n, size_t n_bytes)
{
    return must_fail() ? NULL : count(__libc_calloc(n, n_bytes));
}

EXPORTED void *realloc(void *memory, size_t n_bytes)
{
    void *block;

    if (must_fail())
        return NULL;
    block = __libc_realloc(memory, n_bytes);
    if (!memory)
        return count(block);
    if (n_bytes == 0)
        g_atomic_int_add(&n_blocks, -1);
    return block;
}

EXPORTED void *aligned_alloc(size_t alignment, size_t n_bytes)
{
    return must_fail() ? NULL : count(__libc_memalign(alignment, n_bytes));
}

EXPORTED int posix_memalign(void **memory, size_t alignment, size_t n_bytes)
{
    void *block = must_fail() ? NULL : count(__libc_memalign(alignment, n_bytes));

    if (block)
        *memory = block;
    return block ? 0 : ENOMEM;
}

EXPORTED void free(void *memory)
{
    if (memory)
        g_atomic_int_add(&n_blocks, -1);
    __libc_free(memory);
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
    CRASHED = 14,
    LEAKED = 15,
    N_ENDS = 16,
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

static FastvlmModel *load(const Bench *bench, GError **error)
{
    const FastvlmModelParams params = {
        .precision = bench->way->precision, .n_threads = 1, .vision_path = bench->vision};

    return fastvlm_model_load(bench->model, &params, error);
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

static int count_files(void)
{
    int n = 0;

    for (int fd = 0; fd < N_FILES; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int parse_long_string(void)
{
    g_autofree char *string = g_strnfill(100000, 'x');
    g_autofree char *text = g_strdup_printf("{\"%s\": 1}", string);
    json_t *object = fastvlm_text_parse_object(text, strlen(text), "text", NULL);
    const int end = object && json_object_get(object, string) ? ANSWERED : BAD_ANSWER;

    json_decref(object);
    return end;
}

/* Loads, answers and gives back; the end, and what there is to say of it. */
static int load_and_answer(const Bench *bench)
{
    FastvlmModel *model;
    GError *error = NULL;
    gboolean is_good;
    gint32 ids[2];

    model = load(bench, &error);
    failing_call = 0;
    if (model) {
        answer(model, ids);
        fastvlm_model_unref(model);
        return memcmp(ids, bench->expected, sizeof ids) == 0 ? ANSWERED : BAD_ANSWER;
    }
    fprintf(stderr, "%s\n", error ? error->message : "no error");
    is_good = error && error->domain == FASTVLM_ERROR && *error->message;
    g_clear_error(&error);
    return is_good ? REFUSED : BAD_ERROR;
}

/* In the child: never returns. */
static void load_and_end(const Bench *bench, int call)
{
    const int n_files = count_files();
    int before, end, n_lost;

    signal(SIGSEGV, look_who_crashed);
    before = g_atomic_int_get(&n_blocks);
    g_atomic_int_set(&n_calls, 0);
    failing_call = call;
    end = bench->way->is_text ? parse_long_string() : load_and_answer(bench);
    n_lost = g_atomic_int_get(&n_blocks) - before;
    if ((end == ANSWERED || end == REFUSED) && (n_lost != 0 || count_files() != n_files)) {
        fprintf(stderr, "%d blocks of memory, %d files not given back\n", n_lost,
                count_files() - n_files);
        end = LEAKED;
    }
    _exit(end);
}

/* How the child ended; what it said goes to `said`. */
static int run_child(const Bench *bench, int call, char *said, gsize n_said)
{
    gsize n_read = 0;
    int ends[2], status;
    pid_t child;
    gssize n;

    g_assert_cmpint(pipe(ends), ==, 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        dup2(ends[1], STDOUT_FILENO); /* GLib's "Bail out!" is not ours */
        load_and_end(bench, call);
    }
    close(ends[1]);
    while ((n = read(ends[0], said + n_read, n_said - 1 - n_read)) > 0)
        n_read += (gsize)n;
    said[n_read] = '\0';
    close(ends[0]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    return status;
}

static void empty_cache(const Bench *bench)
{
    GError *error = NULL;
    guint64 n_bytes;
    guint n;

    if (bench->way->has_cache && !bench->way->is_packed)
        fastvlm_cache_clear(&n, &n_bytes, &error);
    g_assert_no_error(error);
}

/* Nothing is left of a copy that was not finished. */
static void assert_no_parts(const char *cache)
{
    GDir *directory = g_dir_open(cache, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory)))
        g_assert_false(g_str_has_suffix(name, ".part"));
    g_clear_pointer(&directory, g_dir_close);
}

static void write_tokenizer_json(const char *directory)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "added_tokens.json",
                                        "tokenizer_config.json"};
    g_autofree char *path = g_build_filename(directory, "tokenizer.json", NULL);
    json_t *json = test_tokenizer_make_json(TRUE);

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *other = g_build_filename(directory, names[i], NULL);

        g_assert_cmpint(g_unlink(other), ==, 0);
    }
    g_assert_cmpint(json_dump_file(json, path, 0), ==, 0);
    json_decref(json);
}

static void set_up(Bench *bench, gconstpointer data)
{
    const Way *way = data;
    g_autofree char *tokenizer = test_data_path("text/tiny");
    GError *error = NULL;
    SynthSpec spec;

    *bench = (Bench){.way = way, .root = test_directory_make()};
    bench->model = g_build_filename(bench->root, "model", NULL);
    bench->cache = g_build_filename(bench->root, "cache", NULL);
    if (way->layout && g_str_has_prefix(way->layout, "mlx"))
        bench->vision = g_build_filename(bench->root, "vision", NULL);
    g_assert_true(fastvlm_synth_spec("micro", &spec));
    spec.tokenizer = tokenizer;
    spec.n_shards = MAX(way->n_shards, 1);
    spec.hidden = 64; /* a group of the app's export */
    if (way->layout)
        fastvlm_synth_write_layout(way->layout, &spec, bench->model, bench->vision, &error);
    else
        fastvlm_synth_write(bench->model, &spec, NULL, NULL, &error);
    g_assert_no_error(error);
    if (way->one_file)
        write_tokenizer_json(bench->model);
    g_setenv("FASTVLM_CACHE", way->has_cache ? bench->cache : "off", TRUE);
    g_setenv("FASTVLM_CACHE_MIN_SIZE", "0", TRUE);
}

static void tear_down(Bench *bench, gconstpointer data)
{
    test_directory_remove(bench->root);
    g_free(bench->model);
    g_free(bench->vision);
    g_free(bench->cache);
}

/* What is made once in a process is made, the answer known; returns the number of calls of a load. */
static int prepare(Bench *bench)
{
    FastvlmModel *model = NULL;
    GError *error = NULL;
    int n_all = 0;

    g_assert_null(fastvlm_model_load("/none/such", NULL, &error)); /* the first error and others */
    g_clear_error(&error);
    g_assert_nonnull(g_strerror(ENOMEM));
    g_free(g_filename_display_name("/"));
    g_assert_null(g_regex_new("(", 0, 0, NULL));
    g_debug("the first message of the log");
    for (int i = 0; i < 2; i++) {
        empty_cache(bench);
        g_atomic_int_set(&n_calls, 0);
        model = load(bench, NULL);
        n_all = g_atomic_int_get(&n_calls);
        answer(model, bench->expected);
        if (bench->way->has_cache)
            g_assert_true(g_str_has_prefix(fastvlm_model_get_cache_note(model),
                                           bench->way->is_packed && i > 0 ? "read" : "written"));
        fastvlm_model_unref(model);
    }
    return n_all;
}

/* How the child that fails at `call` ended, N_ENDS for an abort of GLib; fails where it may not so. */
static int try_call(const Bench *bench, int call)
{
    char said[4096];
    int status, number;

    empty_cache(bench);
    status = run_child(bench, call, said, sizeof said);
    number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if ((number == SIGTRAP || number == SIGABRT) && strstr(said, "allocat"))
        return N_ENDS;
    if (*said)
        g_test_message("%d: %s", call, g_strchomp(said));
    assert_no_parts(bench->cache);
    if (number != 0 || (WEXITSTATUS(status) != ANSWERED && WEXITSTATUS(status) != REFUSED &&
                        WEXITSTATUS(status) != PCRE_CRASHED))
        g_error("call %d: signal %d, status %d: %s", call, number, WEXITSTATUS(status), said);
    return WEXITSTATUS(status);
}

static void test_loading(Bench *bench, gconstpointer data)
{
    const int stride = g_test_thorough() ? 1 : STRIDE;
    const int n_all = prepare(bench);
    int ends[N_ENDS + 1] = {0}, n_tried = 0;

    for (int call = g_test_rand_int_range(0, stride) + 1; call <= n_all; call += stride) {
        ends[try_call(bench, call)]++;
        n_tried++;
    }
    g_test_message("%d of %d calls: %d errors, %d aborts of GLib, %d crashes in PCRE, %d loaded "
                   "all the same",
                   n_tried, n_all, ends[REFUSED], ends[N_ENDS], ends[PCRE_CRASHED], ends[ANSWERED]);
    g_assert_cmpint(ends[REFUSED] + ends[ANSWERED], >, 0);
    g_assert_cmpint(ends[N_ENDS], >, 0);
}

/* Where the parser's own buffers grow. */
static void test_long_string(void)
{
    static const Way way = {.name = "long-string", .is_text = TRUE};
    const Bench bench = {.way = &way, .cache = (char *)"/none"};
    int n_all, n_aborted = 0;

    g_assert_cmpint(parse_long_string(), ==, ANSWERED);
    g_atomic_int_set(&n_calls, 0);
    g_assert_cmpint(parse_long_string(), ==, ANSWERED);
    n_all = g_atomic_int_get(&n_calls);
    for (int call = 1; call <= n_all; call++)
        n_aborted += try_call(&bench, call) == N_ENDS;
    g_assert_cmpint(n_aborted, >, 12); /* it grows from 16 bytes to 131,072 */
}

static const Way ways[] = {
    {.name = "plain", .precision = FASTVLM_PRECISION_INT8},
    {.name = "measured", .precision = FASTVLM_PRECISION_AUTO},
    {.name = "shards", .n_shards = 3, .precision = FASTVLM_PRECISION_F32},
    {.name = "hub", .layout = "hub", .precision = FASTVLM_PRECISION_INT8, .one_file = TRUE},
    {.name = "mlx", .layout = "mlx4", .precision = FASTVLM_PRECISION_INT4},
    {.name = "branches", .layout = "branches", .precision = FASTVLM_PRECISION_BF16},
    {.name = "copy-written", .precision = FASTVLM_PRECISION_INT8, .has_cache = TRUE},
    {.name = "copy-read",
     .precision = FASTVLM_PRECISION_INT8,
     .has_cache = TRUE,
     .is_packed = TRUE},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!CAN_FAIL) {
        printf("1..0 # SKIP a sanitiser, or no glibc: malloc() cannot be made to fail here\n");
        return 0;
    }
    g_test_add_func("/allocation/long-string", test_long_string);
    for (gsize i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *path = g_strconcat("/allocation/", ways[i].name, NULL);

        g_test_add(path, Bench, &ways[i], set_up, test_loading, tear_down);
    }
    return g_test_run();
}
