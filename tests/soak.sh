#!/usr/bin/env bash
# The element for hours: states, seeks, pauses, caps and captions by the demo model, over and over.
#
#     tests/soak.sh MINUTES [BUILD-DIRECTORY]
#
# Ends with what the process held at the end and by how much its memory grew; exit status 1 where a
# file, a thread or memory was left behind. The suite gst has the same for three quarters of a minute.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minutes=${1:?usage: tests/soak.sh MINUTES [BUILD-DIRECTORY]}
build=${2:-$top/build}

ninja -C "$build" --quiet tests/gst/soak
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export FASTVLM_MODELS=$top/models FASTVLM_CACHE=off
export GST_REGISTRY=$work/registry GST_REGISTRY_FORK=no
export GST_PLUGIN_SYSTEM_PATH_1_0='' GST_PLUGIN_PATH_1_0=''
"$build/tests/gst/soak" $((minutes * 60))
