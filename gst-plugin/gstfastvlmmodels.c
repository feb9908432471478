/*
 * The models of a process; see the header.
 *
 * An entry is held by its users and, while it loads, by its loader thread, which nobody joins: a
 * state change must not wait for a load. An entry leaves the table with its last user or when it
 * failed, so that whoever comes next tries anew.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "gstfastvlmmodels.h"

#include <stdlib.h>
#include <string.h>

#include "gstfastvlmprivate.h"

#define GST_CAT_DEFAULT gst_fastvlm_caption_debug

typedef struct {
    char *key;
    char *name;
    char *vision; /* of `params` */
    FastvlmModelParams params;
    guint n_users;
    guint n_refs; /* users and the loader */
    gboolean cancelled;
    double fraction;
    FastvlmModel *model;
    GError *error;
} Entry;

struct _GstFastvlmModelUse {
    Entry *entry;
    gboolean interrupted;
};

/* One lock and one condition for all: contention is a few times a second, while something loads. */
static GMutex lock;
static GCond changed;
static GHashTable *entries; /* key -> Entry, not owned; NULL while empty */

static void remove_from_table(Entry *entry)
{
    if (entries == NULL || g_hash_table_lookup(entries, entry->key) != entry) {
        return;
    }
    g_hash_table_remove(entries, entry->key);
    if (g_hash_table_size(entries) == 0) {
        g_clear_pointer(&entries, g_hash_table_unref);
    }
}

/* With the lock held; returns an entry to free without it, or NULL. */
static Entry *drop_ref(Entry *entry)
{
    return --entry->n_refs == 0 ? entry : NULL;
}

static void free_entry(Entry *entry)
{
    if (entry == NULL) {
        return;
    }
    fastvlm_model_unref(entry->model);
    g_clear_error(&entry->error);
    g_free(entry->key);
    g_free(entry->name);
    g_free(entry->vision);
    g_free(entry);
}

static gboolean note_progress(double fraction, gpointer user_data)
{
    Entry *entry = user_data;

    g_mutex_lock(&lock);
    entry->fraction = fraction;
    const gboolean go_on = !entry->cancelled;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
    return go_on;
}

/* Gigabytes are not written in silence; FASTVLM_CACHE=off keeps them from being written. */
static gboolean note_copy(const char *path, guint64 n_bytes, gpointer user_data)
{
    const Entry *entry = user_data;

    GST_INFO("keeping a packed copy of %s, %.1f MB: %s", entry->name, n_bytes / 1e6, path);
    return TRUE;
}

static gpointer run_loader(gpointer data)
{
    Entry *entry = data;
    GError *error = NULL;
    FastvlmModel *model = fastvlm_model_load(entry->name, &entry->params, &error);

    if (model != NULL) {
        GST_INFO("%s: packed copy: %s", entry->name, fastvlm_model_get_cache_note(model));
    }
    g_mutex_lock(&lock);
    entry->model = model;
    entry->error = error;
    if (model == NULL) {
        remove_from_table(entry);
    }
    g_cond_broadcast(&changed);
    Entry *dead = drop_ref(entry);
    g_mutex_unlock(&lock);
    free_entry(dead);
    return NULL;
}

/* The directory that a name stands for, the same for all its names; free with g_free(). */
static char *find_real_path(const char *name)
{
    char *path = fastvlm_model_resolve(name);
    char *real = realpath(path, NULL);
    char *found = g_strdup(real != NULL ? real : path);

    free(real);
    g_free(path);
    return found;
}

/* Two names of one directory are one model. With the first path's length, no two pairs of paths read alike. */
static char *make_key(const char *name, const FastvlmModelParams *params)
{
    char *model = find_real_path(name);
    char *vision = find_real_path(params->vision_path != NULL ? params->vision_path : "");
    char *key = g_strdup_printf("%d %d %d %zu %s %s", (int)params->precision, params->n_threads,
                                (int)params->head, strlen(model), model, vision);

    g_free(model);
    g_free(vision);
    return key;
}

static Entry *start_entry(char *key, const char *name, const FastvlmModelParams *params)
{
    Entry *entry = g_new0(Entry, 1);

    entry->key = key;
    entry->name = g_strdup(name);
    entry->params = *params;
    entry->params.vision_path = entry->vision = g_strdup(params->vision_path);
    entry->params.progress = note_progress;
    entry->params.progress_data = entry;
    entry->params.cache_notice = note_copy;
    entry->params.cache_notice_data = entry;
    entry->n_refs = 1;
    if (entries == NULL) {
        entries = g_hash_table_new(g_str_hash, g_str_equal);
    }
    g_hash_table_insert(entries, entry->key, entry);
    g_thread_unref(g_thread_new("fastvlm-load", run_loader, entry));
    return entry;
}

GstFastvlmModelUse *gst_fastvlm_models_join(const char *name, const FastvlmModelParams *params)
{
    GstFastvlmModelUse *use = g_new0(GstFastvlmModelUse, 1);
    char *key = make_key(name, params);

    g_mutex_lock(&lock);
    Entry *entry = entries != NULL ? g_hash_table_lookup(entries, key) : NULL;
    if (entry != NULL) {
        g_free(key);
    } else {
        entry = start_entry(key, name, params);
    }
    entry->n_users++;
    entry->n_refs++;
    use->entry = entry;
    g_mutex_unlock(&lock);
    return use;
}

void gst_fastvlm_models_leave(GstFastvlmModelUse *use)
{
    if (use == NULL) {
        return;
    }
    g_mutex_lock(&lock);
    Entry *entry = use->entry;
    if (--entry->n_users == 0) {
        entry->cancelled = TRUE;
        remove_from_table(entry);
    }
    Entry *dead = drop_ref(entry);
    g_mutex_unlock(&lock);
    free_entry(dead);
    g_free(use);
}

static GstFastvlmLoadState get_state(const GstFastvlmModelUse *use)
{
    if (use->interrupted) {
        return GST_FASTVLM_LOAD_INTERRUPTED;
    }
    if (use->entry->model != NULL) {
        return GST_FASTVLM_LOAD_DONE;
    }
    return use->entry->error != NULL ? GST_FASTVLM_LOAD_FAILED : GST_FASTVLM_LOAD_GOES_ON;
}

GstFastvlmLoadState gst_fastvlm_model_use_wait(GstFastvlmModelUse *use, gint64 deadline,
                                               double *fraction, FastvlmModel **model,
                                               GError **error)
{
    g_mutex_lock(&lock);
    while (get_state(use) == GST_FASTVLM_LOAD_GOES_ON && use->entry->fraction <= *fraction) {
        if (!g_cond_wait_until(&changed, &lock, deadline)) {
            break;
        }
    }
    const GstFastvlmLoadState state = get_state(use);
    *fraction = use->entry->fraction;
    if (state == GST_FASTVLM_LOAD_DONE) {
        *model = fastvlm_model_ref(use->entry->model);
    } else if (state == GST_FASTVLM_LOAD_FAILED) {
        g_propagate_error(error, g_error_copy(use->entry->error));
    }
    g_mutex_unlock(&lock);
    return state;
}

void gst_fastvlm_model_use_interrupt(GstFastvlmModelUse *use)
{
    g_mutex_lock(&lock);
    use->interrupted = TRUE;
    g_cond_broadcast(&changed);
    g_mutex_unlock(&lock);
}

guint gst_fastvlm_models_count(void)
{
    g_mutex_lock(&lock);
    const guint n = entries != NULL ? g_hash_table_size(entries) : 0;
    g_mutex_unlock(&lock);
    return n;
}
