#!/usr/bin/env bash
# gst-launch-1.0 with the plugin as it was built: its option -e, ^C at any moment, and several prompts. TAP.
#
#     check_launch.sh PLUGIN-DIRECTORY
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -uo pipefail
export GST_PLUGIN_PATH=$1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n=0
failed=0
line="videotestsrc is-live=true ! video/x-raw, width=160, height=120, framerate=25/1 ! fastvlmcaption
resolution=128 max-tokens=6 interval=0 ! "

# check NAME COMMAND...
check()
{
    local name=$1
    shift
    n=$((n + 1))
    if "$@" >/dev/null; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        tail -n 5 log | sed 's/^/# /'
        failed=1
    fi
}

# interrupted WHEN ARGUMENT...: ^C once WHEN is in the log; 0 if it ended by itself within a minute.
interrupted()
{
    local when=$1 tries=0
    shift
    # shellcheck disable=SC2086
    timeout --foreground -s KILL 60 gst-launch-1.0 -m "$@" >log 2>&1 &
    local job=$!
    until grep -q "$when" log || [ $((tries += 1)) -gt 1500 ]; do
        sleep 0.02
    done
    kill -INT $job
    wait $job
}

# shellcheck disable=SC2086
{
    interrupted fastvlm-caption, -e $line matroskamux ! filesink location=whole.mkv
    check "-e ends well at ^C" [ $? -eq 0 ]
    check "-e has sent EOS" grep -q 'Got EOS from element' log
    timeout 60 gst-launch-1.0 filesrc location=whole.mkv ! matroskademux ! fakesink >log 2>&1
    check "the file is whole" [ $? -eq 0 ]
    for when in 'PREROLLED\|PLAYING' 'progress' 'fastvlm-caption,'; do
        interrupted "$when" $line fakesink
        check "^C ends it at $when" [ $? -le 1 ]
        check "all is freed at $when" grep -q 'Freeing pipeline' log
    done
}
# As docs/element.md has it.
timeout 60 gst-launch-1.0 -m videotestsrc num-buffers=1 ! video/x-raw,width=160,height=120 ! \
    fastvlmcaption resolution=128 max-tokens=6 mode=complete \
    prompts='<(string)one\ dog?,(string)a\ cat?>' ! fakesink >log 2>&1
check "prompts of a shell's line are read" grep -q 'final.*one.* dog.*prompt-index=(uint)0' log
check "all of them" grep -q 'final.*a.* cat.*prompt-index=(uint)1' log
echo "1..$n"
exit $failed
