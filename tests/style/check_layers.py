#!/usr/bin/env python3
"""Includes go one way.

    #include lines of each room -> the table below -> a line for each that it does not allow

A room is a folder of engine/, or gst-plugin, or tests. Quoted includes are relative to engine/
("base/pool.h") or name a file beside the includer; docs/architecture.md draws the same table.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import os
import re
import sys

import tree

# room: (rooms it may include besides itself, headers of fastvlm/ it may include)
ALL = ("cache.h", "error.h", "image.h", "tokenizer.h", "model.h", "session.h", "fastvlm.h")
ROOMS = {
    "engine/base": ((), ("error.h",)),
    "engine/kernels": (("base",), ()),
    "engine/load": (("base",), ("cache.h", "error.h", "model.h")),
    "engine/text": (("base",), ("error.h", "tokenizer.h")),
    "engine/image": (("kernels", "base"), ("error.h", "image.h")),
    "engine/nn": (("kernels", "base"), ("error.h",)),
    "engine/vision": (("nn", "load", "base"), ("error.h",)),
    "engine/language": (("nn", "load", "base"), ("error.h",)),
    "engine/api": (("base", "kernels", "load", "text", "image", "nn", "vision", "language"), ALL),
    "engine/tools": ((), ALL),
    "engine/include/fastvlm": ((), ALL),
    "gst-plugin": ((), ALL),
    "gst-speak": ((), ()),
    "gst-speechd": ((), ()),
    "watch": ((), ()),
    "pipelines": ((), ALL),
    "docs": ((), ALL),
    "tests": (("base", "kernels", "load", "text", "image", "nn", "vision", "language", "api",
               "tools"), ALL),
}
# What kernels may take from base: types and the CPU's tier, no threads, allocation or errors.
KERNELS_BASE_HEADERS = ("cpu.h", "dtype.h")

# Headers from outside that belong to few files.
GLIB_FREE = ("engine/kernels/", "engine/base/cpu.")
OUTSIDE = (
    (re.compile(r"^(openblas/)?cblas\.h$"), ("engine/kernels/blas.c", "tests/bench/")),
    (re.compile(r"^(png\.h|jpeglib\.h|jerror\.h)$"), ("engine/tools/", "tests/")),
    (re.compile(r"^curl/"), ("engine/tools/",)),
    (re.compile(r"^archive(_entry)?\.h$"), ("engine/tools/", "tests/")),
    (re.compile(r"^gst/"), ("gst-plugin/", "gst-speak/", "gst-speechd/",
                               "watch/", "docs/", "tests/")),
    (re.compile(r"^libspeechd\.h$"), ("gst-speechd/",)),
    (re.compile(r"^(pango|cairo)/"), ("gst-plugin/",)),
    (re.compile(r"^(imm|x86|xmm|emm|avx)\w*intrin\.h$"),
     ("engine/kernels/x86/", "tests/kernels/emulate.h")),
    (re.compile(r"^arm_neon\.h$"), ("engine/kernels/arm/",)),
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def room_of(path):
    directory = os.path.dirname(path)
    while directory:
        if directory in ROOMS:
            return directory
        directory = os.path.dirname(directory)
    return None


def quoted_problem(root, path, room, name):
    """Why `path` may not include "name", or None."""
    first = name.split("/")[0]
    own = room.removeprefix("engine/")
    if "/" in name and os.path.isdir(os.path.join(root, "engine", first)):
        if first != own and first not in ROOMS[room][0]:
            return f"{own} may not see {first}"
        if own == "kernels" and first == "base" and name[5:] not in KERNELS_BASE_HEADERS:
            return f"of base, kernels may see {' and '.join(KERNELS_BASE_HEADERS)} alone"
        return None
    beside = os.path.join(os.path.dirname(path), name)
    if room.startswith("engine/") or room_of(os.path.normpath(beside)) != room:
        return "quoted includes are relative to engine/"
    return None


def angled_problem(path, room, name):
    """Why `path` may not include <name>, or None."""
    if name.startswith("fastvlm/"):
        if name.split("/", 1)[1] not in ROOMS[room][1]:
            return f"{room} may not see that public header"
        return None
    if path.startswith(GLIB_FREE) and re.match(r"(glib|gmodule|gio|jansson)", name):
        return "this file must build without GLib"
    for pattern, places in OUTSIDE:
        if pattern.search(name) and not path.startswith(places):
            return f"only {', '.join(places)} may see it"
    return None


def check(root):
    problems, paths = [], tree.files(root, (".c", ".h"))
    for path in paths:
        room = room_of(path)
        if room is None:
            problems.append(f"{path}: in no room that tests/style/check_layers.py knows")
            continue
        for match in INCLUDE.finditer(tree.read(root, path)):
            kind, name = match.groups()
            problem = (quoted_problem(root, path, room, name) if kind == '"'
                       else angled_problem(path, room, name))
            if problem:
                problems.append(f"{path}: includes {name}: {problem}")
    return problems, len(paths)


if __name__ == "__main__":
    sys.exit(tree.report("layers", *check(tree.root_argument())))
