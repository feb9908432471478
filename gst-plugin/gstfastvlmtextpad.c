/*
 * The text_src pad.
 *
 *     calls -> items in order, one live caption that waits, the frame seen last
 *           -> task: decide under the lock, push without it, note what came back
 *
 * Times are kept as marks: the segment's time, negated where it runs backwards, so that a later
 * mark is always played later.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmtextpad.h"

#include <string.h>

#include "gstfastvlmsanitize.h"

GST_DEBUG_CATEGORY_STATIC(gst_fastvlm_text_pad_debug);
#define GST_CAT_DEFAULT gst_fastvlm_text_pad_debug

/* A frame of unknown duration must still end after its start, at any rate. */
#define SHORTEST_FRAME GST_MSECOND

/* A peer that was linked before its element has started says nothing when it does. */
#define RETRY_INTERVAL (50 * G_TIME_SPAN_MILLISECOND)

/* How long deactivation gives a push to return before it flushes the peer. */
#define STOP_PATIENCE (100 * G_TIME_SPAN_MILLISECOND)

typedef gint64 Mark;
#define NO_MARK G_MININT64
#define NEVER G_MAXINT64

typedef enum { ITEM_STREAM, ITEM_SEGMENT, ITEM_CAPTION, ITEM_EOS } ItemKind;

typedef struct {
    ItemKind kind;
    guint32 seqnum;
    gboolean has_group_id;
    guint group_id;
    GstSegment segment;
    char *text; /* harmless; may be "" */
    GstClockTime pts;
    GstClockTime duration;
} Item;

/* What the task pushes in one go: events, or a buffer and the GAP at its end. */
typedef struct {
    GstMiniObject *objects[2];
    guint n_objects;
    Mark covered; /* where there is text: by what went before */
} Batch;

struct _GstFastvlmTextPad {
    GstPad parent;

    GMutex lock; /* for all that follows; never held while pushing */
    GCond cond;
    GQueue items;  /* Item, in order */
    Item *waiting; /* the newest live caption, or NULL */
    gboolean flushing;
    gboolean stopping;
    gboolean busy;     /* the task is pushing */
    gboolean dead;     /* downstream wants no more: EOS or an error */
    gboolean ended;    /* EOS was pushed */
    gboolean announce; /* something was linked */
    gint64 retry_us;   /* when to announce again to a peer that was not active; 0: no need */
    GstClockTime repeat;

    GstSegment latest; /* set last; what frame_pts is in */
    guint32 latest_seqnum;
    GstClockTime frame_pts; /* NONE: no frame of this segment yet */
    GstClockTime frame_duration;

    GstSegment segment; /* pushed last; what the marks are in */
    guint32 segment_seqnum;
    Mark covered;             /* the end of what was pushed, text or GAP */
    Mark text_end;            /* of the last buffer */
    gboolean text_is_foreign; /* that one was of an earlier segment */
    char *current;            /* the text of the last caption taken, or NULL */
    Mark current_end;
    GstClockTime current_duration;
    gboolean undelivered; /* the current one met no peer */
};

G_DEFINE_TYPE_WITH_CODE(GstFastvlmTextPad, gst_fastvlm_text_pad, GST_TYPE_PAD,
                        GST_DEBUG_CATEGORY_INIT(gst_fastvlm_text_pad_debug, "fastvlmtextpad", 0,
                                                "captions as a text stream"))

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
                         ? duration
                         : GST_FASTVLM_TEXT_DEFAULT_DURATION;
    return item;
}

static void add_item(GstFastvlmTextPad *self, Item *item)
{
    g_queue_push_tail(&self->items, item);
    g_cond_broadcast(&self->cond);
}

static gboolean has_item(GstFastvlmTextPad *self, ItemKind kind)
{
    for (GList *link = self->items.head; link != NULL; link = link->next) {
        if (((Item *)link->data)->kind == kind) {
            return TRUE;
        }
    }
    return FALSE;
}

