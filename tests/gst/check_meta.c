/*
 * What a caption looks like from outside: message, signal, property, metadata, stats.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include "gstfastvlmmeta.h"
#include "gstfastvlmstats.h"

#define COMPLETE "mode=complete interval=40000000 "

/* The contract, written out: names, order and types; G_TYPE_BOXED is a GstValueArray. */
static const struct {
    const char *name;
    GType type;
} contract[] = {
    {"type", G_TYPE_STRING},       {"text", G_TYPE_STRING},         {"prompt", G_TYPE_STRING},
    {"pts", G_TYPE_UINT64},        {"running-time", G_TYPE_UINT64}, {"stream-time", G_TYPE_UINT64},
    {"sequence", G_TYPE_UINT64},   {"confidence", G_TYPE_DOUBLE},   {"tokens", G_TYPE_UINT},
    {"ttft-ms", G_TYPE_DOUBLE},    {"total-ms", G_TYPE_DOUBLE},     {"age-ms", G_TYPE_DOUBLE},
    {"prompt-index", G_TYPE_UINT}, {"choices", G_TYPE_BOXED},       {"region-type", G_TYPE_STRING},
    {"region-id", G_TYPE_INT},     {"region-x", G_TYPE_UINT},       {"region-y", G_TYPE_UINT},
    {"region-w", G_TYPE_UINT},     {"region-h", G_TYPE_UINT},
};

static void check_fields(const GstStructure *structure, const char *name)
{
    g_assert_true(gst_structure_has_name(structure, name));
    g_assert_cmpint(gst_structure_n_fields(structure), ==, G_N_ELEMENTS(contract));
    for (guint i = 0; i < G_N_ELEMENTS(contract); i++) {
        const GType type = contract[i].type == G_TYPE_BOXED ? GST_TYPE_ARRAY : contract[i].type;

        g_assert_true(gst_structure_has_field_typed(structure, contract[i].name, type));
    }
}

static double get_double(const GstStructure *structure, const char *field)
{
    double value = -1;

    g_assert_true(gst_structure_get_double(structure, field, &value));
    return value;
}

/* The final message has the contract's fields, and its values. */
static void test_final_message(void)
{
    Fixture *fixture = fixture_new(COMPLETE "prompt=\"What is it?\"", CAPS);
    guint tokens;

    fake.encode_ms = 20;
    fake.token_ms = 5;
    gst_harness_set_time(fixture->harness, 340 * GST_MSECOND);
    push_frame(fixture, 0xffffff, 2 * FRAME_DURATION);
    const GstStructure *caption = wait_caption(fixture, "final");
    check_fields(caption, "fastvlm-caption");
    g_assert_cmpstr(get_text(caption, "text"), ==, "saw 4 4 4");
    g_assert_cmpstr(get_text(caption, "prompt"), ==, "What is it?");
    g_assert_cmpuint(get_uint64(caption, "pts"), ==, 2 * FRAME_DURATION);
    g_assert_cmpuint(get_uint64(caption, "running-time"), ==, 2 * FRAME_DURATION);
    g_assert_cmpuint(get_uint64(caption, "stream-time"), ==, 2 * FRAME_DURATION);
    g_assert_cmpuint(get_uint64(caption, "sequence"), ==, 1);
    g_assert_true(gst_structure_get_uint(caption, "tokens", &tokens));
    g_assert_cmpuint(tokens, ==, 4);
    g_assert_cmpfloat(get_double(caption, "confidence"), ==, 0.5);
    g_assert_cmpfloat(get_double(caption, "ttft-ms"), >=, 21);
    g_assert_cmpfloat(get_double(caption, "total-ms"), >=, 41);
    g_assert_cmpfloat(get_double(caption, "total-ms"), <, 500);
    /* The clock says 340 ms, the frame is of 80 ms. */
    g_assert_cmpfloat_with_epsilon(get_double(caption, "age-ms"), 260, 1e-6);
    fixture_free(fixture);
}

