/*
 * Copying and converting frames; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmframe.h"

#include <string.h>

/* One in the mailbox, one with the model, one being written. */
#define N_COPIES 3

/* Larger ones, beyond 8K in 8 bits, come to be with the first frame, if one ever comes. */
#define MAX_PREPARED_BYTES (64 << 20)

struct _GstFastvlmCopier {
    GstBufferPool *pool; /* NULL before the first frame */
    GstVideoInfo info;   /* of the pool's buffers */
};

struct _GstFastvlmViewer {
    GstVideoConverter *converter; /* NULL before the first frame that needs one */
    GstVideoInfo converter_info;  /* what it was made for */
    GstVideoInfo rgb_info;
    GstBuffer *rgb;
    GstVideoFrame mapped_in;
    GstVideoFrame mapped_out;
    gboolean converts; /* mapped_out is mapped too */
};

/* Formats that the engine reads as they are. Alpha is ignored, as a screen does. */
static const struct {
    GstVideoFormat from;
    FastvlmPixelFormat to;
} direct_formats[] = {
    {GST_VIDEO_FORMAT_RGB, FASTVLM_PIXEL_RGB},     {GST_VIDEO_FORMAT_BGR, FASTVLM_PIXEL_BGR},
    {GST_VIDEO_FORMAT_RGBx, FASTVLM_PIXEL_RGBX},   {GST_VIDEO_FORMAT_RGBA, FASTVLM_PIXEL_RGBX},
    {GST_VIDEO_FORMAT_BGRx, FASTVLM_PIXEL_BGRX},   {GST_VIDEO_FORMAT_BGRA, FASTVLM_PIXEL_BGRX},
    {GST_VIDEO_FORMAT_xRGB, FASTVLM_PIXEL_XRGB},   {GST_VIDEO_FORMAT_ARGB, FASTVLM_PIXEL_XRGB},
    {GST_VIDEO_FORMAT_xBGR, FASTVLM_PIXEL_XBGR},   {GST_VIDEO_FORMAT_ABGR, FASTVLM_PIXEL_XBGR},
    {GST_VIDEO_FORMAT_GRAY8, FASTVLM_PIXEL_GRAY8}, {GST_VIDEO_FORMAT_I420, FASTVLM_PIXEL_I420},
    {GST_VIDEO_FORMAT_YV12, FASTVLM_PIXEL_I420},   {GST_VIDEO_FORMAT_NV12, FASTVLM_PIXEL_NV12},
    {GST_VIDEO_FORMAT_NV21, FASTVLM_PIXEL_NV21},   {GST_VIDEO_FORMAT_Y42B, FASTVLM_PIXEL_Y42B},
    {GST_VIDEO_FORMAT_Y444, FASTVLM_PIXEL_Y444},   {GST_VIDEO_FORMAT_YUY2, FASTVLM_PIXEL_YUY2},
    {GST_VIDEO_FORMAT_UYVY, FASTVLM_PIXEL_UYVY}};

static const struct {
    GstVideoColorMatrix from;
    FastvlmColorMatrix to;
} matrices[] = {{GST_VIDEO_COLOR_MATRIX_BT601, FASTVLM_COLOR_BT601},
                {GST_VIDEO_COLOR_MATRIX_BT709, FASTVLM_COLOR_BT709},
                {GST_VIDEO_COLOR_MATRIX_BT2020, FASTVLM_COLOR_BT2020},
                {GST_VIDEO_COLOR_MATRIX_SMPTE240M, FASTVLM_COLOR_SMPTE240M},
                {GST_VIDEO_COLOR_MATRIX_FCC, FASTVLM_COLOR_FCC}};

void gst_fastvlm_frame_clear(GstFastvlmFrame *frame)
{
    gst_clear_buffer(&frame->buffer);
}

/* The visible part: all of the picture that the caps speak of, or what a crop meta says. */
static void set_visible(GstFastvlmFrame *frame, const GstVideoInfo *info, GstBuffer *buffer)
{
    const GstVideoCropMeta *crop = gst_buffer_get_video_crop_meta(buffer);
    const gint width = GST_VIDEO_INFO_WIDTH(&frame->info);
    const gint height = GST_VIDEO_INFO_HEIGHT(&frame->info);

    frame->x = frame->y = 0;
    frame->width = MIN(GST_VIDEO_INFO_WIDTH(info), width);
    frame->height = MIN(GST_VIDEO_INFO_HEIGHT(info), height);
    if (crop != NULL && crop->width > 0 && crop->height > 0 && crop->x < (guint)width &&
        crop->y < (guint)height) {
        frame->x = (gint)crop->x;
        frame->y = (gint)crop->y;
        frame->width = (gint)MIN(crop->width, (guint)width - crop->x);
        frame->height = (gint)MIN(crop->height, (guint)height - crop->y);
    }
}

