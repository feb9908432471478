/*
 * text_src linked straight into what makes subtitles of it: whole pipelines, and what they wrote.
 *
 *     videotestsrc -> element (fake engine) -> fakesink
 *                          text_src -> srtenc, webvttenc, matroskamux, textoverlay, a sink
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <gst/gst.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gstfastvlmsanitize.h"
#include "support.h"

#define PATIENCE (PATIENCE_US * GST_USECOND)
#define SOURCE "videotestsrc num-buffers=%u pattern=ball ! " CAPS " ! "
#define LIVE_SOURCE "videotestsrc is-live=true num-buffers=%u pattern=ball ! " CAPS " ! "

typedef struct {
    guint64 pts;
    char *text; /* as the message has it */
} Caption;

typedef struct {
    GstElement *pipeline;
    char *path;       /* of a file to write */
    GArray *captions; /* Caption, from the bus */
    GMutex lock;      /* for what follows */
    GArray *arrivals; /* gint64, us: when each frame reached the sink named "video" */
    guint n_texts;    /* buffers that reached the pad given to count_texts() */
    guint n_wrong;    /* of these, ones that overlapped or went back */
    GstClockTime text_end;
} Run;

static void note_arrival(GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user_data)
{
    Run *run = user_data;
    const gint64 now = g_get_monotonic_time();

    g_mutex_lock(&run->lock);
    g_array_append_val(run->arrivals, now);
    g_mutex_unlock(&run->lock);
}

static void clear_caption(gpointer caption)
{
    g_free(((Caption *)caption)->text);
}

/* `line` has FILE where the path of a file of that suffix goes, unless that is NULL. */
static Run *run_new(const char *source, guint n_frames, const char *line, const char *suffix)
{
    Run *run = g_new0(Run, 1);
    GError *error = NULL;
    char *start = g_strdup_printf(source, n_frames), *rest = g_strdup(line);

    if (suffix != NULL) {
        run->path = g_strdup_printf("%s/fastvlm-%d-%s", g_get_tmp_dir(), getpid(), suffix);
        char **parts = g_strsplit(line, "FILE", 2);
        g_free(rest);
        rest = g_strdup_printf("%s\"%s\"%s", parts[0], run->path, parts[1]);
        g_strfreev(parts);
    }
    char *all = g_strconcat(start, rest, NULL);
    run->pipeline = gst_parse_launch(all, &error);
    g_assert_no_error(error);
    run->captions = g_array_new(FALSE, FALSE, sizeof(Caption));
    g_array_set_clear_func(run->captions, clear_caption);
    run->arrivals = g_array_new(FALSE, FALSE, sizeof(gint64));
    g_mutex_init(&run->lock);
    GstElement *video = gst_bin_get_by_name(GST_BIN(run->pipeline), "video");
    if (video != NULL) {
        g_object_set(video, "signal-handoffs", TRUE, NULL);
        g_signal_connect(video, "handoff", G_CALLBACK(note_arrival), run);
        gst_object_unref(video);
    }
    g_free(all);
    g_free(start);
    g_free(rest);
    return run;
}

static void run_free(Run *run)
{
    gst_element_set_state(run->pipeline, GST_STATE_NULL);
    gst_object_unref(run->pipeline);
    g_array_unref(run->captions);
    g_array_unref(run->arrivals);
    if (run->path != NULL) {
        g_assert_cmpint(unlink(run->path), ==, 0);
        g_free(run->path);
    }
    g_mutex_clear(&run->lock);
    g_free(run);
    fake_reset();
}

static void note_message(Run *run, GstMessage *message)
{
    const GstStructure *structure = gst_message_get_structure(message);

    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
        GError *error;
        gst_message_parse_error(message, &error, NULL);
        g_error("%s: %s", GST_MESSAGE_SRC_NAME(message), error->message);
    }
    if (structure != NULL && gst_structure_has_name(structure, "fastvlm-caption") &&
        g_strcmp0(gst_structure_get_string(structure, "type"), "final") == 0) {
        const Caption caption = {get_uint64(structure, "pts"),
                                 g_strdup(get_text(structure, "text"))};
        g_array_append_val(run->captions, caption);
    }
}

