/*
 * What control groups leave this process of the machine's memory: containers and services have less than
 * the machine.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifndef FASTVLM_BASE_CGROUP_H
#define FASTVLM_BASE_CGROUP_H

#include <glib.h>

/**
 * The least of the limits on this process's group and the groups above it, version 2 and 1, as they are
 * mounted by convention. What cannot be read, or is no number, limits nothing.
 *
 * @param root        of the file system: "", or a directory for tests
 * @param swap_bytes  of the machine; a group's own limit on swap counts where it has one
 * @return memory and swap together, in bytes; G_MAXUINT64: no limit
 */
guint64 fastvlm_cgroup_memory_limit(const char *root, guint64 swap_bytes);

#endif
