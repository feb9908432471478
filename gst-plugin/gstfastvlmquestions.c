/*
 * What is asked about a sample.
 *
 *     on the grid: the settings' prompts | requests: theirs, or the settings' -> questions about the
 *     picture, or about each of its regions in turn
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmworkerprivate.h"

/* Where questions go, and the part of the picture that they are about. */
typedef struct {
    GArray *questions;
    const GstFastvlmRegion *region; /* NULL: the picture */
    guint region_index;
} List;

/* Numbers were promised for one part alone: nobody knew how many there would be. */
static void ask(const List *list, const char *prompt, guint index, guint64 sequence,
                gboolean is_one_off)
{
    const gboolean is_reserved = sequence != 0 && list->region_index == 0;
    const GstFastvlmQuestion question = {
        .prompt = prompt,
        .index = index,
        .region = list->region,
        .region_index = list->region_index,
        .sequence = is_reserved ? sequence : 0,
        .is_one_off = is_one_off,
        .is_reserved = is_reserved,
    };

    g_array_append_val(list->questions, question);
}

static void ask_all(const List *list, char **prompts, const GstFastvlmRequest *request)
{
    for (guint i = 0; prompts[i] != NULL; i++) {
        const gboolean has_number = request != NULL && i < request->n_reserved;

        ask(list, prompts[i], i, has_number ? request->sequence + i : 0, FALSE);
    }
}

/* A request without a prompt of its own asks what the grid asks: once is enough. */
static void ask_about_part(const List *list, const GstFastvlmSample *sample, char **prompts)
{
    gboolean asks_all = FALSE;

    for (guint i = 0; sample->requests != NULL && i < sample->requests->len; i++) {
        const GstFastvlmRequest *request = g_ptr_array_index(sample->requests, i);

        if (request->prompt == NULL) {
            ask_all(list, prompts, request);
            asks_all = TRUE;
        } else {
            ask(list, request->prompt, 0, request->sequence, TRUE);
        }
    }
    if (sample->on_grid && !asks_all) {
        ask_all(list, prompts, NULL);
    }
}

GArray *gst_fastvlm_questions_list(const GstFastvlmSample *sample, char **prompts)
{
    List list = {.questions = g_array_new(FALSE, FALSE, sizeof(GstFastvlmQuestion))};

    if (sample->regions == NULL) {
        ask_about_part(&list, sample, prompts);
        return list.questions;
    }
    for (; list.region_index < sample->regions->len; list.region_index++) {
        list.region = &g_array_index(sample->regions, GstFastvlmRegion, list.region_index);
        ask_about_part(&list, sample, prompts);
    }
    return list.questions;
}

void gst_fastvlm_worker_number(GstFastvlmWorker *worker, GArray *questions)
{
    g_mutex_lock(&worker->lock);
    for (guint i = 0; i < questions->len; i++) {
        GstFastvlmQuestion *question = &g_array_index(questions, GstFastvlmQuestion, i);

        if (!question->is_reserved) {
            question->sequence = ++worker->sequence;
        }
    }
    g_mutex_unlock(&worker->lock);
}

void gst_fastvlm_worker_give_back(GstFastvlmWorker *worker, const GArray *questions)
{
    g_mutex_lock(&worker->lock);
    for (guint i = questions->len; i-- > 0;) {
        const GstFastvlmQuestion *question = &g_array_index(questions, GstFastvlmQuestion, i);

        if (!question->is_reserved && !question->is_published &&
            question->sequence == worker->sequence) {
            worker->sequence--;
        }
    }
    g_mutex_unlock(&worker->lock);
}
