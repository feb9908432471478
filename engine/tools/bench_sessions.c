/*
 * Throughput of several sessions.
 *
 * For the tokens each session answers once with a single token: its prompt is then computed, and all
 * can begin to decode at the same moment.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/bench_sessions.h"

#include <string.h>

#include "tools/interrupt.h"

typedef struct Group Group;

typedef struct {
    Group *group;
    int index;
    FastvlmSession *session;
    GThread *thread;
    gint64 *token_us; /* [max_tokens], when each token came */
    int n_tokens;
} Member;

struct Group {
    const BenchTask *task;
    Member *members;
    int n_members;
    int n_captions; /* 0: this is about tokens */
    GMutex lock;    /* guards what follows */
    GCond changed;
    int n_ready;
    GError *error; /* the first one; the others only follow */
};

static void fail(Group *group, GError *error)
{
    g_mutex_lock(&group->lock);
    if (group->error)
        g_error_free(error);
    else
        group->error = error;
    g_cond_broadcast(&group->changed);
    g_mutex_unlock(&group->lock);
    for (int i = 0; i < group->n_members; i++)
        fastvlm_session_cancel(group->members[i].session);
}

/* Waits for all members to come here; FALSE where one failed. */
static gboolean meet(Group *group)
{
    g_mutex_lock(&group->lock);
    if (++group->n_ready == group->n_members)
        g_cond_broadcast(&group->changed);
    while (group->n_ready < group->n_members && !group->error)
        g_cond_wait(&group->changed, &group->lock);
    gboolean ok = !group->error;
    g_mutex_unlock(&group->lock);
    return ok;
}

static void note_token(const char *piece, int id, gpointer data)
{
    Member *member = data;
    member->token_us[member->n_tokens++] = g_get_monotonic_time();
}

static gboolean generate(Member *member, int max_tokens, GError **error)
{
    FastvlmGenerateParams params = member->group->task->params;
    FastvlmResult result;
    g_autofree gint32 *suffix = g_new(gint32, params.n_suffix_ids);
    memcpy(suffix, params.suffix_ids, (gsize)params.n_suffix_ids * sizeof *suffix);
    suffix[params.n_suffix_ids - 1] = member->index;
    params.suffix_ids = suffix;
    params.max_tokens = max_tokens;
    params.on_text = note_token;
    params.on_text_data = member;
    member->n_tokens = 0;
    if (!fastvlm_session_generate(member->session, &params, &result, error))
        return FALSE;
    fastvlm_result_clear(&result);
    return TRUE;
}

static gboolean show_picture(Member *member, GError **error)
{
    const BenchTask *task = member->group->task;
    return fastvlm_session_set_image(member->session, &task->picture, task->resolution,
                                     FASTVLM_FIT_PAD, error);
}

static gpointer run_member(gpointer data)
{
    Member *member = data;
    Group *group = member->group;
    const int max_tokens = group->task->params.max_tokens;
    GError *error = NULL;
    gboolean ok = TRUE;

    if (group->n_captions == 0) {
        ok = show_picture(member, &error) && generate(member, 1, &error);
        if (ok && meet(group))
            ok = generate(member, max_tokens, &error);
    } else {
        for (int i = 0; ok && i < group->n_captions; i++)
            ok = show_picture(member, &error) && generate(member, max_tokens, &error);
    }
    if (!ok)
        fail(group, error);
    return NULL;
}

/* Runs all members to their ends. */
static gboolean run_group(Group *group, int n_captions, GError **error)
{
    gboolean ok;
    group->n_captions = n_captions;
    group->n_ready = 0;
    interrupt_attach(group->members[0].session);
    for (int i = 0; i < group->n_members; i++)
        group->members[i].thread = g_thread_new("session", run_member, &group->members[i]);
    for (int i = 0; i < group->n_members; i++)
        g_thread_join(group->members[i].thread);
    interrupt_attach(NULL);
    ok = !group->error;
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&group->error));
    return ok;
}

/* From the first one's first token to the last one's last; the first tokens are the prompts'. */
static double count_tokens_s(const Group *group)
{
    gint64 first_us = G_MAXINT64, last_us = 0;
    int n_tokens = 0;
    for (int i = 0; i < group->n_members; i++) {
        const Member *member = &group->members[i];
        first_us = MIN(first_us, member->token_us[0]);
        last_us = MAX(last_us, member->token_us[member->n_tokens - 1]);
        n_tokens += member->n_tokens - 1;
    }
    return (double)n_tokens * G_USEC_PER_SEC / (double)MAX(last_us - first_us, 1);
}

gboolean bench_sessions(const BenchTask *task, int n_sessions, int n_captions, double *tokens_s,
                        double *captions_s, GError **error)
{
    Group group = {.task = task, .n_members = n_sessions};
    GError *problem = NULL;
    g_mutex_init(&group.lock);
    g_cond_init(&group.changed);
    group.members = g_new0(Member, n_sessions);
    for (int i = 0; i < n_sessions; i++) {
        group.members[i].group = &group;
        group.members[i].index = i;
        group.members[i].session = fastvlm_session_new(task->model);
        group.members[i].token_us = g_new0(gint64, task->params.max_tokens);
    }
    if (run_group(&group, 0, &problem)) {
        *tokens_s = count_tokens_s(&group);
        gint64 start_us = g_get_monotonic_time();
        if (run_group(&group, n_captions, &problem))
            *captions_s = (double)n_sessions * n_captions * G_USEC_PER_SEC /
                          (double)(g_get_monotonic_time() - start_us);
    }
    for (int i = 0; i < n_sessions; i++) {
        fastvlm_session_free(group.members[i].session);
        g_free(group.members[i].token_us);
    }
    g_free(group.members);
    g_mutex_clear(&group.lock);
    g_cond_clear(&group.changed);
    if (problem)
        g_propagate_error(error, problem);
    return !problem;
}
