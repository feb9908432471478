/*
 * Eight elements in one process: one model, a turn for each, and little memory for each more.
 *
 *     720p to eight elements with the demo model at 512 pixels, all as often as they can -> captions
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "lasting.h"

#include "gstfastvlmmodels.h"

#define HD_CAPS "video/x-raw, format=I420, width=1280, height=720, framerate=25/1"
#define N_STREAMS 8
#define N_CAPTIONS 8 /* of the slowest */
#define MAX_MB_A_STREAM 60

typedef struct {
    Fixture *fixture;
    GstBuffer *picture;
    guint n_pushed;
} Stream;

static void open_stream(Stream *stream, guint i)
{
    stream->fixture = fixture_new("interval=0 resolution=512 max-tokens=16", HD_CAPS);
    stream->picture = make_frame(HD_CAPS, 0x1f2b3d * (i + 1), 0);
    stream->n_pushed = 0;
}

static void close_stream(Stream *stream)
{
    gst_buffer_unref(stream->picture);
    fixture_free(stream->fixture);
}

/* The next frame, which shares its pixels with the stream's picture. */
static void pass_frame(Stream *stream)
{
    GstBuffer *frame = gst_buffer_copy(stream->picture);

    GST_BUFFER_PTS(frame) = stream->n_pushed++ * FRAME_DURATION;
    g_assert_cmpint(gst_harness_push(stream->fixture->harness, frame), ==, GST_FLOW_OK);
    gst_buffer_unref(gst_harness_pull(stream->fixture->harness));
}

/* The fewest captions that any of the streams has; `most` is out. */
static guint64 count_captions(const Stream *streams, guint n_streams, guint64 *most)
{
    guint64 fewest = G_MAXUINT64;

    *most = 0;
    for (guint i = 0; i < n_streams; i++) {
        const guint64 n = get_stat(streams[i].fixture, "captions");

        fewest = MIN(fewest, n);
        *most = MAX(*most, n);
    }
    return fewest;
}

/* Feeds all streams until each has `n_captions`; returns what the fastest has by then. */
static guint64 feed(Stream *streams, guint n_streams, guint64 n_captions)
{
    const gint64 deadline = g_get_monotonic_time() + 200 * G_TIME_SPAN_SECOND;
    guint64 most;

    while (count_captions(streams, n_streams, &most) < n_captions) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        for (guint i = 0; i < n_streams; i++) {
            pass_frame(&streams[i]);
        }
        g_usleep(5000);
    }
    return most;
}

static void test_many(void)
{
    FastvlmModelInfo *info = fastvlm_model_inspect("demo", NULL);
    Stream streams[N_STREAMS];

    if (info == NULL) {
        g_test_skip("models/demo has no weights");
        return;
    }
    fastvlm_model_info_free(info);
    open_stream(&streams[0], 0);
    feed(streams, 1, 2);
    const double one_mb = get_rss_mb();
    for (guint i = 1; i < N_STREAMS; i++) {
        open_stream(&streams[i], i);
    }
    /* What they have in the end counts from here on: the first has begun before. */
    const guint64 n_before = get_stat(streams[0].fixture, "captions");
    const guint64 most = feed(streams, N_STREAMS, N_CAPTIONS);
    const double more_mb = (get_rss_mb() - one_mb) / (N_STREAMS - 1);

    g_test_message("%.1f MB with one stream, %.1f MB for each more; captions: %d the slowest, "
                   "%" G_GUINT64_FORMAT " the fastest",
                   one_mb, more_mb, N_CAPTIONS, most);
    g_assert_cmpuint(gst_fastvlm_models_count(), ==, 1);
    /* Turns go round: with equal work nobody has many where another has few. */
    g_assert_cmpuint(most, <=, n_before + 4 * N_CAPTIONS);
    if (CAN_MEASURE_MEMORY) {
        g_assert_cmpfloat(more_mb, <, MAX_MB_A_STREAM);
    }
    for (guint i = 0; i < N_STREAMS; i++) {
        close_stream(&streams[i]);
    }
    /* On a busy machine a worker may wind up by itself, later. */
    const gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
    while (gst_fastvlm_models_count() > 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(1000);
    }
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/many/eight", test_many);
    return g_test_run();
}