static void drop_items(GstFastvlmTextPad *self, ItemKind kind)
{
    for (GList *link = self->items.head, *next; link != NULL; link = next) {
        next = link->next;
        if (((Item *)link->data)->kind == kind) {
            item_free(link->data);
            g_queue_delete_link(&self->items, link);
        }
    }
}

static void add_segment(GstFastvlmTextPad *self)
{
    Item *item = item_new(ITEM_SEGMENT, self->latest_seqnum);

    item->segment = self->latest;
    add_item(self, item);
}

/* ---- marks ---- */

static Mark get_mark(const GstSegment *segment, GstClockTime time)
{
    return segment->rate < 0 ? -(Mark)time : (Mark)time;
}

/* Where the segment ends, as it is played. */
static Mark get_segment_end(const GstSegment *segment)
{
    if (segment->rate < 0) {
        return -(Mark)segment->start;
    }
    return GST_CLOCK_TIME_IS_VALID(segment->stop) ? (Mark)segment->stop : NEVER;
}

static Mark get_segment_start(const GstSegment *segment)
{
    if (segment->rate < 0) {
        return GST_CLOCK_TIME_IS_VALID(segment->stop) ? -(Mark)segment->stop : NO_MARK + 1;
    }
    return (Mark)segment->start;
}

/* Running time to the segment's. */
static GstClockTime scale(const GstSegment *segment, GstClockTime duration)
{
    const double rate = ABS(segment->rate);

    return rate == 1.0 ? duration : (GstClockTime)((double)duration * rate);
}

/* The frame seen last, from and to; FALSE if there is none in the segment. */
static gboolean get_frame(GstFastvlmTextPad *self, Mark *from, Mark *to)
{
    const GstSegment *segment = &self->segment;
    const GstClockTime duration = GST_CLOCK_TIME_IS_VALID(self->frame_duration)
                                      ? MAX(self->frame_duration, SHORTEST_FRAME)
                                      : SHORTEST_FRAME;
    const Mark first = get_segment_start(segment), last = get_segment_end(segment);

    if (!GST_CLOCK_TIME_IS_VALID(self->frame_pts)) {
        return FALSE;
    }
    const Mark pts = get_mark(segment, self->frame_pts);
    const Mark start = segment->rate < 0 ? pts - (Mark)duration : pts;
    const Mark end = start + (Mark)duration;
    if (end <= first || start >= last) {
        return FALSE;
    }
    *from = MAX(start, first);
    *to = MIN(end, last);
    return TRUE;
}

/* A mark of one segment in another, through running time. */
static Mark translate(Mark mark, const GstSegment *from, const GstSegment *to)
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

static void add_object(Batch *batch, gpointer object)
{
    batch->objects[batch->n_objects++] = object;
}

static void add_gap(GstFastvlmTextPad *self, Batch *batch, Mark from, Mark to)
{
    const gboolean backwards = self->segment.rate < 0;
    GstEvent *gap =
        gst_event_new_gap((GstClockTime)(backwards ? -to : from), (GstClockTime)(to - from));

    gst_event_set_seqnum(gap, self->segment_seqnum);
    add_object(batch, gap);
    self->covered = to;
}

/* The current caption, and the GAP at its end; FALSE if the segment has ended there. */
static gboolean add_text(GstFastvlmTextPad *self, Batch *batch, Mark from, Mark to)
{
    const gboolean backwards = self->segment.rate < 0;
    char *text;

    to = MIN(to, get_segment_end(&self->segment));
    if (from >= to) {
        return FALSE;
    }
    text = g_strdup(self->current);
    GstBuffer *buffer = gst_buffer_new_wrapped(text, strlen(text));
    GST_BUFFER_PTS(buffer) = (GstClockTime)(backwards ? -to : from);
    GST_BUFFER_DURATION(buffer) = (GstClockTime)(to - from);
    batch->covered = self->covered;
    add_object(batch, buffer);
    add_gap(self, batch, to, to);
    self->text_end = to;
    self->text_is_foreign = FALSE;
    return TRUE;
}