/* What a layout made anew lacks: colours and the shape of pixels. */
static void copy_looks(GstVideoInfo *to, const GstVideoInfo *from)
{
    to->colorimetry = from->colorimetry;
    to->chroma_site = from->chroma_site;
    to->par_n = from->par_n;
    to->par_d = from->par_d;
}

/* `info` with the picture's size in `buffer`, where its video meta says another than the caps. */
static void size_info(GstVideoInfo *sized, const GstVideoInfo *info, GstBuffer *buffer)
{
    const GstVideoMeta *meta = gst_buffer_get_video_meta(buffer);

    *sized = *info;
    if (meta != NULL && (meta->width != (guint)GST_VIDEO_INFO_WIDTH(info) ||
                         meta->height != (guint)GST_VIDEO_INFO_HEIGHT(info))) {
        gst_video_info_set_interlaced_format(sized, GST_VIDEO_INFO_FORMAT(info),
                                             GST_VIDEO_INFO_INTERLACE_MODE(info), meta->width,
                                             meta->height);
        copy_looks(sized, info);
    }
}

void gst_fastvlm_frame_init_ref(GstFastvlmFrame *frame, const GstVideoInfo *info, GstBuffer *buffer)
{
    frame->buffer = gst_buffer_ref(buffer);
    size_info(&frame->info, info, buffer);
    set_visible(frame, info, buffer);
}

GstFastvlmCopier *gst_fastvlm_copier_new(void)
{
    return g_new0(GstFastvlmCopier, 1);
}

static void drop_pool(GstFastvlmCopier *copier)
{
    if (copier->pool != NULL) {
        gst_buffer_pool_set_active(copier->pool, FALSE);
        gst_clear_object(&copier->pool);
    }
}

void gst_fastvlm_copier_free(GstFastvlmCopier *copier)
{
    if (copier != NULL) {
        drop_pool(copier);
        g_free(copier);
    }
}

/* Writes the buffers of a new pool once. */
static void touch_pool(GstFastvlmCopier *copier, guint n_ready)
{
    GstBuffer *buffers[N_COPIES] = {NULL};

    for (guint i = 0; i < n_ready; i++) {
        if (gst_buffer_pool_acquire_buffer(copier->pool, &buffers[i], NULL) == GST_FLOW_OK) {
            gst_buffer_memset(buffers[i], 0, 0, (gsize)-1);
        }
    }
    for (guint i = 0; i < n_ready; i++) {
        gst_clear_buffer(&buffers[i]);
    }
}

/* Of a new pool `n_ready` buffers, 0 or N_COPIES, are there from the start. */
static gboolean ensure_pool(GstFastvlmCopier *copier, const GstVideoInfo *info, guint n_ready)
{
    if (copier->pool != NULL && gst_video_info_is_equal(&copier->info, info)) {
        return TRUE;
    }
    drop_pool(copier);
    copier->pool = gst_video_buffer_pool_new();
    copier->info = *info;

    GstStructure *config = gst_buffer_pool_get_config(copier->pool);
    GstCaps *caps = gst_video_info_to_caps(info);
    /* A row more than the layout asks for: see has_field_row(). */
    const guint n_bytes =
        (guint)GST_VIDEO_INFO_SIZE(info) + (guint)GST_VIDEO_INFO_PLANE_STRIDE(info, 0);
    gst_buffer_pool_config_set_params(config, caps, n_bytes, n_ready, 0);
    gst_caps_unref(caps);
    if (!gst_buffer_pool_set_config(copier->pool, config) ||
        !gst_buffer_pool_set_active(copier->pool, TRUE)) {
        gst_clear_object(&copier->pool);
        return FALSE;
    }
    touch_pool(copier, n_ready);
    return TRUE;
}

/* Bytes of a row of `plane` that hold pixels. gst_video_frame_copy() asks the first component
 * alone, and so loses the last V of a YUY2 row of odd width. */