/* The clock's time of a pipeline that is paused says nothing of how old a frame is. */
static void test_age_paused(void)
{
    Fixture *fixture = fixture_new("", CAPS);

    fake.encode_ms = 60;
    gst_harness_set_time(fixture->harness, 1000 * GST_SECOND);
    gst_element_set_state(fixture->harness->element, GST_STATE_PAUSED);
    push_frame(fixture, 0xffffff, 0);
    double age_ms = get_double(wait_caption(fixture, "final"), "age-ms");
    g_assert_cmpfloat(age_ms, >=, 60);
    g_assert_cmpfloat(age_ms, <, 10000);
    gst_element_set_state(fixture->harness->element, GST_STATE_PLAYING);
    push_frame(fixture, 0xffffff, 900 * GST_SECOND);
    age_ms = get_double(wait_caption(fixture, "final"), "age-ms");
    g_assert_cmpfloat_with_epsilon(age_ms, 100000, 1e-6);
    fixture_free(fixture);
}

/* Without a clock too. */
static void test_age_without_clock(void)
{
    Fixture *fixture = fixture_new("", CAPS);

    fake.encode_ms = 60;
    gst_element_set_clock(fixture->harness->element, NULL);
    push_frame(fixture, 0xffffff, 0);
    const double age_ms = get_double(wait_caption(fixture, "final"), "age-ms");
    g_assert_cmpfloat(age_ms, >=, 60);
    g_assert_cmpfloat(age_ms, <, 10000);
    fixture_free(fixture);
}

