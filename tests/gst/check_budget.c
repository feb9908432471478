/*
 * The latency budget: which resolution is chosen, and when another one is.
 *
 * The rule by numbers; then the element, with an engine whose pictures take as long as their area says.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "support.h"

#include "gstfastvlmbudget.h"

/* A machine: ms for the picture at 1024 pixels, and for the rest. */
typedef struct {
    double picture_ms, rest_ms;
} Machine;

static double get_picture_ms(const Machine *machine, guint resolution)
{
    return machine->picture_ms * resolution / 1024.0 * resolution / 1024.0;
}

/* Captions one sample, and returns its resolution; `kept` as gst_fastvlm_budget_note() says. */
static guint caption(GstFastvlmBudget *budget, guint budget_ms, const Machine *machine,
                     gboolean *kept)
{
    const guint resolution = gst_fastvlm_budget_choose(budget, budget_ms, 1024);
    const double picture_ms = get_picture_ms(machine, resolution);

    *kept = gst_fastvlm_budget_note(budget, picture_ms + machine->rest_ms, picture_ms);
    return resolution;
}

/* The resolutions of samples in a row. */
static void check_course(GstFastvlmBudget *budget, guint budget_ms, const Machine *machine,
                         const guint *expected, guint n)
{
    for (guint i = 0; i < n; i++) {
        gboolean kept;

        g_assert_cmpuint(caption(budget, budget_ms, machine, &kept), ==, expected[i]);
        g_assert_true(kept);
    }
}

#define CHECK(budget, ms, machine, ...)                             \
    check_course(budget, ms, machine, (const guint[]){__VA_ARGS__}, \
                 sizeof((const guint[]){__VA_ARGS__}) / sizeof(guint))

/* The lowest measures, and the largest that fits follows at once. */
static void test_first(void)
{
    GstFastvlmBudget budget = {0};

    CHECK(&budget, 1000, (&(Machine){400, 100}), 256, 1024, 1024, 1024);
    /* 768: 0.56 of 1200 and 100. */
    budget = (GstFastvlmBudget){0};
    CHECK(&budget, 1000, (&(Machine){1200, 100}), 256, 768, 768, 768, 768, 768, 768, 768);
    budget = (GstFastvlmBudget){0};
    CHECK(&budget, 1000, (&(Machine){2400, 150}), 256, 512, 512, 512);
    budget = (GstFastvlmBudget){0};
    CHECK(&budget, 1000, (&(Machine){9000, 300}), 256, 256, 256, 256);
}

/* A load leads down after two samples, at once where it is heavy; when it ends, back up after a while. */
static void test_load(void)
{
    const Machine idle = {400, 100}, busy = {900, 200}, choked = {3200, 500};
    GstFastvlmBudget budget = {0};

    CHECK(&budget, 1000, &idle, 256, 1024);
    CHECK(&budget, 1000, &busy, 1024, 1024, 768, 768, 768, 768, 768, 768, 768, 768);
    CHECK(&budget, 1000, &choked, 768, 256, 256);
    CHECK(&budget, 1000, &idle, 256, 256, 256, 256, 256, 384, 384, 384, 384, 384, 512, 512, 512,
          512, 512, 768, 768, 768, 768, 768, 1024, 1024);
}

/* One slow sample is no load. */
static void test_single(void)
{
    const Machine idle = {400, 100}, busy = {900, 200};
    GstFastvlmBudget budget = {0};

    CHECK(&budget, 1000, &idle, 256, 1024);
    for (guint i = 0; i < 20; i++) {
        CHECK(&budget, 1000, &busy, 1024);
        CHECK(&budget, 1000, &idle, 1024);
    }
}

/* A machine on which each step up looks possible, and is not: they become rare. */
static void test_wavers(void)
{
    GstFastvlmBudget budget = {0};
    guint n_changes = 0, last = 0;
    gboolean kept;

    for (guint i = 0; i < 1000; i++) {
        const guint resolution = gst_fastvlm_budget_choose(&budget, 1000, 1024);

        n_changes += resolution != last;
        last = resolution;
        /* Below 768 all is fast; there it is three times as slow as it should be. */
        caption(&budget, 1000, &(Machine){resolution < 768 ? 600 : 1800, 100}, &kept);
        g_assert_true(kept);
    }
    g_test_message("%u changes", n_changes);
    g_assert_cmpuint(n_changes, <, 40);
}