static gint get_row_bytes(const GstVideoFrame *frame, guint plane)
{
    gint n_bytes = 0;

    for (guint i = 0; i < GST_VIDEO_FRAME_N_COMPONENTS(frame); i++) {
        if (GST_VIDEO_FORMAT_INFO_PLANE(frame->info.finfo, i) == plane) {
            n_bytes = MAX(n_bytes, GST_VIDEO_FRAME_COMP_WIDTH(frame, i) *
                                       GST_VIDEO_FRAME_COMP_PSTRIDE(frame, i));
        }
    }
    return n_bytes;
}

/* Rows of `plane`: those of any component in it. */
static gint get_n_rows(const GstVideoFrame *frame, guint plane)
{
    gint n_rows = 0;

    for (guint i = 0; i < GST_VIDEO_FRAME_N_COMPONENTS(frame); i++) {
        if (GST_VIDEO_FORMAT_INFO_PLANE(frame->info.finfo, i) == plane) {
            n_rows = MAX(n_rows, GST_VIDEO_FRAME_COMP_HEIGHT(frame, i));
        }
    }
    return n_rows;
}

/* Interlaced chroma comes in pairs of rows, one a field: where the picture has an odd number of them
 * converters read one more. The source need not have it, and not every layout has (1.22: P010). */
static gboolean has_field_row(const GstVideoFrame *frame, guint plane, gint n_rows)
{
    return GST_VIDEO_INFO_IS_INTERLACED(&frame->info) && plane > 0 && n_rows % 2 == 1 &&
           n_rows > 2 && GST_VIDEO_FORMAT_INFO_H_SUB(frame->info.finfo, plane) > 0;
}

/* Frames of one format and size, whatever their strides; `to` is laid out by GStreamer. */
static void copy_plane(GstVideoFrame *to, const GstVideoFrame *from, guint plane)
{
    const gint to_stride = GST_VIDEO_FRAME_PLANE_STRIDE(to, plane);
    const gint from_stride = GST_VIDEO_FRAME_PLANE_STRIDE(from, plane);
    const gint n_bytes = MIN(get_row_bytes(to, plane), MIN(ABS(to_stride), ABS(from_stride)));
    const gint n_rows = get_n_rows(to, plane);
    guint8 *out = GST_VIDEO_FRAME_PLANE_DATA(to, plane);
    const guint8 *in = GST_VIDEO_FRAME_PLANE_DATA(from, plane);

    for (gint y = 0; y < n_rows; y++) {
        memcpy(out + (gssize)y * to_stride, in + (gssize)y * from_stride, (gsize)n_bytes);
    }
    if (has_field_row(to, plane, n_rows)) {
        memcpy(out + (gssize)n_rows * to_stride, out + (gssize)(n_rows - 2) * to_stride,
               (gsize)n_bytes);
    }
}

static gboolean copy_pixels(const GstVideoInfo *info, GstBuffer *from, const GstVideoInfo *to_info,
                            GstBuffer *to)
{
    GstVideoFrame in, out;

    if (!gst_video_frame_map(&in, info, from, GST_MAP_READ)) {
        return FALSE;
    }
    const gboolean ok = gst_video_frame_map(&out, to_info, to, GST_MAP_WRITE);
    if (ok) {
        for (guint plane = 0; plane < GST_VIDEO_FRAME_N_PLANES(&out); plane++) {
            copy_plane(&out, &in, plane);
        }
        gst_video_frame_unmap(&out);
    }
    gst_video_frame_unmap(&in);
    return ok;
}

/* The caps' layout may come with strides of its own; the copy's is the plain one. */
static gboolean pack_info(GstVideoInfo *packed, const GstVideoInfo *info)
{
    if (!gst_video_info_set_interlaced_format(
            packed, GST_VIDEO_INFO_FORMAT(info), GST_VIDEO_INFO_INTERLACE_MODE(info),
            (guint)GST_VIDEO_INFO_WIDTH(info), (guint)GST_VIDEO_INFO_HEIGHT(info))) {
        return FALSE;
    }
    copy_looks(packed, info);
    return TRUE;
}

void gst_fastvlm_copier_prepare(GstFastvlmCopier *copier, const GstVideoInfo *info)
{
    GstVideoInfo packed;

    if (pack_info(&packed, info) && GST_VIDEO_INFO_SIZE(&packed) <= MAX_PREPARED_BYTES) {
        ensure_pool(copier, &packed, N_COPIES);
    }
}

