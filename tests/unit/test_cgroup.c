/*
 * Memory limits of control groups, in a file system of the test's own.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "base/cgroup.h"

#include "test_directory.h"

#define NO_LIMIT G_MAXUINT64
#define SWAP 1000

/* A file of that file system. */
typedef struct {
    const char *directory;
    const char *name;
    const char *text;
} File;

typedef struct {
    const char *name;
    guint64 expected;
    File files[8];
} Case;

#define SELF "proc/self", "cgroup"
#define V2 "sys/fs/cgroup"
#define V1 "sys/fs/cgroup/memory"

static const Case cases[] = {
    {"nothing", NO_LIMIT, {{"proc/self", "other", ""}}},
    {"no-groups-mounted", NO_LIMIT, {{SELF, "0::/a/b\n"}}},
    {"own", 5000 + SWAP, {{SELF, "0::/a/b\n"}, {V2 "/a/b", "memory.max", "5000\n"}}},
    {"above",
     3000 + SWAP,
     {{SELF, "0::/a/b\n"},
      {V2 "/a/b", "memory.max", "max\n"},
      {V2 "/a", "memory.max", "3000\n"},
      {V2, "memory.max", "4000\n"}}},
    {"mount", 4000 + SWAP, {{SELF, "0::/not/there\n"}, {V2, "memory.max", "4000\n"}}},
    {"outside-namespace", 4000 + SWAP, {{SELF, "0::/../x\n"}, {V2, "memory.max", "4000\n"}}},
    {"no-swap",
     5000,
     {{SELF, "0::/a\n"}, {V2 "/a", "memory.max", "5000\n"}, {V2 "/a", "memory.swap.max", "0\n"}}},
    {"more-swap-than-there-is",
     5000 + SWAP,
     {{SELF, "0::/a\n"},
      {V2 "/a", "memory.max", "5000\n"},
      {V2 "/a", "memory.swap.max", "999999\n"}}},
    {"version-1",
     7000 + SWAP,
     {{SELF, "12:cpu,cpuacct:/c\n4:memory:/a/b\n0::/\n"},
      {V1 "/a", "memory.limit_in_bytes", "7000\n"},
      {V1 "/c", "memory.limit_in_bytes", "1\n"}}},
    {"version-1-with-others",
     7000 + SWAP,
     {{SELF, "4:cpu,memory:/a\n"}, {V1 "/a", "memory.limit_in_bytes", "7000\n"}}},
    {"version-1-none",
     9223372036854771712u + SWAP,
     {{SELF, "4:memory:/\n"}, {V1, "memory.limit_in_bytes", "9223372036854771712\n"}}},
    {"no-numbers",
     NO_LIMIT,
     {{SELF, "0::/a/b\n"},
      {V2 "/a/b", "memory.max", "-5\n"},
      {V2 "/a", "memory.max", "12 monkeys\n"},
      {V2, "memory.max", "99999999999999999999\n"}}},
    {"huge", NO_LIMIT, {{SELF, "0::/\n"}, {V2, "memory.max", "18446744073709551615\n"}}},
    {"no-groups", NO_LIMIT, {{SELF, "\n::\n0\n0:\nx"}, {V2 "/a", "memory.max", "5000\n"}}},
};

static void test_case(gconstpointer data)
{
    const Case *one = data;
    char *root = test_directory_make();

    for (const File *file = one->files; file->directory; file++) {
        g_autofree char *directory = g_build_filename(root, file->directory, NULL);

        g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
        test_directory_write(directory, file->name, file->text, -1);
    }
    g_assert_cmpuint(fastvlm_cgroup_memory_limit(root, SWAP), ==, one->expected);
    test_directory_remove(root);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strconcat("/cgroup/", cases[i].name, NULL);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    return g_test_run();
}
