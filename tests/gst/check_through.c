/*
 * What 1080p60 notices of a model that runs flat out on all cores: nothing may be lost or wait.
 *
 *     frames at 60 a second -> element in mode live, interval 0, demo model -> all come out, in order
 *                           -> a plain copy of as many bytes, by the same thread: the control
 *
 * The times a frame spends inside are printed, and beside them what the machine does to a thread by
 * itself, as it was then: how late frames came, because their thread was woken late, and how long the
 * control took. Only gross faults fail, as any machine may be busy.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include <sys/resource.h>

#define HD_CAPS "video/x-raw, format=I420, width=1920, height=1080, framerate=60/1"
#define LARGE_CAPS "video/x-raw, format=I420, width=20000, height=10000, framerate=1/1"
#define LARGE_PAGES (20000 * 10000 * 3 / 2 / 4096)
#define SPAN_US (G_TIME_SPAN_SECOND / 60)
#define SPAN_MS (SPAN_US / 1000.0)
#define N_PICTURES 4
#define N_FRAMES 600

#define N_COPIES 3 /* as many buffers take turns as do in the element */

#define FRAME_BYTES (1920 * 1080 * 3 / 2)
#define FRAME_PAGES (FRAME_BYTES / 4096)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_COUNT_FAULTS FALSE
#else
#define CAN_COUNT_FAULTS TRUE
#endif

static glong count_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt;
}

static double get_time(Fixture *fixture, const char *field)
{
    GstStructure *stats;
    double value = -1;

    g_object_get(fixture->element, "stats", &stats, NULL);
    g_assert_true(gst_structure_get_double(stats, field, &value));
    gst_structure_free(stats);
    return value;
}

/* Milliseconds, one a frame. */
typedef struct {
    double late[N_FRAMES];   /* after its time when it was pushed */
    double inside[N_FRAMES]; /* in the element and the harness behind it */
    double waited[N_FRAMES]; /* of that without a CPU: for one, or for a lock */
    double copied[N_FRAMES]; /* the control */
    guint8 *pictures[N_PICTURES], *copies[N_COPIES];
} Times;

static double now_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static Times *times_new(void)
{
    Times *times = g_new0(Times, 1);

    for (guint i = 0; i < N_PICTURES; i++) {
        times->pictures[i] = g_malloc(FRAME_BYTES);
        memset(times->pictures[i], (int)i, FRAME_BYTES);
    }
    for (guint i = 0; i < N_COPIES; i++) {
        times->copies[i] = g_malloc(FRAME_BYTES);
        memset(times->copies[i], 0, FRAME_BYTES);
    }
    return times;
}

static void times_free(Times *times)
{
    for (guint i = 0; i < N_PICTURES; i++) {
        g_free(times->pictures[i]);
    }
    for (guint i = 0; i < N_COPIES; i++) {
        g_free(times->copies[i]);
    }
    g_free(times);
}

static int compare_times(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void tell(const char *what, double *ms)
{
    qsort(ms, N_FRAMES, sizeof *ms, compare_times);
    g_test_message("%s: p50 %.3f ms, p99 %.3f ms, most %.3f ms", what, ms[N_FRAMES / 2],
                   ms[N_FRAMES * 99 / 100], ms[N_FRAMES - 1]);
}

/* The time for the `i`th frame, or at once where that is over. */
static void wait_for_turn(double start_ms, guint i)
{
    const double left_ms = start_ms + i * SPAN_MS - now_ms(CLOCK_MONOTONIC);

    if (left_ms > 0) {
        g_usleep((gulong)(left_ms * 1000));
    }
}

static void copy_beside(Times *times, guint i)
{
    const double start_ms = now_ms(CLOCK_MONOTONIC);

    memcpy(times->copies[i % N_COPIES], times->pictures[i % N_PICTURES], FRAME_BYTES);
    times->copied[i] = now_ms(CLOCK_MONOTONIC) - start_ms;
}

/* Pushes the `i`th frame, which shares its pixels with a picture, and takes what comes out. */
static void pass_frame(Fixture *fixture, GstBuffer *picture, guint i, Times *times)
{
    const GstClockTime pts = i * SPAN_US * GST_USECOND;
    GstBuffer *frame = gst_buffer_copy(picture);

    GST_BUFFER_PTS(frame) = pts;
    GST_BUFFER_DURATION(frame) = SPAN_US * GST_USECOND;
    const double wall_ms = now_ms(CLOCK_MONOTONIC), cpu_ms = now_ms(CLOCK_THREAD_CPUTIME_ID);
    g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==, GST_FLOW_OK);
    times->inside[i] = now_ms(CLOCK_MONOTONIC) - wall_ms;
    times->waited[i] = times->inside[i] - (now_ms(CLOCK_THREAD_CPUTIME_ID) - cpu_ms);
    GstBuffer *out = gst_harness_try_pull(fixture->harness);
    g_assert_nonnull(out);
    g_assert_cmpuint(GST_BUFFER_PTS(out), ==, pts);
    gst_buffer_unref(out);
}

