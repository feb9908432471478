/*
 * Alerts: raised and cleared once, however a probability wavers.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include "gstfastvlmalerts.h"

#define COMPLETE "mode=complete interval=40000000 choices=yes,no alert-on=yes "

/* ---- the rule ---- */

/* Judges one frame a second; what becomes of each: '.' nothing, 'A' alert, 'c' clear. */
static void check_course(const GstFastvlmAlertRule *rule, const double *course,
                         const char *expected)
{
    GstFastvlmAlert alert;
    GString *found = g_string_new(NULL);

    gst_fastvlm_alert_init(&alert);
    for (gsize i = 0; i < strlen(expected); i++) {
        GstClockTime since;

        g_string_append_c(
            found, ".Ac"[gst_fastvlm_alert_judge(&alert, rule, course[i], i * GST_SECOND, &since)]);
    }
    g_assert_cmpstr(found->str, ==, expected);
    g_string_free(found, TRUE);
}

static void test_course(void)
{
    static const double wavers[] = {.1, .79, .8, .6, .9, .51, .79, .5, .6, .79, .8};
    static const double edge[] = {.8, .79, .8, .79, .8, 0, 1};
    static const double rings[] = {1, 0, 1, 0, 1, 1, 1, 1, 0};

    check_course(&(GstFastvlmAlertRule){.8, .5, 0}, wavers, "..A....c..A");
    /* Equal thresholds, and a lower one that is higher: still one of two states. */
    check_course(&(GstFastvlmAlertRule){.8, .8, 0}, edge, "AcAcAcA");
    check_course(&(GstFastvlmAlertRule){.8, .95, 0}, edge, "AcAcAcA");
    check_course(&(GstFastvlmAlertRule){.8, .5, 3 * GST_SECOND}, rings, "Ac..A...c");
    /* At the ends of the range. */
    check_course(&(GstFastvlmAlertRule){1, 0, 0}, rings, "AcAcA...c");
    check_course(&(GstFastvlmAlertRule){0, 0, 0}, rings, "A........");
}

/* An alert that a cooldown held back says since when it has been so. */
static void test_since(void)
{
    const GstFastvlmAlertRule rule = {.8, .5, 5 * GST_SECOND};
    GstFastvlmAlert alert;
    GstClockTime since;

    gst_fastvlm_alert_init(&alert);
    gst_fastvlm_alert_judge(&alert, &rule, 1, 10 * GST_SECOND, &since);
    g_assert_cmpuint(since, ==, 10 * GST_SECOND);
    g_assert_cmpint(gst_fastvlm_alert_judge(&alert, &rule, 0, 12 * GST_SECOND, &since), ==,
                    GST_FASTVLM_ALERT_CLEAR);
    g_assert_cmpuint(since, ==, 10 * GST_SECOND);
    g_assert_cmpint(gst_fastvlm_alert_judge(&alert, &rule, 1, 14 * GST_SECOND, &since), ==,
                    GST_FASTVLM_ALERT_NONE);
    g_assert_cmpint(gst_fastvlm_alert_judge(&alert, &rule, 1, 17 * GST_SECOND, &since), ==,
                    GST_FASTVLM_ALERT_RAISE);
    g_assert_cmpuint(since, ==, 14 * GST_SECOND);
    gst_fastvlm_alert_judge(&alert, &rule, 0, 18 * GST_SECOND, &since);
    /* Running time that falls back, as a source's that starts again, ends the cooldown. */
    g_assert_cmpint(gst_fastvlm_alert_judge(&alert, &rule, 1, 1 * GST_SECOND, &since), ==,
                    GST_FASTVLM_ALERT_RAISE);
    g_assert_cmpuint(since, ==, 1 * GST_SECOND);
}

/* ---- the element ---- */

static void push(Fixture *fixture, double probability, guint i)
{
    fake.first_choice = probability;
    push_frame(fixture, 0x777777, i * FRAME_DURATION);
}

