/*
 * The UTF-8 stream: whole characters however the bytes are cut, and Python's replacements.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/utf8_stream.h"

#include <string.h>

#define R "\357\277\275"

typedef struct {
    const char *bytes;
    const char *expected; /* by Python 3.11's bytes.decode("utf-8", "replace") */
} Sample;

static const Sample samples[] = {
    {"", ""},
    {"plain", "plain"},
    {"caf\303\251 \342\202\254 \360\237\231\202", "caf\303\251 \342\202\254 \360\237\231\202"},
    {"\200", R},
    {"a\377b", "a" R "b"},
    {"\300\200", R R},
    {"\301\277x", R R "x"},
    {"\342\202", R},
    {"\342\202x", R "x"},
    {"\342x", R "x"},
    {"\360\237\231", R},
    {"\360\237\231\360\237\231\202", R "\360\237\231\202"},
    {"\340\200\200", R R R},
    {"\355\240\200", R R R},
    {"\360\200\200\200", R R R R},
    {"\364\220\200\200", R R R R},
    {"\365\200\200\200", R R R R},
    {"\364\217\277\277", "\364\217\277\277"},
    {"\303\303\251\251", R "\303\251" R},
    {"\342\202\342\202\254", R "\342\202\254"},
};

static void feed_all(const char *bytes, gsize n_bytes, gsize step, GString *out)
{
    FastvlmUtf8Stream stream = {0};
    for (gsize at = 0; at < n_bytes; at += step) {
        gsize before = out->len;
        fastvlm_utf8_stream_feed(&stream, bytes + at, MIN(step, n_bytes - at), out);
        g_assert_true(g_utf8_validate(out->str + before, (gssize)(out->len - before), NULL));
    }
    fastvlm_utf8_stream_flush(&stream, out);
    g_assert_cmpuint(stream.n_held, ==, 0);
}

static void test_samples(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(samples); i++) {
        for (gsize step = 1; step <= 5; step++) {
            g_autoptr(GString) out = g_string_new(NULL);
            feed_all(samples[i].bytes, strlen(samples[i].bytes), step, out);
            g_assert_cmpstr(out->str, ==, samples[i].expected);
        }
    }
}

static void test_holds_back(void)
{
    FastvlmUtf8Stream stream = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    fastvlm_utf8_stream_feed(&stream, "a\360\237", 3, out);
    g_assert_cmpstr(out->str, ==, "a");
    fastvlm_utf8_stream_feed(&stream, "", 0, out);
    fastvlm_utf8_stream_feed(&stream, "\231", 1, out);
    g_assert_cmpstr(out->str, ==, "a");
    fastvlm_utf8_stream_feed(&stream, "\202b", 2, out);
    g_assert_cmpstr(out->str, ==, "a\360\237\231\202b");
    fastvlm_utf8_stream_flush(&stream, out);
    g_assert_cmpstr(out->str, ==, "a\360\237\231\202b");
}

static void test_nul(void)
{
    FastvlmUtf8Stream stream = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    fastvlm_utf8_stream_feed(&stream, "a\0b\303\0", 5, out);
    g_assert_cmpmem(out->str, out->len, "a\0b" R "\0", 7);
}

/* Random bytes: the cuts change nothing, and valid text passes unchanged. */
static void test_random(void)
{
    for (int round = 0; round < 2000; round++) {
        char bytes[24];
        for (gsize i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)g_test_rand_int_range(round % 2 ? 0x80 : 1, 0x100);
        g_autoptr(GString) whole = g_string_new(NULL);
        g_autoptr(GString) cut = g_string_new(NULL);
        feed_all(bytes, sizeof bytes, sizeof bytes, whole);
        feed_all(bytes, sizeof bytes, (gsize)g_test_rand_int_range(1, 8), cut);
        g_assert_cmpmem(whole->str, whole->len, cut->str, cut->len);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/utf8-stream/samples", test_samples);
    g_test_add_func("/utf8-stream/holds-back", test_holds_back);
    g_test_add_func("/utf8-stream/nul", test_nul);
    g_test_add_func("/utf8-stream/random", test_random);
    return g_test_run();
}
