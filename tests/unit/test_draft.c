/*
 * Drafts: what is guessed, how far, and how guessing is given up and taken up again.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "language/draft.h"

#define CHEAP 0.05
#define MAX_GUESSES 7

static void say(FastvlmDraft *draft, const gint32 *ids, int n)
{
    fastvlm_draft_begin(draft);
    for (int i = 0; i < n; i++)
        fastvlm_draft_advance(draft, ids[i]);
    fastvlm_draft_end(draft);
}

static void test_same(void)
{
    static const gint32 ids[] = {5, 6, 7, 8, 9, 6, 7, 11};
    const int n = G_N_ELEMENTS(ids);
    FastvlmDraft draft;
    gint32 guesses[MAX_GUESSES];

    fastvlm_draft_init(&draft);
    fastvlm_draft_begin(&draft);
    g_assert_cmpint(fastvlm_draft_predict(&draft, CHEAP, MAX_GUESSES, guesses), ==, 0);
    say(&draft, ids, n);
    fastvlm_draft_begin(&draft);
    for (int i = 0; i < n; i++) {
        const int n_guesses = fastvlm_draft_predict(&draft, CHEAP, MAX_GUESSES, guesses);

        g_assert_cmpint(n_guesses, >, 0);
        g_assert_cmpint(n_guesses, <=, n - i); /* the answer's end is no guess */
        g_assert_cmpint(guesses[0], ==, ids[i]);
        g_assert_cmpint(guesses[n_guesses - 1], ==, ids[i + n_guesses - 1]);
        fastvlm_draft_advance(&draft, ids[i]);
    }
    g_assert_cmpint(fastvlm_draft_predict(&draft, CHEAP, MAX_GUESSES, guesses), ==, 0);
    fastvlm_draft_end(&draft);
    fastvlm_draft_begin(&draft);
    g_assert_cmpint(fastvlm_draft_predict(&draft, CHEAP, 2, guesses), <=, 2);
    g_assert_cmpint(fastvlm_draft_predict(&draft, CHEAP, 0, guesses), ==, 0);
    fastvlm_draft_forget(&draft);
    g_assert_cmpint(fastvlm_draft_predict(&draft, CHEAP, MAX_GUESSES, guesses), ==, 0);
    fastvlm_draft_clear(&draft);
}

/* A word more, a word less, another word: it goes on where the answers are alike again. */
static void test_shifted(void)
{
    static const gint32 before[] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const gint32 now[] = {1, 2, 99, 3, 4, 6, 7};
    static const gint32 expected[] = {2, 3, -1, 4, 5, 7, 8}; /* behind each; -1: anything */
    FastvlmDraft draft;
    gint32 guesses[MAX_GUESSES];

    fastvlm_draft_init(&draft);
    say(&draft, before, G_N_ELEMENTS(before));
    fastvlm_draft_begin(&draft);
    for (gsize i = 0; i < G_N_ELEMENTS(now); i++) {
        fastvlm_draft_advance(&draft, now[i]);
        if (expected[i] >= 0) {
            g_assert_cmpint(fastvlm_draft_predict(&draft, 0.0, MAX_GUESSES, guesses), >, 0);
            g_assert_cmpint(guesses[0], ==, expected[i]);
        }
    }
    fastvlm_draft_clear(&draft);
}

/* The more a row costs and the less guesses were right, the fewer are made; it comes back. */
static void test_cost(void)
{
    gint32 same[64], other[64], guesses[MAX_GUESSES];
    FastvlmDraft draft;
    int n_last = MAX_GUESSES;

    for (int i = 0; i < 64; i++) {
        same[i] = i;
        other[i] = 1000 + i;
    }
    fastvlm_draft_init(&draft);
    say(&draft, same, 64);
    say(&draft, same, 64);
    fastvlm_draft_begin(&draft);
    for (double cost = 0.0; cost <= 1.0; cost += 0.1) {
        const int n = fastvlm_draft_predict(&draft, cost, MAX_GUESSES, guesses);

        g_assert_cmpint(n, <=, n_last);
        n_last = n;
    }
    g_assert_cmpint(n_last, ==, 0);
    g_assert_cmpint(fastvlm_draft_predict(&draft, 0.0, MAX_GUESSES, guesses), ==, MAX_GUESSES);

    say(&draft, other, 64); /* nothing was right */
    fastvlm_draft_begin(&draft);
    g_assert_cmpint(fastvlm_draft_predict(&draft, 0.3, MAX_GUESSES, guesses), ==, 0);
    say(&draft, other, 64); /* everything would have been */
    fastvlm_draft_begin(&draft);
    g_assert_cmpint(fastvlm_draft_predict(&draft, 0.3, MAX_GUESSES, guesses), >, 0);
    fastvlm_draft_clear(&draft);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/draft/same", test_same);
    g_test_add_func("/draft/shifted", test_shifted);
    g_test_add_func("/draft/cost", test_cost);
    return g_test_run();
}
