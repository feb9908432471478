/*
 * One file of packed weights and tokenizer tables, read into memory.
 *
 *     head (a page) | index of the store | tokenizer's tables | blobs of the store
 *     each but the head begins at a multiple of 4096; numbers as this machine has them
 *
 * A file is read, not mapped: huge pages, which only memory of our own has, make decoding and prompts
 * some 15 % faster, and a file that another program cuts short is an error here and not a SIGBUS later.
 * Reading takes a quarter of a second a gigabyte.
 *
 * A new file is made beside its place under a name of its own, its space taken from the disk at once;
 * weights are packed into memory and computed from there, and a thread writes that to the disk. Only
 * when all of it is there does it take its place, by rename; from then on it is never written to. An old
 * one is opened only if its head says that it was made for exactly this, by the index line for line, and
 * if all of it has the sums that it says, so that a bit that flipped on the disk cannot change answers;
 * nothing in it is believed beyond that.
 *
 * While a file is in use it is locked (flock, shared), so that nobody makes room by removing it.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_PACKED_H
#define FASTVLM_LOAD_PACKED_H

#include <fastvlm/error.h>

#include "base/store.h"

/** To be raised whenever packed bytes, blobs or tables mean something else. */
#define FASTVLM_PACKED_VERSION 2

/** Digits of a key. */
#define FASTVLM_PACKED_KEY_DIGITS 64

typedef struct _FastvlmPacked FastvlmPacked;

/** What a file must be. Strings are borrowed. */
typedef struct {
    const char *key;           /* fastvlm_checkpoint_fingerprint() */
    const char *model;         /* directory, for people */
    const char *precision;     /* the same */
    const FastvlmStore *store; /* measured */
} FastvlmPackedSpec;

/** What the head of a file says, to people; nothing in it is to be trusted. */
typedef struct {
    char model[2048];
    char precision[64];
} FastvlmPackedLabel;

/**
 * Reads the file at `path`.
 *
 * @return to free with fastvlm_packed_free(), or NULL
 * Errors: NOT_FOUND, READ, FORMAT (damaged, of another version, not made for `spec`).
 */
FastvlmPacked *fastvlm_packed_open(const char *path, const FastvlmPackedSpec *spec, GError **error);

/**
 * Begins a file that is to be at `path`; its blobs are zeros.
 *
 * @param tables  of the tokenizer; may be empty
 * @return to free with fastvlm_packed_free(), or NULL
 * Errors: READ (the directory cannot be written), LIMIT (no space, a size limit).
 */
FastvlmPacked *fastvlm_packed_create(const char *path, const FastvlmPackedSpec *spec,
                                     const GByteArray *tables, GError **error);

/** The blobs, aligned to a page: as they were read, or of a new file to be filled. */
void *fastvlm_packed_get_blobs(FastvlmPacked *packed);

/** The tables, aligned to a page. */
const void *fastvlm_packed_get_tables(const FastvlmPacked *packed, gsize *n_bytes);

/** Bytes of a file for `spec` with so many bytes of tables. */
guint64 fastvlm_packed_count_bytes(const FastvlmPackedSpec *spec, gsize n_table_bytes);

/**
 * A new file is complete: from now on it is only read. A thread writes it to the disk and puts it in its
 * place; where that fails, it is gone.
 */
void fastvlm_packed_publish(FastvlmPacked *packed);

/** Waits for the thread; TRUE if the file is in its place. */
gboolean fastvlm_packed_wait(FastvlmPacked *packed);

/** Waits for the thread, closes, frees the memory. A file that was not published is removed. NULL is fine. */
void fastvlm_packed_free(FastvlmPacked *packed);

/** Reads the label of the open file `fd`; FALSE where it is none of this version. */
gboolean fastvlm_packed_read_label(int fd, FastvlmPackedLabel *label);

#endif
