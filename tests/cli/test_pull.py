#!/usr/bin/env python3
"""fastvlm pull against a server of the test's own, which does everything that servers do wrong.

    pull_server.py: answers by a list of behaviours -> fastvlm pull -> what it prints and leaves

The environment is that of lib.sh: FASTVLM, GOLDEN_TOOL, SOURCE_ROOT. TAP on standard output.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import collections
import hashlib
import io
import json
import os
import pathlib
import pty
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile

import pull_server

FASTVLM, GOLDEN_TOOL = os.environ["FASTVLM"], os.environ["GOLDEN_TOOL"]
DEMO = os.path.join(os.environ["SOURCE_ROOT"], "models", "demo")
NAME = "0.5b"
checks = []


def check(name, good, detail=""):
    checks.append(bool(good))
    print(("ok" if good else "not ok"), len(checks), "-", name, flush=True)
    if not good:
        for line in str(detail).splitlines():
            print("#", line)


def skip(name, why):
    checks.append(True)
    print("ok", len(checks), "-", name, "# SKIP", why)


class Bench:
    """A server, a data directory, and the command between them."""

    def __init__(self, work, archive):
        self.work, self.archive = work, archive
        self.server = pull_server.Server()
        self.n = 0
        self.fresh()

    def fresh(self):
        """An empty data directory, and a server that gives the good archive."""
        self.n += 1
        self.data = self.work / f"data{self.n}"
        self.models = self.data / "fastvlm" / "models"
        self.serve(self.archive)

    def serve(self, content, *behaviours, tag='"first"'):
        self.server.content, self.server.tag = content, tag
        self.server.behaviours, self.server.requests = list(behaviours), []

    def environment(self):
        cleared = {k: v for k, v in os.environ.items()
                   if not k.startswith(("FASTVLM_", "XDG_")) and not k.lower().endswith("_proxy")}
        return cleared | {"XDG_DATA_HOME": str(self.data), "FASTVLM_CACHE": "off",
                          "FASTVLM_PULL_URL": self.server.url, "LC_ALL": "C.UTF-8",
                          "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")}

    def command(self, *arguments, name=NAME):
        return [FASTVLM, "pull", name, "--accept-license", *arguments]

    def pull(self, *arguments, name=NAME, limit=None):
        def confine():
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return subprocess.run(self.command(*arguments, name=name), env=self.environment(),
                              capture_output=True, text=True, timeout=120, preexec_fn=confine)

    def run(self, *arguments):
        return subprocess.run([FASTVLM, *arguments], env=self.environment(), capture_output=True,
                              text=True, timeout=120, cwd=self.work)

    def names(self):
        return sorted(p.name for p in self.models.iterdir()) if self.models.exists() else []


def last_line(result):
    return (result.stderr.splitlines() or [""])[-1]


def report_of(result):
    """What --json wrote; an empty one where it failed, which another check tells."""
    try:
        return collections.defaultdict(int, json.loads(result.stdout))
    except ValueError:
        return collections.defaultdict(int)


def is_failure(bench, name, result, *texts, left=()):
    """One error line with these texts; nothing under the final name; `left` beside it."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("fastvlm: ")]
    good = (result.returncode == 1 and len(lines) == 1 and lines[0] == last_line(result)
            and result.stdout == "" and all(text in lines[0] for text in texts)
            and bench.names() == sorted(left))
    check(name, good, f"{result.returncode} {result.stderr}\n{result.stdout}\n{bench.names()}")


def is_model(bench, name, result, model=NAME):
    files = bench.models / model
    good = (result.returncode == 0 and bench.names() == [model] and
            (files / "config.json").exists() and (files / "model.safetensors").exists())
    check(name, good, f"{result.returncode} {result.stderr}\n{result.stdout}\n{bench.names()}")


PART = f".{NAME}.zip.part"
KEPT = (PART, PART + ".state")


