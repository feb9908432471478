/*
 * Pictures; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "picture.h"

#include <gst/video/video.h>

#define N_KEPT 16
#define PATIENCE (5 * GST_SECOND)

struct _WatchPictures {
    GMutex lock;
    GQueue kept; /* GstSample, newest first */
    GstClockTime interval;
    GstClockTime anchor, next;
};

static gboolean is_due(WatchPictures *pictures, GstClockTime pts)
{
    if (!GST_CLOCK_TIME_IS_VALID(pts) ||
        (GST_CLOCK_TIME_IS_VALID(pictures->anchor) && pts < pictures->next)) {
        return FALSE;
    }
    if (!GST_CLOCK_TIME_IS_VALID(pictures->anchor)) {
        pictures->anchor = pts;
    }
    pictures->next = pts - (pts - pictures->anchor) % pictures->interval + pictures->interval;
    return TRUE;
}

static GstPadProbeReturn keep(GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
    WatchPictures *pictures = data;
    GstBuffer *frame = GST_PAD_PROBE_INFO_BUFFER(info);

    if (!is_due(pictures, GST_BUFFER_PTS(frame))) {
        return GST_PAD_PROBE_OK;
    }
    GstCaps *caps = gst_pad_get_current_caps(pad);
    GstBuffer *copy = gst_buffer_copy_deep(frame);
    GstSample *sample = gst_sample_new(copy, caps, NULL, NULL);
    gst_buffer_unref(copy);
    gst_caps_unref(caps);
    g_mutex_lock(&pictures->lock);
    g_queue_push_head(&pictures->kept, sample);
    sample =
        g_queue_get_length(&pictures->kept) > N_KEPT ? g_queue_pop_tail(&pictures->kept) : NULL;
    g_mutex_unlock(&pictures->lock);
    g_clear_pointer(&sample, gst_sample_unref);
    return GST_PAD_PROBE_OK;
}

WatchPictures *watch_pictures_new(GstPad *pad, GstClockTime interval)
{
    WatchPictures *pictures = g_new0(WatchPictures, 1);

    g_mutex_init(&pictures->lock);
    g_queue_init(&pictures->kept);
    pictures->interval = interval;
    pictures->anchor = GST_CLOCK_TIME_NONE;
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, keep, pictures, NULL);
    return pictures;
}

void watch_pictures_free(WatchPictures *pictures)
{
    if (pictures != NULL) {
        g_queue_clear_full(&pictures->kept, (GDestroyNotify)gst_sample_unref);
        g_mutex_clear(&pictures->lock);
        g_free(pictures);
    }
}

static GstSample *find(WatchPictures *pictures, GstClockTime pts)
{
    GstSample *found = NULL;

    g_mutex_lock(&pictures->lock);
    for (GList *link = pictures->kept.head; link != NULL && found == NULL; link = link->next) {
        if (GST_BUFFER_PTS(gst_sample_get_buffer(link->data)) <= pts) {
            found = gst_sample_ref(link->data);
        }
    }
    g_mutex_unlock(&pictures->lock);
    return found;
}

static GstSample *make_jpeg(GstSample *frame, GError **error)
{
    GstCaps *caps = gst_caps_new_empty_simple("image/jpeg");
    GstSample *jpeg = gst_video_convert_sample(frame, caps, PATIENCE, error);

    gst_caps_unref(caps);
    return jpeg;
}

char *watch_pictures_save(WatchPictures *pictures, GstClockTime pts, const char *directory,
                          const char *camera, const char *time, GError **error)
{
    GstSample *frame = find(pictures, pts);
    GstMapInfo map;

    if (frame == NULL) {
        g_set_error(error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND,
                    "the picture is not kept any more: a caption took longer than %d samples",
                    N_KEPT);
        return NULL;
    }
    GstSample *jpeg = make_jpeg(frame, error);
    gst_sample_unref(frame);
    if (jpeg == NULL) {
        return NULL;
    }
    char *stamp = g_strdup(time);
    g_strdelimit(stamp, ":", '-');
    char *name = g_strdup_printf("%s-%s.jpg", camera, stamp);
    char *path = g_build_filename(directory, name, NULL);
    gst_buffer_map(gst_sample_get_buffer(jpeg), &map, GST_MAP_READ);
    /* Written beside and renamed: whoever watches the directory sees whole files. */
    if (!g_file_set_contents(path, (const char *)map.data, (gssize)map.size, error)) {
        g_clear_pointer(&path, g_free);
    }
    gst_buffer_unmap(gst_sample_get_buffer(jpeg), &map);
    gst_sample_unref(jpeg);
    g_free(name);
    g_free(stamp);
    return path;
}
