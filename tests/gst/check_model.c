/*
 * Models: missing, broken, slow, failing, shared.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include "gstfastvlmerror.h"
#include "gstfastvlmmodels.h"

/* READY -> PAUSED fails at once, with one error of that domain and code that has these words. */
static void check_refused(const char *properties, GQuark domain, gint code, const char *words)
{
    GstElement *element = gst_parse_launch(properties, NULL);
    GstBus *bus = gst_bus_new();
    GError *error = NULL;
    char *debug;

    gst_object_ref_sink(element);
    gst_element_set_bus(element, bus);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    GstMessage *message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
    g_assert_nonnull(message);
    gst_message_parse_error(message, &error, &debug);
    g_assert_error(error, domain, code);
    g_assert_nonnull(strstr(error->message, words));
    gst_message_unref(message);
    g_assert_null(gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR));
    g_assert_null(gst_bus_pop_filtered(bus, GST_MESSAGE_PROGRESS));
    g_error_free(error);
    g_free(debug);
    gst_element_set_state(element, GST_STATE_NULL);
    gst_element_set_bus(element, NULL);
    gst_object_unref(element);
    gst_object_unref(bus);
    g_assert_cmpuint(fake_get_record().n_loads, ==, 0);
    fake_reset();
}

static void test_missing(void)
{
    check_refused("fastvlmcaption model-path=missing", GST_RESOURCE_ERROR,
                  GST_RESOURCE_ERROR_NOT_FOUND, "missing: no such directory: set model-path");
}

static void test_broken(void)
{
    check_refused("fastvlmcaption model-path=broken", GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_INIT,
                  "broken/config.json");
}

/* Without a tokenizer there is no prompt: no use waiting for the weights. */
static void test_untokenized(void)
{
    check_refused("fastvlmcaption model-path=untokenized", GST_RESOURCE_ERROR,
                  GST_RESOURCE_ERROR_NOT_FOUND, "tokenizer");
}

static void test_bad_resolution(void)
{
    check_refused("fastvlmcaption resolution=100", GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_SETTINGS,
                  "resolution=100");
}

/* What the engine cannot do is told before anything loads. */
static void test_bad_precision(void)
{
    check_refused("fastvlmcaption precision=int4", GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_SETTINGS,
                  "precision int4");
}

/* An element that was refused works once its property is mended. */
static void test_mended(void)
{
    Fixture *fixture = fixture_new("", NULL);

    gst_element_set_state(fixture->harness->element, GST_STATE_NULL);
    g_object_set(fixture->element, "model-path", "missing", NULL);
    g_assert_cmpint(gst_element_set_state(fixture->harness->element, GST_STATE_PLAYING), ==,
                    GST_STATE_CHANGE_FAILURE);
    g_object_set(fixture->element, "model-path", "demo", NULL);
    g_assert_cmpint(gst_element_set_state(fixture->harness->element, GST_STATE_PLAYING), ==,
                    GST_STATE_CHANGE_SUCCESS);
    fixture_free(fixture);
}

static GstProgressType wait_progress(Fixture *fixture)
{
    GstMessage *message = wait_message(fixture, GST_MESSAGE_PROGRESS, NULL);
    GstProgressType type;
    char *code, *text;

    g_assert_nonnull(message);
    gst_message_parse_progress(message, &type, &code, &text);
    g_assert_cmpstr(code, ==, "loading");
    g_assert_nonnull(strstr(text, "demo"));
    g_free(code);
    g_free(text);
    return type;
}

/* While a model loads, video of mode live flows, and the bus is told how far it is. */
static void test_slow_load(void)
{
    fake.load_ms = 2000;
    Fixture *fixture = fixture_new("interval=40000000", CAPS);

    for (guint i = 0; i < 10; i++) {
        g_assert_cmpint(push_frame(fixture, 0x808080, i * FRAME_DURATION), ==, GST_FLOW_OK);
    }
    g_assert_cmpuint(fake_get_record().n_models, ==, 0);
    g_assert_cmpuint(gst_harness_buffers_received(fixture->harness), ==, 10);
    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_START);
    GstProgressType type;
    guint n_continues = 0;
    while ((type = wait_progress(fixture)) == GST_PROGRESS_TYPE_CONTINUE) {
        n_continues++;
    }
    g_assert_cmpint(type, ==, GST_PROGRESS_TYPE_COMPLETE);
    g_assert_cmpuint(n_continues, >=, 1);
    g_assert_cmpuint(n_continues, <, 20);
    /* The newest frame of those that came meanwhile. */
    g_assert_cmpuint(get_uint64(wait_caption(fixture, "final"), "pts"), ==, 9 * FRAME_DURATION);
    /* That samples were replaced meanwhile is no falling behind. */
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 0);
    fixture_free(fixture);
}

