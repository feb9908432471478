/*
 * An answer of the model about one frame, and the two shapes it leaves the element in.
 *
 *     GstFastvlmAnswer -> table of fields -> GstStructure `fastvlm-caption` (bus, signal)
 *                                         -> GstFastvlmCaptionMeta (custom meta on buffers)
 *
 * The documentation of the fields is made from the same table. Answers are immutable once they are
 * published, and reference-counted.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_META_H
#define GST_FASTVLM_META_H

#include <gst/gst.h>

G_BEGIN_DECLS

/** The custom meta's name, which its structure has too. */
#define GST_FASTVLM_META_NAME "GstFastvlmCaptionMeta"

/** The name of the message's and the signal's structure. */
#define GST_FASTVLM_MESSAGE_NAME "fastvlm-caption"

/** One of the choices, and how probable it is. */
typedef struct {
    char *name;
    double probability;
} GstFastvlmChoice;

typedef struct {
    const char *type; /* "partial", "final", "unchanged"; static */
    char *text;       /* the model's, valid UTF-8 */
    char *prompt;     /* in force when the caption began */
    guint64 pts;      /* of the frame */
    guint64 running_time;
    guint64 stream_time;
    guint64 sequence;
    double confidence;
    guint tokens;
    double ttft_ms;
    double total_ms;
    double age_ms;
    guint resolution;    /* of the picture that the model saw, pixels */
    gboolean is_one_off; /* to a prompt that was asked for this frame alone */
    guint prompt_index;  /* among the prompts asked about each sample */
    GArray *choices;     /* of GstFastvlmChoice; NULL: any answer was allowed, or a partial */
    gboolean is_region;  /* about a part of the picture, the one that follows */
    guint region_index;  /* among the frame's regions */
    gint region_id;
    char *region_type;                            /* NULL where it is about the whole picture */
    guint region_x, region_y, region_w, region_h; /* pixels */
} GstFastvlmAnswer;

/** One field of message and meta. */
typedef struct {
    const char *name;
    GType type;   /* G_TYPE_BOXED: the choices, a GstValueArray */
    gsize offset; /* in GstFastvlmAnswer */
    const char *blurb;
} GstFastvlmAnswerField;

const GstFastvlmAnswerField *gst_fastvlm_answer_get_fields(guint *n_fields);

/** A new answer, all zero, with one reference; strings given to it are its own. */
GstFastvlmAnswer *gst_fastvlm_answer_new(void);
GstFastvlmAnswer *gst_fastvlm_answer_ref(GstFastvlmAnswer *answer);

/** Appends a choice; before the answer is published. */
void gst_fastvlm_answer_add_choice(GstFastvlmAnswer *answer, const char *name, double probability);

/** NULL is fine. */
void gst_fastvlm_answer_unref(GstFastvlmAnswer *answer);

/** All fields of `answer` in a new structure named `name`. */
GstStructure *gst_fastvlm_answer_to_structure(const GstFastvlmAnswer *answer, const char *name);

/** Registers the custom meta, once a process; thread-safe. */
void gst_fastvlm_meta_register(void);

/** Puts `answer` on `buffer`, which must be writable, in place of any that is there. */
void gst_fastvlm_meta_set(GstBuffer *buffer, const GstFastvlmAnswer *answer);

G_END_DECLS

#endif
