/*
 * What people do to a player, over and over while the demo model captions: PLAYING and NULL, pauses,
 * seeks, scrubbing, caps that change every second, two elements in a row, decodebin and playbin.
 *
 * FASTVLM_CYCLES is how many of each, twenty unless it says otherwise. Captions are counted only where
 * the mode is complete, in which no machine's speed decides how many there are. Each kind runs once
 * before what the process holds is first looked at; afterwards it must hold no more.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib/gstdio.h>

#include "lasting.h"

#define CAPTION "fastvlmcaption resolution=128 max-tokens=6 "
#define SIZE "video/x-raw, width=160, height=120, framerate=25/1"
#define PICTURES "videotestsrc pattern=ball num-buffers=100000 ! " SIZE " ! "
#define MOVIE_SECONDS 3
#define MOVIE_PICTURES "videotestsrc num-buffers=75 ! " SIZE ", format=I420 ! "
/* Growth that is no leak of every cycle, even over a thousand of each. */
#define NOISE_MB 16.0

typedef void (*Cycles)(guint n);

static char *movie; /* a file of MOVIE_SECONDS */

static guint get_n_cycles(void)
{
    const char *text = g_getenv("FASTVLM_CYCLES");

    return text != NULL ? (guint)g_ascii_strtoull(text, NULL, 10) : 20;
}

static void await_stat(GstElement *pipeline, const char *field, guint64 least)
{
    const gint64 start = g_get_monotonic_time();

    while (get_stat_of(pipeline, "c", field) < least) {
        g_assert_cmpfloat(ms_since(start), <, PATIENCE_US / 1000);
        g_usleep(2000);
    }
}

/* Nobody reads the messages of most cycles; they are not to be what memory grows by. */
static void drop_messages(GstElement *pipeline)
{
    GstBus *bus = gst_element_get_bus(pipeline);

    gst_bus_set_flushing(bus, TRUE);
    gst_bus_set_flushing(bus, FALSE);
    gst_object_unref(bus);
}

/* 1.22's bins may fall back to PAUSED where the next change of state comes before the last is through. */
static void await_state(GstElement *pipeline)
{
    g_assert_cmpint(gst_element_get_state(pipeline, NULL, NULL, PATIENCE_US * GST_USECOND), ==,
                    GST_STATE_CHANGE_SUCCESS);
}

static void seek_to(GstElement *pipeline, guint seconds, GstSeekFlags flags)
{
    drop_messages(pipeline);
    g_assert_true(gst_element_seek_simple(pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH | flags,
                                          seconds * GST_SECOND));
}

/* At whatever moment of a load or a caption. */
static void cycle_states(guint n)
{
    GstElement *pipeline = make_pipeline(PICTURES CAPTION "interval=0 name=c ! fakesink sync=true");

    for (guint i = 0; i < n; i++) {
        play_pipeline(pipeline);
        g_usleep((gulong)g_random_int_range(0, 30000));
        g_assert_cmpint(gst_element_set_state(pipeline, GST_STATE_NULL), ==,
                        GST_STATE_CHANGE_SUCCESS);
    }
    play_pipeline(pipeline);
    await_stat(pipeline, "captions", 1);
    stop_pipeline(pipeline);
}

static void cycle_pauses(guint n)
{
    GstElement *pipeline = make_pipeline(PICTURES CAPTION "interval=0 name=c ! fakesink sync=true");

    for (guint i = 0; i < n; i++) {
        play_pipeline(pipeline);
        await_stat(pipeline, "frames", i + 1);
        await_state(pipeline);
        gst_element_set_state(pipeline, GST_STATE_PAUSED);
        await_state(pipeline);
        drop_messages(pipeline);
    }
    play_pipeline(pipeline);
    await_stat(pipeline, "captions", 1);
    stop_pipeline(pipeline);
}

