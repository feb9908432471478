/*
 * What goes into the text stream next.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmtexttrack.h"

#include <string.h>

#include "gstfastvlmsanitize.h"
#include "gstfastvlmtextpad.h"

#define NO_MARK G_MININT64
#define NEVER G_MAXINT64

/* A frame of unknown duration must still end after its start, at any rate. */
#define SHORTEST_FRAME GST_MSECOND

/* 36 years: what is longer is nonsense, and sums of what is shorter fit into a mark. */
#define LONGEST ((GstClockTime)1 << 60)

typedef enum { ITEM_STREAM, ITEM_SEGMENT, ITEM_CAPTION, ITEM_EOS } ItemKind;

struct _GstFastvlmTextItem {
    ItemKind kind;
    guint32 seqnum;
    gboolean has_group_id;
    guint group_id;
    GstSegment segment;
    char *text; /* harmless; may be "" */
    GstClockTime pts;
    GstClockTime duration;
};

typedef GstFastvlmTextItem Item;

/* ---- items ---- */

static void item_free(Item *item)
{
    if (item != NULL) {
        g_free(item->text);
        g_free(item);
    }
}

static Item *item_new(ItemKind kind, guint32 seqnum)
{
    Item *item = g_new0(Item, 1);

    item->kind = kind;
    item->seqnum = seqnum;
    return item;
}

static Item *item_new_caption(const char *text, GstClockTime pts, GstClockTime duration)
{
    Item *item = item_new(ITEM_CAPTION, GST_SEQNUM_INVALID);

    item->text = gst_fastvlm_sanitize_text(text);
    item->pts = pts;
    item->duration = GST_CLOCK_TIME_IS_VALID(duration) && duration > 0
                         ? MIN(duration, LONGEST)
                         : GST_FASTVLM_TEXT_DEFAULT_DURATION;
    return item;
}

static void add_item(GstFastvlmTextTrack *track, Item *item)
{
    g_queue_push_tail(&track->items, item);
}

static gboolean has_item(GstFastvlmTextTrack *track, ItemKind kind)
{
    for (GList *link = track->items.head; link != NULL; link = link->next) {
        if (((Item *)link->data)->kind == kind) {
            return TRUE;
        }
    }
    return FALSE;
}

static void drop_items(GstFastvlmTextTrack *track, ItemKind kind)
{
    for (GList *link = track->items.head, *next; link != NULL; link = next) {
        next = link->next;
        if (((Item *)link->data)->kind == kind) {
            item_free(link->data);
            g_queue_delete_link(&track->items, link);
        }
    }
}

static void add_segment(GstFastvlmTextTrack *track)
{
    Item *item = item_new(ITEM_SEGMENT, track->latest_seqnum);

    item->segment = track->latest;
    add_item(track, item);
}

/* ---- marks ---- */

static GstFastvlmMark get_mark(const GstSegment *segment, GstClockTime time)
{
    return segment->rate < 0 ? -(GstFastvlmMark)time : (GstFastvlmMark)time;
}

/* Where the segment ends, as it is played. */
static GstFastvlmMark get_segment_end(const GstSegment *segment)
{
    if (segment->rate < 0) {
        return -(GstFastvlmMark)segment->start;
    }
    return GST_CLOCK_TIME_IS_VALID(segment->stop) ? (GstFastvlmMark)segment->stop : NEVER;
}

static GstFastvlmMark get_segment_start(const GstSegment *segment)
{
    if (segment->rate < 0) {
        return GST_CLOCK_TIME_IS_VALID(segment->stop) ? -(GstFastvlmMark)segment->stop
                                                      : NO_MARK + 1;
    }
    return (GstFastvlmMark)segment->start;
}

/* Running time to the segment's. */
static GstClockTime scale(const GstSegment *segment, GstClockTime duration)
{
    const double rate = ABS(segment->rate);

    if (rate == 1.0) {
        return MIN(duration, LONGEST);
    }
    return (GstClockTime)MIN((double)duration * rate, (double)LONGEST);
}

/* The frame seen last, from and to; FALSE if there is none in the segment. */
static gboolean get_frame(GstFastvlmTextTrack *track, GstFastvlmMark *from, GstFastvlmMark *to)
{
    const GstSegment *segment = &track->segment;
    const GstClockTime duration = GST_CLOCK_TIME_IS_VALID(track->frame_duration)
                                      ? CLAMP(track->frame_duration, SHORTEST_FRAME, LONGEST)
                                      : SHORTEST_FRAME;
    const GstFastvlmMark first = get_segment_start(segment), last = get_segment_end(segment);

    if (!GST_CLOCK_TIME_IS_VALID(track->frame_pts)) {
        return FALSE;
    }
    const GstFastvlmMark pts = get_mark(segment, track->frame_pts);
    const GstFastvlmMark start = segment->rate < 0 ? pts - (GstFastvlmMark)duration : pts;
    const GstFastvlmMark end = start + (GstFastvlmMark)duration;
    if (end <= first || start >= last) {
        return FALSE;
    }
    *from = MAX(start, first);
    *to = MIN(end, last);
    return TRUE;
}

