#!/usr/bin/env bash
# Print the captions among the messages of gst-launch-1.0 as they come:
#
#     gst-launch-1.0 -m ... ! fastvlmcaption ! ... | pipelines/print-captions.sh
#
#     element message fastvlm-caption, type final -> "[minutes:seconds of the video] text"
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail

# Field $2 of the structure printed in $1, without its type, quotes and escapes: GStreamer puts a
# backslash before each character that is no letter or digit, and writes bytes beyond ASCII as \ooo.
field()
{
    local rest=${1#*, "$2"=(*)} value

    if [[ $rest =~ ^\"(([^\"\\]|\\.)*)\" ]]; then
        value=${BASH_REMATCH[1]//\\\\/\\134}
        value=${value//\\012/ }
        printf '%b' "$(sed 's/\\\([^0-7]\)/\1/g' <<<"$value")"
    else
        printf '%s' "${rest%%[,;]*}"
    fi
}

while IFS= read -r line; do
    [[ $line == *': fastvlm-caption, type=(string)final, '* ]] || continue
    nanoseconds=$(field "$line" stream-time)
    seconds=$((nanoseconds / 1000000000))
    printf '[%d:%02d] %s\n' $((seconds / 60)) $((seconds % 60)) "$(field "$line" text)"
done
