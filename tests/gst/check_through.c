/*
 * What 1080p60 notices of a model that runs flat out on all cores: nothing may be lost or wait.
 *
 *     frames at 60 a second -> element in mode live, interval 0, demo model -> all come out, in order
 *
 * The times a frame spends inside are printed; only gross faults fail, as any machine may be busy.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include <sys/resource.h>

#define HD_CAPS "video/x-raw, format=I420, width=1920, height=1080, framerate=60/1"
#define LARGE_CAPS "video/x-raw, format=I420, width=20000, height=10000, framerate=1/1"
#define LARGE_PAGES (20000 * 10000 * 3 / 2 / 4096)
#define SPAN_US (G_TIME_SPAN_SECOND / 60)
#define N_PICTURES 4
#define N_FRAMES 600

/* Pages of a frame, of 4096 bytes each. */
#define FRAME_PAGES (1920 * 1080 * 3 / 2 / 4096)

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

/* The time for the `i`th frame, or at once where that is over. */
static void wait_for_turn(gint64 start_us, guint i)
{
    const gint64 left_us = start_us + i * SPAN_US - g_get_monotonic_time();

    if (left_us > 0) {
        g_usleep((gulong)left_us);
    }
}

/* Pushes a frame that shares its pixels with a picture, and takes what comes out. */
static void pass_frame(Fixture *fixture, GstBuffer *picture, GstClockTime pts)
{
    GstBuffer *frame = gst_buffer_copy(picture);

    GST_BUFFER_PTS(frame) = pts;
    GST_BUFFER_DURATION(frame) = SPAN_US * GST_USECOND;
    g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==, GST_FLOW_OK);
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
    for (guint i = 0; i < N_PICTURES; i++) {
        pictures[i] = make_frame(HD_CAPS, 0x203040 * (i + 1), 0);
    }
    const glong faults = count_faults();
    pass_frame(fixture, pictures[0], 0);
    wait_caption(fixture, "final");
    const gint64 start_us = g_get_monotonic_time();
    for (guint i = 1; i < N_FRAMES; i++) {
        wait_for_turn(start_us, i);
        pass_frame(fixture, pictures[i % N_PICTURES], i * SPAN_US * GST_USECOND);
    }
    const glong n_faults = count_faults() - faults;
    const double p50 = get_time(fixture, "through-ms-p50");
    const double p99 = get_time(fixture, "through-ms-p99");

    g_test_message("inside: p50 %.3f ms, p99 %.3f ms; %d frames in %.1f s, %" G_GUINT64_FORMAT
                   " sampled, %" G_GUINT64_FORMAT " captions, %ld page faults",
                   p50, p99, N_FRAMES, ms_since(start_us) / 1000, get_stat(fixture, "sampled"),
                   get_stat(fixture, "captions"), n_faults);
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
