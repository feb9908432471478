#!/bin/sh
# Draws the pictures of captions in docs/images; `meson compile update-overlay-images` runs it.
#
#     draw_images.sh DRAW-OVERLAY DIRECTORY
#
# Look at them afterwards: letters whole and joined, Arabic from right to left, nothing cut off.
#
# SPDX-License-Identifier: LGPL-2.1-or-later
set -eu
"$1" "$2/overlay-wrapped.png" 640 360 "" \
    "A wide meadow under a clear sky, with two low hills, one behind the other, and a pale sun that \
stands well above the farther one."
"$1" "$2/overlay-large.png" 640 360 "Sans Bold 32" "A sun over two green hills."
"$1" "$2/overlay-arabic.png" 640 360 "" "شمس فوق تلّين أخضرين، والسماء صافية."
