/*
 * The element with the real engine: what it says is what the engine says of the same pixels, in
 * whole pipelines, with one thread or more, alone or beside another.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib/gstdio.h>
#include <sys/resource.h>

#include "gstfastvlmmodels.h"
#include "gstfastvlmsanitize.h"
#include "support.h"
#include "synth.h"

#define RGB_CAPS "video/x-raw, format=RGB, width=96, height=64, framerate=25/1"
#define PROMPT "What is there?"

static char *directory; /* of the checkpoint that all tests use */

static char *make_checkpoint(void)
{
    char *path = g_dir_make_tmp("fastvlm-XXXXXX", NULL);
    char *tokenizer = g_test_build_filename(G_TEST_DIST, "data", "text", "tiny", NULL);
    SynthSpec spec;
    GError *error = NULL;

    g_assert_true(fastvlm_synth_spec("tiny", &spec));
    spec.tokenizer = tokenizer;
    spec.vocab_size = 512;
    fastvlm_synth_write(path, &spec, NULL, NULL, &error);
    g_assert_no_error(error);
    g_free(tokenizer);
    return path;
}

static void remove_checkpoint(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir)) != NULL) {
        char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
        g_free(file);
    }
    g_dir_close(dir);
    g_rmdir(path);
}

static Fixture *start(const char *properties, const char *caps)
{
    char *line = g_strdup_printf("model-path=%s prompt=\"" PROMPT "\" max-tokens=10 %s", directory,
                                 properties);
    Fixture *fixture = fixture_new(line, caps);

    g_free(line);
    return fixture;
}

/* A picture that no flip, shift or channel order leaves as it is. */
static GstBuffer *make_picture(guint seed, GstClockTime pts)
{
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, 96 * 64 * 3, NULL);
    GstMapInfo map;

    g_assert_true(gst_buffer_map(buffer, &map, GST_MAP_WRITE));
    for (guint i = 0; i < map.size; i++) {
        map.data[i] = (guint8)((i * (7 + seed) + i / 288 * 5 + i % 3 * 90 * seed) >> 1);
    }
    gst_buffer_unmap(buffer, &map);
    GST_BUFFER_PTS(buffer) = pts;
    return buffer;
}

/* What the engine by itself says of that picture, without what an element tells of no model. */
static char *ask_engine(guint seed, double *confidence)
{
    const FastvlmModelParams model_params = {.n_threads = 1};
    const FastvlmGenerateParams params = {.prompt = PROMPT, .max_tokens = 10};
    GstBuffer *buffer = make_picture(seed, 0);
    GError *error = NULL;
    FastvlmResult result;
    GstMapInfo map;

    FastvlmModel *model = fastvlm_model_load(directory, &model_params, &error);
    g_assert_no_error(error);
    FastvlmSession *session = fastvlm_session_new(model);
    g_assert_true(gst_buffer_map(buffer, &map, GST_MAP_READ));
    const FastvlmImage image = {
        .format = FASTVLM_PIXEL_RGB, .width = 96, .height = 64, .stride = 288, .data = map.data};
    fastvlm_session_set_image(session, &image, 0, FASTVLM_FIT_PAD, &error);
    g_assert_no_error(error);
    fastvlm_session_generate(session, &params, &result, &error);
    g_assert_no_error(error);
    char *text = gst_fastvlm_sanitize_answer(result.text);
    *confidence = result.confidence;
    fastvlm_result_clear(&result);
    gst_buffer_unmap(buffer, &map);
    gst_buffer_unref(buffer);
    fastvlm_session_free(session);
    fastvlm_model_unref(model);
    return text;
}

/* Caption and confidence are the engine's own, whatever the mode and the number of threads. */
static void test_same_as_the_engine(void)
{
    static const char *const lines[] = {"mode=complete threads=1", "mode=complete threads=3",
                                        "mode=live threads=2"};

    for (guint seed = 1; seed <= 2; seed++) {
        double confidence, said;
        char *text = ask_engine(seed, &confidence);

        for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
            Fixture *fixture = start(lines[i], RGB_CAPS);

            gst_harness_push(fixture->harness, make_picture(seed, 0));
            const GstStructure *caption = wait_caption(fixture, "final");
            g_assert_cmpstr(get_text(caption, "text"), ==, text);
            g_assert_true(gst_structure_get_double(caption, "confidence", &said));
            g_assert_cmpfloat(said, ==, confidence);
            fixture_free(fixture);
        }
        g_free(text);
    }
}

/* Two elements with one model, each with a prompt of its own, do not mix. */
static void test_two_elements(void)
{
    double confidence;
    char *text = ask_engine(1, &confidence);
    Fixture *first = start("mode=complete", RGB_CAPS);
    Fixture *second = start("mode=live interval=0", RGB_CAPS);

    g_object_set(second->element, "prompt", "Is it?", NULL);
    for (guint i = 0; i < 5; i++) {
        const GstClockTime pts = i * GST_SECOND;

        gst_harness_push(second->harness, make_picture(2, pts));
        g_assert_cmpint(gst_harness_push(first->harness, make_picture(1, pts)), ==, GST_FLOW_OK);
        g_assert_cmpstr(get_text(wait_caption(first, "final"), "text"), ==, text);
    }
    g_assert_cmpstr(get_text(wait_caption(second, "final"), "prompt"), ==, "Is it?");
    fixture_free(first);
    fixture_free(second);
    g_free(text);
}

