/*
 * Whose turn it is to be spoken: each sentence here is a run of one number, so that what comes out
 * tells who spoke.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <glib.h>
#include <string.h>

#include "speech.h"

#define RATE 1000
#define PAUSE 150 /* samples between sentences at that rate */

static gboolean offer(GstFastvlmSpeech *speech, const char *text, gint16 value, guint n,
                      gboolean urgent)
{
    if (!gst_fastvlm_speech_is_news(speech, text, urgent)) {
        return FALSE;
    }
    GArray *samples = g_array_sized_new(FALSE, FALSE, sizeof(gint16), n);
    for (guint i = 0; i < n; i++) {
        g_array_append_val(samples, value);
    }
    gst_fastvlm_speech_put(speech, text, samples, urgent);
    return TRUE;
}

/* Pulls n samples and tells how many of them are `value`. */
static guint count(GstFastvlmSpeech *speech, guint n, gint16 value)
{
    gint16 *samples = g_new(gint16, n);
    guint found = 0;

    gst_fastvlm_speech_pull(speech, samples, n);
    for (guint i = 0; i < n; i++) {
        found += samples[i] == value;
    }
    g_free(samples);
    return found;
}

static void test_silence(void)
{
    GstFastvlmSpeech *speech = gst_fastvlm_speech_new(RATE);
    gint16 samples[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

    g_assert_false(gst_fastvlm_speech_pull(speech, samples, 10));
    for (int i = 0; i < 10; i++) {
        g_assert_cmpint(samples[i], ==, 0);
    }
    g_assert_false(gst_fastvlm_speech_is_busy(speech));
    gst_fastvlm_speech_free(speech);
}

static void test_newest_wins(void)
{
    GstFastvlmSpeech *speech = gst_fastvlm_speech_new(RATE);

    g_assert_true(offer(speech, "one", 1, 500, FALSE));
    g_assert_cmpuint(count(speech, 100, 1), ==, 100);
    g_assert_true(offer(speech, "two", 2, 500, FALSE));
    g_assert_true(offer(speech, "three", 3, 500, FALSE));
    /* What is being said is finished, the second is never heard. */
    g_assert_cmpuint(count(speech, 400, 1), ==, 400);
    g_assert_cmpuint(count(speech, PAUSE, 0), ==, PAUSE);
    g_assert_cmpuint(count(speech, 500, 3), ==, 500);
    g_assert_false(gst_fastvlm_speech_is_busy(speech));
    g_assert_cmpuint(count(speech, 1000, 0), ==, 1000);
    gst_fastvlm_speech_free(speech);
}

static void test_urgent_interrupts(void)
{
    GstFastvlmSpeech *speech = gst_fastvlm_speech_new(RATE);

    g_assert_true(offer(speech, "one", 1000, 5000, FALSE));
    g_assert_cmpuint(count(speech, 100, 1000), ==, 100);
    g_assert_true(offer(speech, "two", 2, 500, FALSE));
    g_assert_true(offer(speech, "alert", 9, 500, TRUE));
    /* It fades within 10 ms; a caption cannot take the alert's place. */
    g_assert_false(offer(speech, "four", 4, 500, FALSE));
    count(speech, 10 + PAUSE, 0);
    g_assert_cmpuint(count(speech, 500, 9), ==, 500);
    gst_fastvlm_speech_free(speech);
}

/* One alert does not cut another short: the newer waits. */
static void test_urgent_waits_for_urgent(void)
{
    GstFastvlmSpeech *speech = gst_fastvlm_speech_new(RATE);

    g_assert_true(offer(speech, "fire", 8, 500, TRUE));
    g_assert_cmpuint(count(speech, 100, 8), ==, 100);
    g_assert_false(offer(speech, "fire", 8, 500, TRUE));
    g_assert_true(offer(speech, "flood", 9, 500, TRUE));
    g_assert_false(offer(speech, "a cat", 1, 500, FALSE));
    g_assert_cmpuint(count(speech, 400, 8), ==, 400);
    count(speech, PAUSE, 0);
    g_assert_cmpuint(count(speech, 500, 9), ==, 500);
    /* Raised again later, it is told again; a caption would not be. */
    g_assert_true(offer(speech, "flood", 9, 500, TRUE));
    gst_fastvlm_speech_free(speech);
}

static void test_not_twice(void)
{
    GstFastvlmSpeech *speech = gst_fastvlm_speech_new(RATE);

    g_assert_true(offer(speech, "one", 1, 100, FALSE));
    g_assert_false(offer(speech, "one", 1, 100, FALSE));
    count(speech, 50, 1);
    g_assert_false(offer(speech, "one", 1, 100, FALSE));
    count(speech, 500, 1);
    g_assert_false(offer(speech, "one", 1, 100, FALSE));
    g_assert_true(offer(speech, "two", 2, 100, FALSE));
    count(speech, 500, 2);
    g_assert_true(offer(speech, "one", 1, 100, FALSE));
    gst_fastvlm_speech_reset(speech);
    g_assert_true(offer(speech, "one", 1, 100, FALSE));
    gst_fastvlm_speech_free(speech);
}

static void check_clean(const char *text, guint max_length, const char *expected)
{
    char *clean = gst_fastvlm_speech_clean(text, -1, max_length);

    g_assert_cmpstr(clean, ==, expected);
    g_free(clean);
}

static void test_clean(void)
{
    check_clean("  a\tb\n\nc\r\n ", 0, "a b c");
    check_clean("\x01\x1b[31mred\x7f", 0, "[31mred");
    check_clean("caf\xc3\xa9 \xff!", 0, "caf\xc3\xa9 \xef\xbf\xbd!");
    check_clean("one two three", 8, "one two");
    check_clean("one two three", 7, "one two");
    check_clean("one two three", 13, "one two three");
    check_clean("aaaaaaaaaa", 4, "aaaa");
    check_clean("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 2, "\xc3\xa9\xc3\xa9");
    check_clean("\n\t \x02", 5, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/speech/silence", test_silence);
    g_test_add_func("/speech/newest-wins", test_newest_wins);
    g_test_add_func("/speech/urgent-interrupts", test_urgent_interrupts);
    g_test_add_func("/speech/urgent-waits-for-urgent", test_urgent_waits_for_urgent);
    g_test_add_func("/speech/not-twice", test_not_twice);
    g_test_add_func("/speech/clean", test_clean);
    return g_test_run();
}
