/*
 * The text_src pad alone: what it pushes, when, in which order.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>

#include "text_rig.h"

static void test_start(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    rig_expect(rig, "stream", "caps", NULL);
    g_assert_cmpint(rig->stream_flags, ==, GST_STREAM_FLAG_SPARSE);
    g_assert_cmpuint(rig->group_id, ==, 42);
    rig_set_segment(rig, 1.0, 2000 * MS, GST_CLOCK_TIME_NONE, 0);
    rig_expect(rig, "segment 2000", NULL);
    g_assert_cmpuint(rig->seqnum, ==, 7);
    GstCaps *caps = gst_pad_get_current_caps(rig->peer);
    GstCaps *expected = gst_caps_from_string("text/x-raw, format=utf8");
    g_assert_true(gst_caps_is_equal(caps, expected));
    gst_caps_unref(caps);
    gst_caps_unref(expected);
    rig_expect_quiet(rig);
    /* The first GAP with the first frame; then one a frame, from the end of the last. */
    rig_frame(rig, 2000);
    rig_expect(rig, "gap 2000+40", NULL);
    rig_frame(rig, 2080);
    rig_expect(rig, "gap 2040+80", NULL);
    rig_frame(rig, 2060);
    rig_expect_quiet(rig);
    rig_free(rig);
}

/* Unknown durations: the position still passes the frame's start. */
static void test_frames_without_duration(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    gst_fastvlm_text_pad_set_position(rig->pad, 0, GST_CLOCK_TIME_NONE);
    rig_expect(rig, "gap 0+1", NULL);
    gst_fastvlm_text_pad_set_position(rig->pad, 50 * MS, 0);
    rig_expect(rig, "gap 1+50", NULL);
    gst_fastvlm_text_pad_set_position(rig->pad, GST_CLOCK_TIME_NONE, 40 * MS);
    rig_expect_quiet(rig);
    rig_free(rig);
}

static void test_complete(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_caption(rig, "one", 0, 100 * MS);
    rig_expect(rig, "text 0+100 one", "gap 100+0", NULL);
    rig_frame(rig, 0);
    rig_frame(rig, 40);
    rig_expect_quiet(rig);
    rig_frame(rig, 80);
    rig_expect(rig, "gap 100+20", NULL);
    /* PTS of its frame, though a GAP has passed it. */
    rig_caption(rig, "two", 110 * MS, 90 * MS);
    rig_expect(rig, "text 110+90 two", "gap 200+0", NULL);
    /* Not before the end of the one before. */
    rig_caption(rig, "three", 190 * MS, 100 * MS);
    rig_expect(rig, "text 200+100 three", "gap 300+0", NULL);
    rig_free(rig);
}

static void test_live(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_caption(rig, "zero", LIVE, 50 * MS);
    rig_expect_quiet(rig);
    rig_frame(rig, 0);
    rig_expect(rig, "gap 0+40", "text 40+50 zero", "gap 90+0", NULL);
    /* The newest of those that come too early, when the video has reached the end. */
    rig_caption(rig, "one", LIVE, 50 * MS);
    rig_frame(rig, 40);
    rig_caption(rig, "two", LIVE, 60 * MS);
    rig_expect_quiet(rig);
    rig_frame(rig, 80);
    rig_expect(rig, "gap 90+30", "text 120+60 two", "gap 180+0", NULL);
    rig_free(rig);
}

static void test_live_duration(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_frame(rig, 0);
    rig_expect(rig, "gap 0+40", NULL);
    rig_caption(rig, "long", LIVE, 60 * GST_SECOND);
    rig_expect(rig, "text 40+10000 long", "gap 10040+0", NULL);
    rig_frame(rig, 10040);
    rig_expect(rig, "gap 10040+40", NULL);
    rig_caption(rig, "unknown", LIVE, GST_CLOCK_TIME_NONE);
    rig_expect(rig, "text 10080+100 unknown", "gap 10180+0", NULL);
    rig_frame(rig, 10160);
    rig_expect(rig, "gap 10180+20", NULL);
    rig_caption(rig, "none", LIVE, 0);
    rig_expect(rig, "text 10200+100 none", "gap 10300+0", NULL);
    rig_free(rig);
}

