/*
 * The layouts that FastVLM checkpoints come in: how each names its tensors.
 *
 *     a file's names -> which layout? -> each name as Apple's release has it (load/layout.h)
 *
 * A layout is a row of a table: nothing else knows other names than the release's.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_LOAD_NAMING_H
#define FASTVLM_LOAD_NAMING_H

#include <glib.h>

typedef struct {
    const char *from;
    const char *to;
} FastvlmRename;

typedef struct {
    const char *name;  /* "llava_qwen2", "fast_vlm", "mlx" */
    const char *about; /* for people: whose layout it is */
    const char *mark;  /* a file with a name that contains this is in this layout; NULL: any */
    const FastvlmRename *prefixes; /* the first that fits is replaced; ends in {NULL, NULL} */
    const FastvlmRename *parts;    /* then each of these, wherever it stands; the same */
} FastvlmNaming;

/** Apple's release. */
extern const FastvlmNaming fastvlm_naming_released;

/** The layout of a file with the tensors `names` (const char *); the release's where none is known. */
const FastvlmNaming *fastvlm_naming_detect(const GPtrArray *names);

/** The name that the release has for `name`; free with g_free(). */
char *fastvlm_naming_translate(const FastvlmNaming *naming, const char *name);

#endif
