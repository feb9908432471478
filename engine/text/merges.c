/*
 * merges.txt to a hash table. See merges.h.
 *
 * A first line "#version..." and empty lines are skipped, as tokenization_qwen2.py (transformers)
 * does; "# #" on any other line is a merge like others.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/merges.h"

#include <string.h>

#include "base/text_file.h"
#include "text/vocab.h"

typedef struct {
    FastvlmMerges *merges;
    json_t *pieces;
    const char *path;
    GString *joined; /* scratch */
    guint32 n_merges;
} Loader;

/* The slot that holds `pair`, or the empty one where it belongs. */
static const FastvlmMerge *find_slot(const FastvlmMerges *merges, guint64 pair)
{
    /* The finaliser of MurmurHash3: ids are small numbers, their bits have to spread. */
    guint64 h = pair;
    h = (h ^ (h >> 33)) * G_GUINT64_CONSTANT(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * G_GUINT64_CONSTANT(0xc4ceb9fe1a85ec53);
    guint32 slot = (guint32)(h ^ (h >> 33)) & merges->mask;
    while (merges->slots[slot].result >= 0 && merges->slots[slot].pair != pair)
        slot = (slot + 1) & merges->mask;
    return &merges->slots[slot];
}

static guint64 make_pair(gint32 left, gint32 right)
{
    return (guint64)(guint32)left << 32 | (guint32)right;
}

const FastvlmMerge *fastvlm_merges_find(const FastvlmMerges *merges, gint32 left, gint32 right)
{
    const FastvlmMerge *merge = find_slot(merges, make_pair(left, right));
    return merge->result >= 0 ? merge : NULL;
}

static gboolean find_piece(const Loader *loader, const char *piece, int line, gint32 *id,
                           GError **error)
{
    const json_t *value = json_object_get(loader->pieces, piece);
    if (value == NULL) {
        g_autofree char *quoted = fastvlm_text_quote(piece);
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                    "%s:%d: the piece %s is not in vocab.json: the two files are not of one "
                    "tokenizer",
                    loader->path, line, quoted);
        return FALSE;
    }
    *id = fastvlm_vocab_id_from_json(value);
    return TRUE;
}

static gboolean fail_line(const Loader *loader, int line, const char *found, const char *problem,
                          GError **error)
{
    g_autofree char *quoted = fastvlm_text_quote(found);
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT, "%s:%d: found %s, %s", loader->path,
                line, quoted, problem);
    return FALSE;
}

/* Takes one line, "LEFT RIGHT", which it cuts in two. */
static gboolean add_line(Loader *loader, char *text, int line, GError **error)
{
    char *blank = strchr(text, ' ');
    if (blank == NULL || blank == text || blank[1] == '\0' || strchr(blank + 1, ' ') != NULL)
        return fail_line(loader, line, text, "expected two pieces with one blank between them",
                         error);
    *blank = '\0';
    g_string_assign(loader->joined, text);
    g_string_append(loader->joined, blank + 1);
    gint32 left, right, result;
    if (!find_piece(loader, text, line, &left, error) ||
        !find_piece(loader, blank + 1, line, &right, error) ||
        !find_piece(loader, loader->joined->str, line, &result, error))
        return FALSE;
    const FastvlmMerge *found = find_slot(loader->merges, make_pair(left, right));
    FastvlmMerge *slot = loader->merges->own_slots + (found - loader->merges->slots);
    if (slot->result >= 0)
        return fail_line(loader, line, loader->joined->str,
                         "which was there before, expected each merge once", error);
    *slot = (FastvlmMerge){make_pair(left, right), loader->n_merges++, result};
    return TRUE;
}

static gboolean add_lines(Loader *loader, char *text, GError **error)
{
    int line = 1;
    for (char *start = text; start != NULL; line++) {
        char *end = strchr(start, '\n');
        if (end != NULL)
            *end++ = '\0';
        g_strchomp(start);
        gboolean is_version = line == 1 && g_str_has_prefix(start, "#version");
        if (*start != '\0' && !is_version && !add_line(loader, start, line, error))
            return FALSE;
        start = end;
    }
    return TRUE;
}

static gboolean alloc_slots(FastvlmMerges *merges, const char *text, const char *path,
                            GError **error)
{
    guint32 n_lines = 1;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        n_lines++;
    if (n_lines > FASTVLM_VOCAB_MAX_SIZE) {
        g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_LIMIT, "%s: %u lines, expected at most %d",
                    path, n_lines, FASTVLM_VOCAB_MAX_SIZE);
        return FALSE;
    }
    guint32 n_slots = 16;
    while (n_slots < 2 * n_lines)
        n_slots *= 2;
    merges->own_slots = g_new(FastvlmMerge, n_slots);
    merges->slots = merges->own_slots;
    merges->mask = n_slots - 1;
    for (guint32 i = 0; i < n_slots; i++)
        merges->own_slots[i] = (FastvlmMerge){0, 0, -1};
    return TRUE;
}

/* The line of `text` in which `where` lies. */
static int count_line(const char *text, const char *where)
{
    int line = 1;
    for (const char *p = text; p < where; p++)
        line += *p == '\n';
    return line;
}

gboolean fastvlm_merges_parse(FastvlmMerges *merges, json_t *pieces, char *text, const char *path,
                              GError **error)
{
    Loader loader = {merges, pieces, path, NULL, 0};
    if (!alloc_slots(merges, text, path, error))
        return FALSE;
    loader.joined = g_string_new(NULL);
    gboolean ok = add_lines(&loader, text, error);
    g_string_free(loader.joined, TRUE);
    return ok;
}

gboolean fastvlm_merges_load(FastvlmMerges *merges, json_t *pieces, const char *path,
                             GError **error)
{
    gsize n_bytes;
    g_autofree char *text = fastvlm_text_file_read(path, &n_bytes, error);
    if (text == NULL)
        return FALSE;
    Loader loader = {merges, pieces, path, NULL, 0};
    const char *bad;
    if (!g_utf8_validate_len(text, n_bytes, &bad))
        return fail_line(&loader, count_line(text, bad), bad, "not valid UTF-8", error);
    return fastvlm_merges_parse(merges, pieces, text, path, error);
}

void fastvlm_merges_clear(FastvlmMerges *merges)
{
    g_free(merges->own_slots);
    *merges = (FastvlmMerges){0};
}
