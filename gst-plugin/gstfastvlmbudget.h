/*
 * Which resolution keeps captions young enough on this machine, as it is now.
 *
 *     age of a sample's last caption, and how much of it went into the picture -> what it would have
 *     been at other resolutions -> the largest that fits, for the next sample
 *
 * The ladder is the model's own resolution and 3/4, 1/2, 3/8 and 1/4 of it; the picture's part of the
 * work goes with the area, and so, far more slowly, do answers get worse: with half the side the
 * released models lose some 5 points of 64 where they read text (TextVQA), and the encoder takes a
 * quarter of the time.
 *
 * The first sample takes the lowest rung, which measures the machine while it keeps the budget; the
 * second the rung that follows from it. From then on two samples over the budget in a row, or one far
 * over it, lead down; several in a row after which the next rung would have fitted with room to spare
 * lead up, and each time that turns out to be too much it takes twice as many. Pure logic, no locks.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef GST_FASTVLM_BUDGET_H
#define GST_FASTVLM_BUDGET_H

#include <glib.h>

G_BEGIN_DECLS

#define GST_FASTVLM_BUDGET_MAX_RUNGS 5

/** Zeros to begin with. */
typedef struct {
    guint budget_ms;
    guint own;                                 /* pixels: the model's resolution */
    guint rungs[GST_FASTVLM_BUDGET_MAX_RUNGS]; /* pixels, rising */
    guint n_rungs;
    guint rung;
    gboolean is_measured;
    guint n_over;     /* samples in a row over the budget */
    guint n_room;     /* samples in a row with room for the next rung */
    guint patience;   /* n_room that leads up */
    guint n_on_rung;  /* samples since the last change of rung */
    gboolean climbed; /* that change led up */
} GstFastvlmBudget;

/**
 * The resolution for the next sample.
 *
 * @param budget_ms  not 0; another than before begins anew
 * @param own        the model's own resolution, pixels; the same
 */
guint gst_fastvlm_budget_choose(GstFastvlmBudget *budget, guint budget_ms, guint own);

/**
 * A sample has been captioned at the resolution chosen last.
 *
 * @param age_ms      from its arrival to its last caption
 * @param picture_ms  what of this goes with the picture's area: encoding and prompt
 * @return FALSE where it was too old at the lowest resolution there is, twice in a row
 */
gboolean gst_fastvlm_budget_note(GstFastvlmBudget *budget, double age_ms, double picture_ms);

G_END_DECLS

#endif
