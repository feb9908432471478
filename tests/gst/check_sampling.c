/*
 * The sampling grid: by itself, and in the element with segments, gaps and odd streams.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include "gstfastvlmsampler.h"

#define MS GST_MSECOND

/* Feeds running times in ms (-1: none), ends with -2; returns which were taken, as "x..x". */
static void check_grid(GstFastvlmSampler *sampler, const gint64 *times_ms, const char *expected)
{
    GString *taken = g_string_new(NULL);

    for (; *times_ms != -2; times_ms++) {
        const GstClockTime time =
            *times_ms < 0 ? GST_CLOCK_TIME_NONE : (GstClockTime)*times_ms * MS;
        g_string_append_c(taken, gst_fastvlm_sampler_take(sampler, time) ? 'x' : '.');
    }
    g_assert_cmpstr(taken->str, ==, expected);
    g_string_free(taken, TRUE);
}

/* The first frame anchors; a sample is the first frame at or after each point. */
static void test_grid(void)
{
    static const gint64 times[] = {40, 80, 120, 139, 140, 180, 239, 241, 340, -2};
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 100 * MS);
    check_grid(&sampler, times, "x...x..xx");
}

/* The grid does not drift with late samples. */
static void test_no_drift(void)
{
    static const gint64 times[] = {0, 190, 200, 290, 300, -2};
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 100 * MS);
    check_grid(&sampler, times, "xxx.x");
}

/* Points that no frame met are skipped, not made up for. */
static void test_gap(void)
{
    static const gint64 times[] = {0, 40, 1050, 1060, 1099, 1100, -2};
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 100 * MS);
    check_grid(&sampler, times, "x.x..x");
}

/* Frames without a time are never samples, and anchor nothing. */
static void test_no_time(void)
{
    static const gint64 times[] = {-1, -1, 30, -1, 100, 130, -2};
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 100 * MS);
    check_grid(&sampler, times, "..x..x");
}

/* Time that starts again anchors anew; a little jitter does not. */
static void test_back_in_time(void)
{
    static const gint64 times[] = {5000, 5090, 5100, 5060, 5200, 5101, 5150, 0, 40, 100, -2};
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 100 * MS);
    check_grid(&sampler, times, "x.x.x..x.x");
}

/* A new interval anchors anew, the same one does not; a reset does. */
static void test_new_interval(void)
{
    static const gint64 first[] = {0, 100, 150, -2}, same[] = {160, 200, -2};
    static const gint64 other[] = {210, 220, 260, -2}, reset[] = {270, 320, -2};
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 100 * MS);
    check_grid(&sampler, first, "xx.");
    gst_fastvlm_sampler_set_interval(&sampler, 100 * MS);
    check_grid(&sampler, same, ".x");
    gst_fastvlm_sampler_set_interval(&sampler, 50 * MS);
    check_grid(&sampler, other, "x.x");
    gst_fastvlm_sampler_reset(&sampler);
    check_grid(&sampler, reset, "xx");
}

/* Interval 0 takes every frame with a time; the span to the next is not known. */
static void test_every_frame(void)
{
    static const gint64 times[] = {0, 1, -1, 1, 0, -2};
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 0);
    check_grid(&sampler, times, "xx.xx");
    g_assert_cmpuint(gst_fastvlm_sampler_get_span(&sampler, 0), ==, GST_CLOCK_TIME_NONE);
}

/* The span reaches to the next grid point, from where the sample really was. */
static void test_span(void)
{
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, 100 * MS);
    g_assert_true(gst_fastvlm_sampler_take(&sampler, 0));
    g_assert_cmpuint(gst_fastvlm_sampler_get_span(&sampler, 0), ==, 100 * MS);
    g_assert_true(gst_fastvlm_sampler_take(&sampler, 130 * MS));
    g_assert_cmpuint(gst_fastvlm_sampler_get_span(&sampler, 130 * MS), ==, 70 * MS);
    /* A frame between is nearer to it; without a grid it is a whole interval. */
    g_assert_cmpuint(gst_fastvlm_sampler_get_span(&sampler, 150 * MS), ==, 50 * MS);
    gst_fastvlm_sampler_reset(&sampler);
    g_assert_cmpuint(gst_fastvlm_sampler_get_span(&sampler, 150 * MS), ==, 100 * MS);
}

