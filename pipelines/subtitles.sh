#!/usr/bin/env bash
# Write subtitles of a video file: every sample is captioned, however long it takes.
#
#     pipelines/subtitles.sh VIDEO OUT.vtt|OUT.srt|OUT.mkv [PROPERTY=VALUE...]
#
#     video -> fastvlmcaption mode=complete PROPERTY=VALUE... -> text_src -> WebVTT, SubRip, or a
#     Matroska file that has the video (VP8) and the subtitles in it
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ $# -lt 2 ]; then
    echo "usage: $0 VIDEO OUT.vtt|OUT.srt|OUT.mkv [PROPERTY=VALUE...]" >&2
    exit 2
fi
input=$1
output=$2
shift 2
if ! [ -r "$input" ]; then
    echo "subtitles: cannot read $input" >&2
    exit 1
fi

source=(filesrc "location=$input" ! decodebin ! videoconvert
    ! fastvlmcaption name=captions mode=complete "$@")
save=(filesink "location=$output")
case $output in
*.vtt) branches=(! fakesink captions.text_src ! webvttenc ! "${save[@]}") ;;
*.srt) branches=(! fakesink captions.text_src ! srtenc ! "${save[@]}") ;;
*.mkv) branches=(! queue ! vp8enc deadline=1 ! queue ! matroskamux name=mux ! "${save[@]}"
    captions.text_src ! mux.) ;;
*)
    echo "subtitles: $output ends in none of .vtt, .srt, .mkv" >&2
    exit 2
    ;;
esac
prepare_fastvlm pipelines
gst-launch-1.0 -q "${source[@]}" "${branches[@]}"
echo "subtitles: wrote $output"
