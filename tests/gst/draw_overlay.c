/*
 * Draws the pictures of captions that docs/images keeps: the overlay on one frame, as a PNG.
 *
 *     draw_overlay OUT.png WIDTH HEIGHT FONT-DESC TEXT
 *
 *     a painted scene -> gstfastvlmoverlay.c -> RGB -> PNG
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "gstfastvlmoverlay.h"

/* A quiet scene: sky, a sun, two hills. */
static void paint_pixel(gint x, gint y, gint width, gint height, guint8 *rgb)
{
    const double u = (double)x / width, v = (double)y / height;
    const double dx = (u - 0.72) * width / height, dy = v - 0.3;
    const double hill = 0.62 + 0.9 * (u - 0.25) * (u - 0.25),
                 far_hill = 0.5 + 0.5 * (u - 0.8) * (u - 0.8);
    guint8 color[3] = {(guint8)(90 + 90 * v), (guint8)(140 + 60 * v), (guint8)(210 - 20 * v)};

    if (dx * dx + dy * dy < 0.012) {
        memcpy(color, (guint8[]){250, 225, 120}, 3);
    }
    if (v > far_hill) {
        memcpy(color, (guint8[]){92, 132, 98}, 3);
    }
    if (v > hill) {
        memcpy(color, (guint8[]){66, 104, 58}, 3);
    }
    memcpy(rgb, color, 3);
}

static GstBuffer *paint_frame(const GstVideoInfo *info)
{
    GstBuffer *buffer = gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(info), NULL);
    GstVideoFrame frame;

    if (!gst_video_frame_map(&frame, info, buffer, GST_MAP_WRITE)) {
        return buffer;
    }
    for (gint y = 0; y < GST_VIDEO_INFO_HEIGHT(info); y++) {
        guint8 *row = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(&frame, 0) +
                      (gssize)y * GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0);

        for (gint x = 0; x < GST_VIDEO_INFO_WIDTH(info); x++) {
            paint_pixel(x, y, GST_VIDEO_INFO_WIDTH(info), GST_VIDEO_INFO_HEIGHT(info), row + 3 * x);
        }
    }
    gst_video_frame_unmap(&frame);
    return buffer;
}

static gboolean write_png(const char *path, const GstVideoInfo *info, GstBuffer *buffer)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)GST_VIDEO_INFO_WIDTH(info),
                       .height = (png_uint_32)GST_VIDEO_INFO_HEIGHT(info),
                       .format = PNG_FORMAT_RGB};
    GstVideoFrame frame;

    if (!gst_video_frame_map(&frame, info, buffer, GST_MAP_READ)) {
        return FALSE;
    }
    const gboolean ok =
        png_image_write_to_file(&image, path, 0, GST_VIDEO_FRAME_PLANE_DATA(&frame, 0),
                                GST_VIDEO_FRAME_PLANE_STRIDE(&frame, 0), NULL) != 0;
    gst_video_frame_unmap(&frame);
    return ok;
}

int main(int argc, char **argv)
{
    GstVideoInfo info;

    gst_init(NULL, NULL);
    if (argc != 6 ||
        !gst_video_info_set_format(&info, GST_VIDEO_FORMAT_RGB, (guint)strtoul(argv[2], NULL, 10),
                                   (guint)strtoul(argv[3], NULL, 10))) {
        g_printerr("usage: draw_overlay OUT.png WIDTH HEIGHT FONT-DESC TEXT\n");
        return 2;
    }
    GstFastvlmOverlay *overlay = gst_fastvlm_overlay_new();
    gst_fastvlm_overlay_set_font_desc(overlay, argv[4]);
    gst_fastvlm_overlay_set_video_info(overlay, &info, FALSE);
    gst_fastvlm_overlay_set_text(overlay, argv[5]);
    GstBuffer *frame = gst_fastvlm_overlay_apply(overlay, paint_frame(&info));
    const gboolean ok = write_png(argv[1], &info, frame);

    if (!ok) {
        g_printerr("draw_overlay: %s: cannot be written\n", argv[1]);
    }
    gst_buffer_unref(frame);
    gst_fastvlm_overlay_free(overlay);
    return ok ? 0 : 1;
}
