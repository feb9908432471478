/*
 * Loops in answers: found soon, cut to one block, and not seen where there is none.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/repetition.h"

/* Tokens 100, 101, ... and then a block of `period` tokens over and over; when it is found. */
static void check_loop(int n_before, int period, int expected_at)
{
    gint32 ids[200];
    int n = 0;

    for (; n < n_before; n++)
        ids[n] = 100 + n;
    while (n < 200) {
        ids[n] = (n - n_before) % period;
        n++;
        const int cut = fastvlm_repetition_find(ids, n);

        if (n < n_before + expected_at) {
            g_assert_cmpint(cut, ==, 0);
        } else {
            g_assert_cmpint(cut, ==, n_before + period);
            return;
        }
    }
    g_assert_not_reached();
}

static void test_found(void)
{
    check_loop(0, 1, 24);
    check_loop(5, 1, 24);
    check_loop(5, 2, 24);
    check_loop(7, 5, 24);
    check_loop(7, 8, 24);
    check_loop(3, 11, 33);
    check_loop(3, 16, 48);
}

static void test_not_found(void)
{
    gint32 ids[400];

    for (int i = 0; i < 400; i++)
        ids[i] = i % 17; /* a refrain is no loop */
    g_assert_cmpint(fastvlm_repetition_find(ids, 400), ==, 0);
    /* Counting: each line is like the one before but for its number. */
    for (int i = 0; i < 400; i++)
        ids[i] = i % 4 == 0 ? 1000 + i : i % 4;
    for (int n = 0; n <= 400; n++)
        g_assert_cmpint(fastvlm_repetition_find(ids, n), ==, 0);
    /* "very, very, very": a few words twice over, or one some times. */
    for (int i = 0; i < 23; i++)
        ids[i] = 7;
    g_assert_cmpint(fastvlm_repetition_find(ids, 23), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/repetition/found", test_found);
    g_test_add_func("/repetition/not-found", test_not_found);
    return g_test_run();
}
