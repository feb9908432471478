/*
 * The caption on the picture: where it lands, what it leaves alone, how it looks in numbers.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <math.h>
#include <string.h>

#include "gstfastvlmoverlay.h"
#include "support.h"

#define TEXT "A red ball on a green table."

static const GstVideoFormat FORMATS[] = {
    GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_YV12,      GST_VIDEO_FORMAT_NV12,
    GST_VIDEO_FORMAT_NV21, GST_VIDEO_FORMAT_YUY2,      GST_VIDEO_FORMAT_UYVY,
    GST_VIDEO_FORMAT_Y42B, GST_VIDEO_FORMAT_Y444,      GST_VIDEO_FORMAT_GRAY8,
    GST_VIDEO_FORMAT_RGB,  GST_VIDEO_FORMAT_BGR,       GST_VIDEO_FORMAT_RGBx,
    GST_VIDEO_FORMAT_BGRx, GST_VIDEO_FORMAT_xRGB,      GST_VIDEO_FORMAT_xBGR,
    GST_VIDEO_FORMAT_RGBA, GST_VIDEO_FORMAT_BGRA,      GST_VIDEO_FORMAT_ARGB,
    GST_VIDEO_FORMAT_ABGR, GST_VIDEO_FORMAT_I420_10LE, GST_VIDEO_FORMAT_P010_10LE,
};

typedef struct {
    guint x, y, width, height;
} Box;

static GstVideoInfo make_info(GstVideoFormat format, guint width, guint height)
{
    GstVideoInfo info;

    g_assert_true(gst_video_info_set_format(&info, format, width, height));
    return info;
}

/* A frame of some grey-ish noise, every byte of it defined. */
static GstBuffer *make_noise(const GstVideoInfo *info)
{
    guint8 *bytes = g_malloc(GST_VIDEO_INFO_SIZE(info));
    guint32 state = 1;

    for (gsize i = 0; i < GST_VIDEO_INFO_SIZE(info); i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (guint8)(100 + (state >> 26));
    }
    return gst_buffer_new_wrapped(bytes, GST_VIDEO_INFO_SIZE(info));
}

/* Half of every component's range, of 8 bits or of 10 in 16. */
static GstBuffer *make_grey(const GstVideoInfo *info)
{
    const gsize n_bytes = GST_VIDEO_INFO_SIZE(info);
    guint8 *bytes = g_malloc(n_bytes);

    for (gsize i = 0; i < n_bytes; i++) {
        bytes[i] = GST_VIDEO_INFO_COMP_DEPTH(info, 0) == 8 ? 128 : (i % 2 == 0 ? 0 : 2);
    }
    return gst_buffer_new_wrapped(bytes, n_bytes);
}

static GstFastvlmOverlay *make_overlay(const GstVideoInfo *info, gboolean attach, const char *text)
{
    GstFastvlmOverlay *overlay = gst_fastvlm_overlay_new();

    gst_fastvlm_overlay_set_video_info(overlay, info, attach);
    gst_fastvlm_overlay_set_text(overlay, text);
    return overlay;
}

/* Where the box is: the composition's only rectangle, got by attaching. */
static Box get_box_of(GstFastvlmOverlay *overlay)
{
    GstBuffer *frame = gst_fastvlm_overlay_apply(overlay, gst_buffer_new());
    GstVideoOverlayCompositionMeta *meta = gst_buffer_get_video_overlay_composition_meta(frame);
    gint x, y;
    Box box;

    g_assert_nonnull(meta);
    g_assert_cmpuint(gst_video_overlay_composition_n_rectangles(meta->overlay), ==, 1);
    gst_video_overlay_rectangle_get_render_rectangle(
        gst_video_overlay_composition_get_rectangle(meta->overlay, 0), &x, &y, &box.width,
        &box.height);
    g_assert_true(x >= 0 && y >= 0);
    box.x = (guint)x;
    box.y = (guint)y;
    gst_buffer_unref(frame);
    return box;
}

static Box get_box(const GstVideoInfo *info, const char *font_desc, const char *text)
{
    GstFastvlmOverlay *overlay = make_overlay(info, TRUE, text);

    gst_fastvlm_overlay_set_font_desc(overlay, font_desc);
    const Box box = get_box_of(overlay);
    g_assert_cmpuint(box.x + box.width, <=, GST_VIDEO_INFO_WIDTH(info));
    g_assert_cmpuint(box.y + box.height, <=, GST_VIDEO_INFO_HEIGHT(info));
    gst_fastvlm_overlay_free(overlay);
    return box;
}

