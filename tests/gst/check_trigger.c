/*
 * Captions asked for: the action signal, the event, and several prompts about one frame.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include "gstfastvlmprompts.h"

#define MANUAL "trigger=manual "
#define EVENT "fastvlm-caption-now"

static guint64 ask(Fixture *fixture, const char *prompt)
{
    guint64 sequence = 0;

    g_signal_emit_by_name(fixture->element, "caption-now", prompt, &sequence);
    return sequence;
}

static void check_final(Fixture *fixture, guint64 sequence, const char *prompt, GstClockTime pts)
{
    const GstStructure *caption = wait_caption(fixture, "final");

    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, sequence);
    g_assert_cmpstr(get_text(caption, "prompt"), ==, prompt);
    g_assert_cmpuint(get_uint64(caption, "pts"), ==, pts);
}

/* Nothing is captioned but what is asked for: the next frame. */
static void test_manual(gconstpointer mode)
{
    char *properties = g_strdup_printf(MANUAL "mode=%s prompt=What?", (const char *)mode);
    Fixture *fixture = fixture_new(properties, CAPS);

    for (guint i = 0; i < 100; i++) {
        push_frame(fixture, 0x777777, i * FRAME_DURATION);
    }
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 0);
    g_assert_cmpuint(ask(fixture, NULL), ==, 1);
    push_frame(fixture, 0x777777, 100 * FRAME_DURATION);
    check_final(fixture, 1, "What?", 100 * FRAME_DURATION);
    g_assert_cmpuint(ask(fixture, "Where?"), ==, 2);
    push_frame(fixture, 0x777777, 101 * FRAME_DURATION);
    check_final(fixture, 2, "Where?", 101 * FRAME_DURATION);
    push_frame(fixture, 0x777777, 200 * FRAME_DURATION);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 2);
    g_assert_cmpuint(fake_get_record().n_encodes, ==, 2);
    fixture_free(fixture);
    g_free(properties);
}

/* In complete the frame waits for the answer to its question, which it carries. */
static void test_complete_carries(void)
{
    Fixture *fixture = fixture_new(MANUAL "mode=complete", CAPS);

    ask(fixture, "Who?");
    push_frame(fixture, 0xffffff, 0);
    GstBuffer *buffer = gst_harness_pull(fixture->harness);
    g_assert_cmpstr(get_text(get_meta(buffer), "prompt"), ==, "Who?");
    gst_buffer_unref(buffer);
    fixture_free(fixture);
}

/* Asked beside the grid: a frame on it answers both, a question without words only once. */
static void test_beside_grid(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=80000000 prompt=What?", CAPS);

    push_frame(fixture, 0x777777, 0);
    check_final(fixture, 1, "What?", 0);
    g_assert_cmpuint(ask(fixture, "Where?"), ==, 2);
    push_frame(fixture, 0x777777, FRAME_DURATION); /* off the grid */
    check_final(fixture, 2, "Where?", FRAME_DURATION);
    g_assert_cmpuint(ask(fixture, NULL), ==, 3);
    push_frame(fixture, 0x777777, 2 * FRAME_DURATION);
    check_final(fixture, 3, "What?", 2 * FRAME_DURATION);
    g_assert_cmpuint(ask(fixture, "Why?"), ==, 4);
    push_frame(fixture, 0x777777, 4 * FRAME_DURATION);
    check_final(fixture, 4, "Why?", 4 * FRAME_DURATION);
    check_final(fixture, 5, "What?", 4 * FRAME_DURATION);
    g_assert_cmpuint(fake_get_record().n_encodes, ==, 4);
    fixture_free(fixture);
}

/* In live nothing takes the place of a frame that somebody asked about; several may wait. */
static void test_is_not_replaced(void)
{
    Fixture *fixture = fixture_new("interval=40000000 prompt=What?", CAPS);

    fake_hold(TRUE);
    push_frame(fixture, 0x777777, 0);
    g_assert_true(fake_wait_encodes(1));
    const guint64 first = ask(fixture, "One?");
    push_frame(fixture, 0x777777, FRAME_DURATION);
    const guint64 second = ask(fixture, "Two?");
    for (guint i = 2; i < 6; i++) {
        push_frame(fixture, 0x777777, i * FRAME_DURATION);
    }
    fake_hold(FALSE);
    check_final(fixture, 1, "What?", 0);
    check_final(fixture, first, "One?", FRAME_DURATION);
    check_final(fixture, 4, "What?", FRAME_DURATION);
    check_final(fixture, second, "Two?", 2 * FRAME_DURATION);
    check_final(fixture, 5, "What?", 2 * FRAME_DURATION);
    check_final(fixture, 6, "What?", 5 * FRAME_DURATION);
    fixture_free(fixture);
}

static GstEvent *make_event(GstEventType type, const char *prompt)
{
    GstStructure *structure = gst_structure_new_empty(EVENT);

    if (prompt != NULL) {
        gst_structure_set(structure, "prompt", G_TYPE_STRING, prompt, NULL);
    }
    return gst_event_new_custom(type, structure);
}

