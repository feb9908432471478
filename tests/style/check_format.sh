#!/bin/sh
# clang-format 14, the one of Debian 12, finds nothing to change in any .c and .h.
#
#     check_format.sh SOURCE-ROOT        (with --fix it changes them)
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -eu
root=$1
tool=
for name in clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
        tool=$name
        break
    fi
done
if [ -z "$tool" ]; then
    echo "no clang-format 14 here"
    exit 77
fi
mode='--dry-run -Werror'
[ "${2:-}" = --fix ] && mode=-i
cd "$root"
find . -name 'build*' -prune -o -name '.?*' -prune -o -name '*.[ch]' -print0 >"${TMPDIR:-/tmp}/format.$$"
trap 'rm -f "${TMPDIR:-/tmp}/format.$$"' EXIT
if ! [ -s "${TMPDIR:-/tmp}/format.$$" ]; then
    echo "format: no files found, wrong directory?"
    exit 1
fi
# shellcheck disable=SC2086  # the mode is words
xargs -0 "$tool" --style=file $mode <"${TMPDIR:-/tmp}/format.$$"
echo "format: $(tr -dc '\0' <"${TMPDIR:-/tmp}/format.$$" | wc -c) files"