/* A mark of one segment in another, through running time. */
static GstFastvlmMark translate(GstFastvlmMark mark, const GstSegment *from, const GstSegment *to)
{
    guint64 running_time, time;

    if (mark == NO_MARK || from->format != GST_FORMAT_TIME ||
        gst_segment_to_running_time_full(from, GST_FORMAT_TIME, (guint64)ABS(mark),
                                         &running_time) != 1 ||
        gst_segment_position_from_running_time_full(to, GST_FORMAT_TIME, running_time, &time) !=
            1) {
        return NO_MARK;
    }
    return get_mark(to, time);
}

/* ---- what to push ---- */

static void add_object(GstFastvlmTextBatch *batch, gpointer object)
{
    batch->objects[batch->n_objects++] = object;
}

static void add_gap(GstFastvlmTextTrack *track, GstFastvlmTextBatch *batch, GstFastvlmMark from,
                    GstFastvlmMark to)
{
    const gboolean backwards = track->segment.rate < 0;
    GstEvent *gap =
        gst_event_new_gap((GstClockTime)(backwards ? -to : from), (GstClockTime)(to - from));

    gst_event_set_seqnum(gap, track->segment_seqnum);
    add_object(batch, gap);
    track->covered = to;
}

/* The current caption, and the GAP at its end; FALSE if the segment has ended there. */
static gboolean add_text(GstFastvlmTextTrack *track, GstFastvlmTextBatch *batch,
                         GstFastvlmMark from, GstFastvlmMark to)
{
    const gboolean backwards = track->segment.rate < 0;
    char *text;

    to = MIN(to, get_segment_end(&track->segment));
    if (from >= to) {
        return FALSE;
    }
    text = g_strdup(track->current);
    GstBuffer *buffer = gst_buffer_new_wrapped(text, strlen(text));
    GST_BUFFER_PTS(buffer) = (GstClockTime)(backwards ? -to : from);
    GST_BUFFER_DURATION(buffer) = (GstClockTime)(to - from);
    batch->covered = track->covered;
    add_object(batch, buffer);
    add_gap(track, batch, to, to);
    track->text_end = to;
    track->text_is_foreign = FALSE;
    return TRUE;
}

static void forget_current(GstFastvlmTextTrack *track)
{
    g_clear_pointer(&track->current, g_free);
    track->undelivered = FALSE;
}

/* Takes `item`: it becomes the current caption, from `from` to `to` (NEVER: until the next). */
static void make_current(GstFastvlmTextTrack *track, Item *item, GstFastvlmMark to)
{
    forget_current(track);
    if (*item->text != '\0') {
        track->current = g_steal_pointer(&item->text);
        track->current_end = to;
        track->current_duration = item->duration;
    }
    item_free(item);
}

/* Takes `item`, which has a PTS. */
static gboolean take_complete(GstFastvlmTextTrack *track, Item *item, GstFastvlmTextBatch *batch)
{
    const GstClockTime duration = item->duration;
    const GstClockTime slice =
        track->repeat > 0 ? MIN(scale(&track->segment, track->repeat), duration) : duration;
    GstFastvlmMark from = get_mark(&track->segment, item->pts);

    from = track->text_is_foreign ? from : MAX(from, track->text_end);
    item_free(g_steal_pointer(&track->waiting));
    make_current(track, item, from + (GstFastvlmMark)duration);
    return track->current != NULL && add_text(track, batch, from, from + (GstFastvlmMark)slice);
}

/* Pushes the live caption that waits, at the position of the video. */
static gboolean take_waiting(GstFastvlmTextTrack *track, GstFastvlmTextBatch *batch)
{
    const GstClockTime duration = MIN(track->waiting->duration, GST_FASTVLM_TEXT_MAX_DURATION);
    GstFastvlmMark frame_from, from = NO_MARK;

    get_frame(track, &frame_from, &from);
    from = MAX(from, track->covered);
    make_current(track, g_steal_pointer(&track->waiting), NEVER);
    if (track->current == NULL || from == NO_MARK) {
        return FALSE;
    }
    const GstClockTime span = track->repeat > 0 ? track->repeat : duration;
    return add_text(track, batch, from, from + (GstFastvlmMark)scale(&track->segment, span));
}

