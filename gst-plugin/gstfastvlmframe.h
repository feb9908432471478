/*
 * Frames on their way to the model.
 *
 *     live, streaming thread: GstBuffer -> copier -> GstFastvlmFrame (raw copy in a pooled buffer)
 *     complete: GstBuffer -> GstFastvlmFrame (a reference: the streaming thread waits)
 *     worker thread: GstFastvlmFrame -> viewer -> FastvlmImage
 *
 * The engine reads most formats as they are. What it does not (10 bits, limited range in RGB, chroma
 * of fields, a visible part that begins amid shared chroma) GstVideoConverter makes RGB of first.
 * Copying a 1080p I420 frame takes 0.2 to 0.3 ms; converting it takes tens of times that, so the
 * streaming thread never does.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_FRAME_H
#define GST_FASTVLM_FRAME_H

#include <gst/video/video.h>
#include <fastvlm/image.h>

G_BEGIN_DECLS

/** A frame and how to read it. */
typedef struct {
    GstBuffer *buffer; /* owned */
    GstVideoInfo info; /* of the whole picture in `buffer` */
    gint x, y;         /* the visible part, pixels */
    gint width, height;
} GstFastvlmFrame;

/** Frees what `frame` owns. */
void gst_fastvlm_frame_clear(GstFastvlmFrame *frame);

/** Takes a reference to `buffer` as it is. */
void gst_fastvlm_frame_init_ref(GstFastvlmFrame *frame, const GstVideoInfo *info,
                                GstBuffer *buffer);

/** Copies frames into buffers of its own pool; one thread at a time. */
typedef struct _GstFastvlmCopier GstFastvlmCopier;

GstFastvlmCopier *gst_fastvlm_copier_new(void);

/**
 * Has memory for copies of frames with these caps at hand, every page of it touched: to have a 1080p frame's
 * worth of pages mapped takes many times as long as to copy it, and longest on a busy machine.
 */
void gst_fastvlm_copier_prepare(GstFastvlmCopier *copier, const GstVideoInfo *info);

/** Frees `copier`; frames made by it live on. NULL is fine. */
void gst_fastvlm_copier_free(GstFastvlmCopier *copier);

/** Copies `buffer` into `frame`; FALSE where it cannot be mapped or memory is out. */
gboolean gst_fastvlm_copier_copy(GstFastvlmCopier *copier, const GstVideoInfo *info,
                                 GstBuffer *buffer, GstFastvlmFrame *frame);

/** Shows frames to the engine; one thread at a time. */
typedef struct _GstFastvlmViewer GstFastvlmViewer;

GstFastvlmViewer *gst_fastvlm_viewer_new(void);

/** NULL is fine. */
void gst_fastvlm_viewer_free(GstFastvlmViewer *viewer);

/**
 * Views `frame` as an image with its own matrix, range and pixel aspect. The image is valid, and
 * `frame` must live, until gst_fastvlm_viewer_close().
 *
 * @return FALSE where the frame cannot be mapped or converted; then there is nothing to close
 */
gboolean gst_fastvlm_viewer_open(GstFastvlmViewer *viewer, const GstFastvlmFrame *frame,
                                 FastvlmImage *image);
void gst_fastvlm_viewer_close(GstFastvlmViewer *viewer);

G_END_DECLS

#endif