/* The next text or GAP; it must not begin before `covered`, the end of the one before. */
static GstClockTime next_end(Rig *rig, GstClockTime covered, guint *n_texts)
{
    const char *line = rig_next_line(rig, PATIENCE_US);
    guint64 from, length;

    g_assert_nonnull(line);
    g_assert_cmpint(sscanf(line, "%*s %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT, &from, &length),
                    ==, 2);
    g_assert_cmpuint(from * MS, >=, covered);
    *n_texts += g_str_has_prefix(line, "text ");
    return (from + length) * MS;
}

/* Captions and frames by chance. Whatever comes: text and GAPs never overlap or go back, and past
 * every frame's start there is news, which textoverlay and muxers wait for. */
static void check_never_overlaps(gboolean complete, GstClockTime repeat)
{
    Rig *rig = rig_new();
    GstClockTime pts = 0, covered = 0;
    guint n_texts = 0;

    rig_begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, repeat);
    for (guint i = 0; i < 300; i++) {
        const GstClockTime duration = (GstClockTime)g_test_rand_int_range(5, 90) * MS;

        if (g_test_rand_int_range(0, 3) == 0) {
            rig_caption(rig, "x", complete ? pts : LIVE,
                        (GstClockTime)g_test_rand_int_range(0, 400) * MS);
        }
        gst_fastvlm_text_pad_set_position(rig->pad, pts, duration);
        while (covered <= pts) {
            covered = next_end(rig, covered, &n_texts);
        }
        pts += duration;
    }
    g_assert_cmpuint(n_texts, >, 5);
    rig_free(rig);
}

static void test_never_overlaps(void)
{
    check_never_overlaps(FALSE, 0);
    check_never_overlaps(FALSE, 70 * MS);
    check_never_overlaps(TRUE, 0);
    check_never_overlaps(TRUE, 70 * MS);
}

/* EOS: a live caption that waits goes out before it, where its turn would have come. */
static void test_eos(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_frame(rig, 0);
    rig_caption(rig, "one", LIVE, 1000 * MS);
    rig_expect(rig, "gap 0+40", "text 40+1000 one", "gap 1040+0", NULL);
    rig_caption(rig, "two", LIVE, 500 * MS);
    rig_expect_quiet(rig);
    gst_fastvlm_text_pad_eos(rig->pad, 9);
    rig_expect(rig, "text 1040+500 two", "gap 1540+0", "eos", NULL);
    rig_frame(rig, 2000);
    rig_caption(rig, "late", LIVE, 500 * MS);
    rig_expect_quiet(rig);
    /* Another stream. */
    rig_begin(rig);
    rig_frame(rig, 0);
    rig_expect(rig, "gap 0+40", "text 40+500 late", "gap 540+0", NULL);
    rig_free(rig);
}

/* Nothing was shown before the end: no position, no text, but an end. */
static void test_eos_at_once(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_caption(rig, "one", LIVE, 1000 * MS);
    gst_fastvlm_text_pad_eos(rig->pad, 9);
    rig_expect(rig, "eos", NULL);
    rig_free(rig);
}

static void test_repeat_live(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 60 * MS);
    rig_frame(rig, 0);
    rig_expect(rig, "gap 0+40", NULL);
    rig_caption(rig, "one", LIVE, 5000 * MS);
    rig_expect(rig, "text 40+60 one", "gap 100+0", NULL);
    rig_frame(rig, 40);
    rig_expect_quiet(rig);
    rig_frame(rig, 80);
    rig_expect(rig, "text 100+60 one", "gap 160+0", NULL);
    /* At once, which means at the end of the slice. */
    rig_caption(rig, "two", LIVE, 5000 * MS);
    rig_frame(rig, 120);
    rig_expect(rig, "text 160+60 two", "gap 220+0", NULL);
    /* The video jumps: so do the slices. */
    rig_frame(rig, 1000);
    rig_expect(rig, "text 1040+60 two", "gap 1100+0", NULL);
    /* Empty: nothing is there to repeat. */
    rig_caption(rig, " \n ", LIVE, 5000 * MS);
    rig_frame(rig, 1080);
    rig_expect(rig, "gap 1100+20", NULL);
    rig_frame(rig, 1120);
    rig_expect(rig, "gap 1120+40", NULL);
    rig_free(rig);
}