static void forget_current(GstFastvlmTextPad *self)
{
    g_clear_pointer(&self->current, g_free);
    self->undelivered = FALSE;
}

/* Takes `item`: it becomes the current caption, from `from` to `to` (NEVER: until the next). */
static void make_current(GstFastvlmTextPad *self, Item *item, Mark to)
{
    forget_current(self);
    if (*item->text != '\0') {
        self->current = g_steal_pointer(&item->text);
        self->current_end = to;
        self->current_duration = item->duration;
    }
    item_free(item);
}

/* Takes `item`, which has a PTS. */
static gboolean take_complete(GstFastvlmTextPad *self, Item *item, Batch *batch)
{
    const GstClockTime duration = item->duration;
    const GstClockTime slice =
        self->repeat > 0 ? MIN(scale(&self->segment, self->repeat), duration) : duration;
    Mark from = get_mark(&self->segment, item->pts);

    from = self->text_is_foreign ? from : MAX(from, self->text_end);
    item_free(g_steal_pointer(&self->waiting));
    make_current(self, item, from + (Mark)duration);
    return self->current != NULL && add_text(self, batch, from, from + (Mark)slice);
}

/* Pushes the live caption that waits, at the position of the video. */
static gboolean take_waiting(GstFastvlmTextPad *self, Batch *batch)
{
    const GstClockTime duration = MIN(self->waiting->duration, GST_FASTVLM_TEXT_MAX_DURATION);
    Mark frame_from, from = NO_MARK;

    get_frame(self, &frame_from, &from);
    from = MAX(from, self->covered);
    make_current(self, g_steal_pointer(&self->waiting), NEVER);
    if (self->current == NULL || from == NO_MARK) {
        return FALSE;
    }
    const GstClockTime span = self->repeat > 0 ? self->repeat : duration;
    return add_text(self, batch, from, from + (Mark)scale(&self->segment, span));
}

/* The stream id comes from the element's sink pad: not before the pad is the element's. */
static gboolean take_stream(GstFastvlmTextPad *self, Batch *batch)
{
    GstElement *parent = gst_pad_get_parent_element(GST_PAD(self));

    if (parent == NULL) {
        return FALSE;
    }
    Item *item = g_queue_pop_head(&self->items);
    char *stream_id = gst_pad_create_stream_id(GST_PAD(self), parent, "text");
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
    gst_segment_init(&self->segment, GST_FORMAT_UNDEFINED);
    self->covered = self->text_end = NO_MARK;
    self->ended = self->dead = FALSE;
    forget_current(self);
    g_free(stream_id);
    item_free(item);
    gst_object_unref(parent);
    return TRUE;
}

static gboolean take_segment(GstFastvlmTextPad *self, Batch *batch)
{
    Item *item = g_queue_pop_head(&self->items);
    GstEvent *event = gst_event_new_segment(&item->segment);

    gst_event_set_seqnum(event, item->seqnum);
    add_object(batch, event);
    self->text_end = translate(self->text_end, &self->segment, &item->segment);
    self->current_end = self->current_end == NEVER
                            ? NEVER
                            : translate(self->current_end, &self->segment, &item->segment);
    self->text_is_foreign = TRUE;
    self->covered = self->text_end;
    self->segment = item->segment;
    self->segment_seqnum = item->seqnum;
    item_free(item);
    return TRUE;
}

static gboolean take_eos(GstFastvlmTextPad *self, Batch *batch)
{
    if (self->waiting != NULL && self->segment.format == GST_FORMAT_TIME) {
        return take_waiting(self, batch);
    }
    Item *item = g_queue_pop_head(&self->items);
    GstEvent *event = gst_event_new_eos();

    gst_event_set_seqnum(event, item->seqnum);
    add_object(batch, event);
    self->ended = TRUE;
    item_free(item);
    return TRUE;
}