static void test_through(void)
{
    FastvlmModelInfo *info = fastvlm_model_inspect("demo", NULL);
    GstBuffer *pictures[N_PICTURES];

    if (info == NULL) {
        g_test_skip("models/demo has no weights");
        return;
    }
    fastvlm_model_info_free(info);
    Fixture *fixture = fixture_new("interval=0", HD_CAPS);
    Times *times = times_new();
    for (guint i = 0; i < N_PICTURES; i++) {
        pictures[i] = make_frame(HD_CAPS, 0x203040 * (i + 1), 0);
    }
    const glong faults = count_faults();
    pass_frame(fixture, pictures[0], 0, times);
    wait_caption(fixture, "final");
    const double start_ms = now_ms(CLOCK_MONOTONIC);
    for (guint i = 1; i < N_FRAMES; i++) {
        wait_for_turn(start_ms, i);
        times->late[i] = now_ms(CLOCK_MONOTONIC) - start_ms - i * SPAN_MS;
        pass_frame(fixture, pictures[i % N_PICTURES], i, times);
        copy_beside(times, i);
    }
    const glong n_faults = count_faults() - faults;
    const double p50 = get_time(fixture, "through-ms-p50");
    const double p99 = get_time(fixture, "through-ms-p99");

    g_test_message("inside, by the stats: p50 %.3f ms, p99 %.3f ms; %d frames in %.1f s, "
                   "%" G_GUINT64_FORMAT " sampled, %" G_GUINT64_FORMAT " captions, %ld page faults",
                   p50, p99, N_FRAMES, (now_ms(CLOCK_MONOTONIC) - start_ms) / 1000,
                   get_stat(fixture, "sampled"), get_stat(fixture, "captions"), n_faults);
    tell("inside, with what is behind", times->inside);
    tell("of it without a CPU", times->waited);
    tell("control: a plain copy of a frame", times->copied);
    tell("the thread was woken late by", times->late);
    g_assert_cmpuint(get_stat(fixture, "frames"), ==, N_FRAMES);
    g_assert_cmpuint(get_stat(fixture, "captions"), >=, 2);
    g_assert_cmpfloat(p50, <, 1000);
    if (CAN_COUNT_FAULTS) {
        /* The first copy alone would have had all of its pages mapped. */
        g_assert_cmpint(n_faults, <, FRAME_PAGES / 2);
    }
    for (guint i = 0; i < N_PICTURES; i++) {
        gst_buffer_unref(pictures[i]);
    }
    times_free(times);
    fixture_free(fixture);
}

/* Caps alone may say anything: no memory is touched for pictures of a size that hardly ever comes. */
static void test_large_caps(void)
{
    const glong faults = count_faults();
    Fixture *fixture = fixture_new("", LARGE_CAPS);

    if (CAN_COUNT_FAULTS) {
        g_assert_cmpint(count_faults() - faults, <, LARGE_PAGES);
    }
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/through/1080p60", test_through);
    g_test_add_func("/through/large-caps", test_large_caps);
    return g_test_run();
}