/* ---- blending ---- */

/* The frame as 16-bit A, R, G, B or A, Y, U, V: [height, width, 4], lossless. */
static guint16 *unpack(const GstVideoInfo *info, GstBuffer *buffer)
{
    const GstVideoFormatInfo *unpacked = gst_video_format_get_info(info->finfo->unpack_format);
    const gsize width = GST_VIDEO_INFO_WIDTH(info), height = GST_VIDEO_INFO_HEIGHT(info);
    guint16 *pixels = g_new(guint16, 4 * width * height);
    guint16 *line = g_new(guint16, 4 * (width + 8));
    GstVideoFrame frame;

    g_assert_true(gst_video_frame_map(&frame, info, buffer, GST_MAP_READ));
    for (gsize y = 0; y < height; y++) {
        info->finfo->unpack_func(info->finfo, GST_VIDEO_PACK_FLAG_NONE, line, frame.data,
                                 frame.info.stride, 0, (gint)y, (gint)width);
        for (gsize i = 0; i < 4 * width; i++) {
            pixels[4 * width * y + i] = GST_VIDEO_FORMAT_INFO_BITS(unpacked) == 16
                                            ? line[i]
                                            : (guint16)(((const guint8 *)line)[i] * 257);
        }
    }
    gst_video_frame_unmap(&frame);
    g_free(line);
    return pixels;
}

/* Every sample outside `box` is as it was; inside, some are white and most are darker. */
static void compare(const GstVideoInfo *info, const Box *box, const guint16 *before,
                    const guint16 *after)
{
    const guint width = GST_VIDEO_INFO_WIDTH(info), height = GST_VIDEO_INFO_HEIGHT(info);
    const guint spare = 16 - GST_VIDEO_INFO_COMP_DEPTH(info, 0); /* bits that mean nothing */
    guint n_white = 0, n_darker = 0;

    for (guint y = 0; y < height; y++) {
        for (guint x = 0; x < width; x++) {
            const guint16 *a = before + 4 * ((gsize)y * width + x);
            const guint16 *b = after + 4 * ((gsize)y * width + x);
            const gboolean inside =
                x >= box->x && x < box->x + box->width && y >= box->y && y < box->y + box->height;

            for (guint c = 0; !inside && c < 4; c++) {
                g_assert_cmpuint(a[c] >> spare, ==, b[c] >> spare);
            }
            n_white += inside && b[1] / 256 >= 200; /* the noise ends at 163 */
            n_darker += inside && b[1] < a[1];
        }
    }
    g_assert_cmpuint(n_white, >, 50);
    g_assert_cmpuint(n_white, <, box->width * box->height / 3);
    g_assert_cmpuint(n_darker, >, box->width * box->height / 2);
}

/* Drawn in every format, into a copy: whoever else holds the frame sees no change. */
static void test_formats(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(FORMATS); i++) {
        const GstVideoInfo info = make_info(FORMATS[i], 322, 242);
        GstBuffer *frame = make_noise(&info), *copy = gst_buffer_copy_deep(frame);
        const Box box = get_box(&info, NULL, TEXT);
        GstFastvlmOverlay *overlay = make_overlay(&info, FALSE, TEXT);

        g_test_message("%s", gst_video_format_to_string(FORMATS[i]));
        GstBuffer *drawn = gst_fastvlm_overlay_apply(overlay, gst_buffer_ref(frame));
        g_assert_true(drawn != frame);
        guint16 *before = unpack(&info, copy), *unchanged = unpack(&info, frame),
                *after = unpack(&info, drawn);
        g_assert_cmpmem(before, 8 * 322 * 242, unchanged, 8 * 322 * 242);
        compare(&info, &box, before, after);
        g_free(before);
        g_free(unchanged);
        g_free(after);
        gst_buffer_unref(drawn);
        gst_buffer_unref(frame);
        gst_buffer_unref(copy);
        gst_fastvlm_overlay_free(overlay);
    }
}

/* A frame that nobody else holds is drawn on in place. */
static void test_in_place(void)
{
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 320, 240);
    GstFastvlmOverlay *overlay = make_overlay(&info, FALSE, TEXT);
    GstBuffer *frame = make_noise(&info);
    GstMemory *memory = gst_buffer_peek_memory(frame, 0);
    GstBuffer *drawn = gst_fastvlm_overlay_apply(overlay, frame);

    g_assert_true(drawn == frame && gst_buffer_peek_memory(drawn, 0) == memory);
    gst_buffer_unref(drawn);
    gst_fastvlm_overlay_free(overlay);
}