/* A load that gets no further, as while precisions are measured, is told of all the same. */
static void test_stuck_load(void)
{
    fake.load_ms = 1000000; /* a step of the news would take ten seconds */
    Fixture *fixture = fixture_new("", CAPS);

    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_START);
    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_CONTINUE);
    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_CONTINUE);
    fixture_free(fixture);
}

/* With interval=0 the frame that a long load ends on is not the first there was. */
static void test_slow_load_every_frame(void)
{
    fake.load_ms = 800;
    Fixture *fixture = fixture_new("interval=0", CAPS);
    guint i = 0;

    for (; get_stat(fixture, "captions") == 0; i++) {
        g_assert_cmpuint(i, <, 400);
        push_frame(fixture, 0x808080, i * FRAME_DURATION);
        g_usleep(20000);
    }
    const guint64 pts = get_uint64(wait_caption(fixture, "final"), "pts");
    g_test_message("frame %u of %u", (guint)(pts / FRAME_DURATION), i);
    g_assert_cmpuint(pts / FRAME_DURATION, >=, i / 3);
    fixture_free(fixture);
}

/* A quick load is told of as well, start and end. */
static void test_quick_load(void)
{
    Fixture *fixture = fixture_new("", CAPS);

    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_START);
    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_COMPLETE);
    fixture_free(fixture);
}

/* A load that READY cuts short is told of as canceled, and ends. */
static void test_canceled_load(void)
{
    fake.load_ms = 10000;
    Fixture *fixture = fixture_new("", CAPS);

    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_START);
    gst_element_set_state(fixture->harness->element, GST_STATE_READY);
    while (count_messages(fixture, GST_MESSAGE_PROGRESS, NULL) > 1) {
        g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_CONTINUE);
    }
    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_CANCELED);
    fixture_free(fixture);
}

static void check_failed_load(const char *properties, GstFlowReturn flow)
{
    fake.load_ms = 50;
    fake.load_error = FASTVLM_ERROR_LIMIT;
    Fixture *fixture = fixture_new(properties, CAPS);
    GError *error = NULL;

    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_START);
    g_assert_cmpint(wait_progress(fixture), ==, GST_PROGRESS_TYPE_ERROR);
    GstMessage *message = wait_message(fixture, GST_MESSAGE_ERROR, NULL);
    g_assert_nonnull(message);
    gst_message_parse_error(message, &error, NULL);
    g_assert_error(error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT);
    g_assert_nonnull(strstr(error->message, "model.safetensors"));
    g_error_free(error);
    for (guint i = 0; i < 5; i++) {
        g_assert_cmpint(push_frame(fixture, 0x808080, i * FRAME_DURATION), ==, flow);
    }
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, 0);
    g_assert_true(gst_harness_push_event(fixture->harness, gst_event_new_eos()));
    g_assert_cmpuint(gst_fastvlm_models_count(), ==, 0);
    fixture_free(fixture);
}

/* A load that fails is one error; video of mode live goes on if the application lets it. */
static void test_failed_load_live(void)
{
    check_failed_load("interval=0", GST_FLOW_OK);
}

/* ... and mode complete, which owes captions, stops. */
static void test_failed_load_complete(void)
{
    check_failed_load("interval=0 mode=complete", GST_FLOW_ERROR);
}