/* How long a large picture takes when nobody stops it. */
static double time_large_picture(void)
{
    Fixture *fixture = start("resolution=4096 threads=1 mode=complete", RGB_CAPS);

    gst_harness_push(fixture->harness, make_picture(1, 0));
    const gint64 start_us = g_get_monotonic_time();
    gst_harness_push(fixture->harness, make_picture(2, GST_SECOND));
    const double ms = ms_since(start_us);
    fixture_free(fixture);
    return ms;
}

/* A state change comes back soon while the engine is in the middle of a large picture. */
static void test_stops_soon(void)
{
    const double whole_ms = time_large_picture();
    Fixture *fixture = start("resolution=4096 threads=1", RGB_CAPS);

    gst_harness_push(fixture->harness, make_picture(1, 0));
    while (count_messages(fixture, GST_MESSAGE_PROGRESS, NULL) < 2) {
        g_usleep(1000);
    }
    g_usleep(50000);
    const gint64 start_us = g_get_monotonic_time();
    gst_element_set_state(fixture->harness->element, GST_STATE_NULL);
    g_test_message("stopped within %.1f ms of %.1f", ms_since(start_us), whole_ms);
    g_assert_cmpfloat(ms_since(start_us), <, whole_ms / 2);
    g_assert_cmpuint(get_stat(fixture, "captions"), ==, 0);
    fixture_free(fixture);
    /* On a busy machine the engine may be later than that; it winds up all the same. */
    while (gst_fastvlm_models_count() > 0) {
        g_assert_cmpfloat(ms_since(start_us), <, PATIENCE_US / 1000);
        g_usleep(1000);
    }
}

/* A checkpoint that was cut short is found at READY -> PAUSED, with the file's name. */
static void test_cut_short(void)
{
    char *broken = make_checkpoint();
    char *file = g_build_filename(broken, "model.safetensors", NULL);
    GstElement *element = gst_object_ref_sink(gst_element_factory_make("fastvlmcaption", NULL));
    GstBus *bus = gst_bus_new();
    GError *error = NULL;

    g_assert_cmpint(truncate(file, 100000), ==, 0);
    g_object_set(element, "model-path", broken, NULL);
    gst_element_set_bus(element, bus);
    g_assert_cmpint(gst_element_set_state(element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    GstMessage *message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
    g_assert_nonnull(message);
    gst_message_parse_error(message, &error, NULL);
    g_assert_nonnull(strstr(error->message, file));
    g_error_free(error);
    gst_message_unref(message);
    g_assert_null(gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR));
    gst_element_set_state(element, GST_STATE_NULL);
    gst_element_set_bus(element, NULL);
    gst_object_unref(bus);
    gst_object_unref(element);
    remove_checkpoint(broken);
    g_free(file);
    g_free(broken);
}

/* ---- whole pipelines ---- */

#define THIRTY "num-buffers=30"
#define ENDLESS "is-live=true"

typedef struct {
    guint n_finals;
    guint n_errors;
    char *last; /* text of the last final */
} Outcome;

static void note_message(Outcome *outcome, GstMessage *message)
{
    const GstStructure *structure = gst_message_get_structure(message);

    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        outcome->n_errors++;
    }
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ELEMENT &&
        gst_structure_has_name(structure, "fastvlm-caption") &&
        g_str_equal(get_text(structure, "type"), "final")) {
        outcome->n_finals++;
        g_free(outcome->last);
        outcome->last = g_strdup(get_text(structure, "text"));
    }
}

/* Runs a line to its end, a minute at most; one without an end until there is a caption. */
static Outcome run_line(const char *line)
{
    const gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
    Outcome outcome = {0};
    GError *error = NULL;
    GstElement *pipeline = gst_parse_launch(line, &error);
    const gboolean endless = strstr(line, ENDLESS) != NULL;
    gboolean ended = FALSE;

    g_assert_no_error(error);
    GstBus *bus = gst_element_get_bus(pipeline);
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    while (!ended) {
        GstMessage *message = gst_bus_timed_pop(bus, 100 * GST_MSECOND);

        g_assert_true(g_get_monotonic_time() < deadline);
        if (message != NULL) {
            note_message(&outcome, message);
            ended = GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS || outcome.n_errors > 0;
            gst_message_unref(message);
        }
        if (endless && outcome.n_finals > 0) {
            gst_element_send_event(pipeline, gst_event_new_eos());
        }
    }
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(bus);
    gst_object_unref(pipeline);
    return outcome;
}

static char *make_line(const char *source, const char *properties, const char *before,
                       const char *after)
{
    return g_strdup_printf("videotestsrc %s ! video/x-raw, width=320, height=240, "
                           "framerate=15/1 ! %s fastvlmcaption model-path=%s max-tokens=6 %s ! %s "
                           "fakesink",
                           source, before, directory, properties, after);
}