static void test_nothing_to_draw(void)
{
    static const char *const NOTHING[] = {NULL, "", " \n\t", "\x01"};
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 320, 240);

    for (gsize i = 0; i < G_N_ELEMENTS(NOTHING); i++) {
        GstFastvlmOverlay *overlay = make_overlay(&info, i % 2 == 0, TEXT);
        GstBuffer *frame = make_noise(&info), *other = gst_buffer_ref(frame);

        gst_fastvlm_overlay_set_text(overlay, NOTHING[i]);
        g_assert_true(gst_fastvlm_overlay_apply(overlay, frame) == other);
        gst_buffer_unref(other);
        gst_buffer_unref(frame);
        gst_fastvlm_overlay_free(overlay);
    }
}

/* White and the box's black on mid-grey, in the code values of the video's range and matrix. */
static void check_colors(GstVideoFormat format, const char *colorimetry, guint white, guint dark)
{
    GstVideoInfo info = make_info(format, 320, 240);
    guint brightest = 0, darkest = 255;

    g_assert_true(gst_video_colorimetry_from_string(&info.colorimetry, colorimetry));
    GstFastvlmOverlay *overlay = make_overlay(&info, FALSE, TEXT);
    GstBuffer *frame = make_grey(&info);
    frame = gst_fastvlm_overlay_apply(overlay, frame);
    guint16 *pixels = unpack(&info, frame);
    for (gsize i = 0; i < 320 * 240; i++) {
        const guint16 *pixel = pixels + 4 * i;

        brightest = MAX(brightest, pixel[1] / 256u);
        darkest = MIN(darkest, pixel[1] / 256u);
        /* Neither white nor black nor grey has a colour. */
        g_assert_cmpint(ABS(pixel[2] / 256 - 128), <=, 1);
        g_assert_cmpint(ABS(pixel[3] / 256 - 128), <=, 1);
    }
    g_test_message("%s: white %u, box on grey %u", colorimetry, brightest, darkest);
    g_assert_cmpint(ABS((gint)brightest - (gint)white), <=, 1);
    g_assert_cmpint(ABS((gint)darkest - (gint)dark), <=, 1);
    g_free(pixels);
    gst_buffer_unref(frame);
    gst_fastvlm_overlay_free(overlay);
}

static void test_colors(void)
{
    /* 0.6 black + 0.4 grey: 16 + 0.4 (128 - 16) = 61, and 0.4 * 128 = 51. */
    check_colors(GST_VIDEO_FORMAT_I420, "bt601", 235, 61);
    check_colors(GST_VIDEO_FORMAT_NV12, "bt709", 235, 61);
    check_colors(GST_VIDEO_FORMAT_Y444, "1:4:0:0", 255, 51);
    check_colors(GST_VIDEO_FORMAT_I420_10LE, "bt2020-10", 235, 61);
}

/* ---- attaching ---- */

static void test_attach(void)
{
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_NV12, 640, 480);
    GstFastvlmOverlay *overlay = make_overlay(&info, TRUE, TEXT);
    GstBuffer *frame = make_noise(&info);
    GstMemory *memory = gst_buffer_peek_memory(frame, 0);
    GstBuffer *other = gst_buffer_ref(frame);

    frame = gst_fastvlm_overlay_apply(overlay, frame);
    g_assert_true(gst_buffer_peek_memory(frame, 0) == memory);
    g_assert_nonnull(gst_buffer_get_video_overlay_composition_meta(frame));
    g_assert_null(gst_buffer_get_video_overlay_composition_meta(other));
    gst_buffer_unref(frame);
    gst_buffer_unref(other);
    gst_fastvlm_overlay_free(overlay);
}