/* What a property may mend is a warning in mode live, once for the same words; captions go on. */
static void test_failed_caption_live(void)
{
    Fixture *fixture = fixture_new("interval=0", CAPS);
    guint i = 0;

    fake_set_generate_error(FASTVLM_ERROR_ARGUMENT);
    while (fake_get_record().n_encodes < 3) {
        push_frame(fixture, 0x808080, i++ * FRAME_DURATION);
        g_usleep(5000);
    }
    fake_set_generate_error(-1);
    while (get_stat(fixture, "captions") < 1) {
        push_frame(fixture, 0x808080, i++ * FRAME_DURATION);
        g_usleep(5000);
    }
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_WARNING, NULL), ==, 1);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, 0);
    g_assert_cmpuint(get_uint64(wait_caption(fixture, "final"), "sequence"), ==, 1);
    fixture_free(fixture);
}

/* What nothing can mend is one error, in mode live too. */
static void test_fatal_caption_live(void)
{
    Fixture *fixture = fixture_new("interval=0", CAPS);
    guint i = 0;

    fake_set_generate_error(FASTVLM_ERROR_UNSUPPORTED);
    while (count_messages(fixture, GST_MESSAGE_ERROR, NULL) == 0) {
        g_assert_cmpint(push_frame(fixture, 0x808080, i++ * FRAME_DURATION), ==, GST_FLOW_OK);
        g_usleep(5000);
    }
    for (guint n = 0; n < 10; n++) {
        g_assert_cmpint(push_frame(fixture, 0x808080, i++ * FRAME_DURATION), ==, GST_FLOW_OK);
    }
    g_usleep(20000);
    g_assert_cmpuint(count_messages(fixture, GST_MESSAGE_ERROR, NULL), ==, 1);
    fixture_free(fixture);
}

/* Elements with the same model, precision and threads share one copy, until the last leaves. */
static void test_sharing(void)
{
    Fixture *first = fixture_new("mode=complete", CAPS);
    GstElement *second = gst_element_factory_make("fastvlmcaption", NULL);

    gst_object_ref_sink(second);
    push_frame(first, 0x808080, 0);
    gst_element_set_state(second, GST_STATE_PAUSED);
    g_assert_cmpuint(gst_fastvlm_models_count(), ==, 1);
    push_frame(first, 0x808080, GST_SECOND);
    g_assert_cmpuint(fake_get_record().n_loads, ==, 1);
    gst_element_set_state(first->harness->element, GST_STATE_READY);
    g_assert_cmpuint(gst_fastvlm_models_count(), ==, 1);
    g_assert_cmpuint(fake_get_record().n_models, ==, 1);
    gst_element_set_state(second, GST_STATE_READY);
    g_assert_cmpuint(gst_fastvlm_models_count(), ==, 0);
    g_assert_cmpuint(fake_get_record().n_models, ==, 0);
    gst_element_set_state(second, GST_STATE_NULL);
    gst_object_unref(second);
    fixture_free(first);
}

/* A different precision or number of threads is another copy; so is another directory. */
static void test_not_shared(void)
{
    static const char *const lines[] = {"fastvlmcaption", "fastvlmcaption precision=int8",
                                        "fastvlmcaption threads=2",
                                        "fastvlmcaption model-path=other"};
    GstElement *elements[G_N_ELEMENTS(lines)];

    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        elements[i] = gst_object_ref_sink(gst_parse_launch(lines[i], NULL));
        gst_element_set_state(elements[i], GST_STATE_PAUSED);
        g_assert_cmpuint(gst_fastvlm_models_count(), ==, i + 1);
    }
    /* A load may begin late on a busy machine: not in the next test's record. */
    while (fake_get_record().n_loads < G_N_ELEMENTS(lines)) {
        g_usleep(1000);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
        gst_element_set_state(elements[i], GST_STATE_NULL);
        gst_object_unref(elements[i]);
    }
    g_assert_cmpuint(gst_fastvlm_models_count(), ==, 0);
    fake_reset();
}

/* Two that start while the model loads wait for the same load; one that leaves does not end it. */
static void test_sharing_a_load(void)
{
    fake.load_ms = 200;
    Fixture *first = fixture_new("mode=complete", CAPS);
    GstElement *second = gst_element_factory_make("fastvlmcaption", NULL);

    gst_object_ref_sink(second);
    gst_element_set_state(second, GST_STATE_PAUSED);
    gst_element_set_state(second, GST_STATE_NULL);
    gst_object_unref(second);
    g_assert_cmpint(push_frame(first, 0x808080, 0), ==, GST_FLOW_OK);
    g_assert_cmpuint(fake_get_record().n_loads, ==, 1);
    fixture_free(first);
}

