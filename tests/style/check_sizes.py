#!/usr/bin/env python3
"""No function and no file grows out of hand.

    lines between a signature and the closing brace in column 1 -> at most 80 (kernels 250)
    lines of a file -> at most 800

The format check fixes where braces stand, so that a function's end is a `}` in the first column.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import re
import sys

import tree

FUNCTION_LINES, KERNEL_LINES, FILE_LINES = 80, 250, 800
NAME = re.compile(r"(\w+)\s*\(")


def functions(text):
    """(name, first line, number of lines) of each C function."""
    lines = text.splitlines()
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
            while start > 0 and lines[start - 1].strip() and lines[start - 1][0] not in "}#/ *":
                start -= 1
            # a wrapped argument list is indented: go up to the line that opens it
            while start > 0 and lines[start - 1].strip() and lines[start][0].isspace():
                start -= 1
        elif line == "}" and start is not None:
            name = NAME.search(" ".join(lines[start:i]))
            yield (name.group(1) if name else "?"), start + 1, i - start + 1
            start = None


def python_functions(text):
    """The same of a Python file, from its syntax tree."""
    import ast
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def check(root):
    problems, paths = [], tree.files(root, (".c", ".h", ".py", ".sh"))
    for path in paths:
        text = tree.read(root, path)
        n_lines = len(text.splitlines())
        if n_lines > FILE_LINES:
            problems.append(f"{path}: {n_lines} lines, at most {FILE_LINES}")
        if path.endswith(".sh"):
            continue
        cap = KERNEL_LINES if path.startswith("engine/kernels/") else FUNCTION_LINES
        for name, line, length in (python_functions if path.endswith(".py") else functions)(text):
            if length > cap:
                problems.append(f"{path}:{line}: {name}() has {length} lines, at most {cap}")
    return problems, len(paths)


if __name__ == "__main__":
    sys.exit(tree.report("sizes", *check(tree.root_argument())))