/* FALSE: nothing to push for the first item, which may be gone all the same. */
static gboolean take_item(GstFastvlmTextPad *self, Batch *batch)
{
    const Item *item = g_queue_peek_head(&self->items);

    switch (item->kind) {
    case ITEM_STREAM:
        return take_stream(self, batch);
    case ITEM_SEGMENT:
        return take_segment(self, batch);
    case ITEM_CAPTION:
        return take_complete(self, g_queue_pop_head(&self->items), batch);
    default:
        return take_eos(self, batch);
    }
}

/* The current caption's next slice, right after the last one unless the video has jumped. */
static gboolean repeat_text(GstFastvlmTextPad *self, Mark end, Batch *batch)
{
    if (self->repeat == 0 || self->current == NULL || self->waiting != NULL ||
        self->text_end == NO_MARK || end < self->text_end || self->text_end >= self->current_end) {
        return FALSE;
    }
    const Mark slice = (Mark)scale(&self->segment, self->repeat);
    const Mark from = end - self->text_end < slice ? self->text_end : end;

    return add_text(self, batch, from, MIN(from + slice, self->current_end));
}

/* Something was linked that has not heard of the current caption: it goes out as a live one. */
static void queue_undelivered(GstFastvlmTextPad *self, Mark end)
{
    if (!self->undelivered || self->waiting != NULL || self->current_end <= end) {
        return;
    }
    self->waiting =
        item_new_caption(self->current, GST_CLOCK_TIME_NONE,
                         self->current_end == NEVER ? self->current_duration
                                                    : (GstClockTime)(self->current_end - end));
}

/* What the frame seen last calls for. */
static gboolean follow_video(GstFastvlmTextPad *self, Batch *batch)
{
    Mark from, end;

    if (!get_frame(self, &from, &end)) {
        return FALSE;
    }
    if (repeat_text(self, end, batch)) {
        return TRUE;
    }
    if (self->covered < end || self->announce) {
        if (self->announce) {
            queue_undelivered(self, end);
            self->announce = FALSE;
        }
        from = self->covered != NO_MARK ? self->covered : from;
        add_gap(self, batch, from, MAX(from, end));
        return TRUE;
    }
    return self->waiting != NULL && end >= self->text_end && take_waiting(self, batch);
}

static gboolean next_batch(GstFastvlmTextPad *self, Batch *batch)
{
    if (self->flushing) {
        return FALSE;
    }
    for (Item *head; (head = g_queue_peek_head(&self->items)) != NULL;) {
        if (take_item(self, batch)) {
            return TRUE;
        }
        if (g_queue_peek_head(&self->items) == head && head->kind == ITEM_STREAM) {
            return FALSE;
        }
    }
    return !self->ended && self->segment.format == GST_FORMAT_TIME && follow_video(self, batch);
}

/* ---- the task ---- */

static GstFlowReturn push_object(GstFastvlmTextPad *self, GstMiniObject *object, gboolean dead)
{
    GstPad *pad = GST_PAD(self);

    if (GST_IS_EVENT(object) && GST_EVENT_IS_STICKY(object)) {
        gst_pad_push_event(pad, GST_EVENT_CAST(object));
    } else if (dead) {
        gst_mini_object_unref(object);
    } else if (GST_IS_BUFFER(object)) {
        return gst_pad_push(pad, GST_BUFFER_CAST(object));
    } else if (!gst_pad_push_event(pad, GST_EVENT_CAST(object)) && gst_pad_is_linked(pad)) {
        return GST_FLOW_FLUSHING;
    }
    return GST_FLOW_OK;
}

