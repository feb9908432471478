/*
 * What goes into the text stream next: captions, GAPs and events in their order and times.
 *
 *     stream, segment, captions, end -> in order      a live caption -> one place, newest wins
 *     position of the video -> GAPs, and when the live caption's turn has come
 *     -> one batch at a time: events, or a text buffer with the GAP at its end
 *
 * The text pad's rules (gstfastvlmtextpad.h), without its task: no locks, nothing is pushed here.
 *
 * Times are kept as marks: the segment's time, negated where it is played backwards, so that a
 * later mark is always played later. Times beyond 36 years are taken for nonsense.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_TEXT_TRACK_H
#define GST_FASTVLM_TEXT_TRACK_H

#include <gst/gst.h>

G_BEGIN_DECLS

typedef gint64 GstFastvlmMark;
typedef struct _GstFastvlmTextItem GstFastvlmTextItem;

/** What is pushed in one go; the objects are the receiver's. */
typedef struct {
    GstMiniObject *objects[2];
    guint n_objects;
    GstFastvlmMark covered; /* of the track before its text was taken, where there is text */
} GstFastvlmTextBatch;

typedef struct {
    GQueue items;                /* GstFastvlmTextItem, in order */
    GstFastvlmTextItem *waiting; /* the newest live caption, or NULL */
    GstClockTime repeat;
    gboolean announce; /* say again how far the text is */
    gboolean ended;    /* EOS was taken */

    GstSegment latest; /* set last; what frame_pts is in */
    guint32 latest_seqnum;
    GstClockTime frame_pts; /* NONE: no frame of this segment yet */
    GstClockTime frame_duration;

    GstSegment segment; /* taken last; what the marks are in */
    guint32 segment_seqnum;
    GstFastvlmMark covered;   /* the end of what was taken, text or GAP */
    GstFastvlmMark text_end;  /* of the last buffer */
    gboolean text_is_foreign; /* that one was of an earlier segment */
    char *current;            /* the text of the last caption taken, or NULL */
    GstFastvlmMark current_end;
    GstClockTime current_duration;
    gboolean undelivered; /* the current one was not heard */
} GstFastvlmTextTrack;

/** `track` is all zeros, or in use: as new, but for the repetition. */
void gst_fastvlm_text_track_reset(GstFastvlmTextTrack *track);

/** The calls of the text pad's that have the same names. */
void gst_fastvlm_text_track_set_stream(GstFastvlmTextTrack *track, gboolean has_group_id,
                                       guint group_id, guint32 seqnum);
void gst_fastvlm_text_track_set_segment(GstFastvlmTextTrack *track, const GstSegment *segment,
                                        guint32 seqnum);
void gst_fastvlm_text_track_set_position(GstFastvlmTextTrack *track, GstClockTime pts,
                                         GstClockTime duration);
void gst_fastvlm_text_track_push_caption(GstFastvlmTextTrack *track, const char *text,
                                         GstClockTime pts, GstClockTime duration);
void gst_fastvlm_text_track_eos(GstFastvlmTextTrack *track, guint32 seqnum);

/** FLUSH_START: what is queued goes, but for stream and segment. */
void gst_fastvlm_text_track_flush_start(GstFastvlmTextTrack *track);

/** FLUSH_STOP. */
void gst_fastvlm_text_track_flush_stop(GstFastvlmTextTrack *track, gboolean reset_time);

/**
 * Takes what is to be pushed now.
 *
 * @param pad    whose parent a stream's id is made with; nothing is taken before there is one
 * @param batch  empty; filled on TRUE
 */
gboolean gst_fastvlm_text_track_take(GstFastvlmTextTrack *track, GstPad *pad,
                                     GstFastvlmTextBatch *batch);

/**
 * What became of a batch that had text in it.
 *
 * @param delivered  downstream took it
 * @param heard      somebody was there to hear it
 */
void gst_fastvlm_text_track_note(GstFastvlmTextTrack *track, const GstFastvlmTextBatch *batch,
                                 gboolean delivered, gboolean heard);

G_END_DECLS

#endif
