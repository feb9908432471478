#!/usr/bin/env python3
"""Each header compiles alone.

    check_headers.py SOURCE-ROOT CC [CXX]

    every header        -> C11, -Wall -Wextra -Wpedantic
    ARM's               -> the same, by a compiler for it, where there is one
    public and plugin's -> C++17 too, as an application may be written in it

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import os
import platform
import shlex
import shutil
import subprocess
import sys
from multiprocessing.pool import ThreadPool

import tree

PACKAGES = ["glib-2.0", "jansson", "libpng", "libjpeg"]
GST_PACKAGES = ["gstreamer-video-1.0", "gstreamer-base-1.0", "gstreamer-check-1.0", "pangocairo"]
STRICT = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-function",
          "-D_GNU_SOURCE"]
CPLUSPLUS = ("engine/include/", "gst-plugin/")
ARM_CC = "aarch64-linux-gnu-gcc"


def package_flags():
    """Their include directories, as ones whose own warnings do not count."""
    flags = []
    for package in PACKAGES + GST_PACKAGES:
        result = subprocess.run(["pkg-config", "--cflags", package], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True, check=False)
        flags += shlex.split(result.stdout)
    return ["-isystem" + flag[2:] if flag.startswith("-I") else flag for flag in flags]


def compile_alone(root, header, command):
    """What the compiler says about a file that includes the header and nothing else."""
    path = os.path.abspath(os.path.join(root, header))
    result = subprocess.run(command + ["-"], input=f'#include "{path}"\nint main(void);\n',
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False)
    return result.stdout if result.returncode else ""


def commands(root, header, cc, cxx, flags):
    """The compilers that must take this header."""
    includes = [f"-I{os.path.join(root, directory)}" for directory in
                ("engine", "engine/include", "gst-plugin", "gst-speak", os.path.dirname(header))]
    if "avx512" in header:
        includes += ["-mavx512" + part for part in ("f", "cd", "bw", "dq", "vl")]
    if "avx2" in header or "emulate" in header:
        includes += ["-mavx2", "-mfma"]
    yield cc + ["-xc", "-std=gnu11"] + STRICT + includes + flags
    if cxx and header.startswith(CPLUSPLUS):
        yield cxx + ["-xc++", "-std=gnu++17"] + STRICT + includes + flags


def header_problems(root, header, cc, cxx, flags):
    if "/arm/" in header and platform.machine() != "aarch64":
        if not shutil.which(ARM_CC):
            print(f"headers: {header} was not tried, there is no {ARM_CC}")
            return []
        cc, flags = [ARM_CC], []
    outputs = [(command, compile_alone(root, header, command))
               for command in commands(root, header, cc, cxx, flags)]
    return [f"{header}: not alone with {' '.join(command[:3])}:\n{output}"
            for command, output in outputs if output]


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} SOURCE-ROOT CC [CXX]")
    root, cc = sys.argv[1], shlex.split(sys.argv[2])
    cxx = shlex.split(sys.argv[3]) if len(sys.argv) == 4 else None
    headers, flags = tree.files(root, (".h",)), package_flags()
    with ThreadPool() as pool:
        found = pool.map(lambda header: header_problems(root, header, cc, cxx, flags), headers)
    problems = [problem for problems in found for problem in problems]
    if not cxx:
        print("headers: no C++ compiler, C alone was tried")
    return tree.report("headers", problems, len(headers))


if __name__ == "__main__":
    sys.exit(main())
