/*
 * The text_src pad in a bare bin, driven by hand, with a peer that writes a log.
 *
 * A log's lines are "stream", "caps", "segment START", "gap FROM+LENGTH", "text FROM+LENGTH WORDS",
 * "eos", "flush-start" and "flush-stop"; times in ms, in ns with that unit where not whole.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_TEXT_RIG_H
#define GST_FASTVLM_TEXT_RIG_H

#include "gstfastvlmtextpad.h"
#include "support.h"

#define QUIET_US (40 * G_TIME_SPAN_MILLISECOND)
#define MS GST_MSECOND
#define LIVE GST_CLOCK_TIME_NONE

typedef struct {
    GstElement *element; /* a bin, the pad's parent */
    GstFastvlmTextPad *pad;
    GstPad *peer;
    GstBus *bus;
    GMutex lock; /* for what follows */
    GCond cond;
    GPtrArray *log; /* char * */
    guint n_read;
    gboolean hold; /* buffers wait in the peer */
    guint n_held;
    GstFlowReturn flow;
    guint32 seqnum; /* of the last event */
    GstStreamFlags stream_flags;
    guint group_id;
} Rig;

/** Pad and peer are active, and linked but for the second. */
Rig *rig_new(void);
Rig *rig_new_unlinked(void);
void rig_link(Rig *rig);

/** Checks that nobody holds the pad. */
void rig_free(Rig *rig);

/** Makes the peer hold buffers until called with FALSE, or flushed. */
void rig_hold(Rig *rig, gboolean held);

/** Waits until the peer holds one. */
void rig_wait_held(Rig *rig);

/** The log's next line, or NULL if none comes within `timeout_us`. */
const char *rig_next_line(Rig *rig, gint64 timeout_us);

/** The log's next lines are these. */
void rig_expect(Rig *rig, ...) G_GNUC_NULL_TERMINATED;

/** No line comes for a little while. */
void rig_expect_quiet(Rig *rig);

/** Reads on until this line comes. */
void rig_await(Rig *rig, const char *line);

/** A stream from 0 on, its start read from the log. */
void rig_begin(Rig *rig);

void rig_set_segment(Rig *rig, double rate, GstClockTime start, GstClockTime stop,
                     GstClockTime base);

/** A frame of 40 ms. */
void rig_frame(Rig *rig, guint pts_ms);

/** `pts` may be LIVE. */
void rig_caption(Rig *rig, const char *text, GstClockTime pts, GstClockTime duration);

#endif
