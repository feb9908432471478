/*
 * Properties: what they are, what they start as, and that what can change while playing does.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#define COMPLETE "mode=complete interval=40000000 "

/* The contract: names, defaults as gst-inspect-1.0 prints them, and when they may change. */
static const struct {
    const char *name;
    const char *fallback; /* NULL: a string that is not set */
    gboolean while_playing;
} contract[] = {
    {"model-path", "demo", FALSE},
    {"prompt", "Describe the image.", TRUE},
    {"system-prompt", "You are a helpful assistant.", TRUE},
    {"choices", NULL, TRUE},
    {"prompts", NULL, TRUE},
    {"trigger", "interval", TRUE},
    {"regions", "false", TRUE},
    {"change-threshold", "0", TRUE},
    {"change-mask", NULL, TRUE},
    {"max-age", "60000000000", TRUE},
    {"alert-on", NULL, TRUE},
    {"alert-threshold", "0.8", TRUE},
    {"alert-clear", "0.5", TRUE},
    {"alert-cooldown", "10000000000", TRUE},
    {"precision", "auto", FALSE},
    {"threads", "0", FALSE},
    {"resolution", "0", TRUE},
    {"latency-budget", "0", TRUE},
    {"fit", "auto", TRUE},
    {"interval", "1000000000", TRUE},
    {"mode", "live", TRUE},
    {"max-tokens", "64", TRUE},
    {"temperature", "0", TRUE},
    {"top-p", "1", TRUE},
    {"top-k", "0", TRUE},
    {"seed", "0", TRUE},
    {"overlay", "false", TRUE},
    {"font-desc", NULL, TRUE},
    {"text-repeat", "0", TRUE},
    {"repeat", "false", TRUE},
    {"nice", "10", FALSE},
    {"vision-path", NULL, FALSE},
    {"head", "auto", FALSE},
};

/* Every property has its default, says when it may change, and explains itself. */
static void test_contract(void)
{
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));

    for (gsize i = 0; i < G_N_ELEMENTS(contract); i++) {
        GParamSpec *pspec =
            g_object_class_find_property(G_OBJECT_GET_CLASS(element), contract[i].name);
        GValue value = G_VALUE_INIT, expected = G_VALUE_INIT;

        g_test_message("%s", contract[i].name);
        g_assert_nonnull(pspec);
        g_assert_cmpint((pspec->flags & GST_PARAM_MUTABLE_PLAYING) != 0, ==,
                        contract[i].while_playing);
        g_assert_cmpint((pspec->flags & GST_PARAM_MUTABLE_READY) != 0, ==,
                        !contract[i].while_playing);
        g_assert_nonnull(g_param_spec_get_blurb(pspec));
        g_value_init(&value, pspec->value_type);
        g_value_init(&expected, pspec->value_type);
        g_object_get_property(G_OBJECT(element), contract[i].name, &value);
        if (contract[i].fallback != NULL) {
            g_assert_true(gst_value_deserialize(&expected, contract[i].fallback));
            g_assert_cmpint(gst_value_compare(&value, &expected), ==, GST_VALUE_EQUAL);
        } else {
            g_assert_null(g_value_get_string(&value));
        }
        /* What the property says its default is, is. */
        g_assert_true(g_param_value_defaults(pspec, &value));
        g_value_unset(&value);
        g_value_unset(&expected);
    }
    gst_object_unref(element);
}

/* There is no other property than those, the two read-only ones, and GstElement's. */
static void test_no_other(void)
{
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));
    guint n, n_own = 0;
    GParamSpec **pspecs = g_object_class_list_properties(G_OBJECT_GET_CLASS(element), &n);

    for (guint i = 0; i < n; i++) {
        n_own += pspecs[i]->owner_type == G_OBJECT_TYPE(element);
        if (g_str_equal(pspecs[i]->name, "caption") || g_str_equal(pspecs[i]->name, "stats")) {
            g_assert_cmpint(pspecs[i]->flags & G_PARAM_WRITABLE, ==, 0);
        }
    }
    g_assert_cmpuint(n_own, ==, G_N_ELEMENTS(contract) + 2);
    g_free(pspecs);
    gst_object_unref(element);
}

