/*
 * What the element's tests share; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include <stdlib.h>

#include "gstfastvlmcaption.h"

/* A message that a test has been given; above the flags that GstMessage has. */
#define TAKEN (GST_MINI_OBJECT_FLAG_LAST << 8)

void support_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    gst_init(argc, argv);
    /* So that the leaks tracer looks. */
    atexit(gst_deinit);
    if (g_getenv("FASTVLM_TEST_LEAK") != NULL) {
        GstCaps *leaked = gst_caps_new_empty_simple("test/leaked");
        (void)leaked;
    }
    g_assert_true(
        gst_element_register(NULL, "fastvlmcaption", GST_RANK_NONE, GST_TYPE_FASTVLM_CAPTION));
}

void support_load_plugins(const char *name, ...)
{
    va_list names;

    va_start(names, name);
    for (; name != NULL; name = va_arg(names, const char *)) {
        char *path = g_strdup_printf("%s/libgst%s.so", GST_PLUGINS_DIR, name);
        GError *error = NULL;
        GstPlugin *plugin = gst_plugin_load_file(path, &error);

        g_assert_no_error(error);
        gst_registry_add_plugin(gst_registry_get(), plugin);
        gst_object_unref(plugin);
        g_free(path);
    }
    va_end(names);
}

Fixture *fixture_new(const char *properties, const char *caps)
{
    Fixture *fixture = g_new0(Fixture, 1);
    char *line = g_strdup_printf("fastvlmcaption %s", properties);
    GError *error = NULL;
    GstElement *bin = gst_parse_bin_from_description(line, TRUE, &error);

    g_assert_no_error(error);
    /* Before the harness, which sets the element to playing: no message may be lost. */
    fixture->bus = gst_bus_new();
    gst_element_set_bus(bin, fixture->bus);
    fixture->harness = gst_harness_new_with_element(bin, "sink", "src");
    fixture->element = gst_harness_find_element(fixture->harness, "fastvlmcaption");
    gst_object_unref(bin);
    fixture->messages = g_ptr_array_new_with_free_func((GDestroyNotify)gst_message_unref);
    gst_harness_use_testclock(fixture->harness);
    if (caps != NULL) {
        gst_harness_set_src_caps_str(fixture->harness, caps);
    }
    g_free(line);
    return fixture;
}

void fixture_free(Fixture *fixture)
{
    gst_element_set_state(fixture->harness->element, GST_STATE_NULL);
    gst_element_set_bus(fixture->harness->element, NULL);
    gst_object_unref(fixture->element);
    gst_harness_teardown(fixture->harness);
    gst_bus_set_flushing(fixture->bus, TRUE);
    gst_object_unref(fixture->bus);
    g_ptr_array_unref(fixture->messages);
    g_free(fixture);
#ifndef FASTVLM_REAL_ENGINE
    fake_reset();
#endif
}

static GstBuffer *make_rgb(gint width, gint height, guint rgb, GstVideoInfo *info)
{
    GstVideoFrame frame;

    g_assert_true(
        gst_video_info_set_format(info, GST_VIDEO_FORMAT_RGB, (guint)width, (guint)height));
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(info), NULL);
    g_assert_true(gst_video_frame_map(&frame, info, buffer, GST_MAP_WRITE));
    for (gint y = 0; y < height; y++) {
        guint8 *row = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) +
                      y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);
        for (gint x = 0; x < width; x++) {
            row[3 * x] = (guint8)(rgb >> 16);
            row[3 * x + 1] = (guint8)(rgb >> 8);
            row[3 * x + 2] = (guint8)rgb;
        }
    }
    gst_video_frame_unmap(&frame);
    return buffer;
}

GstBuffer *make_frame(const char *caps_string, guint rgb, GstClockTime pts)
{
    GstCaps *caps = gst_caps_from_string(caps_string);
    GstVideoInfo info, rgb_info;
    GstVideoFrame in, out;

    g_assert_true(gst_video_info_from_caps(&info, caps));
    GstBuffer *rgb_buffer =
        make_rgb(GST_VIDEO_INFO_WIDTH(&info), GST_VIDEO_INFO_HEIGHT(&info), rgb, &rgb_info);
    rgb_info.fps_n = info.fps_n;
    rgb_info.fps_d = info.fps_d;
    rgb_info.interlace_mode = info.interlace_mode;
    /* 1.22's converter writes a chroma row too many of interlaced P010 whose half height is odd. */
    GstBuffer *buffer = gst_buffer_new_allocate(
        NULL, GST_VIDEO_INFO_SIZE(&info) + (gsize)GST_VIDEO_INFO_PLANE_STRIDE(&info, 0), NULL);
    /* What lies between rows is compared too. */
    gst_buffer_memset(buffer, 0, 0, gst_buffer_get_size(buffer));
    GstVideoConverter *converter = gst_video_converter_new(&rgb_info, &info, NULL);

    g_assert_true(gst_video_frame_map(&in, &rgb_info, rgb_buffer, GST_MAP_READ));
    g_assert_true(gst_video_frame_map(&out, &info, buffer, GST_MAP_READWRITE));
    gst_video_converter_frame(converter, &in, &out);
    gst_video_frame_unmap(&out);
    gst_video_frame_unmap(&in);
    gst_video_converter_free(converter);
    gst_buffer_set_size(buffer, (gssize)GST_VIDEO_INFO_SIZE(&info));
    gst_buffer_unref(rgb_buffer);
    gst_caps_unref(caps);
    GST_BUFFER_PTS(buffer) = pts;
    GST_BUFFER_DURATION(buffer) = FRAME_DURATION;
    return buffer;
}

