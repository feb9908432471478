#!/bin/sh
# docs/element.md says what the element says of itself.
#
#     check_element_docs.sh GENERATOR ELEMENT.md [--update]
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -eu
if [ "${3:-}" = --update ]; then
    "$1" >"$2.new"
    mv "$2.new" "$2"
elif ! "$1" | diff -u "$2" - >&2; then
    echo "element.md is stale: meson compile update-element-docs" >&2
    exit 1
fi
