/*
 * The tokenizer's tables as bytes. See tables.h.
 *
 *     head | slots [n_slots] | spans [n_spans] | bytes [n_bytes]
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/tables.h"

#include <string.h>

/* Twice as many slots as merges, rounded up to a power of two. */
#define MAX_SLOTS (4u * FASTVLM_VOCAB_MAX_SIZE)

typedef struct {
    guint32 n_slots;
    guint32 n_spans;
    guint32 n_bytes;
    guint32 zero;
    gint32 byte_id[256];
} Head;

G_STATIC_ASSERT(sizeof(Head) % FASTVLM_TABLES_ALIGNMENT == 0);
G_STATIC_ASSERT(sizeof(FastvlmMerge) == 16 && sizeof(FastvlmVocabSpan) == 8);

void fastvlm_tables_write(const FastvlmVocab *vocab, const FastvlmMerges *merges, GByteArray *out)
{
    Head head = {merges->mask + 1, vocab->n_spans, vocab->n_bytes, 0, {0}};

    memcpy(head.byte_id, vocab->byte_id, sizeof head.byte_id);
    g_byte_array_append(out, (const guint8 *)&head, sizeof head);
    g_byte_array_append(out, (const guint8 *)merges->slots,
                        (guint)(head.n_slots * sizeof *merges->slots));
    g_byte_array_append(out, (const guint8 *)vocab->spans,
                        (guint)(head.n_spans * sizeof *vocab->spans));
    g_byte_array_append(out, (const guint8 *)vocab->bytes, head.n_bytes);
}

/* What is wrong with the sizes, or NULL. */
static const char *check_head(const Head *head, gsize n_bytes)
{
    if (head->n_slots == 0 || (head->n_slots & (head->n_slots - 1)) != 0 ||
        head->n_slots > MAX_SLOTS)
        return "the number of merges";
    if (head->n_spans == 0 || head->n_spans > FASTVLM_VOCAB_MAX_SIZE)
        return "the number of ids";
    /* Each is below 2^32, so that the sum is exact. */
    if ((guint64)sizeof *head + (guint64)head->n_slots * sizeof(FastvlmMerge) +
            (guint64)head->n_spans * sizeof(FastvlmVocabSpan) + head->n_bytes !=
        n_bytes)
        return "the size";
    return NULL;
}

static const char *check_vocab(const FastvlmVocab *vocab)
{
    for (guint32 i = 0; i < vocab->n_spans; i++) {
        const FastvlmVocabSpan *span = &vocab->spans[i];
        if (span->offset != FASTVLM_VOCAB_HOLE &&
            (span->offset > vocab->n_bytes || span->n_bytes > vocab->n_bytes - span->offset))
            return "where the bytes of an id lie";
    }
    for (int byte = 0; byte < 256; byte++)
        if (!fastvlm_vocab_has(vocab, vocab->byte_id[byte]))
            return "the id of a byte";
    return NULL;
}

/* A search ends at an empty slot: half of them must be. */
static const char *check_merges(const FastvlmMerges *merges, const FastvlmVocab *vocab)
{
    const guint32 n_slots = merges->mask + 1;
    guint32 n_used = 0;

    for (guint32 i = 0; i < n_slots; i++) {
        if (merges->slots[i].result < 0)
            continue;
        if (!fastvlm_vocab_has(vocab, merges->slots[i].result))
            return "the result of a merge";
        n_used++;
    }
    return n_used > n_slots / 2 ? "the number of merges" : NULL;
}

gboolean fastvlm_tables_bind(const void *tables, gsize n_bytes, FastvlmVocab *vocab,
                             FastvlmMerges *merges, GError **error)
{
    const Head *head = tables;
    const char *problem = n_bytes < sizeof *head ? "the size" : check_head(head, n_bytes);

    if (problem == NULL) {
        merges->slots = (const FastvlmMerge *)(const void *)(head + 1);
        merges->mask = head->n_slots - 1;
        vocab->spans = (const FastvlmVocabSpan *)(const void *)(merges->slots + head->n_slots);
        vocab->n_spans = head->n_spans;
        vocab->bytes = (const char *)(vocab->spans + head->n_spans);
        vocab->n_bytes = head->n_bytes;
        memcpy(vocab->byte_id, head->byte_id, sizeof vocab->byte_id);
        problem = check_vocab(vocab);
    }
    if (problem == NULL)
        problem = check_merges(merges, vocab);
    if (problem == NULL)
        return TRUE;
    g_set_error(error, FASTVLM_ERROR, FASTVLM_ERROR_FORMAT,
                "the packed tokenizer's tables are damaged: %s", problem);
    return FALSE;
}
