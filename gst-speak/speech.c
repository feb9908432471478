/*
 * Whose turn it is; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "speech.h"

#include <string.h>

#define PAUSE_MS 150 /* between sentences */
#define FADE_MS 10   /* of an interrupted one: a cut is a click */

typedef struct {
    char *text;
    GArray *samples; /* int16; NULL: there is no sentence */
    gboolean urgent;
} Sentence;

struct _GstFastvlmSpeech {
    guint rate;
    Sentence current;
    guint position; /* in current */
    Sentence waiting;
    guint pause; /* samples of silence that are due */
    char *last;  /* text that was begun last */
};

static void clear_sentence(Sentence *sentence)
{
    g_free(sentence->text);
    if (sentence->samples != NULL) {
        g_array_unref(sentence->samples);
    }
    *sentence = (Sentence){0};
}

GstFastvlmSpeech *gst_fastvlm_speech_new(guint rate)
{
    GstFastvlmSpeech *speech = g_new0(GstFastvlmSpeech, 1);

    speech->rate = rate;
    return speech;
}

void gst_fastvlm_speech_reset(GstFastvlmSpeech *speech)
{
    clear_sentence(&speech->current);
    clear_sentence(&speech->waiting);
    speech->position = 0;
    speech->pause = 0;
    g_clear_pointer(&speech->last, g_free);
}

void gst_fastvlm_speech_free(GstFastvlmSpeech *speech)
{
    if (speech != NULL) {
        gst_fastvlm_speech_reset(speech);
        g_free(speech);
    }
}

gboolean gst_fastvlm_speech_is_busy(const GstFastvlmSpeech *speech)
{
    return speech->current.samples != NULL || speech->waiting.samples != NULL;
}

gboolean gst_fastvlm_speech_is_news(const GstFastvlmSpeech *speech, const char *text,
                                    gboolean urgent)
{
    const Sentence *current = &speech->current, *waiting = &speech->waiting;

    if (waiting->samples != NULL) {
        if (waiting->urgent && !urgent) {
            return FALSE;
        }
        return strcmp(waiting->text, text) != 0 || (urgent && !waiting->urgent);
    }
    /* An alert is told each time it is raised, though not while it is being told. */
    if (urgent && !(current->samples != NULL && current->urgent)) {
        return TRUE;
    }
    return g_strcmp0(speech->last, text) != 0;
}

/* What is left of the sentence being spoken becomes the few samples in which it fades. */
static void cut_current(GstFastvlmSpeech *speech)
{
    const guint left = speech->current.samples->len - speech->position;
    const guint n = MIN(left, speech->rate * FADE_MS / 1000);
    gint16 *samples = &g_array_index(speech->current.samples, gint16, speech->position);

    for (guint i = 0; i < n; i++) {
        samples[i] = (gint16)(samples[i] * (int)(n - i) / (int)n);
    }
    g_array_set_size(speech->current.samples, speech->position + n);
}

void gst_fastvlm_speech_put(GstFastvlmSpeech *speech, const char *text, GArray *samples,
                            gboolean urgent)
{
    clear_sentence(&speech->waiting);
    speech->waiting = (Sentence){g_strdup(text), samples, urgent};
    if (urgent && speech->current.samples != NULL && !speech->current.urgent) {
        cut_current(speech);
    }
}

static void begin_next(GstFastvlmSpeech *speech)
{
    speech->current = speech->waiting;
    speech->waiting = (Sentence){0};
    speech->position = 0;
    g_free(speech->last);
    speech->last = g_strdup(speech->current.text);
}

/* Up to n samples of the sentence being spoken. */
static guint take(GstFastvlmSpeech *speech, gint16 *samples, guint n)
{
    GArray *from = speech->current.samples;

    n = MIN(n, from->len - speech->position);
    if (n > 0) {
        memcpy(samples, &g_array_index(from, gint16, speech->position), n * sizeof(*samples));
    }
    speech->position += n;
    if (speech->position == from->len) {
        clear_sentence(&speech->current);
        speech->pause = speech->rate * PAUSE_MS / 1000;
    }
    return n;
}

gboolean gst_fastvlm_speech_pull(GstFastvlmSpeech *speech, gint16 *samples, guint n_samples)
{
    gboolean spoke = FALSE;

    memset(samples, 0, n_samples * sizeof(*samples));
    for (guint i = 0; i < n_samples;) {
        if (speech->current.samples == NULL && speech->pause == 0 &&
            speech->waiting.samples != NULL) {
            begin_next(speech);
        }
        if (speech->current.samples != NULL) {
            const guint n = take(speech, samples + i, n_samples - i);
            spoke |= n > 0;
            i += n;
        } else {
            const guint n = speech->pause > 0 ? MIN(speech->pause, n_samples - i) : n_samples - i;
            speech->pause -= MIN(speech->pause, n);
            i += n;
        }
    }
    return spoke;
}

/* The last place within `max_length` characters at which a word ends, or max_length. */
static glong find_cut(const char *line, guint max_length)
{
    glong cut = 0, i = 0;

    for (const char *p = line; i <= (glong)max_length; p = g_utf8_next_char(p), i++) {
        if (*p == ' ') {
            cut = i;
        }
    }
    return cut > 0 ? cut : (glong)max_length;
}

char *gst_fastvlm_speech_clean(const char *text, gssize n_bytes, guint max_length)
{
    char *valid = g_utf8_make_valid(text, n_bytes);
    GString *line = g_string_new(NULL);
    gboolean blank = FALSE;

    for (const char *p = valid; *p != '\0'; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);

        if (g_unichar_isspace(c) || g_unichar_iscntrl(c)) {
            blank = line->len > 0;
        } else if (g_unichar_isprint(c)) {
            if (blank) {
                g_string_append_c(line, ' ');
            }
            blank = FALSE;
            g_string_append_unichar(line, c);
        }
    }
    g_free(valid);
    if (max_length > 0 && g_utf8_strlen(line->str, -1) > (glong)max_length) {
        const char *end = g_utf8_offset_to_pointer(line->str, find_cut(line->str, max_length));
        g_string_truncate(line, end - line->str);
    }
    return g_string_free(line, FALSE);
}
