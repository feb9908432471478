/*
 * Captions that somebody asks for: the action signal, and the event from either side.
 *
 *     caption-now | event fastvlm-caption-now -> a number, a request -> the next frame's sample
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmprivate.h"

#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

/* More wait for a frame than this only where frames do not come. */
#define MAX_WAITING 32

static guint count_prompts(GstFastvlmCaption *self, const char *prompt)
{
    if (prompt != NULL) {
        return 1;
    }
    GST_OBJECT_LOCK(self);
    char **prompts = gst_fastvlm_settings_list_prompts(&self->settings);
    GST_OBJECT_UNLOCK(self);
    const guint n = g_strv_length(prompts);
    g_strfreev(prompts);
    return n;
}

/* Takes `request`; FALSE where too many wait. */
static gboolean add_request(GstFastvlmCaption *self, GstFastvlmRequest *request)
{
    GST_OBJECT_LOCK(self);
    const gboolean has_room = self->requests->len < MAX_WAITING;
    if (has_room) {
        g_ptr_array_add(self->requests, request);
    }
    GST_OBJECT_UNLOCK(self);
    if (!has_room) {
        GST_WARNING_OBJECT(self, "%d requests wait for a frame already", MAX_WAITING);
        gst_fastvlm_request_free(request);
    }
    return has_room;
}

guint64 gst_fastvlm_caption_request(GstFastvlmCaption *self, const char *prompt)
{
    GstFastvlmWorker *worker = gst_fastvlm_caption_get_worker(self);

    if (worker == NULL || (prompt != NULL && !g_utf8_validate(prompt, -1, NULL))) {
        gst_fastvlm_worker_unref(worker);
        return 0;
    }
    GstFastvlmRequest *request = g_new0(GstFastvlmRequest, 1);
    request->prompt = g_strdup(prompt);
    request->n_reserved = count_prompts(self, prompt);
    request->sequence = gst_fastvlm_worker_reserve(worker, request->n_reserved);
    gst_fastvlm_worker_unref(worker);

    const guint64 sequence = request->sequence;
    if (sequence == 0) {
        gst_fastvlm_request_free(request);
        return 0;
    }
    return add_request(self, request) ? sequence : 0;
}

GPtrArray *gst_fastvlm_caption_take_requests(GstFastvlmCaption *self)
{
    GPtrArray *taken = NULL;

    GST_OBJECT_LOCK(self);
    if (self->requests->len > 0) {
        taken = self->requests;
        self->requests = g_ptr_array_new_with_free_func((GDestroyNotify)gst_fastvlm_request_free);
    }
    GST_OBJECT_UNLOCK(self);
    return taken;
}

gboolean gst_fastvlm_caption_take_event(GstFastvlmCaption *self, GstEvent *event)
{
    if (!gst_event_has_name(event, GST_FASTVLM_REQUEST_EVENT_NAME)) {
        return FALSE;
    }
    const char *prompt = gst_structure_get_string(gst_event_get_structure(event), "prompt");
    const guint64 sequence = gst_fastvlm_caption_request(self, prompt);
    GST_DEBUG_OBJECT(self, "asked by an event: sequence %" G_GUINT64_FORMAT, sequence);
    gst_event_unref(event);
    return TRUE;
}
