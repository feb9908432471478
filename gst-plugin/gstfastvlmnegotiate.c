/*
 * Caps, queries, and events from downstream.
 *
 *     sink <-> src: caps pass through; with overlay, src adds meta:GstVideoOverlayComposition
 *     where downstream takes it, both in its caps and in its answer to ALLOCATION
 *     text_src: asks sink for latency, position and seeks; its QoS stops here
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmprivate.h"

#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

#define OVERLAY_FEATURE GST_CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION

static gboolean get_overlay(GstFastvlmCaption *self)
{
    GST_OBJECT_LOCK(self);
    const gboolean overlay = self->settings.overlay;
    GST_OBJECT_UNLOCK(self);
    return overlay;
}

/* Two ways to say the same, which caps hold to be different: GL's elements write the first. */
static const char *const overlay_features[] = {
    GST_CAPS_FEATURE_MEMORY_SYSTEM_MEMORY ", " OVERLAY_FEATURE, OVERLAY_FEATURE};

/* `caps`, all in system memory, with those features. */
static GstCaps *add_features(GstCaps *caps, const char *features)
{
    GstCaps *with = gst_caps_copy(caps);

    gst_caps_set_features_simple(with, gst_caps_features_from_string(features));
    return with;
}

/* `caps` (transfer full) where what is drawn by downstream and what is not count the same. */
static GstCaps *remove_feature(GstCaps *caps)
{
    caps = gst_caps_make_writable(caps);
    for (guint i = 0; i < gst_caps_get_size(caps); i++) {
        GstCapsFeatures *features = gst_caps_get_features(caps, i);

        if (!gst_caps_features_is_any(features)) {
            gst_caps_features_remove(features, OVERLAY_FEATURE);
        }
    }
    return gst_caps_simplify(caps);
}

/* Takes `caps`; narrows them to the pad's template and the query's filter. */
static void set_caps_result(GstPad *pad, GstQuery *query, GstCaps *caps)
{
    GstCaps *template_caps = gst_pad_get_pad_template_caps(pad);
    GstCaps *result = gst_caps_intersect_full(caps, template_caps, GST_CAPS_INTERSECT_FIRST);
    GstCaps *filter;

    gst_caps_unref(template_caps);
    gst_caps_unref(caps);
    gst_query_parse_caps(query, &filter);
    if (filter != NULL) {
        GstCaps *filtered = gst_caps_intersect_full(filter, result, GST_CAPS_INTERSECT_FIRST);

        gst_caps_unref(result);
        result = filtered;
    }
    gst_query_set_caps_result(query, result);
    gst_caps_unref(result);
}

static gboolean query_sink_caps(GstFastvlmCaption *self, GstQuery *query)
{
    GstCaps *caps = gst_pad_peer_query_caps(self->src_pad, NULL);

    if (get_overlay(self)) {
        caps = remove_feature(caps);
    }
    set_caps_result(self->sink_pad, query, caps);
    return TRUE;
}

static gboolean query_src_caps(GstFastvlmCaption *self, GstQuery *query)
{
    GstCaps *caps = gst_pad_peer_query_caps(self->sink_pad, NULL);

    if (get_overlay(self) && !gst_caps_is_any(caps)) {
        GstCaps *with = gst_caps_new_empty();

        for (gsize i = 0; i < G_N_ELEMENTS(overlay_features); i++) {
            gst_caps_append(with, add_features(caps, overlay_features[i]));
        }
        gst_caps_append(with, caps);
        caps = with;
    }
    set_caps_result(self->src_pad, query, caps);
    return TRUE;
}

gboolean gst_fastvlm_caption_sink_query(GstPad *pad, GstObject *parent, GstQuery *query)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(parent);

    switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_CAPS:
        return query_sink_caps(self, query);
    case GST_QUERY_ALLOCATION:
        /* Frames pass as they came: downstream's pool and wishes are upstream's. */
        return gst_pad_peer_query(self->src_pad, query);
    default:
        return gst_pad_query_default(pad, parent, query);
    }
}

gboolean gst_fastvlm_caption_src_query(GstPad *pad, GstObject *parent, GstQuery *query)
{
    if (GST_QUERY_TYPE(query) == GST_QUERY_CAPS) {
        return query_src_caps(GST_FASTVLM_CAPTION(parent), query);
    }
    return gst_pad_query_default(pad, parent, query);
}

/* Text comes out with the video's position when it does, so it is as late as the video. No buffer
 * upstream ever waits for it: there is no most. */
static gboolean query_text_latency(GstFastvlmCaption *self, GstQuery *query)
{
    gboolean live;
    GstClockTime min;

    if (!gst_pad_peer_query(self->sink_pad, query)) {
        return FALSE;
    }
    gst_query_parse_latency(query, &live, &min, NULL);
    gst_query_set_latency(query, live, min, GST_CLOCK_TIME_NONE);
    return TRUE;
}