/* Some while the last one is under way. */
static void cycle_seeks(guint n)
{
    GstElement *pipeline = make_pipeline(PICTURES CAPTION "interval=0 name=c ! fakesink sync=true");

    play_pipeline(pipeline);
    await_message(pipeline, GST_MESSAGE_ASYNC_DONE);
    for (guint i = 0; i < n; i++) {
        seek_to(pipeline, (guint)g_random_int_range(0, 600), i % 2 ? GST_SEEK_FLAG_KEY_UNIT : 0);
        g_usleep((gulong)g_random_int_range(0, 20000));
    }
    const guint64 n_captions = get_stat_of(pipeline, "c", "captions");
    await_stat(pipeline, "captions", n_captions + 1);
    stop_pipeline(pipeline);
}

/* In PAUSED each frame that is sought has its caption before it is shown. */
static void cycle_scrubs(guint n)
{
    GstElement *pipeline =
        make_pipeline(PICTURES CAPTION "mode=complete interval=0 name=c ! fakesink sync=true");

    gst_element_set_state(pipeline, GST_STATE_PAUSED);
    await_message(pipeline, GST_MESSAGE_ASYNC_DONE);
    for (guint i = 0; i < n; i++) {
        const guint64 n_captions = get_stat_of(pipeline, "c", "captions");

        seek_to(pipeline, i * 37 % 600, GST_SEEK_FLAG_ACCURATE);
        await_message(pipeline, GST_MESSAGE_ASYNC_DONE);
        g_assert_cmpuint(get_stat_of(pipeline, "c", "captions"), >, n_captions);
    }
    stop_pipeline(pipeline);
}

/* A second of video is over: the next has other caps. */
static GstPadProbeReturn change_caps(GstPad *pad, GstPadProbeInfo *info, gpointer filter)
{
    static const char *const formats[] = {"I420", "NV12", "RGB", "BGRx", "GRAY8", "P010_10LE"};
    const guint64 second = GST_BUFFER_PTS(GST_PAD_PROBE_INFO_BUFFER(info)) / (GST_SECOND / 25);

    if (second % 25 == 24) {
        char *text = g_strdup_printf("video/x-raw, format=%s, width=%d, height=%d, framerate=25/1",
                                     formats[second / 25 % G_N_ELEMENTS(formats)],
                                     g_random_int_range(16, 400), g_random_int_range(16, 300));
        gst_util_set_object_arg(filter, "caps", text);
        g_free(text);
    }
    return GST_PAD_PROBE_OK;
}

static void play_to_the_end(GstElement *pipeline)
{
    play_pipeline(pipeline);
    await_message(pipeline, GST_MESSAGE_EOS);
}

static void cycle_caps(guint n)
{
    char *line =
        g_strdup_printf("videotestsrc name=s pattern=ball num-buffers=%u ! capsfilter "
                        "name=f caps=\"" SIZE "\" ! " CAPTION "mode=complete name=c ! fakesink",
                        n * 25);
    GstElement *pipeline = make_pipeline(line);
    GstElement *source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
    GstElement *filter = gst_bin_get_by_name(GST_BIN(pipeline), "f");
    GstPad *pad = gst_element_get_static_pad(source, "src");

    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, change_caps, filter, NULL);
    play_to_the_end(pipeline);
    g_assert_cmpuint(get_stat_of(pipeline, "c", "captions"), ==, n);
    stop_pipeline(pipeline);
    gst_object_unref(pad);
    gst_object_unref(filter);
    gst_object_unref(source);
    g_free(line);
}

/* Each says its own of every second. */
static void cycle_two(guint n)
{
    char *line = g_strdup_printf("videotestsrc pattern=ball num-buffers=%u ! " SIZE " ! " CAPTION
                                 "mode=complete name=c ! " CAPTION
                                 "mode=complete name=d prompt=\"Is it red?\" ! fakesink",
                                 n * 25);
    GstElement *pipeline = make_pipeline(line);

    play_to_the_end(pipeline);
    g_assert_cmpuint(get_stat_of(pipeline, "c", "captions"), ==, n);
    g_assert_cmpuint(get_stat_of(pipeline, "d", "captions"), ==, n);
    stop_pipeline(pipeline);
    g_free(line);
}

