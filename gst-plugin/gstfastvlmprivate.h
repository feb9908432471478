/*
 * What the element holds, and the functions its files lend each other.
 *
 *     gstfastvlmcaption.c    class, properties, pads, states
 *     gstfastvlmflow.c       the streaming thread: frames and events
 *     gstfastvlmnegotiate.c  caps, queries, events from downstream
 *     gstfastvlmtrigger.c    captions that somebody asks for
 *     gstfastvlmalerting.c   alerts
 *     gstfastvlmlooking.c    samples that look like the last one
 *     gstfastvlmpublish.c    the worker's thread: answers, messages, warnings
 *
 * Three locks, never held together but where said, and never while posting, emitting or pushing:
 * the object lock (settings, current answer, the seek seen last), text_lock (which pad text_src
 * is, and the stream that a new one starts with; the pad's own calls under it do not wait), and
 * those inside worker, stats, overlay and text pad.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_PRIVATE_H
#define GST_FASTVLM_PRIVATE_H

#include <gst/video/video.h>

#include "gstfastvlmalerts.h"
#include "gstfastvlmcaption.h"
#include "gstfastvlmoverlay.h"
#include "gstfastvlmsampler.h"
#include "gstfastvlmtextpad.h"
#include "gstfastvlmworker.h"

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN(gst_fastvlm_caption_debug);

/** Longest wait of an end of stream for a caption under way, mode live. */
#define GST_FASTVLM_EOS_WAIT_US (2 * G_TIME_SPAN_SECOND)

/** Time from one warning of a kind to the next. */
#define GST_FASTVLM_WARNING_INTERVAL_US (30 * G_TIME_SPAN_SECOND)

struct _GstFastvlmCaption {
    GstElement parent;

    GstPad *sink_pad;
    GstPad *src_pad;
    GstFastvlmStats *stats;
    GstFastvlmOverlay *overlay;

    /* Under the object lock. */
    GstFastvlmWorker *worker; /* NULL in READY and below */
    GstFastvlmSettings settings;
    guint64 settings_serial;       /* grows with every property that is set */
    GstFastvlmAnswer *current;     /* the last final one, or NULL */
    GstClockTime current_duration; /* its text buffer's */
    GPtrArray *requests;           /* of GstFastvlmRequest: they wait for a frame */
    GstFastvlmAlert alerts[GST_FASTVLM_MAX_PROMPTS]; /* one for each standing prompt */
    char *alert_on;                                  /* what they were judged by; NULL: not yet */
    guint32 seek_seqnum;                             /* GST_SEQNUM_INVALID: none yet */
    gboolean seek_result;
    gint64 last_final_us; /* monotonic; 0: none since the stream began */

    /* Under text_lock. */
    GMutex text_lock;
    GstFastvlmTextPad *text_pad; /* owned by the element's list of pads; NULL: none */
    gboolean has_stream;
    gboolean has_group_id;
    guint group_id;
    guint32 stream_seqnum;
    GstSegment text_segment; /* GST_FORMAT_UNDEFINED: none yet */
    guint32 segment_seqnum;
    GstClockTime text_pts; /* of the frame seen last, for a pad that comes while none moves */
    GstClockTime text_frame_duration;
    gboolean ended;
    guint32 eos_seqnum;

    /* Of the streaming thread. */
    GstSegment segment;
    GstVideoInfo info;
    GstCaps *caps; /* of the sink pad, or NULL */
    gboolean overlays;
    gboolean asked_live;
    GstClockTime last_pts;
    GstClockTime last_span; /* between the last two frames' PTS, or GST_CLOCK_TIME_NONE */
    GstFastvlmSampler sampler;
    GstFastvlmCopier *copier;
    GstFastvlmGrid *reference; /* how the last sample looked that went to the model; NULL: none */
    gint64 last_unchanged_us;  /* monotonic, of the message */
    gint64 last_crowd_us;      /* the same of the warning; 0: none yet */

    /* Of the worker's thread. */
    gint64 last_behind_us; /* of the warning; 0: none yet */
    gint64 last_failed_us;
    gint64 last_bad_end_us;
    gint64 last_over_us;
    char *last_failure;
    GstFastvlmAnswer *likeliest[GST_FASTVLM_MAX_PROMPTS]; /* of a frame's regions; NULL: none */
};

/* gstfastvlmcaption.c */

/** The worker, a reference of the caller's; NULL in READY and below. */
GstFastvlmWorker *gst_fastvlm_caption_get_worker(GstFastvlmCaption *self);

/* gstfastvlmflow.c */
GstFlowReturn gst_fastvlm_caption_chain(GstPad *pad, GstObject *parent, GstBuffer *buffer);
gboolean gst_fastvlm_caption_sink_event(GstPad *pad, GstObject *parent, GstEvent *event);