/* Whoever joins just after a cancelled load gets a load of its own. */
static void test_load_after_cancel(void)
{
    fake.load_ms = 300;
    Fixture *fixture = fixture_new("mode=complete", CAPS);

    for (int i = 0; i < 5; i++) {
        gst_element_set_state(fixture->harness->element, GST_STATE_READY);
        gst_element_set_state(fixture->harness->element, GST_STATE_PLAYING);
    }
    gst_harness_push_event(fixture->harness, gst_event_new_stream_start("again"));
    gst_harness_set_src_caps_str(fixture->harness, CAPS);
    g_assert_cmpint(push_frame(fixture, 0x808080, 0), ==, GST_FLOW_OK);
    g_assert_cmpuint(gst_fastvlm_models_count(), ==, 1);
    fixture_free(fixture);
}

/* Every code of the engine has its place in GStreamer's. */
static void test_error_map(void)
{
    static const struct {
        FastvlmError from;
        gboolean loading;
        gboolean resource;
        gint code;
    } expected[] = {
        {FASTVLM_ERROR_NOT_FOUND, TRUE, TRUE, GST_RESOURCE_ERROR_NOT_FOUND},
        {FASTVLM_ERROR_READ, TRUE, TRUE, GST_RESOURCE_ERROR_OPEN_READ},
        {FASTVLM_ERROR_FORMAT, TRUE, FALSE, GST_LIBRARY_ERROR_INIT},
        {FASTVLM_ERROR_UNSUPPORTED, TRUE, FALSE, GST_LIBRARY_ERROR_SETTINGS},
        {FASTVLM_ERROR_ARGUMENT, FALSE, FALSE, GST_LIBRARY_ERROR_SETTINGS},
        {FASTVLM_ERROR_LIMIT, TRUE, TRUE, GST_RESOURCE_ERROR_NO_SPACE_LEFT},
        {FASTVLM_ERROR_LIMIT, FALSE, FALSE, GST_LIBRARY_ERROR_SETTINGS},
        {FASTVLM_ERROR_CANCELLED, FALSE, FALSE, GST_LIBRARY_ERROR_FAILED},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(expected); i++) {
        GError *error = g_error_new_literal(FASTVLM_ERROR, (gint)expected[i].from, "x");
        gint code;
        const GQuark domain = gst_fastvlm_error_map(error, expected[i].loading, &code);

        g_assert_cmpuint(domain, ==, expected[i].resource ? GST_RESOURCE_ERROR : GST_LIBRARY_ERROR);
        g_assert_cmpint(code, ==, expected[i].code);
        g_error_free(error);
    }
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/model/missing", test_missing);
    g_test_add_func("/model/broken", test_broken);
    g_test_add_func("/model/untokenized", test_untokenized);
    g_test_add_func("/model/bad-resolution", test_bad_resolution);
    g_test_add_func("/model/bad-precision", test_bad_precision);
    g_test_add_func("/model/mended", test_mended);
    g_test_add_func("/load/slow", test_slow_load);
    g_test_add_func("/load/stuck", test_stuck_load);
    g_test_add_func("/load/slow-every-frame", test_slow_load_every_frame);
    g_test_add_func("/load/quick", test_quick_load);
    g_test_add_func("/load/canceled", test_canceled_load);
    g_test_add_func("/load/failed-live", test_failed_load_live);
    g_test_add_func("/load/failed-complete", test_failed_load_complete);
    g_test_add_func("/caption/failed-live", test_failed_caption_live);
    g_test_add_func("/caption/fatal-live", test_fatal_caption_live);
    g_test_add_func("/sharing/one-copy", test_sharing);
    g_test_add_func("/sharing/not", test_not_shared);
    g_test_add_func("/sharing/a-load", test_sharing_a_load);
    g_test_add_func("/sharing/load-after-cancel", test_load_after_cancel);
    g_test_add_func("/errors/map", test_error_map);
    return g_test_run();
}