GstFlowReturn push_frame(Fixture *fixture, guint rgb, GstClockTime pts)
{
    return gst_harness_push(fixture->harness, make_frame(CAPS, rgb, pts));
}

static gboolean is_kind(GstMessage *message, GstMessageType type, const char *name)
{
    const GstStructure *structure = gst_message_get_structure(message);

    return GST_MESSAGE_TYPE(message) == type &&
           (name == NULL || (structure != NULL && gst_structure_has_name(structure, name)));
}

/* The messages that have come, kept; those given to the test are marked. */
static GstMessage *find_message(Fixture *fixture, GstMessageType type, const char *name)
{
    for (guint i = 0; i < fixture->messages->len; i++) {
        GstMessage *message = g_ptr_array_index(fixture->messages, i);

        if (!GST_MINI_OBJECT_FLAG_IS_SET(message, TAKEN) && is_kind(message, type, name)) {
            return message;
        }
    }
    return NULL;
}

static void pop_messages(Fixture *fixture, GstClockTime timeout)
{
    GstMessage *message = gst_bus_timed_pop(fixture->bus, timeout);

    while (message != NULL) {
        g_ptr_array_add(fixture->messages, message);
        message = gst_bus_pop(fixture->bus);
    }
}

GstMessage *wait_message(Fixture *fixture, GstMessageType type, const char *name)
{
    const gint64 deadline = g_get_monotonic_time() + PATIENCE_US;
    GstMessage *message;

    while ((message = find_message(fixture, type, name)) == NULL &&
           g_get_monotonic_time() < deadline) {
        pop_messages(fixture, 20 * GST_MSECOND);
    }
    if (message != NULL) {
        GST_MINI_OBJECT_FLAG_SET(message, TAKEN);
    }
    return message;
}

const GstStructure *wait_caption(Fixture *fixture, const char *type)
{
    for (;;) {
        GstMessage *message = wait_message(fixture, GST_MESSAGE_ELEMENT, "fastvlm-caption");
        g_assert_nonnull(message);
        const GstStructure *structure = gst_message_get_structure(message);
        if (g_strcmp0(gst_structure_get_string(structure, "type"), type) == 0) {
            return structure;
        }
    }
}

guint count_messages(Fixture *fixture, GstMessageType type, const char *name)
{
    guint n = 0;

    pop_messages(fixture, 0);
    for (guint i = 0; i < fixture->messages->len; i++) {
        GstMessage *message = g_ptr_array_index(fixture->messages, i);

        n += !GST_MINI_OBJECT_FLAG_IS_SET(message, TAKEN) && is_kind(message, type, name);
    }
    return n;
}

guint count_warnings(Fixture *fixture, const char *words)
{
    guint n = 0;

    pop_messages(fixture, 0);
    for (guint i = 0; i < fixture->messages->len; i++) {
        GstMessage *message = g_ptr_array_index(fixture->messages, i);

        if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_WARNING) {
            GError *error = NULL;
            gst_message_parse_warning(message, &error, NULL);
            n += strstr(error->message, words) != NULL;
            g_error_free(error);
        }
    }
    return n;
}

const char *get_text(const GstStructure *structure, const char *field)
{
    g_assert_true(gst_structure_has_field_typed(structure, field, G_TYPE_STRING));
    return gst_structure_get_string(structure, field);
}

guint64 get_uint64(const GstStructure *structure, const char *field)
{
    guint64 value = 0;

    g_assert_true(gst_structure_get_uint64(structure, field, &value));
    return value;
}

guint64 get_stat(Fixture *fixture, const char *field)
{
    GstStructure *stats;

    g_object_get(fixture->element, "stats", &stats, NULL);
    const guint64 value = get_uint64(stats, field);
    gst_structure_free(stats);
    return value;
}

gboolean wait_stat(Fixture *fixture, const char *field, guint64 value)
{
    const gint64 deadline = g_get_monotonic_time() + PATIENCE_US;

    while (get_stat(fixture, field) != value) {
        if (g_get_monotonic_time() > deadline) {
            return FALSE;
        }
        g_usleep(2000);
    }
    return TRUE;
}

const GstStructure *get_meta(GstBuffer *buffer)
{
    GstCustomMeta *meta = gst_buffer_get_custom_meta(buffer, "GstFastvlmCaptionMeta");

    return meta != NULL ? gst_custom_meta_get_structure(meta) : NULL;
}

double ms_since(gint64 start_us)
{
    return (double)(g_get_monotonic_time() - start_us) / 1000;
}
