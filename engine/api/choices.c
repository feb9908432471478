/*
 * Choices; see the header.
 *
 * A model says "Yes" where a user wrote "yes", so both spellings of the first letter count for a choice.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/choices.h"

#include <math.h>
#include <string.h>

/* ---- names ---- */

static gboolean refuse(GError **error, const char *name, const char *problem)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    g_autofree char *quoted = g_strescape(valid, NULL);

    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, "choice \"%s\": %s", quoted, problem);
    return FALSE;
}

static gboolean has_control(const char *name)
{
    for (const char *p = name; *p; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return TRUE;
    return FALSE;
}

static gboolean check_name(const char *const *names, int i, GError **error)
{
    if (!g_utf8_validate(names[i], -1, NULL))
        return refuse(error, names[i], "not UTF-8");
    if (*names[i] == '\0')
        return refuse(error, names[i], "empty; expected words with commas between, as yes,no");
    if (has_control(names[i]))
        return refuse(error, names[i], "control characters or line breaks in it");
    for (int other = 0; other < i; other++)
        if (strcmp(names[other], names[i]) == 0)
            return refuse(error, names[i], "there twice");
    return TRUE;
}

static gboolean check_names(const char *const *names, GError **error)
{
    const int n = (int)g_strv_length((char **)names);

    if (n < 2 || n > FASTVLM_MAX_CHOICES) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT,
                    "%d choice%s: expected 2 to %d, with commas between, as yes,no", n,
                    n == 1 ? "" : "s", FASTVLM_MAX_CHOICES);
        return FALSE;
    }
    for (int i = 0; i < n; i++)
        if (!check_name(names, i, error))
            return FALSE;
    return TRUE;
}

char **fastvlm_choices_parse(const char *text, GError **error)
{
    char **names = g_strsplit(text ? text : "", ",", -1);

    for (char **name = names; *name; name++)
        g_strstrip(*name);
    if (!check_names((const char *const *)names, error))
        g_clear_pointer(&names, g_strfreev);
    return names;
}

/* ---- spellings ---- */

/** `name` with its first letter in the other case; NULL: it has none, or that is another choice. */
static char *spell_otherwise(const char *const *names, const char *name)
{
    const gunichar first = g_utf8_get_char(name);
    const gunichar other =
        g_unichar_isupper(first) ? g_unichar_tolower(first) : g_unichar_totitle(first);
    char letter[7] = {0};
    char *spelled;

    if (other == first)
        return NULL;
    g_unichar_to_utf8(other, letter);
    spelled = g_strconcat(letter, g_utf8_next_char(name), NULL);
    if (g_strv_contains(names, spelled))
        g_clear_pointer(&spelled, g_free);
    return spelled;
}

static gboolean is_there(const FastvlmChoices *choices, const FastvlmSpelling *spelling)
{
    for (guint i = 0; i < choices->spellings->len; i++) {
        const FastvlmSpelling *other = &g_array_index(choices->spellings, FastvlmSpelling, i);

        if (other->n_ids == spelling->n_ids &&
            memcmp(other->ids, spelling->ids, (gsize)other->n_ids * sizeof *other->ids) == 0)
            return TRUE;
    }
    return FALSE;
}

static gboolean add_spelling(FastvlmChoices *choices, const FastvlmModel *model, int choice,
                             const char *text, GError **error)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    FastvlmSpelling spelling = {.choice = choice};

    if (!fastvlm_tokenizer_encode(model->tokenizer, text, -1, FALSE, ids, error)) {
        g_array_unref(ids);
        return FALSE;
    }
    spelling.n_ids = (int)ids->len;
    spelling.ids = (gint32 *)(void *)g_array_free(ids, FALSE);
    if (spelling.n_ids > 0 && !is_there(choices, &spelling)) {
        g_array_append_val(choices->spellings, spelling);
        return TRUE;
    }
    g_free(spelling.ids);
    return text == choices->names[choice]
               ? refuse(error, text, "to the model's tokenizer it is nothing, or another choice")
               : TRUE;
}

/** All names first, so that no other spelling takes a name's place. */
static gboolean add_spellings(FastvlmChoices *choices, const FastvlmModel *model, GError **error)
{
    for (int i = 0; i < choices->n; i++)
        if (!add_spelling(choices, model, i, choices->names[i], error))
            return FALSE;
    for (int i = 0; i < choices->n; i++) {
        g_autofree char *other = spell_otherwise(choices->names, choices->names[i]);

        if (other && !add_spelling(choices, model, i, other, error))
            return FALSE;
    }
    return TRUE;
}

