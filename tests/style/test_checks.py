#!/usr/bin/env python3
"""The checks beside this file find what they are there to find.

    a small clean tree -> every check passes
    one fault planted  -> its check fails and names the file

Speaks TAP.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LICENCE = " * SPDX-License-" + "Identifier: LGPL-2.1-or-later\n"
HEAD = "/*\n * A file.\n *\n" + LICENCE + " */\n"
GUARDED = HEAD + "#ifndef X_H\n#define X_H\n%s\n#endif\n"
CLEAN = {
    "engine/base/pool.h": GUARDED % "int pool(int a);",
    "engine/base/cpu.h": GUARDED % "int cpu(void);",
    "engine/nn/linear.c": HEAD + '#include "base/pool.h"\n\nint linear(int a)\n{\n    return a;\n}\n',
    "engine/kernels/blas.c": HEAD + "#include <cblas.h>\n",
    "engine/include/fastvlm/error.h": GUARDED % "int fastvlm_error(void);",
    "gst-plugin/plugin.c": HEAD + "#include <fastvlm/error.h>\n",
    "run.sh": "#!/bin/sh\n# A script.\n#" + LICENCE[2:] + "true\n",
    ".ci/run": "#!/bin/sh\n",
    "README.md": "# A tree\n",
    ".clang-format": open(os.path.join(HERE, "..", "..", ".clang-format"), encoding="utf-8").read(),
    # generated trees are nobody's source
    "build/generated.c": "\t",
    ".git/hook.sh": "\t",
}
EXECUTABLE = (".sh", "/run")
LONG_BODY = "".join(f"    a += {i};\n" for i in range(85))

# check, what is planted, {file: content}
FAULTS = [
    ("layers", "nn sees api", {"engine/nn/norm.c": HEAD + '#include "api/model.h"\n'}),
    ("layers", "base sees nn", {"engine/base/x.c": HEAD + '#include "nn/linear.h"\n'}),
    ("layers", "the plugin sees a room", {"gst-plugin/x.c": HEAD + '#include "base/pool.h"\n'}),
    ("layers", "the plugin goes up and sideways",
     {"gst-plugin/x.c": HEAD + '#include "../engine/base/pool.h"\n'}),
    ("layers", "nn goes up and sideways", {"engine/nn/x.c": HEAD + '#include "../api/model.h"\n'}),
    ("layers", "kernels see threads", {"engine/kernels/x.c": HEAD + '#include "base/pool.h"\n'}),
    ("layers", "kernels see GLib", {"engine/kernels/x.c": HEAD + "#include <glib.h>\n"}),
    ("layers", "nn sees cblas", {"engine/nn/x.c": HEAD + "#include <cblas.h>\n"}),
    ("layers", "the engine sees GStreamer", {"engine/image/x.c": HEAD + "# include <gst/gst.h>\n"}),
    ("layers", "base sees a session", {"engine/base/x.c": HEAD + "#include <fastvlm/session.h>\n"}),
    ("layers", "a room nobody knows", {"engine/attic/x.c": HEAD}),
    ("sizes", "a long function",
     {"engine/nn/x.c": HEAD + "\nint f(int a,\n      int b)\n{\n" + LONG_BODY + "}\n"}),
    ("sizes", "a long file", {"engine/nn/x.c": HEAD + "\n" * 800}),
    ("sizes", "a long Python function", {"x.py": "def f(a):\n" + LONG_BODY + "\n"}),
    ("text", "a tab", {"engine/nn/x.c": HEAD + "int\ta;\n"}),
    ("text", "blanks at the end", {"README.md": "# A tree \n"}),
    ("text", "no licence", {"engine/nn/x.c": "/*\n * A file.\n */\n"}),
    ("text", "no opening comment", {"engine/nn/x.c": "int a;\n" + HEAD}),
    ("text", "a machine's path", {"README.md": "See /" + "home/somebody/notes.\n"}),
    ("text", "no newline at the end", {"README.md": "# A tree"}),
    ("text", "not UTF-8", {"README.md": b"caf\xe9\n"}),
    ("text", "a script that is not executable", {"sourced.sh": CLEAN["run.sh"], "-x": None}),
    ("headers", "a header that needs another",
     {"engine/base/x.h": GUARDED % "GHashTable *table(void);"}),
    ("headers", "a public header that C++ does not take",
     {"engine/include/fastvlm/x.h": GUARDED % "int f(int class);"}),
    ("format", "two spaces", {"engine/nn/x.c": HEAD + "\nint f(void)\n{\n  return 0;\n}\n"}),
    ("scripts", "an unquoted command",
     {"x.sh": CLEAN["run.sh"] + 'for a in "$@"; do rm $(ls *) ; done\nread a\ncd $b\n'}),
]


def write_tree(root, contents):
    for path, content in contents.items():
        if content is None:
            continue
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(full, 0o755 if path.endswith(EXECUTABLE) and "-x" not in contents else 0o644)


def run_check(check, root):
    """(exit status, output) of one check on a tree."""
    script = os.path.join(HERE, f"check_{check}." + ("sh" if check in ("format", "scripts") else "py"))
    command = [script, root] if script.endswith(".sh") else [sys.executable, "-B", script, root]
    if check == "headers":
        command += ["cc", "c++"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            errors="replace", check=False)
    return result.returncode, result.stdout


def try_fault(check, contents):
    """("ok", note) where the check passes the clean tree and fails the faulty one."""
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, CLEAN)
        status, output = run_check(check, root)
        if status == 77:
            return "ok", " # SKIP " + output.strip()
        if status != 0:
            return "not ok", " - fails a clean tree: " + " | ".join(output.splitlines())
        write_tree(root, contents)
        status, output = run_check(check, root)
    faulty = next(iter(contents))
    if status not in (0, 77) and faulty in output:
        return "ok", ""
    return "not ok", f" - exit status {status}: " + " | ".join(output.splitlines())


def main():
    print(f"1..{len(FAULTS)}")
    n_failed = 0
    for number, (check, fault, contents) in enumerate(FAULTS, 1):
        verdict, note = try_fault(check, contents)
        n_failed += verdict != "ok"
        print(f"{verdict} {number} {check}: {fault}{note}", flush=True)
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
