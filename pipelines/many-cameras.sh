#!/usr/bin/env bash
# Watch several cameras with one model: a line of JSON each time one of them shows something.
#
#     pipelines/many-cameras.sh [NAME=]URL [NAME=]URL... [OPTION...]
#     pipelines/many-cameras.sh --cameras FILE [OPTION...]      a [NAME=]URL a line
#
#     cameras -> fastvlm-watch, an element each, the model once -> standard output
#
# The field "camera" says which: NAME, or the host. --help lists the options.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
if [ $# -eq 0 ]; then
    echo "usage: $0 [NAME=]URL [NAME=]URL... [OPTION...]; --help lists the options" >&2
    exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/watch-camera.sh" "$@"