/* What is set reads back, each at its limits. */
static void test_round_trip(void)
{
    static const struct {
        const char *name, *value;
    } sets[] = {
        {"model-path", "/no/where"},
        {"prompt", "Gr\303\274\303\237 dich?"},
        {"system-prompt", ""},
        {"precision", "int4"},
        {"threads", "256"},
        {"choices", "one, two"},
        {"prompts", "one?\ntwo?"},
        {"trigger", "manual"},
        {"regions", "true"},
        {"change-threshold", "0.02"},
        {"change-mask", "1,2,3,4"},
        {"max-age", "0"},
        {"alert-on", "one"},
        {"alert-threshold", "1"},
        {"alert-clear", "0"},
        {"alert-cooldown", "0"},
        {"resolution", "4096"},
        {"latency-budget", "3600000"},
        {"fit", "stretch"},
        {"interval", "18446744073709551614"},
        {"mode", "complete"},
        {"max-tokens", "1"},
        {"temperature", "1.5"},
        {"top-p", "0.9"},
        {"top-k", "40"},
        {"seed", "18446744073709551615"},
        {"overlay", "true"},
        {"font-desc", "Serif 12"},
        {"text-repeat", "500000000"},
        {"repeat", "true"},
        {"nice", "0"},
        {"vision-path", "elsewhere"},
        {"head", "own"},
    };
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));

    g_assert_cmpuint(G_N_ELEMENTS(sets), ==, G_N_ELEMENTS(contract));
    for (gsize i = 0; i < G_N_ELEMENTS(sets); i++) {
        GValue value = G_VALUE_INIT, expected = G_VALUE_INIT;
        GParamSpec *pspec = g_object_class_find_property(G_OBJECT_GET_CLASS(element), sets[i].name);

        g_test_message("%s=%s", sets[i].name, sets[i].value);
        g_value_init(&value, pspec->value_type);
        g_value_init(&expected, pspec->value_type);
        if (G_VALUE_HOLDS_STRING(&expected)) {
            g_value_set_string(&expected, sets[i].value);
        } else {
            g_assert_true(gst_value_deserialize(&expected, sets[i].value));
        }
        g_object_set_property(G_OBJECT(element), sets[i].name, &expected);
        g_object_get_property(G_OBJECT(element), sets[i].name, &value);
        g_assert_cmpint(gst_value_compare(&value, &expected), ==, GST_VALUE_EQUAL);
        g_value_unset(&value);
        g_value_unset(&expected);
    }
    gst_object_unref(element);
}

/* NULL for a string is its default. */
static void test_null_strings(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    g_object_set(fixture->element, "prompt", NULL, "system-prompt", NULL, "font-desc", NULL, NULL);
    push_frame(fixture, 0, 0);
    g_assert_cmpstr(fake_get_record().prompt, ==, FASTVLM_DEFAULT_PROMPT);
    g_assert_cmpstr(fake_get_record().system_prompt, ==, FASTVLM_DEFAULT_SYSTEM_PROMPT);
    fixture_free(fixture);
}

/* What changes while playing holds from the next caption on. */
static void test_changes_while_playing(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    push_frame(fixture, 0, 0);
    FakeRecord record = fake_get_record();
    g_assert_cmpint(record.resolution, ==, 256);
    g_assert_cmpint(record.fit, ==, FASTVLM_FIT_AUTO);
    g_assert_cmpint(record.max_tokens, ==, 64);
    g_assert_cmpfloat(record.temperature, ==, 0);

    g_object_set(fixture->element, "prompt", "Is it red?", "system-prompt", "Be brief.",
                 "resolution", 512, "fit", FASTVLM_FIT_CROP, "max-tokens", 7, "temperature", 0.5,
                 "top-p", 0.25, "top-k", 3, "seed", (guint64)99, NULL);
    push_frame(fixture, 0, FRAME_DURATION);
    record = fake_get_record();
    g_assert_cmpstr(record.prompt, ==, "Is it red?");
    g_assert_cmpstr(record.system_prompt, ==, "Be brief.");
    g_assert_cmpint(record.resolution, ==, 512);
    g_assert_cmpint(record.fit, ==, FASTVLM_FIT_CROP);
    g_assert_cmpint(record.max_tokens, ==, 7);
    g_assert_cmpfloat(record.temperature, ==, 0.5);
    g_assert_cmpfloat(record.top_p, ==, 0.25);
    g_assert_cmpint(record.top_k, ==, 3);
    g_assert_cmpuint(record.seed, ==, 99);
    fixture_free(fixture);
}