/* Reads the bus until `type` comes; the test fails where it does not. */
static void await(Run *run, GstMessageType type)
{
    GstBus *bus = gst_element_get_bus(run->pipeline);

    for (gboolean found = FALSE; !found;) {
        GstMessage *message = gst_bus_timed_pop(bus, PATIENCE);

        if (message == NULL) {
            g_error("%s never came", gst_message_type_get_name(type));
        }
        note_message(run, message);
        found = GST_MESSAGE_TYPE(message) == type &&
                (type != GST_MESSAGE_ASYNC_DONE ||
                 GST_MESSAGE_SRC(message) == GST_OBJECT(run->pipeline));
        gst_message_unref(message);
    }
    gst_object_unref(bus);
}

static void play(Run *run)
{
    g_assert_cmpint(gst_element_set_state(run->pipeline, GST_STATE_PLAYING), !=,
                    GST_STATE_CHANGE_FAILURE);
}

static void play_to_the_end(Run *run)
{
    play(run);
    await(run, GST_MESSAGE_EOS);
}

static const Caption *get_caption(Run *run, guint i)
{
    return &g_array_index(run->captions, Caption, i);
}

static guint count_frames(Run *run)
{
    g_mutex_lock(&run->lock);
    const guint n = run->arrivals->len;
    g_mutex_unlock(&run->lock);
    return n;
}

static void wait_frames(Run *run, guint n)
{
    const gint64 until = g_get_monotonic_time() + PATIENCE / 1000;

    while (count_frames(run) < n) {
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(2000);
    }
}

/* ---- files ---- */

static char *read_file(Run *run)
{
    char *text;
    GError *error = NULL;

    g_file_get_contents(run->path, &text, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(g_utf8_validate(text, -1, NULL));
    return text;
}

static char *format_time(GstClockTime time, char point)
{
    const guint ms = (guint)(time / GST_MSECOND);

    return g_strdup_printf("%02u:%02u:%02u%c%03u", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60,
                           point, ms % 1000);
}

/* The file that the captions on the bus should have made, one second each. */
static char *format_subtitles(Run *run, gboolean srt)
{
    GString *file = g_string_new(srt ? "" : "WEBVTT\n\n");

    for (guint i = 0; i < run->captions->len; i++) {
        const Caption *caption = get_caption(run, i);
        char *from = format_time(caption->pts, srt ? ',' : '.');
        char *to = format_time(caption->pts + GST_SECOND, srt ? ',' : '.');
        char *text = gst_fastvlm_sanitize_text(caption->text);

        if (srt) {
            g_string_append_printf(file, "%u\n", i + 1);
        }
        g_string_append_printf(file, "%s --> %s\n%s\n\n", from, to, text);
        g_free(from);
        g_free(to);
        g_free(text);
    }
    return g_string_free(file, FALSE);
}

/* Five captions of a second each, whatever the model says, and nothing else in the file. */
static void check_file(const char *encoder, gboolean srt, const char *ending)
{
    char *line = g_strdup_printf("fastvlmcaption mode=complete name=c ! fakesink name=video "
                                 "c.text_src ! %s ! filesink location=FILE",
                                 encoder);
    Run *run = run_new(SOURCE, 125, line, srt ? "test.srt" : "test.vtt");

    fake.ending = ending;
    fake.n_tokens = 5;
    play_to_the_end(run);
    g_assert_cmpuint(run->captions->len, ==, 5);
    g_assert_cmpuint(count_frames(run), ==, 125);
    char *words = gst_fastvlm_sanitize_answer(ending);
    g_assert_true(g_str_has_suffix(get_caption(run, 4)->text, words));
    g_free(words);
    char *expected = format_subtitles(run, srt), *found = read_file(run);
    g_assert_cmpstr(found, ==, expected);
    g_free(expected);
    g_free(found);
    g_free(line);
    run_free(run);
}

static const char *const HOSTILE[] = {
    " and so on.",
    "\n\n9\n00:00:00,000 --> 99:00:00,000\nI was never said!",
    "\r\n\r\nNOTE <v Mallory>&amp;<b>\xf0\x9f\x98\x80</b> \x1b[2J{\\an8}!",
    " \xd9\x85\xd8\xb1\xd8\xad\xd8\xa8\xd8\xa7 --> STYLE ::cue { }\x07!",
};

static void test_srt(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(HOSTILE); i++) {
        check_file("srtenc", TRUE, HOSTILE[i]);
    }
}

