/*
 * Which packed copies there are and which go.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "load/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load/packed.h"

#define SUFFIX ".packed"
#define PART_SUFFIX ".part"
#define VERDICT_SUFFIX ".verdict"
#define PART_AGE_S 60 /* younger ones may be of a process that has not locked its own yet */
#define DEFAULT_LIMIT ((guint64)8 << 30)
#define DEFAULT_MIN ((guint64)64 << 20)

void fastvlm_cache_entry_free(FastvlmCacheEntry *entry)
{
    if (!entry)
        return;
    g_free(entry->path);
    g_free(entry->model);
    g_free(entry->precision);
    g_free(entry);
}

void fastvlm_cache_config_free(FastvlmCacheConfig *config)
{
    if (!config)
        return;
    g_free(config->directory);
    g_free(config->problem);
    g_free(config);
}

/** "500M" to bytes. */
static gboolean parse_size(const char *text, guint64 *n_bytes)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    guint64 factor = 1;

    if (!g_ascii_isdigit(*text))
        return FALSE;
    errno = 0;
    *n_bytes = g_ascii_strtoull(text, &end, 10);
    if (errno != 0)
        return FALSE;
    if (*end) {
        const char *unit = strchr(units, g_ascii_toupper(*end));

        if (!unit || end[1])
            return FALSE;
        factor = (guint64)1 << (10 * (unit - units + 1));
    }
    return g_uint64_checked_mul(n_bytes, *n_bytes, factor);
}

static void read_size(FastvlmCacheConfig *config, const char *name, guint64 *n_bytes)
{
    const char *text = g_getenv(name);

    if (!text || !*text || config->problem || parse_size(text, n_bytes))
        return;
    config->problem =
        g_strdup_printf("%s: found %s, expected a number of bytes, as 500M or 8G", name, text);
    config->is_off = FALSE;
    g_clear_pointer(&config->directory, g_free);
}

FastvlmCacheConfig *fastvlm_cache_get_config(void)
{
    FastvlmCacheConfig *config = g_new0(FastvlmCacheConfig, 1);
    const char *place = g_getenv("FASTVLM_CACHE");

    config->limit_bytes = DEFAULT_LIMIT;
    config->min_bytes = DEFAULT_MIN;
    if (!place || !*place)
        config->directory = g_build_filename(g_get_user_cache_dir(), "fastvlm", NULL);
    else if (strcmp(place, "off") == 0)
        config->is_off = TRUE;
    else
        config->directory = g_strdup(place);
    read_size(config, "FASTVLM_CACHE_SIZE", &config->limit_bytes);
    read_size(config, "FASTVLM_CACHE_MIN_SIZE", &config->min_bytes);
    if (config->is_off && !config->problem)
        config->problem = g_strdup("FASTVLM_CACHE is off");
    return config;
}

static char *name_file(const FastvlmCacheConfig *config, const char *directory, const char *kind,
                       const char *suffix)
{
    char *real = realpath(directory, NULL);
    g_autofree char *digits =
        g_compute_checksum_for_string(G_CHECKSUM_SHA256, real ? real : directory, -1);
    g_autofree char *name = g_strdup_printf("%.16s-%s%s", digits, kind, suffix);

    free(real);
    return g_build_filename(config->directory, name, NULL);
}

char *fastvlm_cache_name_file(const FastvlmCacheConfig *config, const char *directory,
                              const char *plan)
{
    return name_file(config, directory, plan, SUFFIX);
}

char *fastvlm_cache_name_verdict(const FastvlmCacheConfig *config, const char *directory,
                                 const char *kind)
{
    return name_file(config, directory, kind, VERDICT_SUFFIX);
}

/** Whether no process has the file locked. */
static gboolean is_free(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return FALSE;
    flock(fd, LOCK_UN);
    return TRUE;
}

/** The entry of one file, or NULL where it is none that can be looked at. */
static FastvlmCacheEntry *look_at(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    FastvlmCacheEntry *entry = NULL;
    FastvlmPackedLabel label;
    struct stat status;

    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        entry = g_new0(FastvlmCacheEntry, 1);
        entry->path = g_strdup(path);
        entry->n_bytes = (guint64)status.st_size;
        entry->last_used_s = status.st_mtim.tv_sec;
        entry->in_use = !is_free(fd);
        if (fastvlm_packed_read_label(fd, &label)) {
            entry->model = g_strdup(label.model);
            entry->precision = g_strdup(label.precision);
        }
    }
    if (fd >= 0)
        close(fd);
    return entry;
}

static int compare_use(gconstpointer a, gconstpointer b)
{
    const FastvlmCacheEntry *left = *(FastvlmCacheEntry *const *)a;
    const FastvlmCacheEntry *right = *(FastvlmCacheEntry *const *)b;

    return left->last_used_s != right->last_used_s
               ? (left->last_used_s < right->last_used_s) - (left->last_used_s > right->last_used_s)
               : strcmp(left->path, right->path);
}