gboolean fastvlm_choices_init(FastvlmChoices *choices, const FastvlmModel *model,
                              const char *const *names, GError **error)
{
    if (!check_names(names, error))
        return FALSE;
    if (!model->tokenizer) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_UNSUPPORTED,
                    "%s has no tokenizer files, so no choice can be read: put vocab.json, "
                    "merges.txt and added_tokens.json there",
                    model->info->path);
        return FALSE;
    }
    choices->names = names;
    choices->n = (int)g_strv_length((char **)names);
    choices->spellings = g_array_new(FALSE, FALSE, sizeof(FastvlmSpelling));
    return add_spellings(choices, model, error);
}

void fastvlm_choices_clear(FastvlmChoices *choices)
{
    for (guint i = 0; choices->spellings && i < choices->spellings->len; i++)
        g_free(g_array_index(choices->spellings, FastvlmSpelling, i).ids);
    g_clear_pointer(&choices->spellings, g_array_unref);
}

int fastvlm_choices_count_ids(const FastvlmChoices *choices)
{
    int most = 0;

    for (guint i = 0; i < choices->spellings->len; i++)
        most = MAX(most, g_array_index(choices->spellings, FastvlmSpelling, i).n_ids);
    return most;
}

/* ---- the answer ---- */

/** log(exp(a) + exp(b)) */
static double add_logs(double a, double b)
{
    const double larger = MAX(a, b), smaller = MIN(a, b);

    return isinf(larger) ? larger : larger + log1p(exp(smaller - larger));
}

/** The more probable spelling of `choice`; *log_sum gets all of them. */
static const FastvlmSpelling *sum_spellings(const FastvlmChoices *choices, int choice,
                                            double *log_sum)
{
    const FastvlmSpelling *best = NULL;

    *log_sum = -INFINITY;
    for (guint i = 0; i < choices->spellings->len; i++) {
        const FastvlmSpelling *spelling = &g_array_index(choices->spellings, FastvlmSpelling, i);

        if (spelling->choice != choice)
            continue;
        if (!best || spelling->log_probability > best->log_probability)
            best = spelling;
        *log_sum = add_logs(*log_sum, spelling->log_probability);
    }
    return best;
}

static void fill_result(const FastvlmChoices *choices, const float *logs, int chosen,
                        FastvlmResult *result)
{
    double log_sum, log_total = -INFINITY;
    const FastvlmSpelling *spelling = sum_spellings(choices, chosen, &log_sum);

    for (int i = 0; i < choices->n; i++)
        log_total = add_logs(log_total, (double)logs[i]);
    result->choice_probabilities = g_new(double, (gsize)choices->n);
    for (int i = 0; i < choices->n; i++)
        result->choice_probabilities[i] = exp((double)logs[i] - log_total);
    result->choice = chosen;
    result->text = g_strdup(choices->names[chosen]);
    result->ids = g_memdup2(spelling->ids, (gsize)spelling->n_ids * sizeof *spelling->ids);
    result->n_tokens = spelling->n_ids;
    result->confidence =
        exp(spelling->log_probability / (spelling->n_ids + (spelling->must_end ? 1 : 0)));
    result->finish_reason = FASTVLM_FINISH_CHOICE;
}

gboolean fastvlm_choices_answer(FastvlmChoices *choices, const FastvlmModel *model,
                                FastvlmTimeline *timeline, FastvlmSampler *sampler, int n_known,
                                FastvlmResult *result, GError **error)
{
    g_autofree float *logs = g_new(float, (gsize)choices->n);
    double log_sum, unused;

    if (!fastvlm_spellings_weigh(timeline, (FastvlmSpelling *)(void *)choices->spellings->data,
                                 (int)choices->spellings->len, n_known, model->stop_ids, error)) {
        g_prefix_error(error, "%s: ", model->info->path);
        return FALSE;
    }
    for (int i = 0; i < choices->n; i++) {
        sum_spellings(choices, i, &log_sum);
        logs[i] = (float)log_sum;
    }
    /* Sums of finite numbers' logarithms, so one can be chosen. */
    fill_result(choices, logs, MAX(fastvlm_sampler_choose(sampler, logs, choices->n, &unused), 0),
                result);
    return TRUE;
}