static void test_webvtt(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(HOSTILE); i++) {
        check_file("webvttenc", FALSE, HOSTILE[i]);
    }
}

/* ---- muxer ---- */

typedef struct {
    guint n_frames;
    GPtrArray *texts; /* "PTS+DURATION TEXT", ms */
} Demuxed;

static void note_demuxed(GstElement *sink, GstBuffer *buffer, GstPad *pad, gpointer user_data)
{
    Demuxed *demuxed = user_data;
    GstMapInfo map;

    if (g_str_has_prefix(GST_OBJECT_NAME(sink), "demuxed-video")) {
        demuxed->n_frames++;
        return;
    }
    gst_buffer_map(buffer, &map, GST_MAP_READ);
    g_ptr_array_add(demuxed->texts,
                    g_strdup_printf("%u+%u %.*s", (guint)(GST_BUFFER_PTS(buffer) / GST_MSECOND),
                                    (guint)(GST_BUFFER_DURATION(buffer) / GST_MSECOND),
                                    (int)map.size, (const char *)map.data));
    gst_buffer_unmap(buffer, &map);
}

static Demuxed demux(const char *path)
{
    Demuxed demuxed = {.texts = g_ptr_array_new_with_free_func(g_free)};
    GError *error = NULL;
    char *line = g_strdup_printf(
        "filesrc location=\"%s\" ! matroskademux name=d d.video_0 ! queue ! fakesink "
        "name=demuxed-video signal-handoffs=true d.subtitle_0 ! queue ! fakesink "
        "name=demuxed-text signal-handoffs=true",
        path);
    GstElement *pipeline = gst_parse_launch(line, &error);

    g_assert_no_error(error);
    for (guint i = 0; i < 2; i++) {
        GstElement *sink =
            gst_bin_get_by_name(GST_BIN(pipeline), i == 0 ? "demuxed-video" : "demuxed-text");
        g_signal_connect(sink, "handoff", G_CALLBACK(note_demuxed), &demuxed);
        gst_object_unref(sink);
    }
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    GstBus *bus = gst_element_get_bus(pipeline);
    GstMessage *message =
        gst_bus_timed_pop_filtered(bus, PATIENCE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    g_assert_nonnull(message);
    g_assert_cmpint(GST_MESSAGE_TYPE(message), ==, GST_MESSAGE_EOS);
    gst_message_unref(message);
    gst_object_unref(bus);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(pipeline);
    g_free(line);
    return demuxed;
}

static void test_matroska(void)
{
    Run *run = run_new(SOURCE, 125,
                       "fastvlmcaption mode=complete name=c ! matroskamux name=m ! "
                       "filesink location=FILE c.text_src ! m.",
                       "test.mkv");

    fake.ending = HOSTILE[1];
    fake.n_tokens = 5;
    play_to_the_end(run);
    g_assert_cmpuint(run->captions->len, ==, 5);
    Demuxed demuxed = demux(run->path);
    g_assert_cmpuint(demuxed.n_frames, ==, 125);
    g_assert_cmpuint(demuxed.texts->len, ==, 5);
    for (guint i = 0; i < 5; i++) {
        char *text = gst_fastvlm_sanitize_text(get_caption(run, i)->text);
        char *expected = g_strdup_printf("%u+1000 %s", 1000 * i, text);
        g_assert_cmpstr(g_ptr_array_index(demuxed.texts, i), ==, expected);
        g_free(expected);
        g_free(text);
    }
    g_ptr_array_unref(demuxed.texts);
    run_free(run);
}

/* Live, in a muxer: video does not wait for captions, and those there are get into the file. */
static void test_matroska_live(void)
{
    Run *run =
        run_new(LIVE_SOURCE, 60,
                "fastvlmcaption interval=200000000 repeat=true name=c ! matroskamux name=m ! "
                "filesink location=FILE c.text_src ! m.",
                "live.mkv");

    fake.token_ms = 20;
    play_to_the_end(run);
    Demuxed demuxed = demux(run->path);
    g_assert_cmpuint(demuxed.n_frames, ==, 60);
    g_assert_cmpuint(demuxed.texts->len, >=, 1);
    g_assert_cmpuint(demuxed.texts->len, <=, run->captions->len);
    g_ptr_array_unref(demuxed.texts);
    run_free(run);
}

/* ---- textoverlay ---- */

/* Longest time from one frame's arrival to the next, ms, the first `skip` left out. */
static double get_longest_wait(Run *run, guint skip)
{
    double longest = 0;

    for (guint i = skip + 1; i < run->arrivals->len; i++) {
        longest = MAX(longest, (double)(g_array_index(run->arrivals, gint64, i) -
                                        g_array_index(run->arrivals, gint64, i - 1)) /
                                   1000);
    }
    return longest;
}

#define TEXTOVERLAY(properties, sink)                                                       \
    "fastvlmcaption " properties " name=c ! textoverlay name=o ! fakesink name=video " sink \
    " c.text_src ! o.text_sink"

static void test_textoverlay_complete(void)
{
    Run *run = run_new(SOURCE, 125, TEXTOVERLAY("mode=complete interval=300000000", ""), NULL);

    play_to_the_end(run);
    g_assert_cmpuint(run->captions->len, ==, 17);
    g_assert_cmpuint(count_frames(run), ==, 125);
    run_free(run);
}

/* wait-text is on, as it is unless told otherwise: no frame waits for a caption, the model being
 * slow, quick, or busy loading. */
static void check_textoverlay_live(const char *line, gint load_ms, gint token_ms)
{
    Run *run = run_new(LIVE_SOURCE, 60, line, NULL);

    fake.load_ms = load_ms;
    fake.token_ms = token_ms;
    play_to_the_end(run);
    g_assert_cmpuint(count_frames(run), ==, 60);
    g_test_message("longest wait %.1f ms, %u captions", get_longest_wait(run, 1),
                   run->captions->len);
    g_assert_cmpfloat(get_longest_wait(run, 1), <, STALL_MS / 2);
    run_free(run);
}

static void test_textoverlay_live(void)
{
    check_textoverlay_live(TEXTOVERLAY("interval=200000000", "sync=true"), 0, 10);
    check_textoverlay_live(TEXTOVERLAY("interval=200000000", "sync=true"), 0, STALL_MS / 4);
    check_textoverlay_live(TEXTOVERLAY("interval=200000000", "sync=true"), STALL_MS, 0);
    check_textoverlay_live(TEXTOVERLAY("interval=10000000000", "sync=true"), 0, 0);
    check_textoverlay_live(TEXTOVERLAY("interval=0", "sync=true"), 0, 0);
    check_textoverlay_live(TEXTOVERLAY("interval=0 text-repeat=100000000", "sync=true"), 0, 10);
}

/* As fast as it goes, live behaviour on what is no live source: it finishes. */
static void test_textoverlay_unpaced(void)
{
    Run *run = run_new(SOURCE, 500, TEXTOVERLAY("interval=200000000", ""), NULL);

    fake.token_ms = 5;
    play_to_the_end(run);
    g_assert_cmpuint(count_frames(run), ==, 500);
    run_free(run);
}

/* ---- sinks of their own ---- */

static GstPadProbeReturn note_text(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    Run *run = user_data;
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER(info);

    g_mutex_lock(&run->lock);
    run->n_texts++;
    run->n_wrong += GST_BUFFER_PTS(buffer) < run->text_end;
    run->text_end = GST_BUFFER_PTS(buffer) + GST_BUFFER_DURATION(buffer);
    g_mutex_unlock(&run->lock);
    return GST_PAD_PROBE_OK;
}

static GstPad *get_pad(Run *run, const char *element_name, const char *pad_name)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(run->pipeline), element_name);
    GstPad *pad = gst_element_get_static_pad(element, pad_name);

    gst_object_unref(element);
    return pad;
}

