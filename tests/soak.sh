#!/usr/bin/env bash
# For hours: the element through states, seeks, pauses, caps and captions by the demo model, over and
# over; then fastvlm-watch beside a camera that drops the connection again and again.
#
#     tests/soak.sh MINUTES [RECONNECTS] [BUILD-DIRECTORY]
#
# RECONNECTS is 30 a minute unless said otherwise; 0: none. Ends with what each process held at the end
# and by how much its memory grew; exit status 1 where a file, a thread or memory was left behind. The
# suite gst has the same for three quarters of a minute and 60 reconnects.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minutes=${1:?usage: tests/soak.sh MINUTES [RECONNECTS] [BUILD-DIRECTORY]}
reconnects=${2:-$((minutes * 30))}
build=$(cd "${3:-$top/build}" && pwd)

ninja -C "$build" --quiet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export FASTVLM_MODELS=$top/models FASTVLM_CACHE=off
export GST_REGISTRY=$work/registry GST_REGISTRY_FORK=no
status=0
GST_PLUGIN_SYSTEM_PATH_1_0='' GST_PLUGIN_PATH_1_0='' \
    "$build/tests/gst/soak" $((minutes * 60)) || status=1
if [ "$reconnects" -gt 0 ]; then
    GST_REGISTRY=$work/watch.registry GST_PLUGIN_PATH=$build/gst-plugin \
        "$build/tests/watch/soak_watch" "$build/watch/fastvlm-watch" "$reconnects" || status=1
fi
exit $status
