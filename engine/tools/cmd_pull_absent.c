/*
 * fastvlm pull, where it was built without what it takes.
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "tools/tool.h"

static int run_pull(const ToolCommand *command, int argc, char **argv)
{
    return tool_fail("pull: this fastvlm was built without libcurl and libarchive, which it takes; "
                     "fetch the archive by other means, unpack it and name its directory with "
                     "--model");
}

const ToolCommand tool_command_pull = {
    .name = "pull",
    .arguments = "NAME [OPTION]...",
    .summary = "fetch a released model by its name (not in this build)",
    .run = run_pull,
};