/** Everything of the streaming thread as before the first stream. */
void gst_fastvlm_caption_reset_flow(GstFastvlmCaption *self);

/* gstfastvlmnegotiate.c */
gboolean gst_fastvlm_caption_sink_query(GstPad *pad, GstObject *parent, GstQuery *query);
gboolean gst_fastvlm_caption_src_query(GstPad *pad, GstObject *parent, GstQuery *query);
gboolean gst_fastvlm_caption_src_event(GstPad *pad, GstObject *parent, GstEvent *event);
gboolean gst_fastvlm_caption_text_query(GstPad *pad, GstObject *parent, GstQuery *query);
gboolean gst_fastvlm_caption_text_event(GstPad *pad, GstObject *parent, GstEvent *event);
GstIterator *gst_fastvlm_caption_iterate_links(GstPad *pad, GstObject *parent);

/** Chooses and pushes the src pad's caps for the sink pad's. */
GstFlowReturn gst_fastvlm_caption_negotiate(GstFastvlmCaption *self);

/* gstfastvlmtrigger.c */

/** The custom event's name, up and down; its structure may have a string `prompt`. */
#define GST_FASTVLM_REQUEST_EVENT_NAME "fastvlm-caption-now"

/**
 * Asks for a caption of the next frame.
 *
 * @param prompt  NULL: the settings' prompts
 * @return the sequence that its caption will carry (of several prompts: the first); 0 where there can
 * be none: not PAUSED or PLAYING, the model failed, no UTF-8, too many wait
 */
guint64 gst_fastvlm_caption_request(GstFastvlmCaption *self, const char *prompt);

/** The requests that wait, the caller's; NULL: none. */
GPtrArray *gst_fastvlm_caption_take_requests(GstFastvlmCaption *self);

/** Takes `event` and asks for a caption, if it is one that does; FALSE otherwise. */
gboolean gst_fastvlm_caption_take_event(GstFastvlmCaption *self, GstEvent *event);

/* gstfastvlmlooking.c */

/**
 * Whether a sample looks like the last one captioned.
 *
 * @param regions  of it, or NULL: those of other types look different
 * @param look     out: how it looks, a reference for its sample; NULL where it is alike, or where looks do
 *                 not matter
 */
gboolean gst_fastvlm_caption_look(GstFastvlmCaption *self, GstBuffer *buffer,
                                  GstClockTime running_time, const GArray *regions,
                                  GstFastvlmGrid **look);

/** Says that the current caption holds for this frame too. */
void gst_fastvlm_caption_tell_unchanged(GstFastvlmCaption *self, GstClockTime pts,
                                        GstClockTime running_time, GstClockTime stream_time);

/** The next sample is captioned, however it looks. */
void gst_fastvlm_caption_forget_look(GstFastvlmCaption *self);

/* gstfastvlmalerting.c */

/**
 * A final answer to a standing prompt: an alert is raised, cleared, or neither. Answers about regions
 * wait for those about the frame's others: gst_fastvlm_caption_judge_regions().
 */
void gst_fastvlm_caption_judge_alert(GstFastvlmCaption *self, GstFastvlmAnswer *answer);

/** All regions of a frame have been answered: each prompt's alert goes by the most probable one. */
void gst_fastvlm_caption_judge_regions(GstFastvlmCaption *self);

/** Those answers are of no interest any more. */
void gst_fastvlm_caption_forget_regions(GstFastvlmCaption *self);

/** All is quiet, and nothing is said of it. */
void gst_fastvlm_caption_forget_alerts(GstFastvlmCaption *self);

/* gstfastvlmpublish.c */
extern const GstFastvlmWorkerFuncs gst_fastvlm_caption_worker_funcs;

/** The last final answer, a reference of the caller's, or NULL. */
GstFastvlmAnswer *gst_fastvlm_caption_get_current(GstFastvlmCaption *self);

/** Mode complete: the current caption goes on as text, for a frame that has none of its own. */
void gst_fastvlm_caption_prolong_text(GstFastvlmCaption *self, GstClockTime pts,
                                      GstClockTime duration);

/** A flush or READY: no trace of an earlier caption is left. */
void gst_fastvlm_caption_forget(GstFastvlmCaption *self);

/** A frame has `n_more` regions than are captioned: told of at most every 30 s. */
void gst_fastvlm_caption_warn_crowd(GstFastvlmCaption *self, guint n_more);

/** Mode complete behind a live source: told once. */
void gst_fastvlm_caption_warn_live(GstFastvlmCaption *self);

G_END_DECLS

#endif