/* The ends of time. */
static void test_extremes(void)
{
    GstFastvlmSampler sampler;

    gst_fastvlm_sampler_init(&sampler, G_MAXUINT64 - 1);
    g_assert_true(gst_fastvlm_sampler_take(&sampler, 0));
    g_assert_false(gst_fastvlm_sampler_take(&sampler, 1000 * GST_SECOND));
    gst_fastvlm_sampler_init(&sampler, G_MAXUINT64 - 1);
    g_assert_true(gst_fastvlm_sampler_take(&sampler, 7));
    g_assert_false(gst_fastvlm_sampler_take(&sampler, 1000 * GST_SECOND));
    gst_fastvlm_sampler_init(&sampler, 1);
    g_assert_true(gst_fastvlm_sampler_take(&sampler, GST_CLOCK_TIME_NONE - 2));
    g_assert_true(gst_fastvlm_sampler_take(&sampler, GST_CLOCK_TIME_NONE - 1));
}

/* ---- in the element ---- */

#define SLOW "mode=complete interval=100000000"

static void push_segment(Fixture *fixture, GstClockTime start, GstClockTime base, double rate)
{
    GstSegment segment;

    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.start = segment.time = segment.position = start;
    segment.base = base;
    segment.rate = rate;
    if (rate < 0) {
        segment.start = 0;
        segment.stop = start;
    }
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment)));
}

/* Pushes a frame; returns the number of samples so far. */
static guint64 push_at(Fixture *fixture, guint64 ms)
{
    g_assert_cmpint(push_frame(fixture, 0x808080, ms * MS), ==, GST_FLOW_OK);
    return get_stat(fixture, "sampled");
}

/* Caps without a frame rate, as RTSP cameras give them, sample by time all the same. */
static void test_variable_framerate(void)
{
    Fixture *fixture =
        fixture_new(SLOW, "video/x-raw, format=I420, width=64, height=48, framerate=0/1");

    g_assert_cmpuint(push_at(fixture, 0), ==, 1);
    g_assert_cmpuint(push_at(fixture, 33), ==, 1);
    g_assert_cmpuint(push_at(fixture, 99), ==, 1);
    g_assert_cmpuint(push_at(fixture, 101), ==, 2);
    g_assert_cmpuint(push_at(fixture, 200), ==, 3);
    fixture_free(fixture);
}

/* A frame without PTS passes, unsampled. */
static void test_missing_pts(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);

    g_assert_cmpint(push_frame(fixture, 0x808080, GST_CLOCK_TIME_NONE), ==, GST_FLOW_OK);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 0);
    g_assert_cmpuint(push_at(fixture, 40), ==, 1);
    g_assert_cmpuint(gst_harness_buffers_received(fixture->harness), ==, 2);
    fixture_free(fixture);
}

/* A new segment that goes on in running time goes on in the grid, whatever its PTS are. */
static void test_segment_change(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);

    g_assert_cmpuint(push_at(fixture, 0), ==, 1);
    g_assert_cmpuint(push_at(fixture, 40), ==, 1);
    push_segment(fixture, 50 * GST_SECOND, 80 * MS, 1.0);
    g_assert_cmpuint(push_at(fixture, 50000), ==, 1); /* 80 ms */
    g_assert_cmpuint(push_at(fixture, 50020), ==, 2); /* 100 ms */
    wait_caption(fixture, "final");
    const GstStructure *caption = wait_caption(fixture, "final");
    g_assert_cmpuint(get_uint64(caption, "pts"), ==, 50020 * MS);
    g_assert_cmpuint(get_uint64(caption, "running-time"), ==, 100 * MS);
    g_assert_cmpuint(get_uint64(caption, "stream-time"), ==, 50020 * MS);
    fixture_free(fixture);
}

