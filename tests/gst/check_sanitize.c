/*
 * Text made harmless: single cases, and properties that hold for any bytes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include <string.h>

#include "gstfastvlmsanitize.h"

typedef struct {
    const char *text;
    const char *line; /* NULL: the same */
    const char *safe; /* NULL: the same as line */
} Case;

static const Case CASES[] = {
    {"", NULL, NULL},
    {"A cat on a mat.", NULL, NULL},
    {"\xc3\xa9t\xc3\xa9, \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e, \xd8\xb3\xd9\x84\xd8\xa7\xd9\x85",
     NULL, NULL},
    {"one\ntwo\r\nthree\rfour", "one two three four", NULL},
    {"a\n\n\nb", "a b", NULL},
    {"a\xe2\x80\xa8"
     "b\xe2\x80\xa9"
     "c\xc2\x85"
     "d\x0b"
     "e\x0c"
     "f",
     "a b c d e f", NULL},
    {"  a \t b  ", "a b", NULL},
    {" \n \t ", "", NULL},
    {"a\x01\x02\x1b[31mb\x7f", "a[31mb", NULL},
    {"a\x01 \x02 b", "a b", NULL},
    {"a\xc2\x9f"
     "b",
     "ab", NULL},
    {"\xef\xbb\xbf"
     "bom",
     "bom", NULL},
    {"x\xef\xbf\xbe\xef\xb7\x90y", "xy", NULL},
    {"user\xe2\x80\xaegnp.exe", "usergnp.exe", NULL},
    {"a\xe2\x81\xa6"
     "b\xe2\x81\xa9",
     "ab", NULL},
    /* What joins stays: Persian and emoji need it. */
    {"\xd9\x85\xdb\x8c\xe2\x80\x8c\xd8\xae \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80", NULL,
     NULL},
    /* One blank of its own kind stays, a run becomes a plain one. */
    {"oui\xc2\xa0!", NULL, NULL},
    {"oui\xc2\xa0 !", "oui !", NULL},
    {"a --> b", NULL, "a \xe2\x86\x92 b"},
    {"00:00:00.000 --> 00:00:01.000", NULL, "00:00:00.000 \xe2\x86\x92 00:00:01.000"},
    {"--->-->", NULL, "-\xe2\x86\x92\xe2\x86\x92"},
    {"--\x01>", "-->", "\xe2\x86\x92"},
    {"--\n>", "-- >", "-- \xe2\x80\xba"},
    {"->", NULL, "-\xe2\x80\xba"},
    {"<b>x</b> & y", NULL,
     "\xe2\x80\xb9"
     "b\xe2\x80\xbax\xe2\x80\xb9/b\xe2\x80\xba & y"},
    {"ok\xff\xfe ok", "ok\xef\xbf\xbd\xef\xbf\xbd ok", NULL},
    {"cut \xe6\x97", "cut \xef\xbf\xbd\xef\xbf\xbd", NULL},
    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", NULL},
    {"\xc0\xbc", "\xef\xbf\xbd\xef\xbf\xbd", NULL},
};

static void test_cases(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(CASES); i++) {
        const char *expected_line = CASES[i].line != NULL ? CASES[i].line : CASES[i].text;
        const char *expected_safe = CASES[i].safe != NULL ? CASES[i].safe : expected_line;
        char *line = gst_fastvlm_sanitize_line(CASES[i].text);
        char *safe = gst_fastvlm_sanitize_text(CASES[i].text);

        g_test_message("case %" G_GSIZE_FORMAT, i);
        g_assert_cmpstr(line, ==, expected_line);
        g_assert_cmpstr(safe, ==, expected_safe);
        g_free(line);
        g_free(safe);
    }
}