/* Without the lock. Where downstream wants no more, text and GAPs are dropped. */
static GstFlowReturn push_batch(GstFastvlmTextPad *self, Batch *batch, gboolean dead)
{
    GstFlowReturn flow = GST_FLOW_OK;

    for (guint i = 0; i < batch->n_objects; i++) {
        const GstFlowReturn result = push_object(self, batch->objects[i], dead);

        flow = flow == GST_FLOW_OK ? result : flow;
    }
    return flow;
}

/* With the lock held. */
static void note_flow(GstFastvlmTextPad *self, const Batch *batch, gboolean has_text,
                      GstFlowReturn flow)
{
    const gboolean unheard = flow == GST_FLOW_NOT_LINKED || flow == GST_FLOW_FLUSHING;

    self->retry_us = flow == GST_FLOW_FLUSHING ? g_get_monotonic_time() + RETRY_INTERVAL : 0;
    if (has_text) {
        self->undelivered = flow != GST_FLOW_OK;
    }
    if (has_text && unheard) {
        /* Nobody has it: nothing to wait for. */
        self->text_end = NO_MARK;
        self->covered = batch->covered;
    }
    self->dead = self->dead || (flow != GST_FLOW_OK && !unheard);
}

static void post_flow_error(GstFastvlmTextPad *self, GstFlowReturn flow)
{
    GstElement *parent = gst_pad_get_parent_element(GST_PAD(self));

    if (parent != NULL) {
        GST_ELEMENT_FLOW_ERROR(parent, flow);
        gst_object_unref(parent);
    }
}

/* With the lock held. */
static void wait_for_news(GstFastvlmTextPad *self)
{
    if (self->retry_us == 0) {
        g_cond_wait(&self->cond, &self->lock);
    } else if (!g_cond_wait_until(&self->cond, &self->lock, self->retry_us)) {
        self->retry_us = 0;
        self->announce = TRUE;
    }
}

static void run_task(gpointer user_data)
{
    GstFastvlmTextPad *self = user_data;
    Batch batch = {.n_objects = 0};

    g_mutex_lock(&self->lock);
    while (!self->stopping && !next_batch(self, &batch)) {
        wait_for_news(self);
    }
    if (self->stopping) {
        g_mutex_unlock(&self->lock);
        gst_pad_pause_task(GST_PAD(self));
        return;
    }
    const gboolean dead = self->dead;
    const gboolean has_text = GST_IS_BUFFER(batch.objects[0]);
    self->busy = TRUE;
    self->announce = self->announce && !has_text;
    g_mutex_unlock(&self->lock);

    const GstFlowReturn flow = push_batch(self, &batch, dead);
    if (flow < GST_FLOW_EOS) {
        post_flow_error(self, flow);
    }

    g_mutex_lock(&self->lock);
    note_flow(self, &batch, has_text, flow);
    self->busy = FALSE;
    g_cond_broadcast(&self->cond);
    g_mutex_unlock(&self->lock);
}

/* With the lock held: everything but what was set for good. */
static void forget_all(GstFastvlmTextPad *self)
{
    g_queue_clear_full(&self->items, (GDestroyNotify)item_free);
    item_free(g_steal_pointer(&self->waiting));
    forget_current(self);
    gst_segment_init(&self->latest, GST_FORMAT_UNDEFINED);
    gst_segment_init(&self->segment, GST_FORMAT_UNDEFINED);
    self->frame_pts = self->frame_duration = GST_CLOCK_TIME_NONE;
    self->covered = self->text_end = NO_MARK;
    self->flushing = self->dead = self->ended = self->announce = FALSE;
    self->retry_us = 0;
}

/* TRUE if the task has left downstream within a little while. */
static gboolean await_idle(GstFastvlmTextPad *self)
{
    const gint64 until = g_get_monotonic_time() + STOP_PATIENCE;

    while (self->busy && g_cond_wait_until(&self->cond, &self->lock, until)) {
    }
    return !self->busy;
}

