/*
 * What is not said again: the same words on the text pad, and answers that end badly.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#define EVERY "interval=40000000 "

/* Buffers that reach the peer of text_src. */
typedef struct {
    Fixture *fixture;
    GstHarness *text;
    guint n_pushed;
} Rig;

static Rig open_rig(const char *properties)
{
    Rig rig = {.fixture = fixture_new(properties, CAPS)};
    GstPad *pad = gst_element_request_pad_simple(rig.fixture->element, "text_src");

    rig.text = gst_harness_new_with_element(rig.fixture->element, NULL, "text_src");
    gst_object_unref(pad);
    return rig;
}

static void close_rig(Rig *rig)
{
    gst_element_set_state(rig->fixture->harness->element, GST_STATE_NULL);
    gst_harness_teardown(rig->text);
    fixture_free(rig->fixture);
}

/* A frame and its caption; two more frames far on, which let text go out. */
static void caption(Rig *rig, guint rgb)
{
    const guint64 n = get_stat(rig->fixture, "captions");

    push_frame(rig->fixture, rgb, rig->n_pushed++ * 20 * GST_SECOND);
    g_assert_true(wait_stat(rig->fixture, "captions", n + 1));
}

/* Waits half a second for the `n`th text buffer; FALSE where it does not come. */
static gboolean has_text(const Rig *rig, guint n)
{
    for (guint i = 0; i < 100 && gst_harness_buffers_received(rig->text) < n; i++) {
        g_usleep(5000);
    }
    return gst_harness_buffers_received(rig->text) >= n;
}

static void test_live(void)
{
    Rig rig = open_rig(EVERY);

    caption(&rig, 0x000000);
    g_assert_true(has_text(&rig, 1));
    for (guint i = 0; i < 4; i++) {
        caption(&rig, 0x000000);
    }
    g_assert_false(has_text(&rig, 2));
    /* Messages tell of each all the same. */
    g_assert_cmpuint(count_messages(rig.fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption"), >=, 5);
    caption(&rig, 0xffffff);
    caption(&rig, 0xffffff);
    g_assert_true(has_text(&rig, 2));
    g_object_set(rig.fixture->element, "repeat", TRUE, NULL);
    caption(&rig, 0xffffff);
    caption(&rig, 0xffffff);
    g_assert_true(has_text(&rig, 3));
    close_rig(&rig);
}

static void test_complete(void)
{
    Rig rig = open_rig("mode=complete " EVERY);

    for (guint i = 0; i < 4; i++) {
        caption(&rig, 0x000000);
    }
    g_assert_true(has_text(&rig, 4));
    close_rig(&rig);
}

/* A caption that was cut short is a caption; that it was is told of once. */
static void test_bad_end(gconstpointer data)
{
    const FastvlmFinishReason reason = (FastvlmFinishReason)GPOINTER_TO_INT(data);
    Fixture *fixture = fixture_new("mode=complete " EVERY, CAPS);

    fake.finish_reason = reason;
    for (guint i = 0; i < 5; i++) {
        push_frame(fixture, 0x777777, i * FRAME_DURATION);
    }
    g_assert_cmpuint(count_warnings(fixture, "cut short"), ==, 1);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 5);
    fixture_free(fixture);
}

/* Not even a first finite number: the frame has no caption, the next may have one. */
static void test_nothing_finite(gconstpointer mode)
{
    char *properties = g_strdup_printf("mode=%s " EVERY, (const char *)mode);
    Fixture *fixture = fixture_new(properties, CAPS);

    fake_set_generate_error(FASTVLM_ERROR_FORMAT);
    for (guint i = 0; i < 3; i++) {
        g_assert_cmpint(push_frame(fixture, 0x777777, i * FRAME_DURATION), ==, GST_FLOW_OK);
        g_assert_true(wait_stat(fixture, "skipped", i + 1));
    }
    fake_set_generate_error(-1);
    push_frame(fixture, 0x777777, 3 * FRAME_DURATION);
    g_assert_true(wait_stat(fixture, "captions", 1));
    g_assert_cmpuint(count_warnings(fixture, "told to fail"), ==, 1);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, 0);
    fixture_free(fixture);
    g_free(properties);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/repeat/live", test_live);
    g_test_add_func("/repeat/complete", test_complete);
    g_test_add_data_func("/repeat/bad-end/repetition", GINT_TO_POINTER(FASTVLM_FINISH_REPETITION),
                         test_bad_end);
    g_test_add_data_func("/repeat/bad-end/not-finite", GINT_TO_POINTER(FASTVLM_FINISH_NOT_FINITE),
                         test_bad_end);
    g_test_add_data_func("/repeat/nothing-finite/live", "live", test_nothing_finite);
    g_test_add_data_func("/repeat/nothing-finite/complete", "complete", test_nothing_finite);
    return g_test_run();
}
