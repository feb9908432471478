#!/usr/bin/env bash
# Watch a camera for good: a line of JSON for each caption, alert and change of its state.
#
#     pipelines/watch-camera.sh rtsp://USER:PASSWORD@HOST/PATH [OPTION...]
#
#     camera -> fastvlm-watch -> standard output, pictures of alerts (--record DIR)
#
# Options are those of fastvlm-watch: --prompt TEXT, --choices yes,no --alert-on yes, --record DIR,
# --protocol udp, ...; --help lists them.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ $# -eq 0 ]; then
    echo "usage: $0 rtsp://USER:PASSWORD@HOST/PATH [OPTION...]; --help lists the options" >&2
    exit 2
fi
# What setting up has to say is not JSON.
prepare_fastvlm pipelines >&2
exec fastvlm-watch "$@"
