/*
 * The text_src pad and its peer: one that holds text back, flushes, wants no more, comes late,
 * starts late, goes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "text_rig.h"

/* While downstream holds a buffer, every call returns; live keeps the newest, complete all. */
static void test_never_blocks(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_frame(rig, 0);
    rig_expect(rig, "gap 0+40", NULL);
    rig_hold(rig, TRUE);
    rig_caption(rig, "held", LIVE, 50 * MS);
    rig_wait_held(rig);
    const gint64 start = g_get_monotonic_time();
    for (guint i = 1; i < 100; i++) {
        char *text = g_strdup_printf("%u", i);
        rig_frame(rig, 40 * i);
        rig_caption(rig, text, LIVE, 50 * MS);
        g_free(text);
    }
    assert_prompt(start);
    rig_hold(rig, FALSE);
    rig_expect(rig, "text 40+50 held", "gap 90+0", "gap 90+3910", "text 4000+50 99", "gap 4050+0",
               NULL);
    rig_expect_quiet(rig);
    rig_free(rig);
}

static void test_complete_keeps_all(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_hold(rig, TRUE);
    rig_caption(rig, "a", 0, 40 * MS);
    rig_wait_held(rig);
    rig_caption(rig, "b", 40 * MS, 40 * MS);
    rig_frame(rig, 40);
    rig_caption(rig, "c", 80 * MS, 40 * MS);
    rig_frame(rig, 80);
    gst_fastvlm_text_pad_eos(rig->pad, 9);
    rig_hold(rig, FALSE);
    rig_expect(rig, "text 0+40 a", "gap 40+0", "text 40+40 b", "gap 80+0", "text 80+40 c",
               "gap 120+0", "eos", NULL);
    g_assert_cmpuint(rig->seqnum, ==, 9);
    rig_free(rig);
}

/* Text of before a flush is not seen after it; the segment is sent again where it still holds. */
static void check_flush(gboolean reset_time, gboolean held)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    gst_fastvlm_text_pad_set_repeat(rig->pad, 1000 * MS);
    rig_frame(rig, 0);
    rig_expect(rig, "gap 0+40", NULL);
    rig_hold(rig, held);
    rig_caption(rig, "old", LIVE, 1000 * MS);
    if (held) {
        rig_wait_held(rig);
        rig_caption(rig, "newer", LIVE, 1000 * MS);
        rig_caption(rig, "complete", 500 * MS, 1000 * MS);
        gst_fastvlm_text_pad_eos(rig->pad, 5);
    } else {
        rig_expect(rig, "text 40+1000 old", "gap 1040+0", NULL);
    }
    gst_fastvlm_text_pad_flush_start(rig->pad, gst_event_new_flush_start());
    rig_expect(rig, "flush-start", NULL);
    rig_caption(rig, "in between", LIVE, 1000 * MS);
    rig_frame(rig, 3000);
    gst_fastvlm_text_pad_flush_stop(rig->pad, gst_event_new_flush_stop(reset_time));
    rig_hold(rig, FALSE);
    rig_expect(rig, "flush-stop", NULL);
    if (reset_time) {
        rig_frame(rig, 5000);
        rig_expect_quiet(rig);
        rig_set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    }
    rig_expect(rig, "segment 0", NULL);
    rig_expect_quiet(rig);
    rig_frame(rig, 200);
    rig_expect(rig, "gap 200+40", NULL);
    rig_frame(rig, 4000);
    rig_expect(rig, "gap 240+3800", NULL);
    rig_caption(rig, "new", LIVE, 1000 * MS);
    rig_expect(rig, "text 4040+1000 new", "gap 5040+0", NULL);
    rig_free(rig);
}

static void test_flush(void)
{
    check_flush(TRUE, FALSE);
    check_flush(FALSE, FALSE);
    check_flush(TRUE, TRUE);
    check_flush(FALSE, TRUE);
}

/* A flush that comes before the task has pushed anything takes neither stream nor caps away. */
static void test_flush_at_once(void)
{
    for (guint i = 0; i < 50; i++) {
        Rig *rig = rig_new_unlinked();

        rig_link(rig);
        gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
        rig_set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
        gst_fastvlm_text_pad_flush_start(rig->pad, gst_event_new_flush_start());
        gst_fastvlm_text_pad_flush_stop(rig->pad, gst_event_new_flush_stop(TRUE));
        rig_set_segment(rig, 1.0, 1000 * MS, GST_CLOCK_TIME_NONE, 0);
        rig_frame(rig, 1000);
        rig_await(rig, "gap 1000+40");
        GstCaps *caps = gst_pad_get_current_caps(rig->peer);
        g_assert_nonnull(caps);
        gst_caps_unref(caps);
        rig_free(rig);
    }
}

