/*
 * The text_src pad: captions as a text stream that never makes downstream wait.
 *
 *     element: stream, segment, position of the video, captions, end -> this pad's own task
 *     task: stream-start, caps, segment, then GAPs and text buffers, then EOS -> peer
 *
 * What comes out, in the order of the segment (`end` is the end of the frame seen last, which is
 * the position of the video):
 *
 *     caption with a PTS    buffer at its PTS, at once          (mode complete)
 *     caption without one   buffer at `end`, once that has reached the end of the buffer before;
 *                           while one waits, a newer one takes its place      (mode live)
 *     after each buffer     GAP at its end, of no length: a muxer need not wait for text until then
 *     frame not covered     GAP up to `end`, one a frame: textoverlay lets a frame pass only when
 *                           the text's position is past the frame's start
 *     text-repeat           the current caption again, in slices of this length
 *
 * Buffers never overlap. A caption that is empty once made harmless yields none and ends a
 * repetition. While nothing is linked the newest caption is kept, and pushed when something is.
 *
 * No function here waits for downstream, so the video's streaming thread and the worker may call
 * them; only deactivating the pad joins its task (and flushes the peer if that holds the task up),
 * and flush_stop() lets a push under way return, which a flush does. All are thread-safe. What is
 * set before the pad is active is kept until it is; deactivating it forgets everything but the
 * repetition. The element sets the pad's event and query functions.
 *
 * The video is never stopped by this pad: not-linked, flushing and EOS from downstream are no
 * errors; any other flow error is posted by the element on the bus.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_TEXT_PAD_H
#define GST_FASTVLM_TEXT_PAD_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_FASTVLM_TEXT_PAD (gst_fastvlm_text_pad_get_type())
G_DECLARE_FINAL_TYPE(GstFastvlmTextPad, gst_fastvlm_text_pad, GST, FASTVLM_TEXT_PAD, GstPad)

/** Duration of a caption whose own is not known, ns. */
#define GST_FASTVLM_TEXT_DEFAULT_DURATION (100 * GST_MSECOND)

/** Longest duration of a live caption, ns. */
#define GST_FASTVLM_TEXT_MAX_DURATION (10 * GST_SECOND)

/** The pad named text_src of `templ`, floating. */
GstFastvlmTextPad *gst_fastvlm_text_pad_new(GstPadTemplate *templ);

/**
 * A video stream begins: stream-start (sparse, its own stream id, `group_id` where `has_group_id`)
 * and caps go before whatever follows.
 */
void gst_fastvlm_text_pad_set_stream(GstFastvlmTextPad *pad, gboolean has_group_id, guint group_id,
                                     guint32 seqnum);

/** The video's segment, in time; captions queued before belong to the one before. */
void gst_fastvlm_text_pad_set_segment(GstFastvlmTextPad *pad, const GstSegment *segment,
                                      guint32 seqnum);

/**
 * A frame passes (or a GAP in the video): drives the GAPs and the live captions. In mode complete,
 * to be called after its caption was queued.
 *
 * @param pts       in the video's segment; GST_CLOCK_TIME_NONE is ignored
 * @param duration  of the frame, or GST_CLOCK_TIME_NONE
 */
void gst_fastvlm_text_pad_set_position(GstFastvlmTextPad *pad, GstClockTime pts,
                                       GstClockTime duration);

/**
 * Queues a caption. Its text is the model's; the pad makes it fit for muxers.
 *
 * @param pts       of its frame (mode complete: every one is pushed, in order), or
 *                  GST_CLOCK_TIME_NONE: the video's position when it is pushed (mode live)
 * @param duration  time to the next one, ns; of the segment's time with a PTS, of running time
 *                  without, and then at most GST_FASTVLM_TEXT_MAX_DURATION is used; 0 or
 *                  GST_CLOCK_TIME_NONE: GST_FASTVLM_TEXT_DEFAULT_DURATION
 */
void gst_fastvlm_text_pad_push_caption(GstFastvlmTextPad *pad, const char *text, GstClockTime pts,
                                       GstClockTime duration);

/** The video has ended: whatever is queued goes out, then EOS. */
void gst_fastvlm_text_pad_eos(GstFastvlmTextPad *pad, guint32 seqnum);

/** Pushes `event` (FLUSH_START, transfer full) at once and drops what is queued. */
void gst_fastvlm_text_pad_flush_start(GstFastvlmTextPad *pad, GstEvent *event);

/**
 * Pushes `event` (FLUSH_STOP, transfer full); forgets the current caption, the position, and, where
 * the event resets time, the segment.
 */
void gst_fastvlm_text_pad_flush_stop(GstFastvlmTextPad *pad, GstEvent *event);

/** Pushes the current caption again in slices of this length, ns of running time; 0: off. */
void gst_fastvlm_text_pad_set_repeat(GstFastvlmTextPad *pad, GstClockTime repeat);

G_END_DECLS

#endif
