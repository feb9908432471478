/*
 * The wish to stop, as all that takes long is told of it: a number that another thread makes other than 0.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_CANCEL_H
#define FASTVLM_BASE_CANCEL_H

#include <glib.h>

/** Whether `cancel`, looked at atomically, is set; NULL never is. */
static inline gboolean fastvlm_is_cancelled(const gint *cancel)
{
    return cancel && g_atomic_int_get(cancel) != 0;
}

#endif