static void test_repeat_complete(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 60 * MS);
    rig_caption(rig, "one", 0, 100 * MS);
    rig_expect(rig, "text 0+60 one", "gap 60+0", NULL);
    rig_frame(rig, 0);
    rig_frame(rig, 40);
    rig_expect(rig, "text 60+40 one", "gap 100+0", NULL);
    rig_frame(rig, 80);
    rig_expect(rig, "gap 100+20", NULL);
    rig_caption(rig, "two", 120 * MS, 100 * MS);
    rig_expect(rig, "text 120+60 two", "gap 180+0", NULL);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 0);
    rig_frame(rig, 160);
    rig_expect(rig, "gap 180+20", NULL);
    rig_free(rig);
}

/* Twice as fast: a second on the wall is two of the video. */
static void test_fast(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    rig_set_segment(rig, 2.0, 0, GST_CLOCK_TIME_NONE, 0);
    rig_frame(rig, 0);
    rig_caption(rig, "one", LIVE, 1000 * MS);
    rig_expect(rig, "stream", "caps", "segment 0", "gap 0+40", "text 40+2000 one", "gap 2040+0",
               NULL);
    rig_caption(rig, "two", 3000 * MS, 500 * MS);
    rig_expect(rig, "text 3000+500 two", "gap 3500+0", NULL);
    rig_free(rig);
}

/* Backwards, text is played from its end to its start, before which the frame was. */
static void test_backwards(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    rig_set_segment(rig, -1.0, 0, 4000 * MS, 0);
    rig_frame(rig, 3960);
    rig_expect(rig, "stream", "caps", "segment 0", "gap 3960+40", NULL);
    rig_caption(rig, "one", LIVE, 1000 * MS);
    rig_expect(rig, "text 2960+1000 one", "gap 2960+0", NULL);
    rig_frame(rig, 3920);
    rig_expect_quiet(rig);
    rig_frame(rig, 2920);
    rig_expect(rig, "gap 2920+40", NULL);
    /* Not beyond the segment's start. */
    rig_frame(rig, 40);
    rig_expect(rig, "gap 40+2880", NULL);
    rig_caption(rig, "two", LIVE, 1000 * MS);
    rig_expect(rig, "text 0+40 two", "gap 0+0", NULL);
    rig_free(rig);
}

/* Text and GAPs stay in the segment; frames outside it call for none. */
static void test_segment_end(void)
{
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    rig_set_segment(rig, 1.0, 1000 * MS, 2000 * MS, 0);
    rig_expect(rig, "stream", "caps", "segment 1000", NULL);
    rig_frame(rig, 960);
    rig_expect_quiet(rig);
    rig_frame(rig, 990);
    rig_expect(rig, "gap 1000+30", NULL);
    rig_caption(rig, "one", LIVE, 9000 * MS);
    rig_expect(rig, "text 1030+970 one", "gap 2000+0", NULL);
    rig_frame(rig, 1980);
    rig_frame(rig, 2000);
    rig_caption(rig, "two", LIVE, 9000 * MS);
    rig_caption(rig, "three", 2000 * MS, 9000 * MS);
    rig_expect_quiet(rig);
    rig_free(rig);
}

/* A new segment of the same timeline: a live caption still waits for the end of the one before. */
static void test_new_segment(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_frame(rig, 0);
    rig_caption(rig, "one", LIVE, 1000 * MS);
    rig_expect(rig, "gap 0+40", "text 40+1000 one", "gap 1040+0", NULL);
    /* From 500 ms of running time on, this one counts from 10 s. */
    rig_set_segment(rig, 1.0, 10000 * MS, GST_CLOCK_TIME_NONE, 500 * MS);
    rig_expect(rig, "segment 10000", NULL);
    rig_frame(rig, 10000);
    rig_caption(rig, "two", LIVE, 1000 * MS);
    rig_expect_quiet(rig);
    rig_frame(rig, 10500);
    rig_expect(rig, "text 10540+1000 two", "gap 11540+0", NULL);
    rig_free(rig);
}

