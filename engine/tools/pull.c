/*
 * Brings a released model to this machine.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <fastvlm/model.h>

#include "tools/fetch.h"
#include "tools/interrupt.h"
#include "tools/progress.h"

#define GIGABYTES(n) ((guint64)(n)*1000000000)
#define MAX_ENTRIES 1000
#define HASHED_BYTES (256 * 1024)

static const UnpackHash hashes_1_5b[] = {
    {"model.safetensors", "2c6475ad0c81c8ad6a05165bc5d3be6b71cce3e7842d75ca06af1261d55b1308"},
    {NULL, NULL},
};

static const PullModel models[] = {
    {"0.5b", "llava-fastvithd_0.5b_stage3.zip", GIGABYTES(4), NULL},
    {"1.5b", "llava-fastvithd_1.5b_stage3.zip", GIGABYTES(8), hashes_1_5b},
    {"7b", "llava-fastvithd_7b_stage3.zip", GIGABYTES(32), NULL},
    {"0.5b-stage2", "llava-fastvithd_0.5b_stage2.zip", GIGABYTES(4), NULL},
    {"1.5b-stage2", "llava-fastvithd_1.5b_stage2.zip", GIGABYTES(8), NULL},
    {"7b-stage2", "llava-fastvithd_7b_stage2.zip", GIGABYTES(32), NULL},
};

/* One pull. */
typedef struct {
    const PullParams *params;
    PullResult *result;
    char *target;  /* DIR/NAME */
    char *aside;   /* DIR/.NAME.new */
    char *archive; /* DIR/.NAME.zip.part */
    FetchPart *part;
    gboolean dropped; /* the archive is no good: it is removed, not kept */
} Pull;

const PullModel *pull_find_model(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(models); i++) {
        if (g_ascii_strcasecmp(name, models[i].name) == 0)
            return &models[i];
    }
    return NULL;
}

char *pull_list_names(void)
{
    GString *names = g_string_new(NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(models); i++)
        g_string_append_printf(names, "%s%s", i ? ", " : "", models[i].name);
    return g_string_free(names, FALSE);
}

char *pull_get_default_directory(void)
{
    return g_build_filename(g_get_user_data_dir(), "fastvlm", "models", NULL);
}

static gboolean fail_path(const char *path, const char *what, int code, GError **error)
{
    gboolean full = code == ENOSPC || code == EDQUOT || code == EFBIG;
    g_set_error(error, FASTVLM_ERROR, full ? FASTVLM_ERROR_LIMIT : FASTVLM_ERROR_READ,
                "%s: %s: %s; %sname another place with --to", path, what, g_strerror(code),
                full ? "make room, or " : "");
    return FALSE;
}

/* --- directories --- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    return remove(path);
}

/* Removes a directory and what is in it; links are not followed. */
static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* So that the name of what was made survives a power cut. */
static void sync_directory(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    fsync(descriptor); /* where a file system cannot, there is nothing to do about it */
    close(descriptor);
}

/* --- fetching --- */

static gboolean report_bytes(guint64 n_done, guint64 n_total, gpointer data)
{
    progress_set_bytes(data, n_done, n_total);
    return !interrupt_raised();
}

/* Adds what is kept to an error after which the same command goes on. */
static void tell_of_part(const Pull *pull, GError **error)
{
    guint64 n_done, n_total;
    fetch_part_get_sizes(pull->part, &n_done, &n_total);
    gboolean cancelled = g_error_matches(*error, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED);
    if (n_done == 0 || !(cancelled || g_error_matches(*error, FASTVLM_ERROR, FASTVLM_ERROR_READ)))
        return;
    g_autofree char *of = n_total ? g_strdup_printf(" of %.1f", n_total / 1e6) : g_strdup("");
    GError *longer =
        g_error_new(FASTVLM_ERROR, (*error)->code,
                    "%s; %.1f%s MB are kept in %s, and the same command goes on from "
                    "there",
                    cancelled ? "interrupted" : (*error)->message, n_done / 1e6, of, pull->archive);
    g_error_free(*error);
    *error = longer;
}

static gboolean fetch(Pull *pull, GError **error)
{
    const PullParams *params = pull->params;
    g_autofree char *label = g_strdup_printf("fetching %s", params->model->name);
    g_autofree char *base = g_strdup(params->base_url);
    for (gsize n = strlen(base); n > 0 && base[n - 1] == '/'; n--)
        base[n - 1] = '\0';
    g_autofree char *url = g_strdup_printf("%s/%s", base, params->model->archive);
    g_autoptr(Progress) progress = progress_new(label);
    FetchResult fetched;
    GError *cause = NULL;
    FetchParams fetch_params = {
        .url = url,
        .user_agent = "fastvlm/" FASTVLM_VERSION,
        .max_bytes = params->model->max_bytes,
        .n_retries = params->n_retries,
        .progress = report_bytes,
        .progress_data = progress,
    };
    gboolean good = fetch_run(pull->part, &fetch_params, &fetched, &cause);
    pull->result->n_fetched = fetched.n_fetched;
    pull->result->n_bytes = fetched.n_bytes;
    pull->result->n_cuts = fetched.n_cuts;
    if (good)
        return TRUE;
    tell_of_part(pull, &cause);
    g_propagate_error(error, cause);
    return FALSE;
}

/* --- the archive --- */

