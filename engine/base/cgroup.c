/*
 * Memory limits of control groups.
 *
 *     /proc/self/cgroup -> the group -> its limit, and that of each group above it -> the least
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES 16384 /* of a file */

/** One tree of groups. */
typedef struct {
    const char *controller; /* in /proc/self/cgroup */
    const char *mount;
    const char *memory; /* files of a group */
    const char *swap;   /* NULL: as much as the machine has */
} Hierarchy;

static const Hierarchy hierarchies[] = {
    {"", "/sys/fs/cgroup", "memory.max", "memory.swap.max"},
    {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", NULL},
};

/**
 * A file of the kernel's, which says no size; FALSE where it cannot be read whole. Where memory runs out
 * g_file_get_contents() would leave such a file open.
 */
static gboolean read_text(const char *path, char text[TEXT_BYTES])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    gsize n_read = 0;
    gssize n = -1;

    while (fd >= 0 && n_read < TEXT_BYTES - 1) {
        n = read(fd, text + n_read, TEXT_BYTES - 1 - n_read);
        if (n == 0 || (n < 0 && errno != EINTR))
            break;
        n_read += (gsize)MAX(n, 0);
    }
    text[n_read] = '\0';
    if (fd >= 0)
        close(fd);
    return n == 0;
}

/** G_MAXUINT64 for "max", and for whatever is no number. */
static guint64 read_limit(const char *directory, const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    char text[TEXT_BYTES];
    guint64 limit;

    if (!read_text(path, text) ||
        !g_ascii_string_to_unsigned(g_strchomp(text), 10, 0, G_MAXUINT64, &limit, NULL))
        return G_MAXUINT64;
    return limit;
}

static guint64 read_group(const char *directory, const Hierarchy *hierarchy, guint64 swap_bytes)
{
    const guint64 memory = read_limit(directory, hierarchy->memory);
    guint64 swap = hierarchy->swap ? read_limit(directory, hierarchy->swap) : G_MAXUINT64;

    swap = MIN(swap, swap_bytes);
    return memory <= G_MAXUINT64 - swap ? memory + swap : G_MAXUINT64;
}

/** The group of a line "ID:CONTROLLER,CONTROLLER:/PATH", where it is of this tree; else NULL. */
static char *find_group(const char *line, const Hierarchy *hierarchy)
{
    g_auto(GStrv) parts = g_strsplit(line, ":", 3);
    g_auto(GStrv) controllers = NULL;

    if (g_strv_length(parts) != 3)
        return NULL;
    controllers = g_strsplit(parts[1], ",", -1);
    return strcmp(parts[1], hierarchy->controller) == 0 ||
                   g_strv_contains((const char *const *)controllers, hierarchy->controller)
               ? g_strdup(parts[2])
               : NULL;
}

/**
 * From `group`, which it shortens, up to the mount: in a container some of the path may not be there, but
 * the mount is.
 */
static guint64 walk_up(const char *root, char *group, const Hierarchy *hierarchy,
                       guint64 swap_bytes)
{
    guint64 least = G_MAXUINT64;

    for (;;) {
        g_autofree char *directory = g_build_filename(root, hierarchy->mount, group, NULL);
        char *end = strrchr(group, '/');
        const guint64 limit = read_group(directory, hierarchy, swap_bytes);

        least = MIN(least, limit);
        if (!end)
            return least;
        *end = '\0';
    }
}

guint64 fastvlm_cgroup_memory_limit(const char *root, guint64 swap_bytes)
{
    g_autofree char *path = g_build_filename(root, "/proc/self/cgroup", NULL);
    g_auto(GStrv) lines = NULL;
    guint64 least = G_MAXUINT64;
    char text[TEXT_BYTES];

    if (!read_text(path, text))
        return G_MAXUINT64;
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        for (gsize i = 0; i < G_N_ELEMENTS(hierarchies); i++) {
            g_autofree char *group = find_group(*line, &hierarchies[i]);

            if (group) {
                const guint64 limit = walk_up(root, group, &hierarchies[i], swap_bytes);

                least = MIN(least, limit);
            }
        }
    return least;
}