/* What was linked late hears the beginning and the current caption, even without a new frame. */
static void test_linked_late(void)
{
    Rig *rig = rig_new_unlinked();

    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    rig_set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    rig_frame(rig, 0);
    rig_caption(rig, "unheard", LIVE, 9000 * MS);
    g_usleep(QUIET_US);
    /* Nobody heard that one: the next need not wait for its end. */
    rig_caption(rig, "current", LIVE, 50 * MS);
    g_usleep(QUIET_US);
    rig_link(rig);
    rig_expect(rig, "stream", "caps", "segment 0", "gap 40+0", "text 40+50 current", "gap 90+0",
               NULL);
    rig_expect_quiet(rig);
    /* It is heard once. */
    gst_pad_send_event(GST_PAD(rig->pad), gst_event_new_reconfigure());
    rig_expect(rig, "gap 90+0", NULL);
    rig_expect_quiet(rig);
    rig_free(rig);
}

/* Linked before the peer's element has started, as applications do; no frame moves meanwhile. */
static void test_peer_starts_late(void)
{
    Rig *rig = rig_new_unlinked();

    gst_pad_set_active(rig->peer, FALSE);
    rig_link(rig);
    gst_fastvlm_text_pad_set_stream(rig->pad, TRUE, 42, 6);
    rig_set_segment(rig, 1.0, 0, GST_CLOCK_TIME_NONE, 0);
    rig_frame(rig, 0);
    g_usleep(QUIET_US);
    gst_pad_set_active(rig->peer, TRUE);
    rig_expect(rig, "stream", "caps", "segment 0", "gap 40+0", NULL);
    gst_pad_set_active(rig->peer, FALSE);
    rig_caption(rig, "current", LIVE, 50 * MS);
    g_usleep(QUIET_US);
    gst_pad_set_active(rig->peer, TRUE);
    rig_await(rig, "text 40+50 current");
    rig_expect(rig, "gap 90+0", NULL);
    rig_expect_quiet(rig);
    g_usleep(2 * QUIET_US);
    rig_expect_quiet(rig);
    rig_free(rig);
}

static void test_relinked(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_frame(rig, 0);
    rig_caption(rig, "one", LIVE, 50 * MS);
    rig_expect(rig, "gap 0+40", "text 40+50 one", "gap 90+0", NULL);
    gst_pad_unlink(GST_PAD(rig->pad), rig->peer);
    rig_frame(rig, 80);
    rig_caption(rig, "two", LIVE, 50 * MS);
    rig_frame(rig, 120);
    g_usleep(QUIET_US);
    rig_link(rig);
    rig_frame(rig, 160);
    for (const char *line = ""; !g_str_has_prefix(line, "text ");) {
        line = rig_next_line(rig, PATIENCE_US);
        g_assert_nonnull(line);
        g_assert_null(strstr(line, "one"));
    }
    rig_free(rig);
}

static guint count_errors(Rig *rig)
{
    guint n = 0;

    for (GstMessage *message; (message = gst_bus_pop(rig->bus)) != NULL;) {
        n += GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR;
        gst_message_unref(message);
    }
    return n;
}

static void check_flow(GstFlowReturn flow, guint n_errors)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig->flow = flow;
    rig_caption(rig, "one", 0, 40 * MS);
    rig_expect(rig, "gap 40+0", NULL);
    rig_frame(rig, 40);
    rig_caption(rig, "two", 80 * MS, 40 * MS);
    rig_frame(rig, 80);
    rig_expect_quiet(rig);
    g_assert_cmpuint(count_errors(rig), ==, n_errors);
    /* A flush begins anew. */
    rig->flow = GST_FLOW_OK;
    gst_fastvlm_text_pad_flush_start(rig->pad, gst_event_new_flush_start());
    gst_fastvlm_text_pad_flush_stop(rig->pad, gst_event_new_flush_stop(FALSE));
    rig_frame(rig, 200);
    rig_expect(rig, "flush-start", "flush-stop", "segment 0", "gap 200+40", NULL);
    rig_free(rig);
}

/* Downstream wants no more: that is told once where it is an error, and no text follows. */
static void test_flow(void)
{
    check_flow(GST_FLOW_EOS, 0);
    check_flow(GST_FLOW_ERROR, 1);
    check_flow(GST_FLOW_NOT_NEGOTIATED, 1);
}

/* Released while the peer holds a buffer for good, as a muxer in a paused pipeline does. */
static void test_released_while_held(void)
{
    Rig *rig = rig_new();

    rig_begin(rig);
    rig_hold(rig, TRUE);
    rig_caption(rig, "held", 0, 40 * MS);
    rig_wait_held(rig);
    const gint64 start = g_get_monotonic_time();
    gst_pad_set_active(GST_PAD(rig->pad), FALSE);
    assert_prompt(start);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/textpeer/never-blocks", test_never_blocks);
    g_test_add_func("/textpeer/complete-keeps-all", test_complete_keeps_all);
    g_test_add_func("/textpeer/flush", test_flush);
    g_test_add_func("/textpeer/flush-at-once", test_flush_at_once);
    g_test_add_func("/textpeer/linked-late", test_linked_late);
    g_test_add_func("/textpeer/peer-starts-late", test_peer_starts_late);
    g_test_add_func("/textpeer/relinked", test_relinked);
    g_test_add_func("/textpeer/flow", test_flow);
    g_test_add_func("/textpeer/released-while-held", test_released_while_held);
    return g_test_run();
}