def make_zip(files, folder="llava-fastvithd_0.5b_stage3/", extra=()):
    """{name: bytes} and further (ZipInfo or path, bytes) as an archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
        for path, content in extra:
            archive.writestr(path, content)
    return out.getvalue()


# --- what is meant to happen ---

def test_good(bench, picture):
    result = bench.pull()
    is_model(bench, "a model is fetched", result)
    check("the licence is shown", "research only" in result.stderr, result.stderr)
    check("and where the model is", str(bench.models / NAME) in result.stdout, result.stdout)
    info = bench.run("info", "--model", NAME, "--json")
    check("info finds it by its name", json.loads(info.stdout or "{}").get("path") ==
          str(bench.models / NAME), info.stderr)
    caption = bench.run("caption", picture, "--model", NAME, "--resolution", "64")
    check("it captions by its name", caption.returncode == 0, caption.stderr)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (bench.models / NAME).iterdir()}
    check("its files are plain ones", modes == {0o644}, modes)
    n_requests = len(bench.server.requests)
    again = bench.pull()
    check("a second time it is there already", again.returncode == 0 and
          "is there already" in again.stdout, again.stdout + again.stderr)
    check("and the server is not asked", len(bench.server.requests) == n_requests)
    forced = bench.pull("--force")
    is_model(bench, "--force fetches it anew", forced)
    check("from the server", len(bench.server.requests) == n_requests + 1)


def test_options(bench):
    result = bench.pull("--json", name="0.5B")
    report = report_of(result)
    check("--json, and either case of a name", report["name"] == NAME and
          report["bytes"] == report["fetched_bytes"] == len(bench.archive), result.stdout)
    place = bench.work / "elsewhere" / "deeper"
    result = bench.pull("--to", str(place))
    check("--to makes its directory", (place / NAME / "config.json").exists(), result.stderr)
    bench.fresh()
    digest = hashlib.sha256(bench.archive).hexdigest()
    is_failure(bench, "another SHA-256", bench.pull("--sha256", "0" * 64), digest, "0" * 64)
    is_model(bench, "the right SHA-256", bench.pull("--sha256", digest))
    bench.fresh()
    bench.server.prefix = "/mirror"
    result = bench.pull("--base-url", bench.server.url + "/mirror/")
    is_model(bench, "--base-url wins over the variable", result)
    bench.server.prefix = ""


def test_usage(bench):
    def usage(label, text, *arguments, **keywords):
        result = bench.pull(*arguments, **keywords)
        check(label, result.returncode == 2 and text in result.stderr
              and len(result.stderr.splitlines()) == 1 and not bench.server.requests,
              result.stderr)
    usage("an unknown name", 'found "13b", expected one of 0.5b, 1.5b, 7b, 0.5b-stage2', name="13b")
    usage("two names", "found 2 names", "7b")
    usage("no SHA-256", "expected 64 digits", "--sha256", "abc")
    usage("http to elsewhere", "expected an address with https", "--base-url",
          "http://example.org/models")
    usage("another scheme", "expected an address with https", "--base-url", "ftp://127.0.0.1/")
    usage("a file", "expected an address with https", "--base-url", "file:etc")
    usage("a name that begins like this machine's", "expected an address with https", "--base-url",
          "http://127.0.0.1.example.org/")
    result = bench.pull("--base-url", "http://me:secret@example.org/")
    check("a password is not repeated", "secret" not in result.stderr and
          "example.org" in result.stderr, result.stderr)
    result = subprocess.run([FASTVLM, "pull", NAME], env=bench.environment(), capture_output=True,
                            text=True, stdin=subprocess.DEVNULL, timeout=60)
    check("without --accept-license nothing is fetched", result.returncode == 1 and
          "add --accept-license" in last_line(result) and "research only" in result.stderr and
          not bench.server.requests and not bench.names(), result.stderr)
    unknown = bench.run("info", "--model", NAME)
    check("a model that is not there yet: how to have it",
          f"fastvlm pull {NAME}" in unknown.stderr, unknown.stderr)


# --- what servers do ---

def test_connections(bench):
    n_bytes = len(bench.archive)
    bench.serve(bench.archive, pull_server.cut(n_bytes // 3))
    result = bench.pull("--json")
    is_model(bench, "a connection that breaks is taken up again", result)
    check("only what is missing is asked for", bench.server.requests[1:] ==
          [f"bytes={n_bytes // 3}-"], bench.server.requests)
    report = report_of(result)
    check("and told", report["reconnects"] == 1 and report["fetched_bytes"] == n_bytes, report)

    bench.fresh()
    bench.serve(bench.archive, pull_server.cut(1000))
    result = bench.pull("--retries", "0")
    is_failure(bench, "without retries it is an error", result,
               f"the connection ended after 1000 of {n_bytes} bytes", "kept in",
               "the same command goes on from there", left=KEPT)
    result = bench.pull("--json")
    is_model(bench, "the next command goes on", result)
    check("from where it stopped", report_of(result)["fetched_bytes"] == n_bytes - 1000,
          result.stdout)

    for name, tag, behaviours in (
            ("another file by now", '"second"', ()),
            ("a server without ranges", '"first"', (pull_server.whole,)),
            ("a server that says 416", '"first"', (pull_server.status(416),))):
        bench.fresh()
        bench.serve(bench.archive, pull_server.cut(1000))
        bench.pull("--retries", "0")
        bench.serve(bench.archive, *behaviours, tag=tag)
        result = bench.pull("--json")
        is_model(bench, f"{name}: from the beginning", result)
        check(f"{name}: all of it", report_of(result)["fetched_bytes"] == n_bytes,
              result.stdout)
    bench.fresh()
    bench.serve(bench.archive, pull_server.cut(1000), tag=None)
    is_model(bench, "a server that does not name its file's state", bench.pull())
    check("is never asked for a part", bench.server.requests == [None, None])
    bench.fresh()
    bench.serve(bench.archive, pull_server.cut(1000), pull_server.wrong_range)
    is_failure(bench, "another part than was asked for", bench.pull(), "expected from 1000 of",
               left=KEPT)


def test_answers(bench):
    n_bytes = len(bench.archive)
    bench.serve(bench.archive, pull_server.chunked)
    is_model(bench, "no length at all", bench.pull())
    for name, behaviours, texts, left in (
            ("404", [pull_server.status(404)], ("no such file (404)", "--base-url"), ()),
            ("403", [pull_server.status(403)], ("refuses to give it (403)", "--base-url"), ()),
            ("an empty file", [pull_server.empty], ("is empty, expected a zip archive",), ()),
            ("a page to sign in", [pull_server.page], ("no whole zip archive",), ()),
            ("a length too long", [pull_server.wrong_length(1000)],
             (f"after {n_bytes} of {n_bytes + 1000} bytes", "kept in"), KEPT),
            ("a length too short", [pull_server.wrong_length(-1000)], ("no whole zip archive",), ()),
            ("a length beyond reason", [pull_server.wrong_length(1 << 40)],
             ("this is not the model",), ()),
            ("no end of chunks", [pull_server.endless], ("kept in",), KEPT),
            ("nothing", [pull_server.nothing], ("Empty reply",), ())):
        bench.fresh()
        bench.serve(bench.archive, *behaviours)
        is_failure(bench, name, bench.pull("--retries", "0"), *texts, left=left)
    bench.fresh()
    bench.serve(bench.archive, pull_server.status(503))
    is_model(bench, "a server that is busy is asked again", bench.pull())
    bench.fresh()
    bench.serve(bench.archive, pull_server.status(503), pull_server.status(503))
    is_failure(bench, "but not for ever", bench.pull("--retries", "1"), "answered 503")
    bench.fresh()
    result = bench.pull("--base-url", "http://127.0.0.1:1/", "--retries", "0")
    is_failure(bench, "nobody there", result, "127.0.0.1", "Failed to connect",
               "see whether this machine has a network", "--base-url")
    result = bench.pull("--base-url", bench.server.url.replace("http:", "https:"), "--retries", "0")
    is_failure(bench, "https to a server that has none", result, "https://127.0.0.1")


def test_redirects(bench):
    bench.serve(bench.archive, pull_server.redirect("/other/place.zip"))
    is_model(bench, "a redirect is followed", bench.pull())
    for name, target, text in (
            ("to http elsewhere", "http://192.0.2.1/model.zip", "leads to http://192.0.2.1/model.zip"),
            ("to a file", "file:" + "//" + "/etc/passwd", "expected https"),
            ("to itself for ever", None, "has no end")):
        bench.fresh()
        target = target or "/again.zip"
        bench.serve(bench.archive, *[pull_server.redirect(target)] * 20)
        is_failure(bench, f"a redirect {name}", bench.pull("--retries", "0"), text)


def test_certificate(bench):
    """https whose certificate nobody vouches for: the host and the problem are named."""
    pem = bench.work / "self-signed.pem"
    if not shutil.which("openssl"):
        skip("a certificate that nobody vouches for", "there is no openssl to make one")
        return
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", pem, "-out", str(pem) + ".crt"], check=True, capture_output=True)
    secure = pull_server.Server(certificate=(str(pem) + ".crt", str(pem)))
    secure.content = bench.archive
    texts = ("SSL certificate problem", "self-signed certificate")
    if not os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        texts = ("certificate file", "install the package ca-certificates")
    for host in ("127.0.0.1", "localhost"):
        url = secure.url.replace("127.0.0.1", host)
        result = bench.pull("--base-url", url)
        is_failure(bench, f"a certificate that nobody vouches for, {host}", result, url, *texts)
    check("which is asked for nothing", not secure.requests, secure.requests)
    secure.close()


# --- what archives hold ---

def test_archives(bench, files):
    link = zipfile.ZipInfo("llava-fastvithd_0.5b_stage3/model2.safetensors")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    cut = dict(files, **{"model.safetensors": files["model.safetensors"][:5000]})
    damaged = bytearray(bench.archive)
    damaged[len(damaged) // 2] ^= 1
    for name, content, texts in (
            ("a path that leads out", make_zip(files, extra=[("../../evil", b"evil")]),
             ("../../evil", "leads out")),
            ("an absolute path", make_zip(files, extra=[("/tmp/fastvlm-evil", b"evil")]),
             ("its path is absolute",)),
            ("a link", make_zip(files, extra=[(link, "/etc/passwd")]), ("it is a link",)),
            ("no checkpoint", make_zip({"README": b"hello"}), ("holds no checkpoint",)),
            ("a bit that fell over", bytes(damaged), ("damaged",)),
            ("a model cut short", make_zip(cut), ("no model that loads", "model.safetensors")),
            ("a config that is none", make_zip(dict(files, **{"config.json": b"[]"})),
             ("no model that loads", "config.json"))):
        bench.fresh()
        bench.serve(content)
        is_failure(bench, name, bench.pull(), *texts)
    check("nothing was written elsewhere", not (bench.data / "evil").exists() and
          not (bench.work / "evil").exists() and not os.path.exists("/tmp/fastvlm-evil"))
    bench.fresh()
    result = bench.pull(name="1.5b")
    is_failure(bench, "a known hash that differs", result, "model.safetensors: SHA-256",
               "--no-verify")
    is_model(bench, "--no-verify", bench.pull("--no-verify", name="1.5b"), model="1.5b")


# --- this machine ---

def test_disk(bench, files):
    n_bytes = len(bench.archive)
    result = bench.pull(limit=n_bytes // 2)
    is_failure(bench, "a disk that fills while fetching", result, "File too large",
               "make room and run the same command again", left=KEPT)
    result = bench.pull("--json")
    is_model(bench, "with room it goes on", result)
    check("with the rest", report_of(result)["fetched_bytes"] < n_bytes, result.stdout)

    bench.fresh()
    wide = make_zip(dict(files, padding=bytes(4 * n_bytes)))
    bench.serve(wide)
    result = bench.pull(limit=2 * n_bytes)
    is_failure(bench, "a disk that fills while unpacking", result, "padding: cannot be unpacked",
               "the archive is kept", left=KEPT)
    bench.serve(wide, pull_server.status(500))
    is_model(bench, "with room it is unpacked, and not fetched again", bench.pull())
    check("the server was not asked", not bench.server.requests)


def test_small_disk(bench):
    """A file system that is too small is noticed before."""
    place = bench.work / "small"
    place.mkdir()
    size = len(bench.archive) * 3 // 2
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
        capture_output=True).returncode == 0
    if not mounted:
        skip("a file system that is too small", "cannot mount one")
        return
    try:
        result = bench.pull("--to", str(place))
        check("a file system that is too small", result.returncode == 1 and
              "are free there" in last_line(result) and not list(place.iterdir()), result.stderr)
        (place / "ballast").write_bytes(bytes(size - len(bench.archive) // 2))
        bench.serve(bench.archive, pull_server.chunked)
        result = bench.pull("--to", str(place))
        check("one that fills", result.returncode == 1 and "No space left" in last_line(result)
              and not (place / NAME).exists(), result.stderr)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return condition()


def test_interrupt(bench):
    n_half = len(bench.archive) // 2
    for name, number in (("^C", signal.SIGINT), ("SIGTERM", signal.SIGTERM)):
        bench.fresh()
        bench.serve(bench.archive, pull_server.stall(n_half))
        process = subprocess.Popen(bench.command(), env=bench.environment(), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        part = bench.models / PART
        wait_for(lambda: part.exists() and part.stat().st_size == n_half)
        if number == signal.SIGINT:
            second = bench.pull()
            check("a second one at a time", "another process is fetching it" in last_line(second),
                  second.stderr)
        started = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        check(f"{name} ends it within two seconds", time.monotonic() - started < 2)
        check(f"{name}: the exit code", process.returncode == 128 + number, process.returncode)
        check(f"{name}: what is kept is said", "interrupted; " in err and str(part) in err and
              "the same command goes on" in err, err)
        check(f"{name}: and kept", bench.names() == sorted(KEPT), bench.names())
        bench.server.release()
        result = bench.pull("--json")
        is_model(bench, f"{name}: the next command goes on", result)
        check(f"{name}: with the rest",
              report_of(result)["fetched_bytes"] == len(bench.archive) - n_half,
              result.stdout)


def test_killed(bench):
    """Nothing of a process that was killed is in the way."""
    (bench.models / f".{NAME}.new" / "deeper").mkdir(parents=True)
    (bench.models / f".{NAME}.new" / "config.json").write_text("half")
    (bench.models / PART).write_bytes(b"what has no state is no part")
    is_model(bench, "leftovers are swept away", bench.pull())
    bench.fresh()
    (bench.models / NAME).mkdir(parents=True)
    (bench.models / NAME / "config.json").write_text("no model")
    is_failure(bench, "something else has the name", bench.pull(), "--force replaces it",
               left=(NAME,))
    is_model(bench, "--force replaces it", bench.pull("--force"))
    bench.fresh()
    bench.models.parent.mkdir(parents=True)
    bench.models.write_text("a file")
    result = bench.pull()
    check("a file where models go", result.returncode == 1 and "cannot be made: " in result.stderr and
          "name another place with --to" in result.stderr,
          result.stderr)


# --- a terminal ---

def talk(bench, answer, *arguments):
    """Runs pull on a terminal and types `answer`; (exit code, all that was shown)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(FASTVLM, [FASTVLM, "pull", NAME, *arguments],
                  bench.environment() | {"TERM": "xterm"})
    shown = b""
    try:
        while True:
            shown += os.read(terminal, 4096)
            if answer and b"[y/N]" in shown:
                os.write(terminal, answer)
                answer = None
    except OSError:
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_terminal(bench):
    try:
        for end in os.openpty():
            os.close(end)
    except OSError as problem:
        skip("at a terminal", f"there is none to be had: {problem}")
        return
    code, shown = talk(bench, b"n\n")
    check("n at the terminal", code == 1 and "was not accepted" in shown and
          not bench.server.requests, shown)
    code, shown = talk(bench, b"\n")
    check("return alone is a no", code == 1 and not bench.server.requests, shown)
    code, shown = talk(bench, b"\x03")
    check("^C at the question", code == 130 and not bench.server.requests, shown)
    bench.serve(bench.archive, pull_server.slow(3))
    code, shown = talk(bench, b"y\n")
    check("y fetches", code == 0 and bench.names() == [NAME], shown)
    check("with a bar", "fetching 0.5b" in shown and "%" in shown and "MB/s" in shown and
          " left" in shown, shown)
    check("which goes away", shown.rstrip().endswith("PICTURE"), shown)


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="fastvlm-pull-"))
    os.umask(0o022)
    try:
        subprocess.run([GOLDEN_TOOL, "checkpoint", "speaking", work / "made", "--tokenizer", DEMO],
                       check=True)
        picture = work / "picture.png"
        subprocess.run([GOLDEN_TOOL, "picture", "64", picture], check=True)
        files = {p.name: p.read_bytes() for p in (work / "made").iterdir()}
        bench = Bench(work, make_zip(files))
        for test in (lambda: test_good(bench, picture), lambda: test_options(bench),
                     lambda: test_usage(bench), lambda: test_connections(bench),
                     lambda: test_answers(bench), lambda: test_redirects(bench),
                     lambda: test_certificate(bench), lambda: test_archives(bench, files), lambda: test_disk(bench, files),
                     lambda: test_small_disk(bench), lambda: test_interrupt(bench),
                     lambda: test_killed(bench), lambda: test_terminal(bench)):
            bench.fresh()
            test()
        bench.server.close()
    finally:
        shutil.rmtree(work)
    print(f"1..{len(checks)}")
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
