/*
 * Samples that look like the last one captioned: of the streaming thread.
 *
 *     sample on the grid -> like the reference, of regions of the same types, and that not too old
 *                        -> message `unchanged`
 *                        -> else: captioned, and the reference from now on
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmprivate.h"

#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

/* Messages of this kind are no more frequent. */
#define NEWS_INTERVAL_US (200 * G_TIME_SPAN_MILLISECOND)

/* What looks are judged by, read once; `mask` is the caller's. */
typedef struct {
    double threshold;
    GstClockTime max_age;
    guint64 serial;
    char *mask;
} Judgement;

static void read_judgement(GstFastvlmCaption *self, Judgement *judgement)
{
    GST_OBJECT_LOCK(self);
    judgement->threshold = self->settings.change_threshold;
    judgement->max_age = self->settings.max_age;
    judgement->serial = self->settings_serial;
    judgement->mask = judgement->threshold > 0 ? g_strdup(self->settings.change_mask) : NULL;
    GST_OBJECT_UNLOCK(self);
}

void gst_fastvlm_caption_forget_look(GstFastvlmCaption *self)
{
    g_clear_pointer(&self->reference, gst_fastvlm_grid_unref);
}

/* Whether the reference still says what a caption of now would be made of. */
static gboolean is_reference_good(const GstFastvlmCaption *self, const Judgement *judgement,
                                  const GstFastvlmGrid *grid)
{
    const GstClockTime running_time = grid->running_time;
    const GstFastvlmGrid *reference = self->reference;

    if (reference == NULL || g_atomic_int_get(&reference->is_lost) ||
        reference->serial != judgement->serial || reference->kinds != grid->kinds ||
        running_time < reference->running_time) {
        return FALSE;
    }
    return judgement->max_age == 0 || running_time - reference->running_time < judgement->max_age;
}

static gboolean looks_alike(const GstFastvlmCaption *self, const Judgement *judgement,
                            const GstFastvlmGrid *grid)
{
    GArray *rectangles = NULL;

    gst_fastvlm_mask_parse(judgement->mask, &rectangles);
    const double share = gst_fastvlm_grid_compare(self->reference, grid, rectangles);
    g_clear_pointer(&rectangles, g_array_unref);
    GST_LOG_OBJECT(self, "%.4f of the picture changed", share);
    return share < judgement->threshold;
}

gboolean gst_fastvlm_caption_look(GstFastvlmCaption *self, GstBuffer *buffer,
                                  GstClockTime running_time, const GArray *regions,
                                  GstFastvlmGrid **look)
{
    Judgement judgement;
    gboolean alike = FALSE;

    *look = NULL;
    read_judgement(self, &judgement);
    if (judgement.threshold <= 0) {
        gst_fastvlm_caption_forget_look(self);
        return FALSE;
    }
    GstFastvlmGrid *grid = gst_fastvlm_grid_new(&self->info, buffer);
    if (grid != NULL) {
        grid->running_time = running_time;
        grid->serial = judgement.serial;
        grid->kinds = gst_fastvlm_regions_get_kinds(regions);
        alike = is_reference_good(self, &judgement, grid) && looks_alike(self, &judgement, grid);
    }
    if (grid != NULL && !alike) {
        gst_fastvlm_caption_forget_look(self);
        self->reference = gst_fastvlm_grid_ref(grid);
        *look = gst_fastvlm_grid_ref(grid);
    }
    gst_fastvlm_grid_unref(grid);
    g_free(judgement.mask);
    return alike;
}

void gst_fastvlm_caption_tell_unchanged(GstFastvlmCaption *self, GstClockTime pts,
                                        GstClockTime running_time, GstClockTime stream_time)
{
    GstFastvlmAnswer *current = gst_fastvlm_caption_get_current(self);
    const gint64 now_us = g_get_monotonic_time();

    gst_fastvlm_stats_add_unchanged(self->stats);
    if (current == NULL || now_us - self->last_unchanged_us < NEWS_INTERVAL_US) {
        gst_fastvlm_answer_unref(current);
        return;
    }
    self->last_unchanged_us = now_us;
    GstStructure *structure = gst_fastvlm_answer_to_structure(current, GST_FASTVLM_MESSAGE_NAME);
    gst_structure_set(structure, "type", G_TYPE_STRING, "unchanged", "pts", G_TYPE_UINT64, pts,
                      "running-time", G_TYPE_UINT64, running_time, "stream-time", G_TYPE_UINT64,
                      stream_time, NULL);
    gst_fastvlm_answer_unref(current);
    gst_element_post_message(GST_ELEMENT(self),
                             gst_message_new_element(GST_OBJECT(self), structure));
}
