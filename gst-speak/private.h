/*
 * The element's state, shared by its two files: gstfastvlmspeak.c has class, properties, states,
 * events; stream.c makes the audio stream.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef GST_FASTVLM_SPEAK_PRIVATE_H
#define GST_FASTVLM_SPEAK_PRIVATE_H

#include "gstfastvlmspeak.h"
#include "speech.h"
#include "voice.h"

G_BEGIN_DECLS

GST_DEBUG_CATEGORY_EXTERN(gst_fastvlm_speak_debug);

/** A buffer of the stream that follows the clock, ms; and what its latency query answers, ns. */
#define GST_FASTVLM_SPEAK_CHUNK_MS 20
#define GST_FASTVLM_SPEAK_LATENCY (2 * GST_FASTVLM_SPEAK_CHUNK_MS * GST_MSECOND)

struct _GstFastvlmSpeak {
    GstElement parent;
    GstPad *sink, *src;

    /* Properties, under the object lock. */
    GstFastvlmVoice voice;
    GstFastvlmSpeakTiming wanted_timing;
    guint max_length;

    GMutex lock; /* all below; never held while something is pushed */
    GCond changed;
    GstFastvlmSpeech *speech; /* NULL up to READY */
    guint rate;
    GstFastvlmSpeakTiming timing; /* AUTO: not known yet */
    gboolean playing, flushing, eos;
    gboolean stream_sent, segment_due;
    gboolean discont;
    guint group_id;
    gboolean has_group_id;
    GstSegment segment;    /* of the audio */
    GstClockTime origin;   /* time of sample 0; NONE: not begun */
    guint64 n_samples;     /* since origin */
    GstClockID wait;       /* of the clock's task */
    GstFlowReturn flow;    /* what src returned last */
    gboolean voice_failed; /* said once */
};

/** Decides between clock and text where that is open; starts the clock's task where it is due. */
void gst_fastvlm_speak_settle_timing(GstFastvlmSpeak *self);

/** The text's position: audio up to there. Does nothing where the clock leads. */
GstFlowReturn gst_fastvlm_speak_advance(GstFastvlmSpeak *self, GstClockTime to);

/** Audio until all is said (text leads). */
GstFlowReturn gst_fastvlm_speak_finish(GstFastvlmSpeak *self);

/** Stream-start and caps, once. */
void gst_fastvlm_speak_send_stream(GstFastvlmSpeak *self);

/** Forgets speech and position: a flush, or a new start. With the lock held. */
void gst_fastvlm_speak_restart(GstFastvlmSpeak *self);

/** Lets the task and whoever waits see what changed. With the lock held. */
void gst_fastvlm_speak_wake(GstFastvlmSpeak *self);

G_END_DECLS

#endif