/* The next alert message; its structure. */
static const GstStructure *wait_alert(Fixture *fixture, const char *type, double probability,
                                      guint since)
{
    GstMessage *message = wait_message(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert");
    double found;

    g_assert_nonnull(message);
    const GstStructure *structure = gst_message_get_structure(message);
    g_assert_cmpstr(get_text(structure, "type"), ==, type);
    g_assert_true(gst_structure_get_double(structure, "probability", &found));
    g_assert_cmpfloat_with_epsilon(found, probability, 1e-9);
    g_assert_cmpuint(get_uint64(structure, "since"), ==, since * FRAME_DURATION);
    return structure;
}

static guint count_alerts(Fixture *fixture)
{
    return count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-alert");
}

static void test_messages(void)
{
    Fixture *fixture = fixture_new(COMPLETE "alert-cooldown=0 prompt=Fire?", CAPS);
    static const double course[] = {0.1, 0.9, 0.7, 0.85, 0.6, 0.3, 0.2};

    for (guint i = 0; i < G_N_ELEMENTS(course); i++) {
        push(fixture, course[i], i);
    }
    g_assert_cmpuint(count_alerts(fixture), ==, 2);
    const GstStructure *alert = wait_alert(fixture, "alert", 0.9, 1);
    /* All that the caption's own message says of the frame. */
    g_assert_cmpstr(get_text(alert, "text"), ==, "yes");
    g_assert_cmpstr(get_text(alert, "prompt"), ==, "Fire?");
    g_assert_cmpstr(get_text(alert, "alert-on"), ==, "yes");
    g_assert_cmpuint(get_uint64(alert, "pts"), ==, FRAME_DURATION);
    g_assert_cmpuint(get_uint64(alert, "sequence"), ==, 2);
    g_assert_true(gst_structure_has_field_typed(alert, "choices", GST_TYPE_ARRAY));
    wait_alert(fixture, "clear", 0.3, 1);
    fixture_free(fixture);
}

/* Several choices count together. */
static void test_sum(void)
{
    Fixture *fixture =
        fixture_new("mode=complete choices=fire,smoke,none alert-on=\"smoke, fire\"", CAPS);

    push(fixture, 0.5, 0); /* the two others have 0.25 each */
    g_assert_cmpuint(count_alerts(fixture), ==, 0);
    push(fixture, 0.7, 30);
    wait_alert(fixture, "alert", 0.85, 30);
    fixture_free(fixture);
}

/* Thresholds are the properties', also while playing. */
static void test_thresholds(void)
{
    Fixture *fixture = fixture_new(COMPLETE "alert-threshold=0.95 alert-clear=0.1", CAPS);

    push(fixture, 0.9, 0);
    g_assert_cmpuint(count_alerts(fixture), ==, 0);
    g_object_set(fixture->element, "alert-threshold", 0.9, NULL);
    push(fixture, 0.9, 1);
    wait_alert(fixture, "alert", 0.9, 1);
    push(fixture, 0.2, 2);
    g_assert_cmpuint(count_alerts(fixture), ==, 0);
    g_object_set(fixture->element, "alert-clear", 0.3, NULL);
    push(fixture, 0.2, 3);
    wait_alert(fixture, "clear", 0.2, 1);
    /* In the cooldown of ten seconds. */
    push(fixture, 1, 4);
    push(fixture, 1, 5);
    g_assert_cmpuint(count_alerts(fixture), ==, 0);
    g_object_set(fixture->element, "alert-cooldown", (guint64)FRAME_DURATION, NULL);
    push(fixture, 1, 6);
    wait_alert(fixture, "alert", 1, 4);
    fixture_free(fixture);
}

/* An alert ends with what it watched for, and with a flush, of which nothing is said. */
static void test_ends(void)
{
    Fixture *fixture = fixture_new(COMPLETE "alert-cooldown=0", CAPS);
    GstSegment segment;

    push(fixture, 1, 0);
    wait_alert(fixture, "alert", 1, 0);
    g_object_set(fixture->element, "alert-on", "no", NULL);
    push(fixture, 1, 1);
    g_assert_cmpstr(get_text(wait_alert(fixture, "clear", 0, 0), "alert-on"), ==, "yes");
    push(fixture, 0, 2);
    wait_alert(fixture, "alert", 1, 2);
    g_object_set(fixture->element, "choices", NULL, NULL);
    push(fixture, 0, 3);
    wait_alert(fixture, "clear", 0, 2);
    g_object_set(fixture->element, "choices", "yes,no", NULL);
    push(fixture, 0, 4);
    wait_alert(fixture, "alert", 1, 4);
    gst_harness_push_event(fixture->harness, gst_event_new_flush_start());
    gst_harness_push_event(fixture->harness, gst_event_new_flush_stop(FALSE));
    gst_segment_init(&segment, GST_FORMAT_TIME);
    gst_harness_push_event(fixture->harness, gst_event_new_segment(&segment));
    push(fixture, 0, 5);
    wait_alert(fixture, "alert", 1, 5);
    g_assert_cmpuint(count_alerts(fixture), ==, 0);
    fixture_free(fixture);
}

/* Watching for what is no choice: an error at the start, one warning while playing. */
static void test_unknown(void)
{
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));
    g_object_set(element, "choices", "yes,no", "alert-on", "maybe", NULL);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    gst_element_set_state(element, GST_STATE_NULL);
    gst_object_unref(element);

    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    g_object_set(fixture->element, "alert-on", "maybe", NULL);
    push(fixture, 1, 0);
    push(fixture, 1, 1);
    g_assert_cmpuint(count_warnings(fixture, "alert-on=maybe"), ==, 1);
    g_assert_cmpuint(count_alerts(fixture), ==, 0);
    fixture_free(fixture);
}

/* Every standing prompt has its own alert; a question asked once has none. */
static void test_prompts(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    guint index, indices = 0;
    guint64 sequence;

    g_object_set(fixture->element, "prompts", "Fire?\nWater?", NULL);
    push(fixture, 1, 0);
    for (int i = 0; i < 2; i++) {
        const GstStructure *alert = wait_alert(fixture, "alert", 1, 0);
        g_assert_true(gst_structure_get_uint(alert, "prompt-index", &index));
        indices |= 1u << index;
    }
    g_assert_cmpuint(indices, ==, 3);
    g_object_set(fixture->element, "trigger", 1, NULL);
    g_signal_emit_by_name(fixture->element, "caption-now", "Air?", &sequence);
    push(fixture, 0, 1);
    g_assert_cmpuint(sequence, ==, 3);
    g_assert_cmpuint(count_alerts(fixture), ==, 0);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/alerts/course", test_course);
    g_test_add_func("/alerts/since", test_since);
    g_test_add_func("/alerts/messages", test_messages);
    g_test_add_func("/alerts/sum", test_sum);
    g_test_add_func("/alerts/thresholds", test_thresholds);
    g_test_add_func("/alerts/ends", test_ends);
    g_test_add_func("/alerts/unknown", test_unknown);
    g_test_add_func("/alerts/prompts", test_prompts);
    return g_test_run();
}