gboolean gst_fastvlm_caption_text_query(GstPad *pad, GstObject *parent, GstQuery *query)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(parent);

    if (GST_QUERY_TYPE(query) == GST_QUERY_LATENCY) {
        return query_text_latency(self, query);
    }
    return gst_pad_query_default(pad, parent, query);
}

/* Takes `event`. A pipeline with sinks on both pads sends a seek to each. */
static gboolean forward_seek(GstFastvlmCaption *self, GstEvent *event)
{
    const guint32 seqnum = gst_event_get_seqnum(event);

    GST_OBJECT_LOCK(self);
    const gboolean seen = seqnum == self->seek_seqnum;
    gboolean result = self->seek_result;
    if (!seen) {
        self->seek_seqnum = seqnum;
        /* What the second one hears if it comes while the first is on its way. */
        self->seek_result = TRUE;
    }
    GST_OBJECT_UNLOCK(self);
    if (seen) {
        GST_DEBUG_OBJECT(self, "seek %u has gone up already", seqnum);
        gst_event_unref(event);
        return result;
    }
    result = gst_pad_push_event(self->sink_pad, event);
    GST_OBJECT_LOCK(self);
    if (self->seek_seqnum == seqnum) {
        self->seek_result = result;
    }
    GST_OBJECT_UNLOCK(self);
    return result;
}

gboolean gst_fastvlm_caption_src_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(parent);

    if (GST_EVENT_TYPE(event) == GST_EVENT_SEEK) {
        return forward_seek(self, event);
    }
    if (gst_fastvlm_caption_take_event(self, event)) {
        return TRUE;
    }
    return gst_pad_event_default(pad, parent, event);
}

gboolean gst_fastvlm_caption_text_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(parent);

    switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_SEEK:
        return forward_seek(self, event);
    case GST_EVENT_QOS:
    case GST_EVENT_RECONFIGURE:
        /* Late text must not slow the video, and its caps are none of upstream's business. */
        gst_event_unref(event);
        return TRUE;
    default:
        return gst_fastvlm_caption_take_event(self, event) ||
               gst_pad_push_event(self->sink_pad, event);
    }
}

GstIterator *gst_fastvlm_caption_iterate_links(GstPad *pad, GstObject *parent)
{
    GstFastvlmCaption *self = GST_FASTVLM_CAPTION(parent);
    GstPad *other = pad == self->sink_pad ? self->src_pad : self->sink_pad;
    GValue value = G_VALUE_INIT;

    g_value_init(&value, GST_TYPE_PAD);
    g_value_set_object(&value, other);
    GstIterator *links = gst_iterator_new_single(GST_TYPE_PAD, &value);
    g_value_unset(&value);
    return links;
}

static gboolean push_caps(GstFastvlmCaption *self, GstCaps *caps)
{
    GstCaps *now = gst_pad_get_current_caps(self->src_pad);
    const gboolean same = now != NULL && gst_caps_is_equal(now, caps);

    gst_clear_caps(&now);
    return same || gst_pad_push_event(self->src_pad, gst_event_new_caps(caps));
}

/* Whether downstream asks for compositions when it is asked about buffers of these caps. */
static gboolean wants_compositions(GstFastvlmCaption *self, GstCaps *caps)
{
    GstQuery *query = gst_query_new_allocation(caps, FALSE);
    const gboolean wants =
        gst_pad_peer_query(self->src_pad, query) &&
        gst_query_find_allocation_meta(query, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);

    gst_query_unref(query);
    return wants;
}

/* Downstream draws if its caps and its allocation both say so; otherwise FALSE, caps unsettled. */
static gboolean negotiate_compositions(GstFastvlmCaption *self)
{
    gboolean agreed = FALSE;

    for (gsize i = 0; i < G_N_ELEMENTS(overlay_features) && !agreed; i++) {
        GstCaps *caps = add_features(self->caps, overlay_features[i]);

        agreed = gst_pad_peer_query_accept_caps(self->src_pad, caps) && push_caps(self, caps) &&
                 wants_compositions(self, caps);
        gst_caps_unref(caps);
    }
    return agreed;
}

GstFlowReturn gst_fastvlm_caption_negotiate(GstFastvlmCaption *self)
{
    gst_pad_check_reconfigure(self->src_pad);
    self->overlays = get_overlay(self);
    const gboolean attach = self->overlays && negotiate_compositions(self);
    if (!attach && !push_caps(self, self->caps)) {
        gst_pad_mark_reconfigure(self->src_pad);
        return GST_PAD_IS_FLUSHING(self->src_pad) ? GST_FLOW_FLUSHING : GST_FLOW_NOT_NEGOTIATED;
    }
    if (self->overlays) {
        gst_fastvlm_overlay_set_video_info(self->overlay, &self->info, attach);
    }
    GST_DEBUG_OBJECT(self, "overlay: %s",
                     !self->overlays ? "off" : (attach ? "drawn downstream" : "drawn here"));
    return GST_FLOW_OK;
}