static void count_texts(Run *run, const char *element_name)
{
    GstPad *pad = get_pad(run, element_name, "sink");

    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, note_text, run, NULL);
    gst_object_unref(pad);
}

/* Paused before any caption is there: the text's sink prerolls by the first GAP, no queue needed. */
static void test_preroll(void)
{
    Run *run = run_new(SOURCE, 50,
                       "fastvlmcaption name=c ! fakesink sync=true name=video "
                       "c.text_src ! fakesink sync=true name=text",
                       NULL);

    fake_hold(TRUE);
    gst_element_set_state(run->pipeline, GST_STATE_PAUSED);
    await(run, GST_MESSAGE_ASYNC_DONE);
    fake_hold(FALSE);
    play_to_the_end(run);
    g_assert_cmpuint(count_frames(run), ==, 50);
    run_free(run);
}

static void seek_to(Run *run, double rate, GstClockTime position)
{
    g_assert_true(gst_element_seek(run->pipeline, rate, GST_FORMAT_TIME,
                                   GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE, GST_SEEK_TYPE_SET,
                                   (gint64)position, GST_SEEK_TYPE_NONE, -1));
    await(run, GST_MESSAGE_ASYNC_DONE);
}

static GstPadProbeReturn count_seeks(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    guint *n = user_data;

    *n += GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_SEEK;
    return GST_PAD_PROBE_OK;
}