/* A caption with a PTS keeps it where the old segment's text would have lasted longer. */
static void test_new_segment_complete(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_caption(rig, "one", 0, 1000 * MS);
    rig_expect(rig, "text 0+1000 one", "gap 1000+0", NULL);
    rig_set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 500 * MS);
    rig_caption(rig, "two", 0, 1000 * MS);
    rig_expect(rig, "segment 0", "text 0+1000 two", "gap 1000+0", NULL);
    rig_free(rig);
}

/* Times that nobody means: no arithmetic breaks, and text goes on with the next sane ones. */
static void test_nonsense_times(void)
{
    static const GstClockTime TIMES[] = {G_MAXINT64, (GstClockTime)G_MAXINT64 + 1, G_MAXUINT64 - 1,
                                         (GstClockTime)1 << 62};
    Rig *rig = rig_new();

    gst_fastvlm_text_pad_set_stream(rig->pad, FALSE, 0, 6);
    for (guint i = 0; i < 4 * G_N_ELEMENTS(TIMES); i++) {
        const GstClockTime time = TIMES[i % G_N_ELEMENTS(TIMES)];
        const gboolean backwards = i / G_N_ELEMENTS(TIMES) % 2 == 1;

        gst_fastvlm_text_pad_set_repeat(rig->pad, i % 3 == 0 ? time : 0);
        rig_set_segment(rig, backwards ? -1e9 : 1e9, 0, i < 8 ? 5000 * MS : G_MAXINT64, 0);
        rig_frame(rig, 1000);
        rig_caption(rig, "far", time, 40 * MS);
        rig_caption(rig, "long", 1000 * MS, time);
        rig_caption(rig, "long", LIVE, time);
        gst_fastvlm_text_pad_set_position(rig->pad, 1000 * MS, time);
        gst_fastvlm_text_pad_set_position(rig->pad, time, time);
        g_usleep(2000);
    }
    gst_fastvlm_text_pad_set_repeat(rig->pad, 0);
    rig_set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    rig_caption(rig, "sane", 0, 40 * MS);
    rig_await(rig, "text 0+40 sane");
    rig_free(rig);
}

/* What muxers copy raw. */
static void test_harmless(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_caption(rig, "a\n\nb --> <i>c</i>\x01\xff", 0, 40 * MS);
    rig_expect(rig,
               "text 0+40 a b \xe2\x86\x92 \xe2\x80\xb9i\xe2\x80\xba"
               "c\xe2\x80\xb9/i\xe2\x80\xba\xef\xbf\xbd",
               "gap 40+0", NULL);
    rig_caption(rig, "\x01", 40 * MS, 40 * MS);
    rig_frame(rig, 40);
    rig_expect(rig, "gap 40+40", NULL);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/text/start", test_start);
    g_test_add_func("/text/frames-without-duration", test_frames_without_duration);
    g_test_add_func("/text/complete", test_complete);
    g_test_add_func("/text/live", test_live);
    g_test_add_func("/text/live-duration", test_live_duration);
    g_test_add_func("/text/never-overlaps", test_never_overlaps);
    g_test_add_func("/text/eos", test_eos);
    g_test_add_func("/text/eos-at-once", test_eos_at_once);
    g_test_add_func("/text/repeat-live", test_repeat_live);
    g_test_add_func("/text/repeat-complete", test_repeat_complete);
    g_test_add_func("/text/fast", test_fast);
    g_test_add_func("/text/backwards", test_backwards);
    g_test_add_func("/text/segment-end", test_segment_end);
    g_test_add_func("/text/new-segment", test_new_segment);
    g_test_add_func("/text/new-segment-complete", test_new_segment_complete);
    g_test_add_func("/text/nonsense-times", test_nonsense_times);
    g_test_add_func("/text/harmless", test_harmless);
    return g_test_run();
}