/* A pad may be released while its peer holds text back, in a paused pipeline for good. */
static void stop_task(GstFastvlmTextPad *self)
{
    GstPad *peer = NULL;

    g_mutex_lock(&self->lock);
    self->stopping = TRUE;
    g_cond_broadcast(&self->cond);
    if (!await_idle(self)) {
        peer = gst_pad_get_peer(GST_PAD(self));
    }
    g_mutex_unlock(&self->lock);
    if (peer != NULL) {
        gst_pad_send_event(peer, gst_event_new_flush_start());
    }
    gst_pad_stop_task(GST_PAD(self));
    if (peer != NULL) {
        gst_pad_send_event(peer, gst_event_new_flush_stop(FALSE));
        gst_object_unref(peer);
    }
    g_mutex_lock(&self->lock);
    forget_all(self);
    self->stopping = FALSE;
    g_mutex_unlock(&self->lock);
}

static gboolean activate_mode(GstPad *pad, GstObject *parent, GstPadMode mode, gboolean active)
{
    if (mode != GST_PAD_MODE_PUSH) {
        return FALSE;
    }
    if (active) {
        return gst_pad_start_task(pad, run_task, pad, NULL);
    }
    stop_task(GST_FASTVLM_TEXT_PAD(pad));
    return TRUE;
}

/* ---- what the element calls ---- */

void gst_fastvlm_text_pad_set_stream(GstFastvlmTextPad *self, gboolean has_group_id, guint group_id,
                                     guint32 seqnum)
{
    Item *item = item_new(ITEM_STREAM, seqnum);

    item->has_group_id = has_group_id;
    item->group_id = group_id;
    g_mutex_lock(&self->lock);
    gst_segment_init(&self->latest, GST_FORMAT_UNDEFINED);
    self->frame_pts = GST_CLOCK_TIME_NONE;
    add_item(self, item);
    g_mutex_unlock(&self->lock);
}

void gst_fastvlm_text_pad_set_segment(GstFastvlmTextPad *self, const GstSegment *segment,
                                      guint32 seqnum)
{
    g_mutex_lock(&self->lock);
    self->latest = *segment;
    self->latest_seqnum = seqnum;
    self->frame_pts = GST_CLOCK_TIME_NONE;
    add_segment(self);
    g_mutex_unlock(&self->lock);
}

void gst_fastvlm_text_pad_set_position(GstFastvlmTextPad *self, GstClockTime pts,
                                       GstClockTime duration)
{
    if (!GST_CLOCK_TIME_IS_VALID(pts)) {
        return;
    }
    g_mutex_lock(&self->lock);
    if (self->latest.format == GST_FORMAT_TIME) {
        self->frame_pts = pts;
        self->frame_duration = duration;
        g_cond_broadcast(&self->cond);
    }
    g_mutex_unlock(&self->lock);
}

void gst_fastvlm_text_pad_push_caption(GstFastvlmTextPad *self, const char *text, GstClockTime pts,
                                       GstClockTime duration)
{
    Item *item = item_new_caption(text, pts, duration);

    g_mutex_lock(&self->lock);
    if (self->flushing || self->latest.format != GST_FORMAT_TIME) {
        item_free(item);
    } else if (GST_CLOCK_TIME_IS_VALID(pts)) {
        add_item(self, item);
    } else {
        item_free(self->waiting);
        self->waiting = item;
        g_cond_broadcast(&self->cond);
    }
    g_mutex_unlock(&self->lock);
}

void gst_fastvlm_text_pad_eos(GstFastvlmTextPad *self, guint32 seqnum)
{
    g_mutex_lock(&self->lock);
    add_item(self, item_new(ITEM_EOS, seqnum));
    g_mutex_unlock(&self->lock);
}

void gst_fastvlm_text_pad_flush_start(GstFastvlmTextPad *self, GstEvent *event)
{
    g_mutex_lock(&self->lock);
    self->flushing = TRUE;
    drop_items(self, ITEM_CAPTION);
    drop_items(self, ITEM_EOS);
    item_free(g_steal_pointer(&self->waiting));
    g_mutex_unlock(&self->lock);
    gst_pad_push_event(GST_PAD(self), event);
}