/* A seek reaches both sinks; it goes up once, and both go on after it. */
static void test_seek(void)
{
    Run *run = run_new("videotestsrc pattern=ball num-buffers=%u ! " CAPS " ! ", 250,
                       "fastvlmcaption mode=complete interval=200000000 name=c ! "
                       "fakesink name=video sync=true c.text_src ! fakesink name=text sync=true",
                       NULL);
    GstPad *sink = get_pad(run, "c", "sink");
    guint n_seeks = 0;

    gst_pad_add_probe(sink, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, count_seeks, &n_seeks, NULL);
    gst_object_unref(sink);
    count_texts(run, "text");
    gst_element_set_state(run->pipeline, GST_STATE_PAUSED);
    await(run, GST_MESSAGE_ASYNC_DONE);
    for (guint i = 1; i <= 5; i++) {
        g_mutex_lock(&run->lock);
        run->text_end = 0;
        g_mutex_unlock(&run->lock);
        seek_to(run, i == 3 ? 2.0 : 1.0, i * GST_SECOND);
        g_assert_cmpuint(n_seeks, ==, i);
    }
    play(run);
    wait_frames(run, 20);
    g_assert_cmpuint(run->n_texts, >=, 5);
    g_assert_cmpuint(run->n_wrong, ==, 0);
    run_free(run);
}

