#!/usr/bin/env bash
# The first thing to run: from a bare Debian 12 machine to captions of a moving picture.
#
#     missing packages by apt -> build/ -> a 30 s test video, captioned by the demo model while it
#     plays, a line a caption
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -euo pipefail
# shellcheck source=pipelines/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$top"

prepare_fastvlm build

cat <<'TEXT'

The test video plays for half a minute and the model says what it sees, once a second:

    gst-launch-1.0 -m filesrc location=pipelines/media/demo.webm ! decodebin ! videoconvert \
        ! fastvlmcaption ! fakesink sync=true | pipelines/print-captions.sh

TEXT
gst-launch-1.0 -m filesrc location=pipelines/media/demo.webm ! decodebin ! videoconvert \
    ! fastvlmcaption ! fakesink sync=true | pipelines/print-captions.sh

cat <<'TEXT'

That was the demo model, which knows shapes, numbers and test patterns. Next:

    pipelines/show.sh                     the same video in a window, captions drawn on it
    pipelines/caption-file.sh VIDEO       subtitles of a video file, and a copy with them in it
    pipelines/watch-camera.sh rtsp://...  a camera watched for good, in lines of JSON
    pipelines/narrate.sh                  the demo video, spoken
    meson devenv -C build --workdir .     a shell in which gst-launch-1.0 knows fastvlmcaption
                                          and fastvlm is a command:
        fastvlm caption pipelines/media/photo.jpg
        fastvlm caption --model DIRECTORY PHOTO.jpg

README.md says where to get a model that knows the world, and docs/element.md what the element can
do.
TEXT