/* The stream id comes from the element's sink pad: not before the pad is the element's. */
static gboolean take_stream(GstFastvlmTextTrack *track, GstPad *pad, GstFastvlmTextBatch *batch)
{
    GstElement *parent = gst_pad_get_parent_element(pad);

    if (parent == NULL) {
        return FALSE;
    }
    Item *item = g_queue_pop_head(&track->items);
    char *stream_id = gst_pad_create_stream_id(pad, parent, "text");
    GstEvent *event = gst_event_new_stream_start(stream_id);
    GstCaps *caps = gst_caps_new_simple("text/x-raw", "format", G_TYPE_STRING, "utf8", NULL);

    gst_event_set_stream_flags(event, GST_STREAM_FLAG_SPARSE);
    if (item->has_group_id) {
        gst_event_set_group_id(event, item->group_id);
    }
    gst_event_set_seqnum(event, item->seqnum);
    add_object(batch, event);
    add_object(batch, gst_event_new_caps(caps));
    gst_caps_unref(caps);
    gst_segment_init(&track->segment, GST_FORMAT_UNDEFINED);
    track->covered = track->text_end = NO_MARK;
    track->ended = FALSE;
    forget_current(track);
    g_free(stream_id);
    item_free(item);
    gst_object_unref(parent);
    return TRUE;
}

static gboolean take_segment(GstFastvlmTextTrack *track, GstFastvlmTextBatch *batch)
{
    Item *item = g_queue_pop_head(&track->items);
    GstEvent *event = gst_event_new_segment(&item->segment);

    gst_event_set_seqnum(event, item->seqnum);
    add_object(batch, event);
    track->text_end = translate(track->text_end, &track->segment, &item->segment);
    track->current_end = track->current_end == NEVER
                             ? NEVER
                             : translate(track->current_end, &track->segment, &item->segment);
    track->text_is_foreign = TRUE;
    track->covered = track->text_end;
    track->segment = item->segment;
    track->segment_seqnum = item->seqnum;
    item_free(item);
    return TRUE;
}

static gboolean take_eos(GstFastvlmTextTrack *track, GstFastvlmTextBatch *batch)
{
    if (track->waiting != NULL && track->segment.format == GST_FORMAT_TIME) {
        return take_waiting(track, batch);
    }
    Item *item = g_queue_pop_head(&track->items);
    GstEvent *event = gst_event_new_eos();

    gst_event_set_seqnum(event, item->seqnum);
    add_object(batch, event);
    track->ended = TRUE;
    item_free(item);
    return TRUE;
}

/* FALSE: nothing to push for the first item, which may be gone all the same. */
static gboolean take_item(GstFastvlmTextTrack *track, GstPad *pad, GstFastvlmTextBatch *batch)
{
    const Item *item = g_queue_peek_head(&track->items);

    switch (item->kind) {
    case ITEM_STREAM:
        return take_stream(track, pad, batch);
    case ITEM_SEGMENT:
        return take_segment(track, batch);
    case ITEM_CAPTION:
        return take_complete(track, g_queue_pop_head(&track->items), batch);
    default:
        return take_eos(track, batch);
    }
}

/* The current caption's next slice, right after the last one unless the video has jumped. */
static gboolean repeat_text(GstFastvlmTextTrack *track, GstFastvlmMark end,
                            GstFastvlmTextBatch *batch)
{
    if (track->repeat == 0 || track->current == NULL || track->waiting != NULL ||
        track->text_end == NO_MARK || end < track->text_end ||
        track->text_end >= track->current_end) {
        return FALSE;
    }
    const GstFastvlmMark slice = (GstFastvlmMark)scale(&track->segment, track->repeat);
    const GstFastvlmMark from = end - track->text_end < slice ? track->text_end : end;

    return add_text(track, batch, from, MIN(from + slice, track->current_end));
}

/* Something was linked that has not heard of the current caption: it goes out as a live one. */
static void queue_undelivered(GstFastvlmTextTrack *track, GstFastvlmMark end)
{
    if (!track->undelivered || track->waiting != NULL || track->current_end <= end) {
        return;
    }
    track->waiting =
        item_new_caption(track->current, GST_CLOCK_TIME_NONE,
                         track->current_end == NEVER ? track->current_duration
                                                     : (GstClockTime)(track->current_end - end));
}

/* What the frame seen last calls for. */
static gboolean follow_video(GstFastvlmTextTrack *track, GstFastvlmTextBatch *batch)
{
    GstFastvlmMark from, end;

    if (!get_frame(track, &from, &end)) {
        return FALSE;
    }
    if (repeat_text(track, end, batch)) {
        return TRUE;
    }
    if (track->covered < end || track->announce) {
        if (track->announce) {
            queue_undelivered(track, end);
            track->announce = FALSE;
        }
        from = track->covered != NO_MARK ? track->covered : from;
        add_gap(track, batch, from, MAX(from, end));
        return TRUE;
    }
    return track->waiting != NULL && end >= track->text_end && take_waiting(track, batch);
}

