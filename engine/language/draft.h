/*
 * Guesses the next tokens from an earlier answer: captions of a stream resemble each other. A decoder
 * can check several guesses in one run, which reads its weights once; what it would not have chosen
 * itself is thrown away, so the answer is the same, only sooner.
 *
 *     begin -> (predict -> advance ...) ... -> end: this answer is the next one's draft
 *
 * How far it pays to guess follows from how often guesses were right of late, which is counted also
 * while none are made.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LANGUAGE_DRAFT_H
#define FASTVLM_LANGUAGE_DRAFT_H

#include <glib.h>

typedef struct {
    GArray *source;  /* of gint32: the earlier answer */
    GArray *current; /* of gint32: this one so far */
    int position;    /* where this one seems to be in `source`; -1: nowhere */
    double hit_rate; /* of single guesses */
} FastvlmDraft;

void fastvlm_draft_init(FastvlmDraft *draft);

/** Frees what `draft` points to. */
void fastvlm_draft_clear(FastvlmDraft *draft);

/** Forgets the earlier answer. */
void fastvlm_draft_forget(FastvlmDraft *draft);

/** An answer begins. */
void fastvlm_draft_begin(FastvlmDraft *draft);

/** The answer's next token is `id`. */
void fastvlm_draft_advance(FastvlmDraft *draft, gint32 id);

/** The answer is whole; its last token may be a stop token. */
void fastvlm_draft_end(FastvlmDraft *draft);

/**
 * Guesses the tokens behind those the answer has.
 *
 * @param row_cost  what a further row adds to a decoder's step, as a share of a step of one row
 * @param max       at most so many
 * @param ids       [max], out
 * @return how many guesses it pays to check; 0: none
 */
int fastvlm_draft_predict(const FastvlmDraft *draft, double row_cost, int max, gint32 *ids);

#endif