gboolean gst_fastvlm_copier_copy(GstFastvlmCopier *copier, const GstVideoInfo *info,
                                 GstBuffer *buffer, GstFastvlmFrame *frame)
{
    GstVideoInfo sized, packed;
    GstBuffer *copy = NULL;

    size_info(&sized, info, buffer);
    if (!pack_info(&packed, &sized) || !ensure_pool(copier, &packed, 0) ||
        gst_buffer_pool_acquire_buffer(copier->pool, &copy, NULL) != GST_FLOW_OK) {
        return FALSE;
    }
    if (!copy_pixels(info, buffer, &packed, copy)) {
        gst_buffer_unref(copy);
        return FALSE;
    }
    /* Field order and, in mixed streams, whether there are fields at all. */
    gst_buffer_copy_into(copy, buffer, GST_BUFFER_COPY_FLAGS, 0, (gsize)-1);
    frame->buffer = copy;
    frame->info = packed;
    set_visible(frame, info, buffer);
    return TRUE;
}

GstFastvlmViewer *gst_fastvlm_viewer_new(void)
{
    return g_new0(GstFastvlmViewer, 1);
}

void gst_fastvlm_viewer_free(GstFastvlmViewer *viewer)
{
    if (viewer == NULL) {
        return;
    }
    g_clear_pointer(&viewer->converter, gst_video_converter_free);
    gst_clear_buffer(&viewer->rgb);
    g_free(viewer);
}

static gboolean find_format(GstVideoFormat from, FastvlmPixelFormat *to)
{
    for (gsize i = 0; i < G_N_ELEMENTS(direct_formats); i++) {
        if (direct_formats[i].from == from) {
            *to = direct_formats[i].to;
            return TRUE;
        }
    }
    return FALSE;
}

/* Whether the engine knows how these samples become RGB. */
static gboolean find_colors(const GstVideoInfo *info, FastvlmImage *image)
{
    const GstVideoColorRange range = info->colorimetry.range;

    image->range =
        range == GST_VIDEO_COLOR_RANGE_16_235 ? FASTVLM_COLOR_LIMITED : FASTVLM_COLOR_FULL;
    if (GST_VIDEO_INFO_IS_RGB(info)) {
        return image->range == FASTVLM_COLOR_FULL;
    }
    if (GST_VIDEO_INFO_IS_GRAY(info)) {
        return TRUE;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(matrices); i++) {
        if (matrices[i].from == info->colorimetry.matrix) {
            image->matrix = matrices[i].to;
            return range != GST_VIDEO_COLOR_RANGE_UNKNOWN;
        }
    }
    return FALSE;
}

/* Whether rows and columns that share chroma are the neighbours that the engine takes them for: not
 * those of fields, nor where the visible part begins amid them. */
static gboolean is_chroma_plain(const GstFastvlmFrame *frame)
{
    const GstVideoFormatInfo *format = frame->info.finfo;

    if (GST_VIDEO_FORMAT_INFO_N_COMPONENTS(format) < 3) {
        return TRUE;
    }
    const guint w_sub = GST_VIDEO_FORMAT_INFO_W_SUB(format, 1);
    const guint h_sub = GST_VIDEO_FORMAT_INFO_H_SUB(format, 1);
    return frame->x >> w_sub << w_sub == frame->x && frame->y >> h_sub << h_sub == frame->y &&
           (h_sub == 0 || !GST_VIDEO_INFO_IS_INTERLACED(&frame->info));
}

/* Whether the engine can read the frame as it is; then `image` has all but sizes and planes. */
static gboolean find_direct(const GstFastvlmFrame *frame, FastvlmImage *image)
{
    return find_format(GST_VIDEO_INFO_FORMAT(&frame->info), &image->format) &&
           find_colors(&frame->info, image) && is_chroma_plain(frame);
}

static gboolean ensure_converter(GstFastvlmViewer *viewer, const GstFastvlmFrame *frame)
{
    const GstVideoInfo *info = &frame->info;

    if (viewer->converter != NULL && gst_video_info_is_equal(&viewer->converter_info, info)) {
        return TRUE;
    }
    g_clear_pointer(&viewer->converter, gst_video_converter_free);
    gst_clear_buffer(&viewer->rgb);
    /* The converter neither deinterlaces nor changes rates, and wants both sides to agree. All of the
     * picture: where a part begins amid shared chroma the converter would begin elsewhere. */
    if (!gst_video_info_set_interlaced_format(
            &viewer->rgb_info, GST_VIDEO_FORMAT_RGB, GST_VIDEO_INFO_INTERLACE_MODE(info),
            (guint)GST_VIDEO_INFO_WIDTH(info), (guint)GST_VIDEO_INFO_HEIGHT(info))) {
        return FALSE;
    }
    viewer->rgb_info.fps_n = info->fps_n;
    viewer->rgb_info.fps_d = info->fps_d;
    viewer->converter = gst_video_converter_new(
        info, &viewer->rgb_info,
        gst_structure_new("options", GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
                          GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE, NULL));
    if (viewer->converter == NULL) {
        return FALSE;
    }
    viewer->rgb = gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(&viewer->rgb_info), NULL);
    viewer->converter_info = *info;
    return viewer->rgb != NULL;
}