/* What upstream has put on the frame stays, under ours. */
static void test_attach_to_others(void)
{
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_NV12, 640, 480);
    GstFastvlmOverlay *first = make_overlay(&info, TRUE, "first");
    GstFastvlmOverlay *second = make_overlay(&info, TRUE, "second");
    GstBuffer *frame = gst_fastvlm_overlay_apply(first, make_noise(&info));
    GstVideoOverlayComposition *theirs = gst_video_overlay_composition_ref(
        gst_buffer_get_video_overlay_composition_meta(frame)->overlay);

    frame = gst_fastvlm_overlay_apply(second, frame);
    GstVideoOverlayCompositionMeta *meta = gst_buffer_get_video_overlay_composition_meta(frame);
    g_assert_cmpuint(gst_video_overlay_composition_n_rectangles(meta->overlay), ==, 2);
    g_assert_true(gst_video_overlay_composition_get_rectangle(meta->overlay, 0) ==
                  gst_video_overlay_composition_get_rectangle(theirs, 0));
    g_assert_cmpuint(gst_video_overlay_composition_n_rectangles(theirs), ==, 1);
    gst_video_overlay_composition_unref(theirs);
    gst_buffer_unref(frame);
    gst_fastvlm_overlay_free(first);
    gst_fastvlm_overlay_free(second);
}

static guint get_seqnum(GstFastvlmOverlay *overlay)
{
    GstBuffer *frame = gst_fastvlm_overlay_apply(overlay, gst_buffer_new());
    const guint seqnum = gst_video_overlay_composition_get_seqnum(
        gst_buffer_get_video_overlay_composition_meta(frame)->overlay);

    gst_buffer_unref(frame);
    return seqnum;
}

/* The same rendering while text, font and video are unchanged, so that nobody uploads it again. */
static void test_cached(void)
{
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_NV12, 640, 480);
    const GstVideoInfo larger = make_info(GST_VIDEO_FORMAT_NV12, 1280, 720);
    GstFastvlmOverlay *overlay = make_overlay(&info, TRUE, "one");
    guint seqnum = get_seqnum(overlay);

    gst_fastvlm_overlay_set_text(overlay, " one\n");
    gst_fastvlm_overlay_set_font_desc(overlay, NULL);
    gst_fastvlm_overlay_set_font_desc(overlay, GST_FASTVLM_OVERLAY_DEFAULT_FONT);
    gst_fastvlm_overlay_set_video_info(overlay, &info, TRUE);
    g_assert_cmpuint(get_seqnum(overlay), ==, seqnum);
    gst_fastvlm_overlay_set_text(overlay, "two");
    g_assert_cmpuint(get_seqnum(overlay), !=, seqnum);
    seqnum = get_seqnum(overlay);
    gst_fastvlm_overlay_set_font_desc(overlay, "Serif 20");
    g_assert_cmpuint(get_seqnum(overlay), !=, seqnum);
    seqnum = get_seqnum(overlay);
    gst_fastvlm_overlay_set_video_info(overlay, &larger, TRUE);
    g_assert_cmpuint(get_seqnum(overlay), !=, seqnum);
    gst_fastvlm_overlay_free(overlay);
}

/* ---- layout ---- */

static void assert_near(double found, double expected, double share)
{
    g_test_message("%g, expected about %g", found, expected);
    g_assert_cmpfloat(fabs(found - expected), <=, share * expected);
}

static void test_scales_with_the_video(void)
{
    const GstVideoInfo small = make_info(GST_VIDEO_FORMAT_I420, 640, 360);
    const GstVideoInfo large = make_info(GST_VIDEO_FORMAT_I420, 1920, 1080);
    const GstVideoInfo portrait = make_info(GST_VIDEO_FORMAT_I420, 1080, 1920);
    const Box a = get_box(&small, NULL, TEXT), b = get_box(&large, NULL, TEXT);

    assert_near(b.height, 3.0 * a.height, 0.08);
    assert_near(b.width, 3.0 * a.width, 0.08);
    assert_near(get_box(&portrait, NULL, TEXT).height, b.height, 0.01);
    /* At the bottom, in the middle. */
    assert_near(b.x + b.width / 2.0, 960, 0.01);
    g_assert_cmpuint(b.y + b.height, >, 1000);
}

static void test_font_desc(void)
{
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 1280, 960);
    const GstVideoInfo half = make_info(GST_VIDEO_FORMAT_I420, 640, 480);
    const Box plain = get_box(&info, NULL, "x");

    assert_near(get_box(&info, "Sans 32", "x").height, 2.0 * plain.height, 0.08);
    g_assert_cmpuint(get_box(&info, "Bold", "x").height, ==, plain.height);
    g_assert_cmpuint(get_box(&info, "", "x").height, ==, plain.height);
    /* Pixels are the video's own: the same box on any size. */
    g_assert_cmpuint(get_box(&info, "Sans 30px", "x").height, ==,
                     get_box(&half, "Sans 30px", "x").height);
    /* Nonsense sizes still give a box in the picture. */
    get_box(&info, "Sans 9999", "x");
    get_box(&info, "Sans 0.001", "x");
    get_box(&info, "No Such Font At All 16", "x");
}