/* At double speed samples are an interval of running time apart, two of PTS. */
static void test_rate(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);

    push_segment(fixture, 0, 0, 2.0);
    g_assert_cmpuint(push_at(fixture, 0), ==, 1);
    g_assert_cmpuint(push_at(fixture, 120), ==, 1);
    g_assert_cmpuint(push_at(fixture, 200), ==, 2);
    fixture_free(fixture);
}

/* Played backwards, running time goes forward as ever. */
static void test_reverse(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);

    push_segment(fixture, GST_SECOND, 0, -1.0);
    g_assert_cmpuint(push_at(fixture, 960), ==, 1);
    g_assert_cmpuint(push_at(fixture, 920), ==, 1);
    g_assert_cmpuint(push_at(fixture, 860), ==, 2);
    fixture_free(fixture);
}

/* Frames outside the segment pass, unsampled. */
static void test_outside_segment(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);

    push_segment(fixture, 10 * GST_SECOND, 0, 1.0);
    g_assert_cmpuint(push_at(fixture, 500), ==, 0);
    g_assert_cmpuint(push_at(fixture, 10000), ==, 1);
    fixture_free(fixture);
}

/* A gap event passes, and a discontinuity is a frame like any other. */
static void test_gap_event(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);

    g_assert_cmpuint(push_at(fixture, 0), ==, 1);
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_gap(40 * MS, 400 * MS)));
    GstBuffer *frame = make_frame(CAPS, 0x808080, 440 * MS);
    GST_BUFFER_FLAG_SET(frame, GST_BUFFER_FLAG_DISCONT);
    g_assert_cmpint(gst_harness_push(fixture->harness, frame), ==, GST_FLOW_OK);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 2);
    g_assert_cmpuint(push_at(fixture, 480), ==, 2);
    g_assert_cmpuint(push_at(fixture, 500), ==, 3);
    fixture_free(fixture);
}

/* A new interval while playing anchors anew. */
static void test_interval_changes(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);

    g_assert_cmpuint(push_at(fixture, 0), ==, 1);
    g_assert_cmpuint(push_at(fixture, 40), ==, 1);
    g_object_set(fixture->element, "interval", (guint64)(50 * MS), NULL);
    g_assert_cmpuint(push_at(fixture, 60), ==, 2);
    g_assert_cmpuint(push_at(fixture, 100), ==, 2);
    g_assert_cmpuint(push_at(fixture, 110), ==, 3);
    fixture_free(fixture);
}

/* A segment that is not in time lets frames pass. */
static void test_bytes_segment(void)
{
    Fixture *fixture = fixture_new(SLOW, CAPS);
    GstSegment segment;

    gst_segment_init(&segment, GST_FORMAT_BYTES);
    gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment));
    g_assert_cmpuint(push_at(fixture, 0), ==, 0);
    g_assert_cmpuint(gst_harness_buffers_received(fixture->harness), ==, 1);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/grid/points", test_grid);
    g_test_add_func("/grid/no-drift", test_no_drift);
    g_test_add_func("/grid/gap", test_gap);
    g_test_add_func("/grid/no-time", test_no_time);
    g_test_add_func("/grid/back-in-time", test_back_in_time);
    g_test_add_func("/grid/new-interval", test_new_interval);
    g_test_add_func("/grid/every-frame", test_every_frame);
    g_test_add_func("/grid/span", test_span);
    g_test_add_func("/grid/extremes", test_extremes);
    g_test_add_func("/sampling/variable-framerate", test_variable_framerate);
    g_test_add_func("/sampling/missing-pts", test_missing_pts);
    g_test_add_func("/sampling/segment-change", test_segment_change);
    g_test_add_func("/sampling/rate", test_rate);
    g_test_add_func("/sampling/reverse", test_reverse);
    g_test_add_func("/sampling/outside-segment", test_outside_segment);
    g_test_add_func("/sampling/gap-event", test_gap_event);
    g_test_add_func("/sampling/interval-changes", test_interval_changes);
    g_test_add_func("/sampling/bytes-segment", test_bytes_segment);
    return g_test_run();
}