/* A flush takes the sticky segment away, too: it has to go out again where it still holds. */
static void forget_flushed(GstFastvlmTextPad *self, gboolean reset_time)
{
    forget_current(self);
    self->frame_pts = GST_CLOCK_TIME_NONE;
    self->covered = self->text_end = NO_MARK;
    self->ended = self->dead = FALSE;
    self->retry_us = 0;
    if (reset_time) {
        drop_items(self, ITEM_SEGMENT);
        gst_segment_init(&self->latest, GST_FORMAT_UNDEFINED);
        gst_segment_init(&self->segment, GST_FORMAT_UNDEFINED);
    } else if (self->latest.format == GST_FORMAT_TIME && !has_item(self, ITEM_SEGMENT)) {
        add_segment(self);
    }
}

void gst_fastvlm_text_pad_flush_stop(GstFastvlmTextPad *self, GstEvent *event)
{
    gboolean reset_time;

    gst_event_parse_flush_stop(event, &reset_time);
    g_mutex_lock(&self->lock);
    while (self->busy) {
        g_cond_wait(&self->cond, &self->lock);
    }
    g_mutex_unlock(&self->lock);
    gst_pad_push_event(GST_PAD(self), event);
    g_mutex_lock(&self->lock);
    forget_flushed(self, reset_time);
    self->flushing = FALSE;
    g_cond_broadcast(&self->cond);
    g_mutex_unlock(&self->lock);
}

void gst_fastvlm_text_pad_set_repeat(GstFastvlmTextPad *self, GstClockTime repeat)
{
    g_mutex_lock(&self->lock);
    self->repeat = repeat;
    g_cond_broadcast(&self->cond);
    g_mutex_unlock(&self->lock);
}

/* ---- the pad ---- */

/* Linking, here or behind a ghost pad, sends this upstream. */
static GstPadProbeReturn note_link(GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
    GstFastvlmTextPad *self = GST_FASTVLM_TEXT_PAD(pad);

    if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) == GST_EVENT_RECONFIGURE) {
        g_mutex_lock(&self->lock);
        self->announce = TRUE;
        self->dead = FALSE;
        g_cond_broadcast(&self->cond);
        g_mutex_unlock(&self->lock);
    }
    return GST_PAD_PROBE_OK;
}

static void note_parent(GstFastvlmTextPad *self, GParamSpec *pspec, gpointer user_data)
{
    g_mutex_lock(&self->lock);
    g_cond_broadcast(&self->cond);
    g_mutex_unlock(&self->lock);
}

static void finalize(GObject *object)
{
    GstFastvlmTextPad *self = GST_FASTVLM_TEXT_PAD(object);

    forget_all(self);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->cond);
    G_OBJECT_CLASS(gst_fastvlm_text_pad_parent_class)->finalize(object);
}

static void gst_fastvlm_text_pad_class_init(GstFastvlmTextPadClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = finalize;
}

static void gst_fastvlm_text_pad_init(GstFastvlmTextPad *self)
{
    g_mutex_init(&self->lock);
    g_cond_init(&self->cond);
    g_queue_init(&self->items);
    forget_all(self);
    gst_pad_set_activatemode_function(GST_PAD(self), GST_DEBUG_FUNCPTR(activate_mode));
    gst_pad_add_probe(GST_PAD(self), GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, note_link, NULL, NULL);
    g_signal_connect(self, "notify::parent", G_CALLBACK(note_parent), NULL);
}

GstFastvlmTextPad *gst_fastvlm_text_pad_new(GstPadTemplate *templ)
{
    return g_object_new(GST_TYPE_FASTVLM_TEXT_PAD, "name", "text_src", "direction", GST_PAD_SRC,
                        "template", templ, NULL);
}