static void cycle_decodebin(guint n)
{
    char *line = g_strdup_printf(
        "filesrc location=%s ! decodebin ! " CAPTION "mode=complete name=c ! fakesink", movie);

    for (guint i = 0; i < n; i++) {
        GstElement *pipeline = make_pipeline(line);

        play_to_the_end(pipeline);
        g_assert_cmpuint(get_stat_of(pipeline, "c", "captions"), ==, MOVIE_SECONDS);
        stop_pipeline(pipeline);
    }
    g_free(line);
}

/* As playbin's video filter, with a seek back to the start once it is over. */
static void cycle_playbin(guint n)
{
    char *uri = g_filename_to_uri(movie, NULL, NULL);

    for (guint i = 0; i < n; i++) {
        GstElement *pipeline = make_pipeline("playbin flags=video video-sink=fakesink");
        GstElement *filter = make_pipeline(CAPTION "mode=complete name=c");

        g_object_set(pipeline, "uri", uri, "video-filter", filter, NULL);
        play_to_the_end(pipeline);
        g_assert_cmpuint(get_stat_of(pipeline, "c", "captions"), ==, MOVIE_SECONDS);
        seek_to(pipeline, 0, 0);
        await_message(pipeline, GST_MESSAGE_EOS);
        g_assert_cmpuint(get_stat_of(pipeline, "c", "captions"), ==, 2 * MOVIE_SECONDS);
        stop_pipeline(pipeline);
    }
    g_free(uri);
}

static const struct {
    const char *name;
    Cycles run;
} kinds[] = {
    {"states", cycle_states},       {"pauses", cycle_pauses},   {"seeks", cycle_seeks},
    {"scrubs", cycle_scrubs},       {"caps", cycle_caps},       {"two", cycle_two},
    {"decodebin", cycle_decodebin}, {"playbin", cycle_playbin},
};

static void test_kind(gconstpointer data)
{
    const Cycles *run = data;

    (*run)(2);
    const Holdings before = get_holdings();
    (*run)(get_n_cycles());
    const Holdings after = await_holdings(&before);
    g_test_message("%u cycles: files %u, then %u; threads %u, then %u; %.1f MB, then %.1f",
                   get_n_cycles(), before.n_files, after.n_files, before.n_threads, after.n_threads,
                   before.rss_mb, after.rss_mb);
    g_assert_cmpuint(after.n_files, <=, before.n_files);
    g_assert_cmpuint(after.n_threads, <=, before.n_threads);
    g_assert_true(!CAN_MEASURE_MEMORY || after.rss_mb - before.rss_mb < NOISE_MB);
}

static void make_movie(void)
{
    movie = g_build_filename(g_get_tmp_dir(), "fastvlm-cycles-XXXXXX", NULL);
    g_close(g_mkstemp(movie), NULL);
    char *line = g_strdup_printf(MOVIE_PICTURES "matroskamux ! filesink location=%s", movie);
    GstElement *pipeline = make_pipeline(line);

    play_to_the_end(pipeline);
    stop_pipeline(pipeline);
    g_free(line);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    support_load_plugins("coreelements", "videotestsrc", "videoconvertscale", "typefindfunctions",
                         "matroska", "playback", NULL);
    make_movie();
    /* One element keeps the model, as a process with several cameras has it. */
    GstElement *keeper = make_pipeline("videotestsrc ! " SIZE " ! " CAPTION "! fakesink");
    gst_element_set_state(keeper, GST_STATE_PAUSED);
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++) {
        char *path = g_strconcat("/cycles/", kinds[i].name, NULL);
        g_test_add_data_func(path, &kinds[i].run, test_kind);
        g_free(path);
    }
    const int status = g_test_run();
    stop_pipeline(keeper);
    g_unlink(movie);
    g_free(movie);
    return status;
}