/* From either side, serialized or not, and by the text pad. */
static void test_events(void)
{
    Fixture *fixture = fixture_new(MANUAL "mode=complete prompt=What?", CAPS);
    static const GstEventType down[] = {GST_EVENT_CUSTOM_DOWNSTREAM,
                                        GST_EVENT_CUSTOM_DOWNSTREAM_OOB, GST_EVENT_CUSTOM_BOTH};
    guint i = 0;

    push_frame(fixture, 0x777777, 0);
    for (; i < G_N_ELEMENTS(down); i++) {
        g_assert_true(gst_harness_push_event(fixture->harness, make_event(down[i], "Down?")));
        push_frame(fixture, 0x777777, (i + 1) * FRAME_DURATION);
        check_final(fixture, i + 1, "Down?", (i + 1) * FRAME_DURATION);
    }
    g_assert_true(gst_harness_push_upstream_event(fixture->harness,
                                                  make_event(GST_EVENT_CUSTOM_UPSTREAM, NULL)));
    push_frame(fixture, 0x777777, (i + 1) * FRAME_DURATION);
    check_final(fixture, i + 1, "What?", (i + 1) * FRAME_DURATION);
    GstPad *text = gst_element_request_pad_simple(fixture->element, "text_src");
    g_assert_true(gst_pad_send_event(text, make_event(GST_EVENT_CUSTOM_UPSTREAM, "Text?")));
    push_frame(fixture, 0x777777, (i + 2) * FRAME_DURATION);
    check_final(fixture, i + 2, "Text?", (i + 2) * FRAME_DURATION);
    gst_element_release_request_pad(fixture->element, text);
    gst_object_unref(text);
    fixture_free(fixture);
}

/* Ours stops here, so that of two elements one answers; any other goes on. */
static void test_other_events_pass(void)
{
    Fixture *fixture = fixture_new(MANUAL "mode=complete", CAPS);

    push_frame(fixture, 0x777777, 0);
    gst_harness_push_event(fixture->harness, make_event(GST_EVENT_CUSTOM_DOWNSTREAM, NULL));
    gst_harness_push_event(fixture->harness,
                           gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM,
                                                gst_structure_new_empty("something-else")));
    GstEvent *event;
    guint n_ours = 0, n_others = 0;
    while ((event = gst_harness_try_pull_event(fixture->harness)) != NULL) {
        n_ours += gst_event_has_name(event, EVENT);
        n_others += gst_event_has_name(event, "something-else");
        gst_event_unref(event);
    }
    g_assert_cmpuint(n_ours, ==, 0);
    g_assert_cmpuint(n_others, ==, 1);
    fixture_free(fixture);
}

/* 0 where there will be no answer: not running, no text, too many at once, the model failed. */
static void test_refused(void)
{
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));
    guint64 sequence = 7;

    g_signal_emit_by_name(element, "caption-now", NULL, &sequence);
    g_assert_cmpuint(sequence, ==, 0);
    gst_object_unref(element);

    Fixture *fixture = fixture_new(MANUAL "mode=complete", CAPS);
    g_assert_cmpuint(ask(fixture, "\xff"), ==, 0);
    for (guint i = 1; i <= 32; i++) {
        g_assert_cmpuint(ask(fixture, "So?"), ==, i);
    }
    g_assert_cmpuint(ask(fixture, "Still?"), ==, 0);
    push_frame(fixture, 0x777777, 0);
    g_assert_true(wait_stat(fixture, "captions", 32));
    g_assert_cmpuint(fake_get_record().n_encodes, ==, 1);
    fixture_free(fixture);

    fake.load_error = FASTVLM_ERROR_FORMAT;
    fixture = fixture_new(MANUAL, CAPS);
    g_assert_nonnull(wait_message(fixture, GST_MESSAGE_ERROR, NULL));
    g_usleep(50000);
    g_assert_cmpuint(ask(fixture, NULL), ==, 0);
    fixture_free(fixture);
}

/* ---- prompts ---- */

static void check_indexed(Fixture *fixture, guint64 sequence, const char *prompt, guint index)
{
    const GstStructure *caption = wait_caption(fixture, "final");
    guint found;

    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, sequence);
    g_assert_cmpstr(get_text(caption, "prompt"), ==, prompt);
    g_assert_true(gst_structure_get_uint(caption, "prompt-index", &found));
    g_assert_cmpuint(found, ==, index);
}

