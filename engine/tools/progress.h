/*
 * A progress bar on standard error.
 *
 * Shows itself only on a terminal, only for what takes longer than a second, and leaves no trace.
 *
 *     encoding photo.jpg  [########------------]  41 %  1.3 s
 *     fetching 0.5b  [####------]  41 %  0.62 of 1.52 GB  24.3 MB/s  0:37 left
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

/**
 * The same in bytes: the bar shows how many, the rate of the last seconds and the time left.
 *
 * @param n_total  0: not known
 */
void progress_set_bytes(Progress *progress, guint64 n_done, guint64 n_total);

/** Takes the bar away and frees it; NULL is fine. */
void progress_free(Progress *progress);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Progress, progress_free)

G_END_DECLS

#endif