/* A text branch comes and goes while video flows, in PAUSED too. */
static void attach_text(Run *run)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(run->pipeline), "c");
    GstElement *sink = gst_element_factory_make("fakesink", "text");

    g_object_set(sink, "sync", TRUE, NULL);
    gst_bin_add(GST_BIN(run->pipeline), sink);
    g_mutex_lock(&run->lock);
    run->n_texts = 0;
    run->text_end = 0;
    g_mutex_unlock(&run->lock);
    count_texts(run, "text");
    g_assert_true(gst_element_link_pads(element, "text_src", sink, "sink"));
    gst_element_sync_state_with_parent(sink);
    gst_object_unref(element);
}

static void detach_text(Run *run)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(run->pipeline), "c");
    GstElement *sink = gst_bin_get_by_name(GST_BIN(run->pipeline), "text");
    GstPad *pad = gst_element_get_static_pad(element, "text_src");

    gst_element_release_request_pad(element, pad);
    gst_object_unref(pad);
    gst_element_set_state(sink, GST_STATE_NULL);
    gst_bin_remove(GST_BIN(run->pipeline), sink);
    gst_object_unref(sink);
    gst_object_unref(element);
}

static void test_comes_and_goes(void)
{
    Run *run =
        run_new(LIVE_SOURCE, 100000,
                "fastvlmcaption interval=40000000 name=c ! fakesink name=video sync=true", NULL);

    play(run);
    wait_frames(run, 5);
    for (guint i = 0; i < 5; i++) {
        const guint before = count_frames(run);
        const gint64 start = g_get_monotonic_time();

        attach_text(run);
        wait_frames(run, before + 10);
        while (g_atomic_int_get(&run->n_texts) == 0) {
            g_assert_cmpfloat(ms_since(start), <, PATIENCE_US / 1000);
            g_usleep(2000);
        }
        const gint64 release = g_get_monotonic_time();
        detach_text(run);
        assert_prompt(release);
        wait_frames(run, count_frames(run) + 5);
    }
    g_assert_cmpuint(run->n_wrong, ==, 0);
    run_free(run);
}

/* In PAUSED no frame moves; still the new branch prerolls, and releasing it does not hang. */
static void test_comes_in_paused(void)
{
    Run *run = run_new(SOURCE, 1000,
                       "fastvlmcaption mode=complete name=c ! fakesink name=video sync=true", NULL);

    gst_element_set_state(run->pipeline, GST_STATE_PAUSED);
    await(run, GST_MESSAGE_ASYNC_DONE);
    for (guint i = 0; i < 3; i++) {
        const gint64 start = g_get_monotonic_time();

        attach_text(run);
        g_assert_cmpint(gst_element_get_state(run->pipeline, NULL, NULL, PATIENCE), ==,
                        GST_STATE_CHANGE_SUCCESS);
        detach_text(run);
        assert_prompt(start);
    }
    attach_text(run);
    play(run);
    wait_frames(run, 5);
    g_assert_cmpuint(run->n_texts, >=, 1);
    run_free(run);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    support_load_plugins("coreelements", "videotestsrc", "subenc", "matroska", "pango", NULL);
    g_test_add_func("/subtitles/srt", test_srt);
    g_test_add_func("/subtitles/webvtt", test_webvtt);
    g_test_add_func("/subtitles/matroska", test_matroska);
    g_test_add_func("/subtitles/matroska-live", test_matroska_live);
    g_test_add_func("/subtitles/textoverlay-complete", test_textoverlay_complete);
    g_test_add_func("/subtitles/textoverlay-live", test_textoverlay_live);
    g_test_add_func("/subtitles/textoverlay-unpaced", test_textoverlay_unpaced);
    g_test_add_func("/subtitles/preroll", test_preroll);
    g_test_add_func("/subtitles/seek", test_seek);
    g_test_add_func("/subtitles/comes-and-goes", test_comes_and_goes);
    g_test_add_func("/subtitles/comes-in-paused", test_comes_in_paused);
    return g_test_run();
}