/* Words stay as they are, in lines. */
static void test_answers(void)
{
    static const struct {
        const char *text;
        const char *answer; /* NULL: the same */
    } cases[] = {
        {"", NULL},
        {"A cat, <b>&\"'$(reboot)`; --> %s \\n", NULL},
        {"one\n\n\ttwo  three", NULL},
        {"\xe6\x97\xa5\xe6\x9c\xac oui\xc2\xa0!", NULL},
        {" \n\x01 a b \t", "a b"},
        {"one\r\ntwo\rthree\vfour\xc2\x85"
         "five",
         "one\ntwo\nthree\nfour\nfive"},
        {"a\x01\x02\x1b[31mb\x7f\x07", "a[31mb"},
        {"user\xe2\x80\xaegnp.exe", "usergnp.exe"},
        {"ok\xff ok", "ok\xef\xbf\xbd ok"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *answer = gst_fastvlm_sanitize_answer(cases[i].text);

        g_test_message("case %" G_GSIZE_FORMAT, i);
        g_assert_cmpstr(answer, ==, cases[i].answer != NULL ? cases[i].answer : cases[i].text);
        g_free(answer);
    }
}

/* A flood is cut, at a whole character, and says so. */
static void test_long_answer(void)
{
    GString *flood = g_string_new(NULL);

    while (g_utf8_strlen(flood->str, -1) < GST_FASTVLM_ANSWER_MAX_CHARS) {
        g_string_append(flood, "\xe6\x97\xa5");
    }
    char *whole = gst_fastvlm_sanitize_answer(flood->str);
    char *expected = g_strconcat(flood->str, "\xe2\x80\xa6", NULL);

    g_assert_cmpstr(whole, ==, flood->str);
    g_string_append(flood, " and so on");
    char *cut = gst_fastvlm_sanitize_answer(flood->str);
    char *again = gst_fastvlm_sanitize_answer(cut);

    g_assert_cmpstr(cut, ==, expected);
    g_assert_cmpstr(again, ==, expected);
    g_free(whole);
    g_free(expected);
    g_free(cut);
    g_free(again);
    g_string_free(flood, TRUE);
}

static void test_null(void)
{
    char *answer = gst_fastvlm_sanitize_answer(NULL);
    char *line = gst_fastvlm_sanitize_line(NULL);
    char *safe = gst_fastvlm_sanitize_text(NULL);

    g_assert_cmpstr(answer, ==, "");
    g_assert_cmpstr(line, ==, "");
    g_assert_cmpstr(safe, ==, "");
    g_free(answer);
    g_free(line);
    g_free(safe);
}

static void assert_answer(const char *answer)
{
    g_assert_true(g_utf8_validate(answer, -1, NULL));
    for (const char *p = answer; *p != '\0'; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);

        g_assert_true(c == '\n' || c == '\t' || !g_unichar_iscntrl(c));
    }
}

static void assert_harmless(const char *safe)
{
    g_assert_true(g_utf8_validate(safe, -1, NULL));
    g_assert_null(strpbrk(safe, "<>\n\r\t\v\f"));
    g_assert_null(strstr(safe, "  "));
    g_assert_false(g_str_has_prefix(safe, " ") || g_str_has_suffix(safe, " "));
    for (const char *p = safe; *p != '\0'; p = g_utf8_next_char(p)) {
        const gunichar c = g_utf8_get_char(p);

        g_assert_false(g_unichar_iscntrl(c));
        g_assert_true(c != 0x2028 && c != 0x2029 && c != 0x85);
    }
}

/* Bytes by chance, most of them ones that matter: harmless once, and unchanged the second time. */
static void test_any_bytes(void)
{
    static const char NASTY[] = "<>-->- \n\r\t\x01\x1b\x7f\xe2\x80\xa8\xe2\x80\xae\xc2\x85\xff\xc0";

    for (guint round = 0; round < 20000; round++) {
        char text[33];
        const gint n = g_test_rand_int_range(0, sizeof text);

        for (gint i = 0; i < n; i++) {
            text[i] = g_test_rand_int_range(0, 4) > 0
                          ? NASTY[g_test_rand_int_range(0, sizeof NASTY - 1)]
                          : (char)g_test_rand_int_range(1, 256);
        }
        text[n] = '\0';
        char *answer = gst_fastvlm_sanitize_answer(text);
        char *safe = gst_fastvlm_sanitize_text(text);
        char *again = gst_fastvlm_sanitize_text(safe);

        assert_answer(answer);
        g_free(answer);
        assert_harmless(safe);
        g_assert_cmpstr(again, ==, safe);
        g_free(safe);
        g_free(again);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sanitize/cases", test_cases);
    g_test_add_func("/sanitize/answers", test_answers);
    g_test_add_func("/sanitize/long-answer", test_long_answer);
    g_test_add_func("/sanitize/null", test_null);
    g_test_add_func("/sanitize/any-bytes", test_any_bytes);
    return g_test_run();
}