/* Not even the lowest: told, and it stays. Another budget begins anew, and so does another model. */
static void test_hopeless(void)
{
    const Machine slow = {8000, 1000};
    GstFastvlmBudget budget = {0};
    guint n_told = 0;

    for (guint i = 0; i < 5; i++) {
        gboolean kept;

        g_assert_cmpuint(caption(&budget, 1000, &slow, &kept), ==, 256);
        n_told += !kept;
    }
    g_assert_cmpuint(n_told, ==, 3);
    CHECK(&budget, 20000, &slow, 256, 1024);
    g_assert_cmpuint(gst_fastvlm_budget_choose(&budget, 20000, 256), ==, 64);
}

/* Small models have few rungs, and whatever clocks say there is no crash. */
static void test_ends(void)
{
    GstFastvlmBudget budget = {0};

    g_assert_cmpuint(gst_fastvlm_budget_choose(&budget, 1, 64), ==, 64);
    g_assert_cmpuint(budget.n_rungs, ==, 1);
    gst_fastvlm_budget_note(&budget, 0, 1e9);
    gst_fastvlm_budget_note(&budget, -5, -5);
    g_assert_cmpuint(gst_fastvlm_budget_choose(&budget, 1, 64), ==, 64);
    g_assert_cmpuint(gst_fastvlm_budget_choose(&budget, 1, 4096), ==, 1024);
    g_assert_cmpuint(budget.n_rungs, ==, 5);
}

/* ---- the element ---- */

#define EVERY "mode=complete interval=40000000 "

/* Captions frames, one after the other, until `resolution` was the last caption's. */
static void caption_until(Fixture *fixture, guint *i, guint resolution)
{
    const gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;

    do {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        push_frame(fixture, 0x777777, (*i)++ * FRAME_DURATION);
    } while (get_stat(fixture, "resolution") != resolution);
    g_assert_cmpint(fake_get_record().resolution, ==, resolution);
}

static void test_element(void)
{
    fake.resolution = 1024;
    fake.scales = TRUE;
    fake.encode_ms = 2000;
    Fixture *fixture = fixture_new(EVERY "latency-budget=900", CAPS);
    guint i = 0;

    push_frame(fixture, 0x777777, i++ * FRAME_DURATION);
    g_assert_cmpuint(get_stat(fixture, "resolution"), ==, 256);
    /* 500 ms; 768 would take 1125. */
    caption_until(fixture, &i, 512);
    fake.encode_ms = 8000;
    caption_until(fixture, &i, 256);
    fake.encode_ms = 100;
    caption_until(fixture, &i, 1024);
    /* What a user fixed stays. */
    fake.encode_ms = 8000;
    g_object_set(fixture->element, "resolution", 512, NULL);
    push_frame(fixture, 0x777777, i++ * FRAME_DURATION);
    push_frame(fixture, 0x777777, i++ * FRAME_DURATION);
    g_assert_cmpuint(get_stat(fixture, "resolution"), ==, 512);
    g_assert_cmpuint(count_warnings(fixture, "latency-budget"), ==, 0);
    fixture_free(fixture);
}

/* Without a budget it is the model's own; one that cannot be kept is told of once. */
static void test_element_hopeless(void)
{
    Fixture *fixture = fixture_new(EVERY, CAPS);
    guint i = 0;

    push_frame(fixture, 0x777777, i++ * FRAME_DURATION);
    g_assert_cmpuint(get_stat(fixture, "resolution"), ==, 256);
    fake.encode_ms = 30;
    g_object_set(fixture->element, "latency-budget", 10, NULL);
    for (; i < 8; i++) {
        push_frame(fixture, 0x777777, i * FRAME_DURATION);
    }
    g_assert_cmpuint(get_stat(fixture, "resolution"), ==, 64);
    g_assert_cmpuint(count_warnings(fixture, "latency-budget is 10 ms"), ==, 1);
    fixture_free(fixture);
}

int main(int argc, char **argv)
{
    support_init(&argc, &argv);
    g_test_add_func("/budget/first", test_first);
    g_test_add_func("/budget/load", test_load);
    g_test_add_func("/budget/single", test_single);
    g_test_add_func("/budget/wavers", test_wavers);
    g_test_add_func("/budget/hopeless", test_hopeless);
    g_test_add_func("/budget/ends", test_ends);
    g_test_add_func("/budget/element", test_element);
    g_test_add_func("/budget/element-hopeless", test_element_hopeless);
    return g_test_run();
}