static gboolean check_archive_hash(Pull *pull, GError **error)
{
    const char *expected = pull->params->sha256;
    if (!expected)
        return TRUE;
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree guint8 *buffer = g_malloc(HASHED_BYTES);
    g_autoptr(Progress) progress = progress_new("checking");
    guint64 n_done = 0;
    ssize_t n;
    while ((n = pread(fetch_part_get_descriptor(pull->part), buffer, HASHED_BYTES, (off_t)n_done)) >
           0) {
        g_checksum_update(checksum, buffer, n);
        n_done += (guint64)n;
        if (!report_bytes(n_done, pull->result->n_bytes, progress)) {
            *error = g_error_new(FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED, "cancelled");
            tell_of_part(pull, error);
            return FALSE;
        }
    }
    if (n < 0)
        return fail_path(pull->archive, "cannot be read", errno, error);
    const char *found = g_checksum_get_string(checksum);
    if (strcmp(found, expected) == 0)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "%s: SHA-256 %s, expected %s by --sha256; it was removed",
                pull->params->model->name, found, expected);
    pull->dropped = TRUE;
    return FALSE;
}

static gboolean unpack_into(Pull *pull, int directory, GError **error)
{
    const PullModel *model = pull->params->model;
    g_autofree char *label = g_strdup_printf("unpacking %s", model->name);
    g_autoptr(Progress) progress = progress_new(label);
    UnpackParams params = {
        .shown_name = model->archive,
        .max_bytes = model->max_bytes,
        .max_entries = MAX_ENTRIES,
        .hashes = pull->params->no_verify ? NULL : model->hashes,
        .progress = report_bytes,
        .progress_data = progress,
    };
    return unpack_descriptor(fetch_part_get_descriptor(pull->part), directory, &params, error);
}

static gboolean unpack(Pull *pull, GError **error)
{
    GError *cause = NULL;
    remove_tree(pull->aside); /* of a process that was killed: the part's lock says it is gone */
    if (g_mkdir(pull->aside, 0777) != 0)
        return fail_path(pull->aside, "cannot be made", errno, error);
    int directory = open(pull->aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0)
        return fail_path(pull->aside, "cannot be opened", errno, error);
    gboolean good = unpack_into(pull, directory, &cause);
    close(directory);
    if (good)
        return TRUE;
    if (g_error_matches(cause, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT))
        pull->dropped = TRUE;
    else if (g_error_matches(cause, FASTVLM_ERROR, FASTVLM_ERROR_CANCELLED))
        tell_of_part(pull, &cause);
    g_propagate_error(error, cause);
    return FALSE;
}

/* --- the model --- */

static gboolean check_model(Pull *pull, GError **error)
{
    GError *cause = NULL;
    FastvlmModelInfo *info = fastvlm_model_inspect(pull->aside, &cause);
    if (info) {
        fastvlm_model_info_free(info);
        return TRUE;
    }
    g_set_error(error, FASTVLM_ERROR, cause->code,
                "%s: what was fetched is no model that loads: %s; it was removed",
                pull->params->model->name, cause->message);
    g_error_free(cause);
    pull->dropped = TRUE;
    return FALSE;
}

/* Gives the model its name; an old one of that name goes only when the new one has it. */
static gboolean place(Pull *pull, GError **error)
{
    sync_directory(pull->aside);
    gboolean replaces = pull->params->force && g_file_test(pull->target, G_FILE_TEST_EXISTS);
    int status;
    if (replaces)
        status = renameat2(AT_FDCWD, pull->aside, AT_FDCWD, pull->target, RENAME_EXCHANGE);
    else
        status = g_rename(pull->aside, pull->target);
    if (status != 0)
        return fail_path(pull->target, "the model cannot be put there", errno, error);
    sync_directory(pull->params->directory);
    return TRUE;
}

/* Looks at what has the name already. */
static gboolean is_there(Pull *pull, gboolean *there, GError **error)
{
    GError *cause = NULL;
    *there = FALSE;
    if (pull->params->force || !g_file_test(pull->target, G_FILE_TEST_EXISTS))
        return TRUE;
    FastvlmModelInfo *info = fastvlm_model_inspect(pull->target, &cause);
    if (info) {
        fastvlm_model_info_free(info);
        *there = TRUE;
        return TRUE;
    }
    g_set_error(error, FASTVLM_ERROR, cause->code,
                "%s: there is something of that name, which is no model that loads (%s); --force "
                "replaces it",
                pull->target, cause->message);
    g_error_free(cause);
    return FALSE;
}

static gboolean bring(Pull *pull, GError **error)
{
    const PullParams *params = pull->params;
    gboolean there;
    if (!is_there(pull, &there, error))
        return FALSE;
    pull->result->was_there = there;
    if (there)
        return TRUE;
    if (g_mkdir_with_parents(params->directory, 0777) != 0)
        return fail_path(params->directory, "cannot be made", errno, error);
    pull->part = fetch_part_open(pull->archive, error);
    return pull->part && fetch(pull, error) && check_archive_hash(pull, error) &&
           unpack(pull, error) && check_model(pull, error) && place(pull, error);
}

gboolean pull_run(const PullParams *params, PullResult *result, GError **error)
{
    const char *name = params->model->name;
    g_autofree char *hidden = g_strdup_printf(".%s.new", name);
    g_autofree char *part = g_strdup_printf(".%s.zip.part", name);
    Pull pull = {
        .params = params,
        .result = result,
        .target = g_build_filename(params->directory, name, NULL),
        .aside = g_build_filename(params->directory, hidden, NULL),
        .archive = g_build_filename(params->directory, part, NULL),
    };
    *result = (PullResult){0};
    gboolean good = bring(&pull, error);
    if (pull.part) {
        remove_tree(pull.aside); /* half of the new model, or all of the one replaced */
        if (good || pull.dropped)
            fetch_part_remove(pull.part);
        else
            fetch_part_close(pull.part);
    }
    if (good)
        result->path = g_steal_pointer(&pull.target);
    g_free(pull.target);
    g_free(pull.aside);
    g_free(pull.archive);
    return good;
}
