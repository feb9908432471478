/*
 * What the element counts and measures: the fields of its `stats` property.
 *
 *     frame, sample, caption -> counters, last caption's figures, the latest frames' time inside
 *
 * Thread-safe; locks are held for a few stores, so that the streaming thread may call in.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_STATS_H
#define GST_FASTVLM_STATS_H

#include <gst/gst.h>
#include <fastvlm/fastvlm.h>

#include "gstfastvlmmeta.h"

G_BEGIN_DECLS

/** Frames whose time inside is kept: a minute at 60 frames a second, and a bit. */
#define GST_FASTVLM_STATS_N_THROUGH 4096

typedef struct {
    GMutex lock;
    guint64 frames;   /* buffers that came in */
    guint64 sampled;  /* frames chosen by the grid */
    guint64 captions; /* final captions */
    guint64 skipped;  /* samples without a caption: a newer one came, a flush, the end, an error */
    guint64 unchanged;
    guint64 resolution; /* pixels */
    double encode_ms;
    double prefill_ms;
    double decode_tok_s;
    double ttft_ms;
    double age_ms;
    char *model;                                   /* the directory; NULL before it is loaded */
    char *precision;                               /* in use; NULL before it is loaded */
    float through_ms[GST_FASTVLM_STATS_N_THROUGH]; /* ring */
    guint64 n_through;                             /* ever written to the ring */
} GstFastvlmStats;

/** One field of the structure. */
typedef struct {
    const char *name;
    GType type;
    gsize offset; /* in GstFastvlmStats; G_MAXSIZE: computed when asked */
    const char *blurb;
} GstFastvlmStatsField;

/** The table that the property and its documentation are made from. */
const GstFastvlmStatsField *gst_fastvlm_stats_get_fields(guint *n_fields);

/** All zero, with one reference: element and worker hold one each. */
GstFastvlmStats *gst_fastvlm_stats_new(void);
GstFastvlmStats *gst_fastvlm_stats_ref(GstFastvlmStats *stats);
void gst_fastvlm_stats_unref(GstFastvlmStats *stats);

/** Back to zero, as at READY -> PAUSED. */
void gst_fastvlm_stats_reset(GstFastvlmStats *stats);

void gst_fastvlm_stats_add_frame(GstFastvlmStats *stats, gboolean sampled);
void gst_fastvlm_stats_add_skipped(GstFastvlmStats *stats, guint n_skipped);

/** A sample looked like the last one captioned. */
void gst_fastvlm_stats_add_unchanged(GstFastvlmStats *stats);

/** A frame left `inside` nanoseconds after it came in. */
void gst_fastvlm_stats_add_through(GstFastvlmStats *stats, GstClockTime inside);

/** A caption is final. */
void gst_fastvlm_stats_add_caption(GstFastvlmStats *stats, const FastvlmResult *result,
                                   const GstFastvlmAnswer *answer);

/** The model has been loaded. */
void gst_fastvlm_stats_set_model(GstFastvlmStats *stats, const char *path, const char *precision);

/** A new structure `fastvlm-stats`. */
GstStructure *gst_fastvlm_stats_to_structure(GstFastvlmStats *stats);

G_END_DECLS

#endif