/* A file's worth of frames, one caption a second, each in its place. */
static void test_pipeline_complete(void)
{
    char *line = make_line(THIRTY, "mode=complete", "", "");
    Outcome outcome = run_line(line);

    g_assert_cmpuint(outcome.n_errors, ==, 0);
    g_assert_cmpuint(outcome.n_finals, ==, 2);
    g_free(outcome.last);
    g_free(line);
}

/* Two elements in one line, with conversions between. */
static void test_pipeline_two(void)
{
    char *second = g_strdup_printf("videoconvert ! fastvlmcaption model-path=%s max-tokens=4 "
                                   "mode=complete overlay=true !",
                                   directory);
    char *line =
        make_line(THIRTY, "mode=complete", "videoconvert ! video/x-raw, format=NV12 !", second);
    Outcome outcome = run_line(line);

    g_assert_cmpuint(outcome.n_errors, ==, 0);
    g_assert_cmpuint(outcome.n_finals, ==, 4);
    g_free(outcome.last);
    g_free(line);
    g_free(second);
}

/* A stream that has no end by itself is captioned, and ends when it is told to. */
static void test_pipeline_live(void)
{
    char *line = make_line(ENDLESS, "mode=live", "", "");
    Outcome outcome = run_line(line);

    g_assert_cmpuint(outcome.n_errors, ==, 0);
    g_assert_cmpuint(outcome.n_finals, >=, 1);
    g_free(outcome.last);
    g_free(line);
}

/* The demo model, where it has been built, knows a test picture by name. */
static void test_demo(void)
{
    FastvlmModelInfo *info = fastvlm_model_inspect("demo", NULL);

    if (info == NULL) {
        g_test_skip("models/demo has no weights");
        return;
    }
    fastvlm_model_info_free(info);
    static const char *const patterns[][2] = {
        {"smpte", "smpte"}, {"red", "red"}, {"checkers-8", "check"}, {"gradient", "gradient"}};
    guint n_known = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(patterns); i++) {
        char *line = g_strdup_printf("videotestsrc num-buffers=1 pattern=%s ! video/x-raw, "
                                     "width=640, height=480 ! fastvlmcaption mode=complete ! "
                                     "fakesink",
                                     patterns[i][0]);
        Outcome outcome = run_line(line);
        char *lower = g_ascii_strdown(outcome.last != NULL ? outcome.last : "", -1);

        g_test_message("%s: %s", patterns[i][0], lower);
        n_known += strstr(lower, patterns[i][1]) != NULL;
        g_free(lower);
        g_free(outcome.last);
        g_free(line);
    }
    g_assert_cmpuint(n_known, >=, 3);
}

/* Of the whole process, all threads. */
static double get_cpu_ms(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* An element that waits for its next sample costs next to nothing while video passes. */
static void test_idle_cost(void)
{
    enum { N = 100 };
    Fixture *fixture = start("interval=3600000000000 threads=2", CAPS);
    GstPad *text_src = gst_element_request_pad_simple(fixture->element, "text_src");
    GstBuffer *frames[N];

    for (guint i = 0; i < N; i++) {
        frames[i] = make_frame(CAPS, 0x808080, i * FRAME_DURATION);
    }
    gst_harness_push(fixture->harness, frames[0]);
    wait_caption(fixture, "final");
    const double cpu_ms = get_cpu_ms();
    const gint64 start_us = g_get_monotonic_time();
    for (guint i = 1; i < N; i++) {
        gst_harness_push(fixture->harness, frames[i]);
        gst_buffer_unref(gst_harness_pull(fixture->harness));
        g_usleep(FRAME_DURATION / 1000);
    }
    const double share = (get_cpu_ms() - cpu_ms) / ms_since(start_us);
    g_test_message("%.2f %% of a core, the test's own work included", share * 100);
    /* Under 1 % on any machine at hand; a sanitizer takes several times as much. */
    g_assert_cmpfloat(share, <, 0.04);
    g_assert_cmpuint(get_stat(fixture, "sampled"), ==, 1);
    gst_element_release_request_pad(fixture->element, text_src);
    gst_object_unref(text_src);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    support_load_plugins("coreelements", "videotestsrc", "videoconvertscale", NULL);
    directory = make_checkpoint();
    g_test_add_func("/engine/same", test_same_as_the_engine);
    g_test_add_func("/engine/two-elements", test_two_elements);
    g_test_add_func("/engine/stops-soon", test_stops_soon);
    g_test_add_func("/engine/cut-short", test_cut_short);
    g_test_add_func("/engine/idle-cost", test_idle_cost);
    g_test_add_func("/pipeline/complete", test_pipeline_complete);
    g_test_add_func("/pipeline/two", test_pipeline_two);
    g_test_add_func("/pipeline/live", test_pipeline_live);
    g_test_add_func("/pipeline/demo", test_demo);
    const int status = g_test_run();
    remove_checkpoint(directory);
    g_free(directory);
    return status;
}
