"""The files of the source tree, for the checks beside this file.

    files(root, suffixes) -> paths relative to root, sorted
    report(check, problems) -> what a check prints and exits with

An unpacked tree has no version control to ask, so directories are walked: build directories and
what starts with a dot (but .ci) are left out.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import os
import sys

SKIPPED_DIRECTORIES = ("build", "__pycache__", "subprojects")


def is_source_directory(name):
    if name.startswith("."):
        return name == ".ci"
    return not name.startswith(SKIPPED_DIRECTORIES)


def files(root, suffixes=("",)):
    """Paths below root whose names end in one of the suffixes."""
    found = []
    for directory, directories, names in os.walk(root):
        directories[:] = [name for name in directories if is_source_directory(name)]
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(tuple(suffixes)) and not os.path.islink(path):
                found.append(os.path.relpath(path, root))
    return sorted(found)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def report(check, problems, n_files):
    """Print each problem on a line; the exit status."""
    for problem in problems:
        print(problem)
    if not n_files:
        print(f"{check}: no files found, wrong directory?")
        return 1
    print(f"{check}: {n_files} files, {len(problems)} problems")
    return 1 if problems else 0


def root_argument():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} SOURCE-ROOT")
    return sys.argv[1]