gboolean gst_fastvlm_text_track_take(GstFastvlmTextTrack *track, GstPad *pad,
                                     GstFastvlmTextBatch *batch)
{
    for (Item *head; (head = g_queue_peek_head(&track->items)) != NULL;) {
        if (take_item(track, pad, batch)) {
            return TRUE;
        }
        if (g_queue_peek_head(&track->items) == head && head->kind == ITEM_STREAM) {
            return FALSE;
        }
    }
    return !track->ended && track->segment.format == GST_FORMAT_TIME && follow_video(track, batch);
}

void gst_fastvlm_text_track_note(GstFastvlmTextTrack *track, const GstFastvlmTextBatch *batch,
                                 gboolean delivered, gboolean heard)
{
    track->undelivered = !delivered;
    if (!heard) {
        /* Nobody has it: nothing to wait for. */
        track->text_end = NO_MARK;
        track->covered = batch->covered;
    }
}

/* ---- what comes in ---- */

void gst_fastvlm_text_track_reset(GstFastvlmTextTrack *track)
{
    g_queue_clear_full(&track->items, (GDestroyNotify)item_free);
    item_free(g_steal_pointer(&track->waiting));
    forget_current(track);
    gst_segment_init(&track->latest, GST_FORMAT_UNDEFINED);
    gst_segment_init(&track->segment, GST_FORMAT_UNDEFINED);
    track->frame_pts = track->frame_duration = GST_CLOCK_TIME_NONE;
    track->covered = track->text_end = NO_MARK;
    track->ended = track->announce = FALSE;
}

void gst_fastvlm_text_track_set_stream(GstFastvlmTextTrack *track, gboolean has_group_id,
                                       guint group_id, guint32 seqnum)
{
    Item *item = item_new(ITEM_STREAM, seqnum);

    item->has_group_id = has_group_id;
    item->group_id = group_id;
    gst_segment_init(&track->latest, GST_FORMAT_UNDEFINED);
    track->frame_pts = GST_CLOCK_TIME_NONE;
    add_item(track, item);
}

void gst_fastvlm_text_track_set_segment(GstFastvlmTextTrack *track, const GstSegment *segment,
                                        guint32 seqnum)
{
    track->latest = *segment;
    track->latest_seqnum = seqnum;
    track->frame_pts = GST_CLOCK_TIME_NONE;
    add_segment(track);
}

void gst_fastvlm_text_track_set_position(GstFastvlmTextTrack *track, GstClockTime pts,
                                         GstClockTime duration)
{
    /* No time at all is later, too. */
    if (pts <= LONGEST && track->latest.format == GST_FORMAT_TIME) {
        track->frame_pts = pts;
        track->frame_duration = duration;
    }
}

void gst_fastvlm_text_track_push_caption(GstFastvlmTextTrack *track, const char *text,
                                         GstClockTime pts, GstClockTime duration)
{
    if (track->latest.format != GST_FORMAT_TIME) {
        return;
    }
    Item *item = item_new_caption(text, MIN(pts, LONGEST), duration);
    if (GST_CLOCK_TIME_IS_VALID(pts)) {
        add_item(track, item);
    } else {
        item_free(track->waiting);
        track->waiting = item;
    }
}

void gst_fastvlm_text_track_eos(GstFastvlmTextTrack *track, guint32 seqnum)
{
    add_item(track, item_new(ITEM_EOS, seqnum));
}

void gst_fastvlm_text_track_flush_start(GstFastvlmTextTrack *track)
{
    drop_items(track, ITEM_CAPTION);
    drop_items(track, ITEM_EOS);
    item_free(g_steal_pointer(&track->waiting));
}

/* A flush takes the sticky segment away, too: it has to go out again where it still holds. */
void gst_fastvlm_text_track_flush_stop(GstFastvlmTextTrack *track, gboolean reset_time)
{
    forget_current(track);
    track->frame_pts = GST_CLOCK_TIME_NONE;
    track->covered = track->text_end = NO_MARK;
    track->ended = FALSE;
    if (reset_time) {
        drop_items(track, ITEM_SEGMENT);
        gst_segment_init(&track->latest, GST_FORMAT_UNDEFINED);
        gst_segment_init(&track->segment, GST_FORMAT_UNDEFINED);
    } else if (track->latest.format == GST_FORMAT_TIME && !has_item(track, ITEM_SEGMENT)) {
        add_segment(track);
    }
}
