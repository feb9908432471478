#!/usr/bin/env python3
"""Plain manners of text files.

    every text file -> UTF-8, no tabs, no blanks at line ends, one newline at the end, no paths of
                       somebody's machine
    .c .h .py .sh   -> an opening comment with the licence identifier
    .sh             -> executable where it starts with #!

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import os
import re
import sys

import tree

TEXT = (".c", ".h", ".py", ".sh", ".md", ".build", ".txt", ".json", ".jsonl", ".supp",
        ".clang-format", ".editorconfig", ".gitignore", "/run", "/LICENSE")
CODE = (".c", ".h", ".py", ".sh")
GENERATED = (".json", ".jsonl")  # written by programs: only paths are looked for
HEAD_LINES = 45
LICENCE = "SPDX-License-Identifier: LGPL-2.1-or-later"
GPL = "SPDX-License-Identifier: GPL-3.0-or-later"
GPL_FOLDERS = ("gst-speak/", "tests/speak/")  # what links espeak-ng
MACHINE_PATH = re.compile(r"/(?:work|home|root|Users)/\w|/tmp/\w+/|file:/{2}")


def head_problems(path, text):
    lines = text.splitlines()
    first = next((line for line in lines if not line.startswith("#!")), "")
    if not first.startswith(("/*", "//", "#", '"""', "'''", 'r"""')):
        yield 1, "does not open with a comment that says what it holds"
    head = "\n".join(lines[:HEAD_LINES])
    if LICENCE not in head and not (path.startswith(GPL_FOLDERS) and GPL in head):
        yield 1, f"no `{LICENCE}` in its first {HEAD_LINES} lines"


def line_problems(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if MACHINE_PATH.search(line):
            yield number, "a path of one machine"
        if path.endswith(GENERATED) or path == "LICENSE":
            continue
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "blanks at the end"
    if text and not path.endswith(GENERATED) and (not text.endswith("\n") or text.endswith("\n\n")):
        yield number, "does not end in one newline"


def check_file(root, path):
    try:
        text = tree.read(root, path)
    except UnicodeDecodeError as error:
        return [f"{path}: not UTF-8 ({error.reason} at byte {error.start})"]
    found = list(line_problems(path, text))
    if path.endswith(CODE):
        found += head_problems(path, text)
    return [f"{path}:{number}: {problem}" for number, problem in found]


def check(root):
    paths = [path for path in tree.files(root) if ("/" + path).endswith(TEXT)]
    problems = [problem for path in paths for problem in check_file(root, path)]
    for path in tree.files(root, (".sh",)):
        runs = tree.read(root, path).startswith("#!")
        if runs != os.access(os.path.join(root, path), os.X_OK):
            problems.append(f"{path}: a script with #! is executable, one to be sourced is not")
    return problems, len(paths)


if __name__ == "__main__":
    sys.exit(tree.report("text", *check(tree.root_argument())))
