/*
 * Talking to speech-dispatcher; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "talker.h"

#include <libspeechd.h>
#include <stdlib.h>

/* While the server is slow; then the oldest goes. It keeps one "progress" message itself. */
#define MAX_WAITING 8

typedef struct {
    char *words;
    gboolean urgent;
} Sentence;

/* The user and the thread have a reference each. */
struct _GstFastvlmTalker {
    char *language;
    gint64 timeout_us;

    GMutex lock;
    GCond changed;
    GQueue waiting;   /* of Sentence */
    gint64 busy_us;   /* when the server was last asked for what it has not answered; 0: it has */
    gboolean is_open; /* the server has answered */
    gboolean failed;  /* it has not, or no more */
    gboolean quits;   /* the user has gone */
    char *problem;    /* why it cannot be opened */
};

static void free_sentence(gpointer data)
{
    Sentence *sentence = data;

    if (sentence != NULL) {
        g_free(sentence->words);
        g_free(sentence);
    }
}

static void clear_talker(gpointer data)
{
    GstFastvlmTalker *talker = data;

    g_queue_clear_full(&talker->waiting, free_sentence);
    g_mutex_clear(&talker->lock);
    g_cond_clear(&talker->changed);
    g_free(talker->language);
    g_free(talker->problem);
}

/* ---- the thread ---- */

static SPDConnection *open_connection(GstFastvlmTalker *talker)
{
    char *problem = NULL;
    SPDConnection *connection =
        spd_open2("fastvlm", "captions", NULL, SPD_MODE_SINGLE, NULL, TRUE, &problem);

    if (connection != NULL && talker->language != NULL) {
        spd_set_language(connection, talker->language);
    }
    g_mutex_lock(&talker->lock);
    talker->is_open = connection != NULL;
    talker->failed = connection == NULL;
    talker->busy_us = 0;
    if (connection == NULL) {
        talker->problem = g_strdup(problem != NULL ? problem : "no reason was given");
    }
    g_cond_broadcast(&talker->changed);
    g_mutex_unlock(&talker->lock);
    free(problem);
    return connection;
}

/* The next sentence, which the server is then asked to say; NULL: there will be none. */
static Sentence *take_sentence(GstFastvlmTalker *talker)
{
    g_mutex_lock(&talker->lock);
    while (!talker->quits && g_queue_is_empty(&talker->waiting)) {
        g_cond_wait(&talker->changed, &talker->lock);
    }
    Sentence *sentence = g_queue_pop_head(&talker->waiting);
    talker->busy_us = sentence != NULL ? g_get_monotonic_time() : 0;
    g_mutex_unlock(&talker->lock);
    return sentence;
}

static void note_answer(GstFastvlmTalker *talker, gboolean said)
{
    g_mutex_lock(&talker->lock);
    talker->busy_us = 0;
    talker->failed |= !said;
    g_cond_broadcast(&talker->changed);
    g_mutex_unlock(&talker->lock);
}

static gpointer run_talker(gpointer data)
{
    GstFastvlmTalker *talker = data;
    SPDConnection *connection = open_connection(talker);
    gboolean said = connection != NULL;
    Sentence *sentence;

    while (said && (sentence = take_sentence(talker)) != NULL) {
        said = spd_say(connection, sentence->urgent ? SPD_IMPORTANT : SPD_PROGRESS,
                       sentence->words) >= 0;
        free_sentence(sentence);
        note_answer(talker, said);
    }
    g_clear_pointer(&connection, spd_close);
    g_atomic_rc_box_release_full(talker, clear_talker);
    return NULL;
}

/* ---- the user's side ---- */

GstFastvlmTalker *gst_fastvlm_talker_new(const char *language, gint64 timeout_us, char **problem)
{
    GstFastvlmTalker *talker = g_atomic_rc_box_new0(GstFastvlmTalker);
    const gint64 deadline = g_get_monotonic_time() + timeout_us;

    talker->language = g_strdup(language);
    talker->timeout_us = timeout_us;
    g_mutex_init(&talker->lock);
    g_cond_init(&talker->changed);
    g_queue_init(&talker->waiting);
    talker->busy_us = g_get_monotonic_time();
    g_thread_unref(g_thread_new("speechd", run_talker, g_atomic_rc_box_acquire(talker)));

    g_mutex_lock(&talker->lock);
    while (!talker->is_open && !talker->failed &&
           g_cond_wait_until(&talker->changed, &talker->lock, deadline)) {
    }
    const gboolean is_open = talker->is_open;
    if (!is_open) {
        *problem =
            talker->problem != NULL
                ? g_strdup(talker->problem)
                : g_strdup_printf("no answer in %.1f s", (double)timeout_us / G_TIME_SPAN_SECOND);
    }
    g_mutex_unlock(&talker->lock);
    if (!is_open) {
        gst_fastvlm_talker_free(g_steal_pointer(&talker));
    }
    return talker;
}

void gst_fastvlm_talker_free(GstFastvlmTalker *talker)
{
    if (talker == NULL) {
        return;
    }
    g_mutex_lock(&talker->lock);
    const gint64 deadline =
        (talker->busy_us != 0 ? talker->busy_us : g_get_monotonic_time()) + talker->timeout_us;
    while (talker->is_open && !talker->failed &&
           (talker->busy_us != 0 || !g_queue_is_empty(&talker->waiting)) &&
           g_cond_wait_until(&talker->changed, &talker->lock, deadline)) {
    }
    g_queue_clear_full(&talker->waiting, free_sentence);
    talker->quits = TRUE;
    g_cond_broadcast(&talker->changed);
    g_mutex_unlock(&talker->lock);
    g_atomic_rc_box_release_full(talker, clear_talker);
}

gboolean gst_fastvlm_talker_say(GstFastvlmTalker *talker, const char *words, gboolean urgent)
{
    Sentence *sentence = g_new(Sentence, 1);

    *sentence = (Sentence){.words = g_strdup(words), .urgent = urgent};
    g_mutex_lock(&talker->lock);
    g_queue_push_tail(&talker->waiting, sentence);
    if (g_queue_get_length(&talker->waiting) > MAX_WAITING) {
        free_sentence(g_queue_pop_head(&talker->waiting));
    }
    const gboolean takes_text = !talker->failed;
    g_cond_broadcast(&talker->changed);
    g_mutex_unlock(&talker->lock);
    return takes_text;
}

gboolean gst_fastvlm_talker_hangs(GstFastvlmTalker *talker)
{
    g_mutex_lock(&talker->lock);
    const gboolean hangs =
        talker->busy_us != 0 && g_get_monotonic_time() - talker->busy_us > talker->timeout_us;
    g_mutex_unlock(&talker->lock);
    return hangs;
}
