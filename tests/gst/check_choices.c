/*
 * Choices: the answer is one of them, and messages and metadata tell how probable each is.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

/* Field `choices` holds `n`; the first is `name` with `probability`. */
static void check_field(const GstStructure *structure, guint n, const char *name,
                        double probability)
{
    const GValue *array = gst_structure_get_value(structure, "choices");
    double found;

    g_assert_nonnull(array);
    g_assert_true(GST_VALUE_HOLDS_ARRAY(array));
    g_assert_cmpuint(gst_value_array_get_size(array), ==, n);
    if (n == 0) {
        return;
    }
    const GValue *value = gst_value_array_get_value(array, 0);
    g_assert_true(GST_VALUE_HOLDS_STRUCTURE(value));
    const GstStructure *choice = gst_value_get_structure(value);
    g_assert_true(gst_structure_has_name(choice, "choice"));
    g_assert_cmpstr(get_text(choice, "name"), ==, name);
    g_assert_true(gst_structure_get_double(choice, "probability", &found));
    g_assert_cmpfloat_with_epsilon(found, probability, 1e-12);
}

static void test_message_and_meta(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=0 choices=yes,no,maybe", CAPS);

    fake.first_choice = 0.75;
    push_frame(fixture, 0x777777, 0);
    GstBuffer *buffer = gst_harness_pull(fixture->harness);
    g_assert_cmpstr(get_text(get_meta(buffer), "text"), ==, "yes");
    check_field(get_meta(buffer), 3, "yes", 0.75);
    gst_buffer_unref(buffer);
    const GstStructure *caption = wait_caption(fixture, "final");
    g_assert_cmpstr(get_text(caption, "text"), ==, "yes");
    check_field(caption, 3, "yes", 0.75);
    fixture_free(fixture);
}

/* The structure survives its own text form, which gst-launch-1.0 -m prints. */
static void test_serializes(void)
{
    Fixture *fixture = fixture_new("mode=complete choices=\"yes,n\\\"o, {\"", CAPS);

    fake.first_choice = 0.25;
    push_frame(fixture, 0x777777, 0);
    const GstStructure *caption = wait_caption(fixture, "final");
    g_assert_cmpstr(get_text(caption, "text"), ==, "n\"o");
    char *text = gst_structure_to_string(caption);
    GstStructure *again = gst_structure_from_string(text, NULL);
    g_assert_nonnull(again);
    check_field(again, 3, "yes", 0.25);
    gst_structure_free(again);
    g_free(text);
    fixture_free(fixture);
}

static guint count_partials(Fixture *fixture)
{
    guint n = 0;

    count_messages(fixture, GST_MESSAGE_ELEMENT, NULL);
    for (guint i = 0; i < fixture->messages->len; i++) {
        const GstStructure *structure =
            gst_message_get_structure(g_ptr_array_index(fixture->messages, i));

        n += structure != NULL &&
             g_strcmp0(gst_structure_get_string(structure, "type"), "partial") == 0;
    }
    return n;
}

/* Without choices the field is there and empty, in partials too. A choice has no partials. */
static void test_without(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=0", CAPS);

    push_frame(fixture, 0x777777, 0);
    check_field(wait_caption(fixture, "partial"), 0, NULL, 0);
    check_field(wait_caption(fixture, "final"), 0, NULL, 0);
    const guint n_partials = count_partials(fixture);
    g_object_set(fixture->element, "choices", "a,b", NULL);
    fake.token_ms = 250;
    push_frame(fixture, 0x777777, FRAME_DURATION);
    check_field(wait_caption(fixture, "final"), 2, "a", 0);
    g_assert_cmpuint(count_partials(fixture), ==, n_partials);
    g_object_set(fixture->element, "choices", NULL, NULL);
    fake.token_ms = 0;
    push_frame(fixture, 0x777777, 2 * FRAME_DURATION);
    check_field(wait_caption(fixture, "final"), 0, NULL, 0);
    fixture_free(fixture);
}

/* Nonsense: an error before the start, a warning and the old choices after it. */
static void test_refuses(void)
{
    Fixture *fixture = fixture_new("mode=complete choices=yes,no", CAPS);
    char *choices;

    g_object_set(fixture->element, "choices", "yes", NULL);
    g_assert_cmpuint(count_warnings(fixture, "choices=yes: 1 choice"), ==, 1);
    g_object_get(fixture->element, "choices", &choices, NULL);
    g_assert_cmpstr(choices, ==, "yes,no");
    g_free(choices);
    fixture_free(fixture);

    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));
    g_object_set(element, "choices", "yes", NULL);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    gst_element_set_state(element, GST_STATE_NULL);
    gst_object_unref(element);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/choices/message-and-meta", test_message_and_meta);
    g_test_add_func("/choices/serializes", test_serializes);
    g_test_add_func("/choices/without", test_without);
    g_test_add_func("/choices/refuses", test_refuses);
    return g_test_run();
}
