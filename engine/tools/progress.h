/*
 * A progress bar on standard error.
 *
 * Shows itself only on a terminal, only for what takes longer than a second, and leaves no trace.
 *
 *     encoding photo.jpg  [########------------]  41 %  1.3 s
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_PROGRESS_H
#define FASTVLM_TOOLS_PROGRESS_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct Progress Progress;

/** Starts the clock of a piece of work; `label` says what is done. Never NULL. */
Progress *progress_new(const char *label);

/** Says how much is done, 0 to 1. Until then the bar only shows that work goes on. Any thread. */
void progress_set(Progress *progress, double fraction);

/** Takes the bar away and frees it; NULL is fine. */
void progress_free(Progress *progress);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Progress, progress_free)

G_END_DECLS

#endif
