/*
 * Answers that go round in circles.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_API_REPETITION_H
#define FASTVLM_API_REPETITION_H

#include <glib.h>

/**
 * Whether the answer ends in a loop: a block of 1 to 16 tokens three times over or more, and 24 tokens
 * of such blocks at least, which no sentence does.
 *
 * @param ids  [n]
 * @return how many tokens there are up to the end of the first block; 0: no loop
 */
int fastvlm_repetition_find(const gint32 *ids, int n);

#endif
