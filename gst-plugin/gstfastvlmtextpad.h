/*
 * The text_src pad: captions as a text stream that never makes downstream wait.
 *
 *     element: stream, segment, position of the video, captions, end -> this pad's own task
 *     task: stream-start, caps, segment, then GAPs and text buffers, then EOS -> peer
 *
 * No function here waits for downstream, so the video's streaming thread and the worker may call
 * them; only deactivating the pad joins its task. All are thread-safe. What is set before the pad
 * is active is kept until it is. The element sets the pad's event and query functions; activation
 * (and with it starting and stopping the task, and forgetting everything) belongs to the pad.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_TEXT_PAD_H
#define GST_FASTVLM_TEXT_PAD_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_FASTVLM_TEXT_PAD (gst_fastvlm_text_pad_get_type())
G_DECLARE_FINAL_TYPE(GstFastvlmTextPad, gst_fastvlm_text_pad, GST, FASTVLM_TEXT_PAD, GstPad)

/** Longest time between two pieces of news (text or GAP) while the video moves, ns. */
#define GST_FASTVLM_TEXT_GAP_INTERVAL (100 * GST_MSECOND)

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
 * A frame passes (or a GAP in the video): drives the GAPs.
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
 *                  GST_CLOCK_TIME_NONE: the video's position when it is pushed (mode live: waits
 *                  for the end of the one before; only the newest waits)
 * @param duration  time to the next one, ns; the pad holds live ones to 10 s
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

/** Pushes the current caption again in slices of this length, ns; 0: off. */
void gst_fastvlm_text_pad_set_repeat(GstFastvlmTextPad *pad, GstClockTime repeat);

G_END_DECLS

#endif