/* Partials come as the text grows, 200 ms apart at least, with the final's sequence. */
static void test_partials(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    GString *last = g_string_new(NULL);
    guint n = 0;

    fake.token_ms = 40;
    fake.n_tokens = 25;
    push_frame(fixture, 0xffffff, 0);
    for (;;) {
        GstMessage *message = wait_message(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption");
        g_assert_nonnull(message);
        const GstStructure *caption = gst_message_get_structure(message);
        const char *text = get_text(caption, "text");

        check_fields(caption, "fastvlm-caption");
        g_assert_cmpuint(get_uint64(caption, "sequence"), ==, 1);
        g_assert_true(g_str_has_prefix(text, last->str));
        g_string_assign(last, text);
        if (g_str_equal(get_text(caption, "type"), "final")) {
            break;
        }
        g_assert_cmpstr(get_text(caption, "type"), ==, "partial");
        g_assert_cmpfloat(get_double(caption, "ttft-ms"), >=, 30);
        n++;
    }
    /* A second of tokens, the first one at once. */
    g_assert_cmpuint(n, >=, 3);
    g_assert_cmpuint(n, <=, 6);
    g_string_free(last, TRUE);
    fixture_free(fixture);
}

/* The limit holds from one caption to the next as well. */
static void test_partials_are_few(void)
{
    Fixture *fixture = fixture_new("mode=complete interval=0", CAPS);
    const gint64 start = g_get_monotonic_time();

    fake.token_ms = 2;
    for (guint i = 0; i < 40; i++) {
        push_frame(fixture, 0xffffff, i * FRAME_DURATION);
    }
    const guint n_most = (guint)(ms_since(start) / 200) + 1;
    const guint n = count_messages(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption");
    g_assert_cmpuint(n, >, 40);
    g_assert_cmpuint(n, <=, 40 + n_most);
    fixture_free(fixture);
}

/* The meta has the message's fields under its own name, one a buffer. */
static void test_meta(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);

    push_frame(fixture, 0xffffff, 0);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    const GstStructure *meta = get_meta(out);
    g_assert_nonnull(meta);
    check_fields(meta, "GstFastvlmCaptionMeta");
    GstStructure *copy = gst_structure_copy(wait_caption(fixture, "final"));
    gst_structure_set_name(copy, "GstFastvlmCaptionMeta");
    g_assert_true(gst_structure_is_equal(copy, meta));
    gst_structure_free(copy);
    gst_buffer_unref(out);
    fixture_free(fixture);
}

/* Words that were held before the camera: the same harmless ones wherever a caption is told. */
static void test_hostile_words(void)
{
    static const char HARMLESS[] = "saw 4 4 4[2J\n<b>&\"'`$(reboot)` --> ok";
    Fixture *fixture = fixture_new(COMPLETE "max-tokens=5", CAPS);
    char *property;

    fake.n_tokens = 5;
    fake.ending = "\x1b[2J\x07\r\n<b>&\"'`$(reboot)` -->\xe2\x80\xae ok\x01";
    push_frame(fixture, 0xffffff, 0);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    g_assert_cmpstr(get_text(get_meta(out), "text"), ==, HARMLESS);
    g_assert_cmpstr(get_text(wait_caption(fixture, "final"), "text"), ==, HARMLESS);
    g_object_get(fixture->element, "caption", &property, NULL);
    g_assert_cmpstr(property, ==, HARMLESS);
    g_free(property);
    gst_buffer_unref(out);
    fixture_free(fixture);
}

/* Before the first caption there is none. */
static void test_no_meta_before(void)
{
    Fixture *fixture = fixture_new("", CAPS);

    fake_hold(TRUE);
    push_frame(fixture, 0xffffff, 0);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    g_assert_null(get_meta(out));
    gst_buffer_unref(out);
    fake_hold(FALSE);
    wait_caption(fixture, "final");
    push_frame(fixture, 0xffffff, FRAME_DURATION);
    out = gst_harness_pull(fixture->harness);
    g_assert_nonnull(get_meta(out));
    gst_buffer_unref(out);
    fixture_free(fixture);
}

static guint count_metas(GstBuffer *buffer)
{
    const GstMetaInfo *info = gst_meta_get_info("GstFastvlmCaptionMeta");
    gpointer state = NULL;
    GstMeta *meta;
    guint n = 0;

    while ((meta = gst_buffer_iterate_meta(buffer, &state)) != NULL) {
        n += meta->info == info;
    }
    return n;
}

/* Two elements in a row: the second one's caption takes the place of the first one's. */
static void test_two_in_a_row(void)
{
    Fixture *fixture = fixture_new(
        COMPLETE "prompt=one ! identity ! fastvlmcaption " COMPLETE "prompt=two name=second", CAPS);

    for (guint i = 0; i < 3; i++) {
        push_frame(fixture, 0xffffff, i * FRAME_DURATION);
        GstBuffer *out = gst_harness_pull(fixture->harness);
        g_assert_cmpuint(count_metas(out), ==, 1);
        g_assert_cmpstr(get_text(get_meta(out), "prompt"), ==, "two");
        gst_buffer_unref(out);
    }
    /* One model does for both. */
    g_assert_cmpuint(fake_get_record().n_loads, ==, 1);
    g_assert_cmpuint(fake_get_record().n_sessions, ==, 2);
    fixture_free(fixture);
}

/* The meta survives videoconvert, videoscale, and a buffer's copy. */
static void test_meta_survives(void)
{
    Fixture *fixture = fixture_new(
        COMPLETE "! videoconvert ! videoscale ! video/x-raw, format=BGRx, width=32 ! identity",
        CAPS);

    push_frame(fixture, 0xffffff, 0);
    GstBuffer *out = gst_harness_pull(fixture->harness);
    g_assert_nonnull(get_meta(out));
    check_fields(get_meta(out), "GstFastvlmCaptionMeta");
    GstBuffer *copy = gst_buffer_copy_deep(out);
    g_assert_nonnull(get_meta(copy));
    g_assert_cmpstr(get_text(get_meta(copy), "text"), ==, "saw 4 4 4");
    gst_buffer_unref(copy);
    gst_buffer_unref(out);
    fixture_free(fixture);
}

/* A buffer that somebody else holds is not touched. */
static void test_shared_buffer(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    GstBuffer *frame = make_frame(CAPS, 0xffffff, 0);

    gst_harness_push(fixture->harness, gst_buffer_ref(frame));
    GstBuffer *out = gst_harness_pull(fixture->harness);
    g_assert_null(get_meta(frame));
    g_assert_nonnull(get_meta(out));
    g_assert_true(gst_buffer_peek_memory(frame, 0) == gst_buffer_peek_memory(out, 0));
    gst_buffer_unref(out);
    gst_buffer_unref(frame);
    fixture_free(fixture);
}

typedef struct {
    GMutex lock;
    GThread *thread;
    guint n;
    char *text;
    guint n_notified;
} Heard;

static void hear(GstElement *element, const GstStructure *structure, gpointer user_data)
{
    Heard *heard = user_data;

    g_mutex_lock(&heard->lock);
    check_fields(structure, "fastvlm-caption");
    g_assert_cmpstr(get_text(structure, "type"), ==, "final");
    g_free(heard->text);
    heard->text = g_strdup(get_text(structure, "text"));
    heard->thread = g_thread_self();
    heard->n++;
    g_mutex_unlock(&heard->lock);
}

static void count_notify(GObject *object, GParamSpec *pspec, gpointer user_data)
{
    Heard *heard = user_data;
    char *text;

    g_object_get(object, "caption", &text, NULL);
    g_free(text);
    heard->n_notified++;
}

/* The signal comes once a final, in the worker's thread; the property follows and notifies. */
static void test_signal(void)
{
    Fixture *fixture = fixture_new(COMPLETE, CAPS);
    Heard heard = {0};
    char *text;

    g_mutex_init(&heard.lock);
    g_signal_connect(fixture->element, "captioned", G_CALLBACK(hear), &heard);
    g_signal_connect(fixture->element, "notify::caption", G_CALLBACK(count_notify), &heard);
    g_object_get(fixture->element, "caption", &text, NULL);
    g_assert_null(text);
    push_frame(fixture, 0xffffff, 0);
    push_frame(fixture, 0x000000, FRAME_DURATION);
    g_assert_cmpuint(heard.n, ==, 2);
    g_assert_cmpstr(heard.text, ==, "saw 0 0 0");
    g_assert_true(heard.thread != g_thread_self());
    g_object_get(fixture->element, "caption", &text, NULL);
    g_assert_cmpstr(text, ==, "saw 0 0 0");
    g_free(text);
    g_assert_cmpuint(heard.n_notified, ==, 2);
    gst_element_set_state(fixture->harness->element, GST_STATE_READY);
    g_assert_cmpuint(heard.n_notified, ==, 3);
    g_free(heard.text);
    g_mutex_clear(&heard.lock);
    fixture_free(fixture);
}

/* The stats are there with their types, and count. */
static void test_stats(void)
{
    static const char *const counters[] = {"frames", "sampled", "captions", "skipped", "unchanged"};
    static const char *const figures[] = {"encode-ms", "prefill-ms",     "decode-tok-s",  "ttft-ms",
                                          "age-ms",    "through-ms-p50", "through-ms-p99"};
    Fixture *fixture = fixture_new("mode=complete interval=80000000", CAPS);
    GstStructure *stats;

    fake.encode_ms = 10;
    fake.token_ms = 2;
    for (guint i = 0; i < 4; i++) {
        push_frame(fixture, 0xffffff, i * FRAME_DURATION);
    }
    g_object_get(fixture->element, "stats", &stats, NULL);
    g_assert_cmpint(gst_structure_n_fields(stats), ==, 16);
    for (guint i = 0; i < G_N_ELEMENTS(counters); i++) {
        static const guint64 values[] = {4, 2, 2, 0, 0};
        g_assert_cmpuint(get_uint64(stats, counters[i]), ==, values[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(figures); i++) {
        g_assert_true(gst_structure_has_field_typed(stats, figures[i], G_TYPE_DOUBLE));
    }
    g_assert_cmpfloat(get_double(stats, "encode-ms"), ==, 10);
    g_assert_cmpfloat(get_double(stats, "decode-tok-s"), >, 50);
    g_assert_cmpfloat(get_double(stats, "decode-tok-s"), <, 500);
    /* Half of the frames waited for a caption. */
    g_assert_cmpfloat(get_double(stats, "through-ms-p99"), >=, 18);
    g_assert_cmpstr(get_text(stats, "model"), ==, "demo");
    g_assert_cmpstr(get_text(stats, "precision"), ==, "f32");
    g_assert_cmpstr(get_text(stats, "cpu-tier"), ==, "fake");
    gst_structure_free(stats);
    fixture_free(fixture);
}

/* The tables that the documentation is made from are those that the code goes by. */
static void test_tables(void)
{
    guint n;
    const GstFastvlmAnswerField *fields = gst_fastvlm_answer_get_fields(&n);

    g_assert_cmpuint(n, ==, G_N_ELEMENTS(contract));
    for (guint i = 0; i < n; i++) {
        g_assert_cmpstr(fields[i].name, ==, contract[i].name);
        g_assert_true(fields[i].type == contract[i].type);
        g_assert_cmpuint(strlen(fields[i].blurb), >, 0);
    }
    gst_fastvlm_stats_get_fields(&n);
    g_assert_cmpuint(n, ==, 16);
}

/* The percentiles are those of what was put in. */
static void test_percentiles(void)
{
    GstFastvlmStats *stats = gst_fastvlm_stats_new();

    for (guint i = 1; i <= 1000; i++) {
        gst_fastvlm_stats_add_through(stats, (GstClockTime)(i * 7 % 1000 + 1) * GST_MSECOND);
    }
    GstStructure *structure = gst_fastvlm_stats_to_structure(stats);
    g_assert_cmpfloat_with_epsilon(get_double(structure, "through-ms-p50"), 501, 1.1);
    g_assert_cmpfloat_with_epsilon(get_double(structure, "through-ms-p99"), 991, 1.1);
    gst_structure_free(structure);

    /* What is older than the ring is forgotten. */
    for (guint i = 0; i < GST_FASTVLM_STATS_N_THROUGH; i++) {
        gst_fastvlm_stats_add_through(stats, 2 * GST_MSECOND);
    }
    structure = gst_fastvlm_stats_to_structure(stats);
    g_assert_cmpfloat_with_epsilon(get_double(structure, "through-ms-p99"), 2, 1e-3);
    gst_structure_free(structure);
    gst_fastvlm_stats_unref(stats);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    support_load_plugins("coreelements", "videoconvertscale", NULL);
    g_test_add_func("/message/final", test_final_message);
    g_test_add_func("/message/age-paused", test_age_paused);
    g_test_add_func("/message/age-without-clock", test_age_without_clock);
    g_test_add_func("/message/partials", test_partials);
    g_test_add_func("/message/partials-are-few", test_partials_are_few);
    g_test_add_func("/meta/fields", test_meta);
    g_test_add_func("/meta/hostile-words", test_hostile_words);
    g_test_add_func("/meta/none-before", test_no_meta_before);
    g_test_add_func("/meta/two-in-a-row", test_two_in_a_row);
    g_test_add_func("/meta/survives", test_meta_survives);
    g_test_add_func("/meta/shared-buffer", test_shared_buffer);
    g_test_add_func("/signal/captioned", test_signal);
    g_test_add_func("/stats/fields", test_stats);
    g_test_add_func("/stats/tables", test_tables);
    g_test_add_func("/stats/percentiles", test_percentiles);
    return g_test_run();
}
