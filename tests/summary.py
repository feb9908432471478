#!/usr/bin/env python3
"""Count what `meson test` did, over several build directories.

    summary.py [--step NAME=ok|failed]... [--log NAME=FILE]...

    testlog.json of each run, a test a line -> its TAP lines, or its one result -> counts
    steps outside of meson (a build, a compiler check) count as one test each

Prints the output of what failed and the reasons of what was skipped; the last line is
`N passed, N failed, N skipped`. Exit status 1 where anything failed, or where nothing passed.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import argparse
import json
import re
import sys
from collections import namedtuple

TAP_LINE = re.compile(r"^(not )?ok\s+\d+\s*(?:- )?(.*?)(?:\s*#\s*(SKIP|TODO)\S*\s*(.*))?$", re.I)
SHOWN_LINES = 120
GOOD = {"OK", "EXPECTEDFAIL"}

Case = namedtuple("Case", "name outcome reason")  # outcome: passed, failed, skipped


def tap_cases(test, output):
    """The cases of a test that speaks TAP; none of another."""
    cases = []
    for line in output.splitlines():
        match = TAP_LINE.match(line)
        if not match:
            continue
        bad, name, directive, reason = match.groups()
        name = f"{test}: {name}"
        if directive and directive.upper() == "SKIP":
            cases.append(Case(name, "skipped", reason))
        elif bad and not directive:
            cases.append(Case(name, "failed", ""))
        else:
            cases.append(Case(name, "passed", ""))
    return cases


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def cases_of(record, run):
    """All cases of one line of testlog.json."""
    test = f"{run} {record['name'].split(':', 1)[-1]}"
    output, result = record.get("stdout", ""), record["result"]
    cases = tap_cases(test, output)
    if result == "SKIP":
        if not any(case.outcome == "skipped" for case in cases):
            reason = re.sub(r"^1\.\.0\s*#\s*(SKIP\S*\s*)?", "", last_line(output), flags=re.I)
            cases.append(Case(test, "skipped", reason))
    elif result in GOOD:
        if not cases:
            cases.append(Case(test, "passed", ""))
    elif not any(case.outcome == "failed" for case in cases):
        # It died, hung or said nothing: the cases that it did not reach are one failure.
        cases.append(Case(f"{test} ({result.lower()})", "failed", ""))
    return cases


def read_log(path, run):
    """Cases of a run, and the output of its failed tests."""
    cases, outputs = [], []
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            records = [json.loads(line) for line in lines]
    except OSError as error:
        return [Case(f"{run}: no test log ({error.strerror})", "failed", "")], []
    for record in records:
        found = cases_of(record, run)
        cases += found
        if any(case.outcome == "failed" for case in found):
            text = record.get("stdout", "") + record.get("stderr", "")
            outputs.append((f"{run} {record['name']}", text))
    return cases, outputs


def show(cases, outputs):
    for name, text in outputs:
        lines = [line for line in text.splitlines() if not re.match(r"ok \d+", line)]
        print(f"\n---- {name}: {record_note(lines)}")
        print("\n".join(lines[-SHOWN_LINES:]))
    for outcome in ("skipped", "failed"):
        chosen = [case for case in cases if case.outcome == outcome]
        if chosen:
            print(f"\n{outcome.capitalize()}:")
        for case in chosen:
            print(f"  {case.name}" + (f": {case.reason}" if case.reason else ""))


def record_note(lines):
    if len(lines) <= SHOWN_LINES:
        return "its output, without what was fine"
    return f"the last {SHOWN_LINES} of {len(lines)} lines, without what was fine"


def pair(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--step", type=pair, action="append", default=[])
    parser.add_argument("--log", type=pair, action="append", default=[])
    args = parser.parse_args()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")

    cases = [Case(name, "passed" if value == "ok" else "failed", "") for name, value in args.step]
    outputs = []
    for run, path in args.log:
        more_cases, more_outputs = read_log(path, run)
        cases += more_cases
        outputs += more_outputs
    show(cases, outputs)

    count = {outcome: sum(case.outcome == outcome for case in cases)
             for outcome in ("passed", "failed", "skipped")}
    print(f"\n{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
