/*
 * Synthetic checkpoints for the tests of numbers.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef TESTS_GOLDEN_CHECKPOINT_H
#define TESTS_GOLDEN_CHECKPOINT_H

#include <glib.h>

/**
 * Writes a checkpoint to `directory`, which is made.
 *
 * @param name       "tiny", "speaking", or a file of vectors whose metadata "case" says what it is of
 * @param tokenizer  NULL, or a directory whose tokenizer files are copied in
 */
gboolean checkpoint_write(const char *name, const char *directory, const char *tokenizer,
                          GError **error);

#endif