/* A prompt that changes while a caption is made is the next one's; each says which it answered. */
static void test_prompt_in_force(void)
{
    Fixture *fixture = fixture_new("interval=40000000 prompt=first", CAPS);

    fake_hold(TRUE);
    push_frame(fixture, 0, 0);
    g_assert_true(fake_wait_encodes(1));
    g_object_set(fixture->element, "prompt", "second", NULL);
    push_frame(fixture, 0, FRAME_DURATION);
    fake_hold(FALSE);
    g_assert_cmpstr(get_text(wait_caption(fixture, "final"), "prompt"), ==, "first");
    g_assert_cmpstr(get_text(wait_caption(fixture, "final"), "prompt"), ==, "second");
    fixture_free(fixture);
}

/* A resolution that no encoder takes is refused while playing: a warning, and the old one stays. */
static void test_refused_resolution(void)
{
    Fixture *fixture = fixture_new(COMPLETE "resolution=256", CAPS);
    guint resolution;

    g_object_set(fixture->element, "resolution", 300, NULL);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 1);
    g_object_get(fixture->element, "resolution", &resolution, NULL);
    g_assert_cmpuint(resolution, ==, 256);
    g_assert_cmpint(push_frame(fixture, 0, 0), ==, GST_FLOW_OK);
    g_assert_cmpint(fake_get_record().resolution, ==, 256);
    fixture_free(fixture);
}

/* What needs a new model takes effect when the element starts again. */
static void test_changes_at_start(void)
{
    Fixture *fixture = fixture_new(COMPLETE "threads=1", CAPS);

    push_frame(fixture, 0, 0);
    g_object_set(fixture->element, "threads", 2, NULL);
    g_assert_cmpint(push_frame(fixture, 0, FRAME_DURATION), ==, GST_FLOW_OK);
    g_assert_cmpint(fake_get_record().n_threads, ==, 1);
    gst_element_set_state(fixture->harness->element, GST_STATE_READY);
    gst_element_set_state(fixture->harness->element, GST_STATE_PLAYING);
    gst_harness_push_event(fixture->harness, gst_event_new_stream_start("again"));
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    g_assert_cmpint(push_frame(fixture, 0, 0), ==, GST_FLOW_OK);
    g_assert_cmpint(fake_get_record().n_threads, ==, 2);
    fixture_free(fixture);
}

static gpointer turn_knobs(gpointer data)
{
    Fixture *fixture = data;
    GstStructure *stats;
    char *text;

    for (guint i = 0; i < 500; i++) {
        char prompt[] = "prompt ?";
        prompt[7] = (char)('a' + i % 26);
        g_object_set(fixture->element, "prompt", prompt, "interval", (guint64)(i % 3) * 10000000,
                     "overlay", i % 2 == 0, "font-desc", i % 5 ? "Sans 10" : NULL, "mode",
                     i % 7 == 0, "max-tokens", i % 9 + 1, "text-repeat",
                     (guint64)(i % 4) * 50000000, NULL);
        g_object_get(fixture->element, "stats", &stats, "caption", &text, NULL);
        gst_structure_free(stats);
        g_free(text);
        g_usleep(500);
    }
    return NULL;
}

/* All of them at once, from another thread, while frames flow. */
static void test_all_at_once(void)
{
    Fixture *fixture = fixture_new("", CAPS);
    GThread *turner = g_thread_new("turner", turn_knobs, fixture);

    for (guint i = 0; i < 300; i++) {
        g_assert_cmpint(push_frame(fixture, i * 0x030507, i * FRAME_DURATION), ==, GST_FLOW_OK);
        gst_buffer_unref(gst_harness_pull(fixture->harness));
        g_usleep(1000);
    }
    g_thread_join(turner);
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, 0);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/properties/contract", test_contract);
    g_test_add_func("/properties/no-other", test_no_other);
    g_test_add_func("/properties/round-trip", test_round_trip);
    g_test_add_func("/properties/null-strings", test_null_strings);
    g_test_add_func("/properties/change-while-playing", test_changes_while_playing);
    g_test_add_func("/properties/prompt-in-force", test_prompt_in_force);
    g_test_add_func("/properties/refused-resolution", test_refused_resolution);
    g_test_add_func("/properties/change-at-start", test_changes_at_start);
    g_test_add_func("/properties/all-at-once", test_all_at_once);
    return g_test_run();
}
