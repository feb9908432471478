#!/bin/sh
# No shell script of the tree gets a warning from shellcheck.
#
#     check_scripts.sh SOURCE-ROOT
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -eu
if ! command -v shellcheck >/dev/null; then
    echo "no shellcheck here"
    exit 77
fi
cd "$1"
set -- .ci/run
for script in $(find . -name 'build*' -prune -o -name '*.sh' -print | sort); do
    set -- "$@" "$script"
done
# A file to be sourced has no #! to tell its shell by: a directive does, and sh it is otherwise.
shell_of()
{
    if head -n 1 "$1" | grep -q bash || grep -q '^# shellcheck shell=bash' "$1"; then
        echo bash
    else
        echo sh
    fi
}
status=0
for script; do
    shellcheck --severity=warning --shell="$(shell_of "$script")" --external-sources "$script" || status=1
done
echo "scripts: $# files"
exit $status