/** All files of a kind, the one used last first; NULL where the directory cannot be read. */
static GPtrArray *scan(const char *directory, const char *suffix, GError **error)
{
    g_autoptr(GError) problem = NULL;
    GDir *dir = g_dir_open(directory, 0, &problem);
    GPtrArray *entries;
    const char *name;

    if (!dir && !g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "%s: cannot list: %s", directory,
                    problem->message);
        return NULL;
    }
    entries = g_ptr_array_new_with_free_func((GDestroyNotify)fastvlm_cache_entry_free);
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        FastvlmCacheEntry *entry = g_str_has_suffix(name, suffix) ? look_at(path) : NULL;

        if (entry)
            g_ptr_array_add(entries, entry);
    }
    if (dir)
        g_dir_close(dir);
    g_ptr_array_sort(entries, compare_use);
    return entries;
}

static void remove_parts(const char *directory)
{
    GPtrArray *parts = scan(directory, PART_SUFFIX, NULL);
    const gint64 now_s = g_get_real_time() / G_USEC_PER_SEC;

    for (guint i = 0; parts && i < parts->len; i++) {
        const FastvlmCacheEntry *part = parts->pdata[i];

        if (!part->in_use && now_s - part->last_used_s > PART_AGE_S)
            unlink(part->path);
    }
    if (parts)
        g_ptr_array_unref(parts);
}

/** Removes copies, the longest unused first, until those left have at most `n_bytes`. */
static gboolean evict(const FastvlmCacheConfig *config, const char *path, guint64 n_bytes,
                      GError **error)
{
    GPtrArray *entries = scan(config->directory, SUFFIX, error);
    guint64 total = 0;

    if (!entries)
        return FALSE;
    for (guint i = 0; i < entries->len; i++) {
        const FastvlmCacheEntry *entry = entries->pdata[i];

        total += strcmp(entry->path, path) == 0 ? 0 : entry->n_bytes;
    }
    for (guint i = entries->len; i-- > 0 && total > n_bytes;) {
        const FastvlmCacheEntry *entry = entries->pdata[i];

        if (!entry->in_use && strcmp(entry->path, path) != 0 && unlink(entry->path) == 0)
            total -= entry->n_bytes;
    }
    g_ptr_array_unref(entries);
    if (total <= n_bytes)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                "%s: copies in use leave too little of FASTVLM_CACHE_SIZE", config->directory);
    return FALSE;
}

gboolean fastvlm_cache_make_room(const FastvlmCacheConfig *config, const char *path,
                                 guint64 n_bytes, GError **error)
{
    if (n_bytes > config->limit_bytes) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT,
                    "%" G_GUINT64_FORMAT
                    " bytes, more than FASTVLM_CACHE_SIZE allows (%" G_GUINT64_FORMAT ")",
                    n_bytes, config->limit_bytes);
        return FALSE;
    }
    if (g_mkdir_with_parents(config->directory, 0700) != 0) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "%s: cannot make: %s",
                    config->directory, g_strerror(errno));
        return FALSE;
    }
    remove_parts(config->directory);
    return evict(config, path, config->limit_bytes - n_bytes, error);
}

/** The directory that the environment names; FALSE where what it says is wrong. */
static gboolean find_directory(char **directory, GError **error)
{
    FastvlmCacheConfig *config = fastvlm_cache_get_config();
    const gboolean ok = config->directory || config->is_off;

    if (!ok)
        g_set_error_literal(error, FASTVLM_ERROR, FASTVLM_ERROR_ARGUMENT, config->problem);
    *directory = g_steal_pointer(&config->directory);
    fastvlm_cache_config_free(config);
    return ok;
}

GPtrArray *fastvlm_cache_list(GError **error)
{
    g_autofree char *directory = NULL;

    if (!find_directory(&directory, error))
        return NULL;
    return directory ? scan(directory, SUFFIX, error)
                     : g_ptr_array_new_with_free_func((GDestroyNotify)fastvlm_cache_entry_free);
}

static gboolean remove_all(const char *directory, const char *suffix, guint *n_removed,
                           guint64 *n_bytes, GError **error)
{
    GPtrArray *entries = scan(directory, suffix, error);
    gboolean ok = entries != NULL;

    for (guint i = 0; entries && i < entries->len; i++) {
        const FastvlmCacheEntry *entry = entries->pdata[i];

        if (unlink(entry->path) == 0) {
            (*n_removed)++;
            *n_bytes += entry->n_bytes;
        } else if (ok && errno != ENOENT) {
            g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_READ, "%s: cannot remove: %s",
                        entry->path, g_strerror(errno));
            ok = FALSE;
        }
    }
    if (entries)
        g_ptr_array_unref(entries);
    return ok;
}

gboolean fastvlm_cache_clear(guint *n_removed, guint64 *n_bytes, GError **error)
{
    g_autofree char *directory = NULL;
    guint n_verdicts = 0; /* some bytes each: not counted */
    guint64 n_verdict_bytes = 0;

    *n_removed = 0;
    *n_bytes = 0;
    if (!find_directory(&directory, error))
        return FALSE;
    return !directory ||
           (remove_all(directory, SUFFIX, n_removed, n_bytes, error) &&
            remove_all(directory, PART_SUFFIX, n_removed, n_bytes, error) &&
            remove_all(directory, VERDICT_SUFFIX, &n_verdicts, &n_verdict_bytes, error));
}
