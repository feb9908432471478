#!/usr/bin/env python3
"""The commands that the documents show really run.

    README.md, docs/*.md: blocks opened by "```sh tested" -> bash, one block a test
    README.md            -> the files it points to are there

    test_readme.py SOURCE-ROOT BUILD-DIRECTORY

A block runs in an empty directory that has the tree's folders in it, with the build's element and
command at hand, and must end well within its time. There is no screen, and autovideosink (1.22)
crashes where there is none, so a sink that keeps the time stands in for it. Speaks TAP.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```sh tested\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
SECONDS = 90  # the demo video plays for 30


def blocks(root):
    """(file, line, script) of each block to run."""
    for path in [os.path.join(root, "README.md")] + sorted(glob.glob(f"{root}/docs/*.md")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield os.path.relpath(path, root), line, match.group(1)


def environment(root, build, directory):
    env = dict(os.environ)
    env.pop("DISPLAY", None)
    env.pop("WAYLAND_DISPLAY", None)
    env.update(GST_PLUGIN_PATH=f"{build}/gst-plugin:{build}/gst-speak", FASTVLM_MODELS=f"{root}/models",
               FASTVLM_BUILD=build, GST_REGISTRY=f"{build}/readme.registry",
               PATH=f"{build}/engine/tools:{build}/watch:{env['PATH']}", HOME=directory)
    return env


def run_block(root, build, script):
    """(None, or what went wrong; the output)."""
    script = script.replace("autovideosink", "fakesink sync=true")
    with tempfile.TemporaryDirectory() as directory:
        for name in ("pipelines", "models", "docs"):
            os.symlink(os.path.join(root, name), os.path.join(directory, name))
        try:
            result = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script], cwd=directory,
                env=environment(root, build, directory), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            return f"not done in {SECONDS} s", error.stdout or b""
        if result.returncode != 0:
            return f"exit status {result.returncode}", result.stdout
        for word in (b"CRITICAL", b"erroneous", b"WARNING"):
            if word in result.stdout:
                return f"said {word.decode()}", result.stdout
        empty = [name for name in os.listdir(directory)
                 if not os.path.islink(os.path.join(directory, name)) and name[0] != "."
                 and os.path.getsize(os.path.join(directory, name)) == 0]
        if empty:
            return f"wrote nothing into {', '.join(empty)}", result.stdout
        if "print-captions" in script and not re.search(rb"^\[\d+:\d\d\] \S", result.stdout, re.M):
            return "printed no caption", result.stdout
        return None, result.stdout


def missing_links(root):
    with open(os.path.join(root, "README.md"), encoding="utf-8") as file:
        links = LINK.findall(file.read())
    return [link for link in links if not os.path.exists(os.path.join(root, link))]


def main():
    root, build = (os.path.abspath(path) for path in sys.argv[1:3])
    found = list(blocks(root))
    if not found:
        print("1..1\nnot ok 1 no block to run was found")
        return 1
    print(f"1..{len(found) + 1}")
    n_failed = 0
    for number, (path, line, script) in enumerate(found, 1):
        problem, output = run_block(root, build, script)
        n_failed += problem is not None
        verdict = f"not ok {number} {path}:{line}: {problem}" if problem else \
            f"ok {number} {path}:{line}"
        if problem:
            sys.stderr.write(output.decode(errors="replace"))
        print(verdict, flush=True)
    missing = missing_links(root)
    print(f"{'not ok' if missing else 'ok'} {len(found) + 1} links of README.md lead somewhere"
          + (f": not {', '.join(missing)}" if missing else ""))
    return 1 if n_failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