/* Each is answered with its index, the picture is encoded once, and the first is the caption. */
static void test_prompts(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=40000000", CAPS);

    g_object_set(fixture->element, "prompts", "What?\n\n  Where? \nWhy?\n", NULL);
    for (guint i = 0; i < 3; i++) {
        push_frame(fixture, 0x777777, i * FRAME_DURATION);
        check_indexed(fixture, 3 * i + 1, "What?", 0);
        check_indexed(fixture, 3 * i + 2, "Where?", 1);
        check_indexed(fixture, 3 * i + 3, "Why?", 2);
        GstBuffer *buffer = gst_harness_pull(fixture->harness);
        g_assert_cmpstr(get_text(get_meta(buffer), "prompt"), ==, "What?");
        gst_buffer_unref(buffer);
    }
    g_assert_cmpuint(fake_get_record().n_encodes, ==, 3);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 9);
    /* Asked for by hand, all of them, from the number on that was promised. */
    const guint64 sequence = ask(fixture, NULL);
    push_frame(fixture, 0x777777, 3 * FRAME_DURATION);
    check_indexed(fixture, sequence, "What?", 0);
    check_indexed(fixture, sequence + 1, "Where?", 1);
    check_indexed(fixture, sequence + 2, "Why?", 2);
    g_object_set(fixture->element, "prompts", " \n", NULL);
    push_frame(fixture, 0x777777, 4 * FRAME_DURATION);
    check_indexed(fixture, sequence + 3, "Describe the image.", 0);
    fixture_free(fixture);
}

/* Appends a string to a GstValueArray. */
static void append(GValue *array, const char *text)
{
    GValue value = G_VALUE_INIT;

    g_value_init(&value, G_TYPE_STRING);
    g_value_set_string(&value, text);
    gst_value_array_append_and_take_value(array, &value);
}

/* An array that is set, as an application or a gst-launch line has it, is the list. */
static void test_prompts_array(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=40000000", CAPS);
    GValue array = G_VALUE_INIT;

    gst_value_array_init(&array, 4);
    append(&array, "Is \"it\", or\\and <b>?");
    append(&array, " Gr\303\274n?\nReally? ");
    append(&array, "");
    append(&array, "no");
    g_object_set_property(G_OBJECT(fixture->element), "prompts", &array);
    push_frame(fixture, 0x777777, 0);
    check_indexed(fixture, 1, "Is \"it\", or\\and <b>?", 0);
    check_indexed(fixture, 2, "Gr\303\274n?\nReally?", 1);
    check_indexed(fixture, 3, "no", 2);
    char *text = gst_value_serialize(&array);
    gst_util_set_object_arg(G_OBJECT(fixture->element), "prompts", text);
    push_frame(fixture, 0x777777, FRAME_DURATION);
    check_indexed(fixture, 4, "Is \"it\", or\\and <b>?", 0);
    check_indexed(fixture, 5, "Gr\303\274n?\nReally?", 1);
    check_indexed(fixture, 6, "no", 2);
    g_free(text);
    g_value_unset(&array);
    fixture_free(fixture);
}

/* What is in a string, by its form. */
static void test_prompts_forms(void)
{
    static const struct {
        const char *text, *joined;
    } forms[] = {
        {NULL, ""},
        {"", ""},
        {"<>", "<>"},
        {"<\"a\">", "a"},
        {" < \"a\" , (string)b,(string) \"c\" > ", "a|b|c"},
        {"<\"a\", b>", "<\"a\", b>"},
        {"<\"a\"", "<\"a\""},
        {"<\"a", "<\"a"},
        {"<\"a\\", "<\"a\\"},
        {"<\"a\"> and\nmore", "<\"a\"> and|more"},
        {"<\"\\377\">", "<\"\\377\">"},
        {"<image>", "<image>"},
        {"<(string)a\\ b, (string)>", "a b"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(forms); i++) {
        char **prompts = gst_fastvlm_prompts_parse(forms[i].text);
        char *joined = g_strjoinv("|", prompts);

        g_assert_cmpstr(joined, ==, forms[i].joined);
        g_free(joined);
        g_strfreev(prompts);
    }
}

static void test_too_many_prompts(void)
{
    Fixture *fixture = fixture_new("mode=complete", CAPS);
    char *prompts = g_strnfill(2 * 17, '\n');

    for (guint i = 0; i < 17; i++) {
        prompts[2 * i] = 'a';
    }
    g_object_set(fixture->element, "prompts", prompts, NULL);
    g_assert_cmpuint(count_warnings(fixture, "prompts has 17 prompts"), ==, 1);
    push_frame(fixture, 0x777777, 0);
    check_indexed(fixture, 1, "Describe the image.", 0);
    g_free(prompts);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_data_func("/trigger/manual/live", "live", test_manual);
    g_test_add_data_func("/trigger/manual/complete", "complete", test_manual);
    g_test_add_func("/trigger/complete-carries", test_complete_carries);
    g_test_add_func("/trigger/beside-grid", test_beside_grid);
    g_test_add_func("/trigger/is-not-replaced", test_is_not_replaced);
    g_test_add_func("/trigger/events", test_events);
    g_test_add_func("/trigger/other-events-pass", test_other_events_pass);
    g_test_add_func("/trigger/refused", test_refused);
    g_test_add_func("/trigger/prompts", test_prompts);
    g_test_add_func("/trigger/prompts-array", test_prompts_array);
    g_test_add_func("/trigger/prompts-forms", test_prompts_forms);
    g_test_add_func("/trigger/too-many-prompts", test_too_many_prompts);
    return g_test_run();
}