/* Letters keep their shape where pixels are not square. */
static void test_pixel_aspect(void)
{
    GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 720, 576);
    const Box square = get_box(&info, "Sans 24px", TEXT);

    info.par_n = 2;
    info.par_d = 1;
    const Box wide = get_box(&info, "Sans 24px", TEXT);
    assert_near(wide.width, square.width / 2.0, 0.03);
    g_assert_cmpuint(wide.height, ==, square.height);
    info.par_n = 1;
    info.par_d = G_MAXINT;
    get_box(&info, NULL, TEXT);
}

/* Long texts wrap, get smaller, and end in an ellipsis, within the box's share of the picture. */
static void test_long_texts(void)
{
    static const guint SIZES[][2] = {{1920, 1080}, {320, 240}, {240, 320}, {64, 48}, {2000, 40}};
    GString *text = g_string_new(NULL);

    for (guint n_words = 1; n_words <= 4096; n_words *= 4) {
        while (text->len < 6 * n_words) {
            g_string_append(text, "words ");
        }
        for (gsize i = 0; i < G_N_ELEMENTS(SIZES); i++) {
            const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, SIZES[i][0], SIZES[i][1]);
            const Box box = get_box(&info, NULL, text->str);

            if (SIZES[i][1] >= 240) {
                g_assert_cmpuint(box.height, <=, SIZES[i][1] * 46 / 100);
            }
            g_assert_cmpuint(box.width, >=, 2);
        }
    }
    /* No place to break a line at. */
    char *unbroken = g_strnfill(500, 'W');
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 320, 240);
    g_assert_cmpuint(get_box(&info, NULL, unbroken).height, <=, 240 * 46 / 100);
    g_free(unbroken);
    g_string_free(text, TRUE);
}

/* Any size of picture, however small: a frame comes out. */
static void test_tiny_frames(void)
{
    static const guint SIZES[][2] = {{1, 1}, {2, 2}, {3, 1}, {1, 9}, {17, 5}, {33, 31}, {4000, 2}};

    for (gsize i = 0; i < G_N_ELEMENTS(SIZES); i++) {
        for (gsize j = 0; j < G_N_ELEMENTS(FORMATS); j++) {
            const GstVideoInfo info = make_info(FORMATS[j], SIZES[i][0], SIZES[i][1]);
            GstFastvlmOverlay *overlay = make_overlay(&info, FALSE, TEXT);

            gst_buffer_unref(gst_fastvlm_overlay_apply(overlay, make_noise(&info)));
            gst_fastvlm_overlay_free(overlay);
        }
    }
}

/* Markup is text: as many letters are seen as there are. */
static void test_markup_is_text(void)
{
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 1920, 1080);

    g_assert_cmpuint(get_box(&info, NULL, "<b>x</b>").width, >,
                     get_box(&info, NULL, "x").width * 2);
    g_assert_cmpuint(get_box(&info, NULL, "&amp;").width, >, get_box(&info, NULL, "&").width * 2);
    get_box(&info, NULL, "<span size='999999' unclosed");
}

/* Scripts, joiners, broken bytes: all give a box. Line breaks do not make it higher. */
static void test_any_text(void)
{
    static const char *const TEXTS[] = {
        "\xd9\x85\xd8\xb1\xd8\xad\xd8\xa8\xd8\xa7 \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
        "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e \xe4\xb8\xad\xe6\x96\x87 \xed\x95\x9c\xea\xb5\xad",
        "\xf0\x9f\x98\x80 \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80",
        "\xff\xfe\xc0\x80 \xed\xa0\x80",
        "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81",
        "\xe2\x80\xaeturned",
    };
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 1280, 720);

    for (gsize i = 0; i < G_N_ELEMENTS(TEXTS); i++) {
        g_assert_cmpuint(get_box(&info, NULL, TEXTS[i]).width, >=, 4);
    }
    g_assert_cmpuint(get_box(&info, NULL, "a\nb\n\nc").height, ==,
                     get_box(&info, NULL, "a b c").height);
}

/* ---- threads ---- */

typedef struct {
    GstFastvlmOverlay *overlay;
    gint stop; /* atomic */
} Writer;

