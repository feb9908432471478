/*
 * The element for a long time: states, seeks, pauses, caps and captions by the demo model, over and
 * over; then nothing may be left and memory may not have grown.
 *
 *     soak SECONDS      as many rounds as fit; a line a round to standard error, TAP to standard output
 *
 * One element stays loaded throughout, as a process with several cameras has it, so that a round is not
 * a load. Memory is held against itself: the slope of a line through the rounds after a quarter of the
 * time, in which pools, caches and the allocator fill.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <stdio.h>

#include "lasting.h"

#define CAPTION "fastvlmcaption resolution=128 max-tokens=12 interval=0"
#define SOURCE "videotestsrc pattern=ball is-live=true ! capsfilter name=caps ! "
#define MIN_ROUNDS 8
/* Growth over all of the run that is still noise: the allocator's, not a leak of every round. */
#define NOISE_MB 4.0

typedef struct {
    double at_s;
    Holdings held;
} Sample;

static guint64 n_captions; /* of all elements that have been */

/* --- rounds --- */

static void add_captions(GstElement *pipeline, const char *name)
{
    n_captions += get_stat_of(pipeline, name, "captions");
}

/* PLAYING and NULL again, at any moment of a caption. */
static void round_states(void)
{
    GstElement *pipeline = make_pipeline(SOURCE CAPTION " name=c ! fakesink");

    for (int i = 0; i < 20; i++) {
        play_pipeline(pipeline);
        g_usleep((gulong)g_random_int_range(0, 40000));
        add_captions(pipeline, "c");
        g_assert_cmpint(gst_element_set_state(pipeline, GST_STATE_NULL), ==,
                        GST_STATE_CHANGE_SUCCESS);
    }
    stop_pipeline(pipeline);
}

/* Sizes and formats that change while captions are made. */
static void round_caps(void)
{
    static const char *const formats[] = {"I420", "NV12", "RGB", "BGRx", "GRAY8", "P010_10LE"};
    GstElement *pipeline = make_pipeline(SOURCE CAPTION " name=c ! fakesink");
    GstElement *filter = gst_bin_get_by_name(GST_BIN(pipeline), "caps");

    play_pipeline(pipeline);
    for (int i = 0; i < 10; i++) {
        char *text = g_strdup_printf("video/x-raw, format=%s, width=%d, height=%d, framerate=30/1",
                                     formats[g_random_int_range(0, G_N_ELEMENTS(formats))],
                                     g_random_int_range(16, 400), g_random_int_range(16, 300));
        GstCaps *caps = gst_caps_from_string(text);
        g_object_set(filter, "caps", caps, NULL);
        gst_caps_unref(caps);
        g_free(text);
        g_usleep(100000);
    }
    add_captions(pipeline, "c");
    gst_object_unref(filter);
    stop_pipeline(pipeline);
}

/* Flushing seeks, some of them while the last is under way, pauses between. */
static void round_seeks(void)
{
    GstElement *pipeline = make_pipeline("videotestsrc pattern=ball num-buffers=100000 ! "
                                         "video/x-raw, width=320, height=240 ! " CAPTION
                                         " name=c ! fakesink sync=true");

    play_pipeline(pipeline);
    await_message(pipeline, GST_MESSAGE_ASYNC_DONE);
    for (int i = 0; i < 20; i++) {
        gst_element_set_state(pipeline, i % 3 ? GST_STATE_PLAYING : GST_STATE_PAUSED);
        gst_element_seek_simple(pipeline, GST_FORMAT_TIME,
                                i % 2 ? GST_SEEK_FLAG_FLUSH
                                      : GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_KEY_UNIT,
                                g_random_int_range(0, 600) * GST_SECOND);
        g_usleep((gulong)g_random_int_range(0, 60000));
    }
    add_captions(pipeline, "c");
    stop_pipeline(pipeline);
}

/* Two in a row, each with captions of its own, to the end of the stream. */
static void round_two(void)
{
    GstElement *pipeline =
        make_pipeline("videotestsrc pattern=ball num-buffers=20 ! "
                      "video/x-raw, width=320, height=240 ! " CAPTION
                      " name=c mode=complete ! " CAPTION " name=d mode=complete ! fakesink");

    play_pipeline(pipeline);
    await_message(pipeline, GST_MESSAGE_EOS);
    add_captions(pipeline, "c");
    add_captions(pipeline, "d");
    stop_pipeline(pipeline);
}

