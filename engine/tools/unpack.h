/*
 * Takes a checkpoint out of a zip archive that comes from strangers.
 *
 *     archive (descriptor or memory) -> look at every entry -> files of one folder -> directory
 *
 * Nothing in the archive decides where a byte goes: only the regular files beside config.json are
 * taken, under their last name, into one flat directory that the caller opened. Paths that lead out,
 * links, devices, double names, entries that lie about their size and whatever exceeds the limits end
 * the unpacking with an error. Everything is looked at before anything is written.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_TOOLS_UNPACK_H
#define FASTVLM_TOOLS_UNPACK_H

#include <fastvlm/error.h>

G_BEGIN_DECLS

/** What a file's content must be. */
typedef struct {
    const char *name;   /* of the file, as "model.safetensors"; NULL ends a list */
    const char *sha256; /* 64 lower-case digits */
} UnpackHash;

/**
 * Told while files are written.
 *
 * @return FALSE to stop: unpacking fails with FASTVLM_ERROR_CANCELLED
 */
typedef gboolean (*UnpackProgressFunc)(guint64 n_done, guint64 n_total, gpointer user_data);

/** How to unpack. */
typedef struct {
    const char *shown_name;   /* what messages call the archive */
    guint64 max_bytes;        /* of all files together */
    guint max_entries;        /* of the archive, those left out included */
    const UnpackHash *hashes; /* may be NULL; names that are not in the archive are passed over */
    UnpackProgressFunc progress; /* may be NULL */
    gpointer progress_data;
} UnpackParams;

/**
 * Unpacks the archive that `descriptor` is open for (a regular file, read from its beginning) into
 * `directory`, a descriptor of an empty directory.
 *
 * What was written before a failure stays there: the caller removes the directory.
 *
 * Errors: READ (the archive or the directory), FORMAT (what the archive is or holds), LIMIT (too
 * large, or the disk is full), CANCELLED.
 */
gboolean unpack_descriptor(int descriptor, int directory, const UnpackParams *params,
                           GError **error);

/** The same of an archive in memory. */
gboolean unpack_memory(const void *data, gsize n_bytes, int directory, const UnpackParams *params,
                       GError **error);

G_END_DECLS

#endif
