/*
 * Repetition; see the header.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "api/repetition.h"

#define LONGEST_BLOCK 16
#define LEAST_BLOCKS 3
#define LEAST_TOKENS 24

/** How many last tokens are the same as those `period` before them, plus one block. */
static int measure_loop(const gint32 *ids, int n, int period)
{
    int same = 0;

    while (same < n - period && ids[n - 1 - same] == ids[n - 1 - same - period])
        same++;
    return same + period;
}

int fastvlm_repetition_find(const gint32 *ids, int n)
{
    for (int period = 1; period <= LONGEST_BLOCK && period * LEAST_BLOCKS <= n; period++) {
        const int length = measure_loop(ids, n, period);

        if (length >= MAX(LEAST_TOKENS, period * LEAST_BLOCKS))
            return n - length + period;
    }
    return 0;
}