/* --- the whole --- */

/* Growth over all of `seconds`, by the line of least squares through the samples. */
static double get_growth_mb(const GArray *samples, guint first, double seconds)
{
    double n = 0, sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;

    for (guint i = first; i < samples->len; i++) {
        const Sample *sample = &g_array_index(samples, Sample, i);
        n++;
        sum_x += sample->at_s;
        sum_y += sample->held.rss_mb;
        sum_xx += sample->at_s * sample->at_s;
        sum_xy += sample->at_s * sample->held.rss_mb;
    }
    const double spread = n * sum_xx - sum_x * sum_x;
    return spread > 0 ? (n * sum_xy - sum_x * sum_y) / spread * seconds : 0;
}

static GArray *run_rounds(double seconds)
{
    static void (*const rounds[])(void) = {round_states, round_caps, round_seeks, round_two};
    GArray *samples = g_array_new(FALSE, FALSE, sizeof(Sample));
    const gint64 start = g_get_monotonic_time();

    for (guint i = 0; i < MIN_ROUNDS || ms_since(start) < seconds * 1000; i++) {
        for (guint j = 0; j < G_N_ELEMENTS(rounds); j++) {
            rounds[j]();
        }
        const Sample sample = {ms_since(start) / 1000, get_holdings()};
        g_array_append_val(samples, sample);
        g_printerr("%7.1f s  round %u  %" G_GUINT64_FORMAT " captions  %.1f MB  %u files  "
                   "%u threads\n",
                   sample.at_s, i + 1, n_captions, sample.held.rss_mb, sample.held.n_files,
                   sample.held.n_threads);
    }
    return samples;
}

/* Of the last quarter's samples: what a round left behind stays, what is just about to go does not. */
static guint get_fewest_threads(const GArray *samples)
{
    guint fewest = G_MAXUINT;

    for (guint i = samples->len - MAX(samples->len / 4, 1); i < samples->len; i++) {
        fewest = MIN(fewest, g_array_index(samples, Sample, i).held.n_threads);
    }
    return fewest;
}

static gboolean report(const GArray *samples)
{
    const guint first = samples->len / 4;
    const Sample *warm = &g_array_index(samples, Sample, first);
    const Sample *last = &g_array_index(samples, Sample, samples->len - 1);
    const double growth_mb = get_growth_mb(samples, first, last->at_s - warm->at_s);
    const gboolean steady = !CAN_MEASURE_MEMORY || growth_mb < NOISE_MB;
    const gboolean closed = last->held.n_files <= warm->held.n_files;
    const guint n_threads = get_fewest_threads(samples);
    const gboolean joined = n_threads <= warm->held.n_threads;

    printf("1..4\n");
    printf("%sok 1 - captions # %" G_GUINT64_FORMAT " in %u rounds\n", n_captions ? "" : "not ",
           n_captions, samples->len);
    printf("%sok 2 - memory # %.1f MB, grew by %.2f MB (at most %.0f)\n", steady ? "" : "not ",
           last->held.rss_mb, growth_mb, NOISE_MB);
    printf("%sok 3 - files # %u, then %u\n", closed ? "" : "not ", warm->held.n_files,
           last->held.n_files);
    printf("%sok 4 - threads # %u, then %u\n", joined ? "" : "not ", warm->held.n_threads,
           n_threads);
    return n_captions > 0 && steady && closed && joined;
}

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? g_ascii_strtod(argv[1], NULL) : 0;

    argc = 1;
    support_init(&argc, &argv);
    support_load_plugins("coreelements", "videotestsrc", NULL);
    GstElement *keeper = make_pipeline("videotestsrc is-live=true ! " CAPTION " ! fakesink");
    gst_element_set_state(keeper, GST_STATE_PAUSED);
    GArray *samples = run_rounds(seconds);
    const gboolean good = report(samples);
    g_array_unref(samples);
    stop_pipeline(keeper);
    return good ? 0 : 1;
}