static const guint8 *find_pixel(const GstVideoFrame *mapped, guint component, gint x, gint y)
{
    const GstVideoFormatInfo *format = mapped->info.finfo;
    const gint column = x >> GST_VIDEO_FORMAT_INFO_W_SUB(format, component);
    const gint row = y >> GST_VIDEO_FORMAT_INFO_H_SUB(format, component);

    return (const guint8 *)GST_VIDEO_FRAME_COMP_DATA(mapped, component) -
           GST_VIDEO_FRAME_COMP_POFFSET(mapped, component) +
           (gssize)row * GST_VIDEO_FRAME_COMP_STRIDE(mapped, component) +
           (gssize)column * GST_VIDEO_FRAME_COMP_PSTRIDE(mapped, component);
}

/* The planes of `image`, whose format is set, from pixel x, y on. */
static void find_planes(const GstVideoFrame *mapped, gint x, gint y, FastvlmImage *image)
{
    image->stride = GST_VIDEO_FRAME_COMP_STRIDE(mapped, 0);
    image->data = find_pixel(mapped, 0, x, y);
    if (GST_VIDEO_INFO_IS_RGB(&mapped->info) || GST_VIDEO_FRAME_N_PLANES(mapped) == 1) {
        return;
    }
    /* Components are Y, U, V in this order, whichever way the planes are; of two that alternate
     * either leads to their plane. */
    for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES(mapped) - 1; i++) {
        image->chroma[i] = find_pixel(mapped, i + 1, x, y);
        image->chroma_stride[i] = GST_VIDEO_FRAME_COMP_STRIDE(mapped, i + 1);
    }
}

/* Size and shape of what is visible. */
static void find_shape(const GstFastvlmFrame *frame, FastvlmImage *image)
{
    const gint par_n = GST_VIDEO_INFO_PAR_N(&frame->info);
    const gint par_d = GST_VIDEO_INFO_PAR_D(&frame->info);

    image->width = frame->width;
    image->height = frame->height;
    if (par_n > 0 && par_d > 0) {
        image->pixel_aspect_width = par_n;
        image->pixel_aspect_height = par_d;
    }
}

static gboolean open_converted(GstFastvlmViewer *viewer, const GstFastvlmFrame *frame,
                               FastvlmImage *image)
{
    if (!ensure_converter(viewer, frame) ||
        !gst_video_frame_map(&viewer->mapped_out, &viewer->rgb_info, viewer->rgb,
                             GST_MAP_READWRITE)) {
        return FALSE;
    }
    gst_video_converter_frame(viewer->converter, &viewer->mapped_in, &viewer->mapped_out);
    image->format = FASTVLM_PIXEL_RGB;
    find_planes(&viewer->mapped_out, frame->x, frame->y, image);
    viewer->converts = TRUE;
    return TRUE;
}

gboolean gst_fastvlm_viewer_open(GstFastvlmViewer *viewer, const GstFastvlmFrame *frame,
                                 FastvlmImage *image)
{
    *image = (FastvlmImage){0};
    viewer->converts = FALSE;
    if (!gst_video_frame_map(&viewer->mapped_in, &frame->info, frame->buffer, GST_MAP_READ)) {
        return FALSE;
    }
    find_shape(frame, image);
    if (find_direct(frame, image)) {
        find_planes(&viewer->mapped_in, frame->x, frame->y, image);
        return TRUE;
    }
    if (!open_converted(viewer, frame, image)) {
        gst_video_frame_unmap(&viewer->mapped_in);
        return FALSE;
    }
    return TRUE;
}

void gst_fastvlm_viewer_close(GstFastvlmViewer *viewer)
{
    if (viewer->converts) {
        gst_video_frame_unmap(&viewer->mapped_out);
    }
    gst_video_frame_unmap(&viewer->mapped_in);
    viewer->converts = FALSE;
}
