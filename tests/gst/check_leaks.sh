#!/bin/sh
# Runs a test program under GStreamer's leaks tracer. TAP, two tests: that the tracer sees a leak
# made on purpose, and that nothing else is alive when the program has called gst_deinit().
#
#     check_leaks.sh PLUGINS_DIR PROGRAM
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -u
plugins_dir=$1
program=$2
name=$(basename "$program")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

echo 1..2
if [ ! -e "$plugins_dir/libgstcoretracers.so" ]; then
    echo "ok 1 - tracer # SKIP no libgstcoretracers.so in $plugins_dir"
    echo "ok 2 - $name # SKIP no libgstcoretracers.so in $plugins_dir"
    exit 0
fi
mkdir "$work/plugins"
ln -s "$plugins_dir/libgstcoretracers.so" "$work/plugins/"
export GST_PLUGIN_PATH_1_0="$work/plugins" GST_REGISTRY="$work/registry"
export GST_TRACERS=leaks GST_DEBUG=GST_TRACER:7 GST_DEBUG_NO_COLOR=1

# Lines of objects, not those that describe the lines' format.
list_alive() {
    grep -E 'object-alive, type-name=\(string\)[A-Za-z]' "$1"
}

FASTVLM_TEST_LEAK=1 "$program" -l >/dev/null 2>"$work/log"
if [ "$(list_alive "$work/log" | wc -l)" -eq 1 ]; then
    echo "ok 1 - tracer"
else
    echo "not ok 1 - tracer: a leaked GstCaps was not seen, or not alone"
    list_alive "$work/log" | head -20 | sed 's/^/# /'
fi

"$program" >"$work/out" 2>"$work/log"
status=$?
if [ $status -eq 0 ] && [ "$(list_alive "$work/log" | wc -l)" -eq 0 ]; then
    echo "ok 2 - $name"
else
    echo "not ok 2 - $name: exit status $status, $(list_alive "$work/log" | wc -l) objects alive"
    grep -E '^not ok|^Bail' "$work/out" | sed 's/^/# /'
    list_alive "$work/log" | head -20 | sed 's/^/# /'
fi
