/*
 * Byte-pair encoding with a heap. See bpe.h.
 *
 * The reference (bpe() of tokenization_qwen2.py, transformers) finds the pair of lowest rank,
 * merges all its occurrences from left to right, and looks again. So here all candidates of one
 * rank leave the heap together, in their order; pairs that arise meanwhile wait, however low their
 * rank.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "text/bpe.h"

typedef struct {
    gint32 id; /* -1: merged into its left neighbour */
    gint32 previous;
    gint32 next; /* -1: none */
} Symbol;

typedef struct {
    guint32 rank;
    gint32 position; /* of the left symbol */
    gint32 left, right, result;
} Candidate;

void fastvlm_bpe_init(FastvlmBpe *bpe)
{
    bpe->symbols = g_array_new(FALSE, FALSE, sizeof(Symbol));
    bpe->heap = g_array_new(FALSE, FALSE, sizeof(Candidate));
    bpe->batch = g_array_new(FALSE, FALSE, sizeof(Candidate));
}

void fastvlm_bpe_clear(FastvlmBpe *bpe)
{
    g_array_unref(bpe->symbols);
    g_array_unref(bpe->heap);
    g_array_unref(bpe->batch);
}

static gboolean goes_first(const Candidate *a, const Candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void push_candidate(GArray *heap, Candidate candidate)
{
    g_array_append_val(heap, candidate);
    Candidate *slots = (Candidate *)(void *)heap->data;
    guint at = heap->len - 1;
    while (at > 0 && goes_first(&candidate, &slots[(at - 1) / 2])) {
        slots[at] = slots[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    slots[at] = candidate;
}

static Candidate pop_candidate(GArray *heap)
{
    Candidate *slots = (Candidate *)(void *)heap->data;
    Candidate top = slots[0], last = slots[heap->len - 1];
    g_array_set_size(heap, heap->len - 1);
    guint at = 0, child;
    while ((child = 2 * at + 1) < heap->len) {
        if (child + 1 < heap->len && goes_first(&slots[child + 1], &slots[child]))
            child++;
        if (!goes_first(&slots[child], &last))
            break;
        slots[at] = slots[child];
        at = child;
    }
    if (heap->len > 0)
        slots[at] = last;
    return top;
}

/* Puts the pair that begins at `position` on the heap, if it is one that merges. */
static void consider(FastvlmBpe *bpe, const FastvlmMerges *merges, gint32 position)
{
    const Symbol *symbols = (const Symbol *)(const void *)bpe->symbols->data;
    if (position < 0 || symbols[position].next < 0)
        return;
    gint32 left = symbols[position].id, right = symbols[symbols[position].next].id;
    const FastvlmMerge *merge = fastvlm_merges_find(merges, left, right);
    if (merge != NULL)
        push_candidate(bpe->heap, (Candidate){merge->rank, position, left, right, merge->result});
}

static void apply(FastvlmBpe *bpe, const FastvlmMerges *merges, const Candidate *candidate)
{
    Symbol *symbols = (Symbol *)(void *)bpe->symbols->data;
    Symbol *left = &symbols[candidate->position];
    /* An earlier merge may have taken either neighbour. */
    if (left->id != candidate->left || left->next < 0 || symbols[left->next].id != candidate->right)
        return;
    Symbol *right = &symbols[left->next];
    left->id = candidate->result;
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0)
        symbols[left->next].previous = candidate->position;
    consider(bpe, merges, left->previous);
    consider(bpe, merges, candidate->position);
}

static void start_word(FastvlmBpe *bpe, const FastvlmVocab *vocab, const FastvlmMerges *merges,
                       const char *word, gint32 n_bytes)
{
    g_array_set_size(bpe->symbols, (guint)n_bytes);
    g_array_set_size(bpe->heap, 0);
    Symbol *symbols = (Symbol *)(void *)bpe->symbols->data;
    for (gint32 i = 0; i < n_bytes; i++)
        symbols[i] = (Symbol){vocab->byte_id[(guint8)word[i]], i - 1, i + 1 < n_bytes ? i + 1 : -1};
    for (gint32 i = 0; i + 1 < n_bytes; i++)
        consider(bpe, merges, i);
}

void fastvlm_bpe_encode(FastvlmBpe *bpe, const FastvlmVocab *vocab, const FastvlmMerges *merges,
                        const char *word, gsize n_bytes, GArray *ids)
{
    if (n_bytes == 0)
        return;
    start_word(bpe, vocab, merges, word, (gint32)n_bytes);
    while (bpe->heap->len > 0) {
        g_array_set_size(bpe->batch, 0);
        const Candidate *top = (const Candidate *)(const void *)bpe->heap->data;
        guint32 rank = top->rank;
        while (bpe->heap->len > 0 && top->rank == rank) {
            Candidate candidate = pop_candidate(bpe->heap);
            g_array_append_val(bpe->batch, candidate);
        }
        for (guint i = 0; i < bpe->batch->len; i++)
            apply(bpe, merges, &g_array_index(bpe->batch, Candidate, i));
    }
    const Symbol *symbols = (const Symbol *)(const void *)bpe->symbols->data;
    for (gint32 i = 0; i >= 0; i = symbols[i].next)
        g_array_append_val(ids, symbols[i].id);
}
