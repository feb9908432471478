/*
 * Byte-pair encoding of one word.
 *
 *     bytes -> one symbol a byte -> merge the neighbours of lowest rank, from the left, until none
 *
 * A heap of candidate pairs keeps it at n log n: a word may be as long as a text.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TEXT_BPE_H
#define FASTVLM_TEXT_BPE_H

#include "text/merges.h"
#include "text/vocab.h"

/** Scratch of one thread, kept from word to word. */
typedef struct {
    GArray *symbols; /* a linked list in an array */
    GArray *heap;    /* candidate pairs, the one to merge first on top */
    GArray *batch;   /* candidates of one rank */
} FastvlmBpe;

void fastvlm_bpe_init(FastvlmBpe *bpe);
void fastvlm_bpe_clear(FastvlmBpe *bpe);

/** Appends the ids of `word` [n_bytes], at most 2^30 bytes, to `ids` (a GArray of gint32). */
void fastvlm_bpe_encode(FastvlmBpe *bpe, const FastvlmVocab *vocab, const FastvlmMerges *merges,
                        const char *word, gsize n_bytes, GArray *ids);

#endif