static gpointer write_texts(gpointer user_data)
{
    Writer *writer = user_data;

    for (guint i = 0; !g_atomic_int_get(&writer->stop); i++) {
        char *text = g_strdup_printf("caption %u", i);

        gst_fastvlm_overlay_set_text(writer->overlay, i % 5 == 0 ? NULL : text);
        gst_fastvlm_overlay_set_font_desc(writer->overlay, i % 7 == 0 ? "Serif 12" : NULL);
        g_free(text);
    }
    return NULL;
}

/* The worker writes, the streaming thread draws on frames of changing size and kind. */
static void test_threads(void)
{
    Writer writer = {.overlay = gst_fastvlm_overlay_new()};
    GThread *thread = g_thread_new("writer", write_texts, &writer);

    for (guint i = 0; i < 300; i++) {
        const GstVideoInfo info =
            make_info(FORMATS[i / 10 % G_N_ELEMENTS(FORMATS)], 160 + i / 30 * 16, 120);

        gst_fastvlm_overlay_set_video_info(writer.overlay, &info, i / 10 % 2 == 0);
        gst_buffer_unref(gst_fastvlm_overlay_apply(writer.overlay, make_noise(&info)));
    }
    g_atomic_int_set(&writer.stop, 1);
    g_thread_join(thread);
    gst_fastvlm_overlay_free(writer.overlay);
}

typedef struct {
    GstFastvlmOverlay *overlay;
    gint done; /* atomic */
} Slow;

#define N_LONG_TEXTS 6

static gpointer set_long_texts(gpointer user_data)
{
    Slow *slow = user_data;
    char *text = g_strnfill(2000, 'm');

    for (guint i = 0; i < N_LONG_TEXTS; i++) {
        text[i] = ' ';
        text[i + 100] = ' ';
        gst_fastvlm_overlay_set_text(slow->overlay, text);
    }
    g_free(text);
    g_atomic_int_set(&slow->done, 1);
    return NULL;
}

/* A call waits now and then on a busy machine, but not for one text after another. */
static void check_waits(const GArray *waits, double total_ms)
{
    guint n_long = 0;

    for (guint i = 0; i < waits->len; i++) {
        n_long += g_array_index(waits, double, i) > total_ms / (2 * N_LONG_TEXTS);
    }
    g_test_message("%u long waits of %u in %.1f ms", n_long, waits->len, total_ms);
    g_assert_cmpuint(n_long, <, N_LONG_TEXTS / 3);
}

/* While a long text is laid out, neither frames nor calls of the streaming thread wait for it. */
static void test_nobody_waits(void)
{
    const GstVideoInfo info = make_info(GST_VIDEO_FORMAT_I420, 3840, 2160);
    Slow slow = {.overlay = make_overlay(&info, TRUE, NULL)};
    const gint64 start = g_get_monotonic_time();
    GThread *thread = g_thread_new("slow", set_long_texts, &slow);
    GArray *waits = g_array_new(FALSE, FALSE, sizeof(double));

    while (!g_atomic_int_get(&slow.done)) {
        const gint64 call = g_get_monotonic_time();

        gst_fastvlm_overlay_set_video_info(slow.overlay, &info, TRUE);
        gst_buffer_unref(gst_fastvlm_overlay_apply(slow.overlay, gst_buffer_new()));
        const double wait_ms = ms_since(call);
        g_array_append_val(waits, wait_ms);
        g_usleep(1000);
    }
    g_thread_join(thread);
    check_waits(waits, ms_since(start));
    g_array_unref(waits);
    gst_fastvlm_overlay_free(slow.overlay);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/overlay/formats", test_formats);
    g_test_add_func("/overlay/in-place", test_in_place);
    g_test_add_func("/overlay/nothing-to-draw", test_nothing_to_draw);
    g_test_add_func("/overlay/colors", test_colors);
    g_test_add_func("/overlay/attach", test_attach);
    g_test_add_func("/overlay/attach-to-others", test_attach_to_others);
    g_test_add_func("/overlay/cached", test_cached);
    g_test_add_func("/overlay/scales-with-the-video", test_scales_with_the_video);
    g_test_add_func("/overlay/font-desc", test_font_desc);
    g_test_add_func("/overlay/pixel-aspect", test_pixel_aspect);
    g_test_add_func("/overlay/long-texts", test_long_texts);
    g_test_add_func("/overlay/tiny-frames", test_tiny_frames);
    g_test_add_func("/overlay/markup-is-text", test_markup_is_text);
    g_test_add_func("/overlay/any-text", test_any_text);
    g_test_add_func("/overlay/threads", test_threads);
    g_test_add_func("/overlay/nobody-waits", test_nobody_waits);
    return g_test_run();
}
