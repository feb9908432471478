#!/usr/bin/env bash
# Watch a video, a camera or a stream in a window, its captions drawn on it.
#
#     pipelines/show.sh [FILE | /dev/videoN | rtsp://...] [PROPERTY=VALUE...]
#
#     source -> fastvlmcaption overlay=true PROPERTY=VALUE... -> window
#
# Without arguments it shows the demo video. VIDEO_SINK: another sink than autovideosink.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}${VIDEO_SINK:-}" ]; then
    echo "show: there is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set)" >&2
    exit 1
fi
prepare_fastvlm pipelines

input=${1:-$top/pipelines/media/demo.webm}
shift $(($# > 0))
case $input in
/dev/video*) source=(v4l2src "device=$input" ! decodebin) ;;
rtsp://*) source=(rtspsrc "location=$input" latency=200 ! decodebin) ;;
*)
    if ! [ -r "$input" ]; then
        echo "show: cannot read $input" >&2
        exit 1
    fi
    source=(filesrc "location=$input" ! decodebin)
    ;;
esac
exec gst-launch-1.0 "${source[@]}" ! videoconvert ! fastvlmcaption overlay=true "$@" \
    ! videoconvert ! "${VIDEO_SINK:-autovideosink}"
